import Wire

/// What makes a map valid. The mapping relies on all of it and checks nothing again.
enum Validation {
    /// Throws unless the parts make a valid map. Devices, buckets and rules are in the order of `CRUSHMap`.
    static func check(
        tunables: Tunables, types: [TypeID: String], devices: [Device], buckets: [Bucket], rules: [Rule]
    ) throws(CRUSHError) {
        try check(tunables)
        try check(types)
        var names: Set<String> = []
        try check(devices, &names)
        try check(buckets, devices: devices, types: types, &names)
        try checkDepth(buckets)
        try check(rules, devices: devices, buckets: buckets, types: types)
    }

    /// Names are what the language of `crushtool` can say: letters, digits, `-`, `_` and `.`.
    static func check(name: String, of thing: String) throws(CRUSHError) {
        let utf8 = name.utf8
        guard (1...CRUSHLimits.name).contains(utf8.count) else {
            throw CRUSHError("\(thing): a name has 1 to \(CRUSHLimits.name) bytes, this one \(utf8.count)")
        }
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                continue
            default:
                throw CRUSHError("\(thing): '\(name)' may hold only letters, digits, '-', '_' and '.'")
            }
        }
    }

    private static func check(_ tunables: Tunables) throws(CRUSHError) {
        guard tunables.chooseLocalFallbackTries == 0 else {
            throw CRUSHError(
                "tunable choose_local_fallback_tries \(tunables.chooseLocalFallbackTries): only 0 is supported")
        }
        guard tunables.chooseTotalTries <= CRUSHLimits.tries, tunables.chooseLocalTries <= CRUSHLimits.tries else {
            throw CRUSHError("tunables: more than \(CRUSHLimits.tries) tries")
        }
        guard tunables.chooseleafVaryR < 32 else {
            throw CRUSHError("tunable chooseleaf_vary_r \(tunables.chooseleafVaryR): at most 31")
        }
    }

    private static func check(_ types: [TypeID: String]) throws(CRUSHError) {
        guard types[.osd] != nil else { throw CRUSHError("type 0 has no name") }
        var names: Set<String> = []
        for (id, name) in types {
            guard Int(id.rawValue) < CRUSHLimits.types else { throw CRUSHError("type \(id): the number is too large") }
            try check(name: name, of: "type \(id)")
            guard names.insert(name).inserted else { throw CRUSHError("type '\(name)' stands twice") }
        }
    }

    private static func check(_ devices: [Device], _ names: inout Set<String>) throws(CRUSHError) {
        var last = OSDID(-1)
        for device in devices {
            guard (0..<CRUSHLimits.devices).contains(Int(device.id.rawValue)) else {
                throw CRUSHError("device \(device.id.rawValue): numbers are from 0 to \(CRUSHLimits.devices - 1)")
            }
            guard device.id > last else { throw CRUSHError("device \(device.id.rawValue) stands twice") }
            last = device.id
            try check(name: device.name, of: "device \(device.id.rawValue)")
            guard names.insert(device.name).inserted else { throw CRUSHError("the name '\(device.name)' stands twice") }
        }
    }

    private static func check(
        _ buckets: [Bucket], devices: [Device], types: [TypeID: String], _ names: inout Set<String>
    ) throws(CRUSHError) {
        var known = Set(devices.lazy.map { ItemID($0.id) })
        for bucket in buckets {
            guard (-CRUSHLimits.buckets...(-1)).contains(Int(bucket.id.rawValue)) else {
                throw CRUSHError("bucket \(bucket.id): numbers are from -1 to -\(CRUSHLimits.buckets)")
            }
            guard known.insert(bucket.id).inserted else { throw CRUSHError("bucket \(bucket.id) stands twice") }
            try check(name: bucket.name, of: "bucket \(bucket.id)")
            guard names.insert(bucket.name).inserted else { throw CRUSHError("the name '\(bucket.name)' stands twice") }
            guard bucket.type != .osd, types[bucket.type] != nil else {
                throw CRUSHError("bucket '\(bucket.name)': type \(bucket.type) is not one of buckets")
            }
        }
        var items = 0
        for bucket in buckets {
            items += bucket.items.count
            guard items <= CRUSHLimits.items else { throw CRUSHError("more than \(CRUSHLimits.items) items") }
            try check(itemsOf: bucket, known)
        }
    }

    private static func check(itemsOf bucket: Bucket, _ known: Set<ItemID>) throws(CRUSHError) {
        var members: Set<ItemID> = []
        for item in bucket.items {
            guard known.contains(item.id) else {
                throw CRUSHError("bucket '\(bucket.name)': item \(item.id) does not exist")
            }
            guard members.insert(item.id).inserted else {
                throw CRUSHError("bucket '\(bucket.name)': item \(item.id) stands twice")
            }
            let limit = item.id.isBucket ? CRUSHLimits.bucketWeight : CRUSHLimits.deviceWeight
            guard item.weight <= limit else {
                throw CRUSHError("bucket '\(bucket.name)': weight \(item.weight) of item \(item.id) is above \(limit)")
            }
        }
        guard bucket.weight <= CRUSHLimits.bucketWeight else {
            throw CRUSHError("bucket '\(bucket.name)': the weights add up to more than \(CRUSHLimits.bucketWeight)")
        }
    }

    /// Refuses cycles, and hierarchies deeper than the limit: takes away the buckets that no bucket left holds, level by
    /// level. What a cycle holds is never taken.
    private static func checkDepth(_ buckets: [Bucket]) throws(CRUSHError) {
        var holders: [ItemID: Int] = [:]
        var items: [ItemID: [Bucket.Item]] = [:]
        for bucket in buckets {
            items[bucket.id] = bucket.items
            for item in bucket.items where item.id.isBucket { holders[item.id, default: 0] += 1 }
        }
        var level = buckets.map(\.id).filter { holders[$0] == nil }
        var taken = 0
        var depth = 0
        while !level.isEmpty {
            depth += 1
            guard depth <= CRUSHLimits.depth else {
                throw CRUSHError("buckets are nested more than \(CRUSHLimits.depth) deep")
            }
            taken += level.count
            var next: [ItemID] = []
            for id in level {
                for item in items[id] ?? [] where item.id.isBucket {
                    holders[item.id, default: 0] -= 1
                    if holders[item.id] == 0 { next.append(item.id) }
                }
            }
            level = next
        }
        guard taken == buckets.count else {
            let name = buckets.first { holders[$0.id, default: 0] > 0 }?.name ?? ""
            throw CRUSHError("buckets form a cycle, at or above '\(name)'")
        }
    }

    private static func check(
        _ rules: [Rule], devices: [Device], buckets: [Bucket], types: [TypeID: String]
    ) throws(CRUSHError) {
        var ids: Set<RuleID> = []
        var names: Set<String> = []
        let known = Set(devices.lazy.map { ItemID($0.id) }).union(buckets.lazy.map(\.id))
        for rule in rules {
            guard (0..<CRUSHLimits.rules).contains(Int(rule.id.rawValue)) else {
                throw CRUSHError("rule \(rule.id): numbers are from 0 to \(CRUSHLimits.rules - 1)")
            }
            guard ids.insert(rule.id).inserted else { throw CRUSHError("rule \(rule.id) stands twice") }
            try check(name: rule.name, of: "rule \(rule.id)")
            guard names.insert(rule.name).inserted else { throw CRUSHError("rule '\(rule.name)' stands twice") }
            guard rule.steps.count <= CRUSHLimits.steps else {
                throw CRUSHError("rule '\(rule.name)': more than \(CRUSHLimits.steps) steps")
            }
            for step in rule.steps {
                switch step {
                case .take(let item):
                    guard known.contains(item) else {
                        throw CRUSHError("rule '\(rule.name)' takes item \(item), which does not exist")
                    }
                case .chooseFirstN(let count, let type), .chooseLeafFirstN(let count, let type):
                    guard types[type] != nil else {
                        throw CRUSHError("rule '\(rule.name)' chooses type \(type), which does not exist")
                    }
                    guard abs(Int(count)) <= CRUSHLimits.replicas else {
                        throw CRUSHError("rule '\(rule.name)' chooses \(count): at most \(CRUSHLimits.replicas)")
                    }
                case .emit:
                    break
                }
            }
        }
    }
}
