import Wire

/// What makes a map valid. The mapping relies on all of it and checks nothing again.
struct Validation {
    private let devices: Set<ItemID>
    private let tunables: Tunables
    private let types: [TypeID: String]
    private let deviceNames: Set<String>
    private let classes: Set<String>

    /// Throws unless tunables, types, devices and classes are valid. Devices and classes are in ascending order.
    init(
        tunables: Tunables, types: [TypeID: String], devices: [Device], classes: [DeviceClass]
    ) throws(CRUSHError) {
        try Self.check(tunables)
        try Self.check(types)
        self.tunables = tunables
        self.types = types
        self.classes = try Self.check(classes)
        var names: Set<String> = []
        try Self.check(devices, classes: self.classes, &names)
        deviceNames = names
        self.devices = Set(devices.lazy.map { ItemID($0.id) })
    }

    /// Names are what the language of `crushtool` can say: letters, digits, `-`, `_` and `.`.
    static func check(name: String, of thing: String, at part: CRUSHMap.Part? = nil) throws(CRUSHError) {
        let utf8 = name.utf8
        guard (1...CRUSHLimits.name).contains(utf8.count) else {
            throw CRUSHError("\(thing): a name has 1 to \(CRUSHLimits.name) bytes, this one \(utf8.count)", at: part)
        }
        guard utf8.allSatisfy(isNameByte) else {
            throw CRUSHError("\(thing): '\(name)' may hold only letters, digits, '-', '_' and '.'", at: part)
        }
    }

    /// Whether a byte may stand in a name.
    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    private static func check(_ tunables: Tunables) throws(CRUSHError) {
        let tries = [
            ("choose_local_tries", tunables.chooseLocalTries),
            ("choose_local_fallback_tries", tunables.chooseLocalFallbackTries),
            ("choose_total_tries", tunables.chooseTotalTries),
        ]
        for (name, value) in tries where value > CRUSHLimits.tries {
            throw CRUSHError("tunable \(name) \(value): at most \(CRUSHLimits.tries) tries", at: .tunable(name))
        }
        guard tunables.chooseleafVaryR < 32 else {
            throw CRUSHError(
                "tunable chooseleaf_vary_r \(tunables.chooseleafVaryR): at most 31", at: .tunable("chooseleaf_vary_r"))
        }
    }

    private static func check(_ types: [TypeID: String]) throws(CRUSHError) {
        guard types[.osd] != nil else { throw CRUSHError("type 0 has no name") }
        var names: Set<String> = []
        for (id, name) in types {
            guard Int(id.rawValue) < CRUSHLimits.types else {
                throw CRUSHError("type \(id): numbers are below \(CRUSHLimits.types)", at: .type(id))
            }
            try check(name: name, of: "type \(id)", at: .type(id))
            guard names.insert(name).inserted else { throw CRUSHError("type '\(name)' stands twice", at: .type(id)) }
        }
    }

    private static func check(_ classes: [DeviceClass]) throws(CRUSHError) -> Set<String> {
        guard classes.count <= CRUSHLimits.classes else {
            throw CRUSHError("\(classes.count) device classes: at most \(CRUSHLimits.classes)")
        }
        var names: Set<String> = []
        var last: Int32 = -1
        for each in classes {
            guard each.id > last else {
                throw CRUSHError("device class '\(each.name)': the number \(each.id) is below 0 or stands twice")
            }
            last = each.id
            try check(name: each.name, of: "device class \(each.id)")
            guard names.insert(each.name).inserted else {
                throw CRUSHError("device class '\(each.name)' stands twice")
            }
        }
        return names
    }

    private static func check(
        _ devices: [Device], classes: Set<String>, _ names: inout Set<String>
    ) throws(CRUSHError) {
        var last = OSDID(-1)
        for device in devices {
            let number = device.id.rawValue
            let part = CRUSHMap.Part.device(number)
            guard (0..<CRUSHLimits.devices).contains(Int(number)) else {
                throw CRUSHError("device \(number): numbers are from 0 to \(CRUSHLimits.devices - 1)", at: part)
            }
            guard device.id > last else { throw CRUSHError("device \(number) stands twice", at: part) }
            last = device.id
            try check(name: device.name, of: "device \(number)", at: part)
            guard names.insert(device.name).inserted else {
                throw CRUSHError("the name '\(device.name)' stands twice", at: part)
            }
            if let name = device.deviceClass, !classes.contains(name) {
                try check(name: name, of: "the class of device \(number)", at: part)
                throw CRUSHError("device \(number): there is no device class '\(name)'", at: part)
            }
        }
    }

    // MARK: Buckets

    /// Throws unless the buckets form a hierarchy over the devices. Both lists are in descending order of their numbers.
    func check(buckets: [Bucket], shadows: [Bucket]) throws(CRUSHError) {
        let all = buckets + shadows
        var names = deviceNames
        var known = devices
        for bucket in all {
            guard (-CRUSHLimits.buckets...(-1)).contains(Int(bucket.id.rawValue)) else {
                throw CRUSHError(
                    "bucket \(bucket.id): numbers are from -1 to -\(CRUSHLimits.buckets)", at: .bucket(bucket.id))
            }
            guard known.insert(bucket.id).inserted else {
                throw CRUSHError("bucket \(bucket.id) stands twice", at: .bucket(bucket.id))
            }
        }
        for bucket in buckets {
            try Self.check(name: bucket.name, of: "bucket \(bucket.id)", at: .bucket(bucket.id))
            guard names.insert(bucket.name).inserted else {
                throw CRUSHError("the name '\(bucket.name)' stands twice", at: .bucket(bucket.id))
            }
        }
        var items = 0
        for bucket in all {
            guard bucket.type != .osd, types[bucket.type] != nil else {
                throw CRUSHError(
                    "bucket '\(bucket.name)': type \(bucket.type) is not one of buckets", at: .bucket(bucket.id))
            }
            items += bucket.items.count
            guard items <= CRUSHLimits.items else {
                throw CRUSHError("more than \(CRUSHLimits.items) items", at: .bucket(bucket.id))
            }
            try check(itemsOf: bucket, known)
        }
        try Self.checkShadows(of: buckets, shadows)
        try Self.checkDepth(all)
    }

    private func check(itemsOf bucket: Bucket, _ known: Set<ItemID>) throws(CRUSHError) {
        var members: Set<ItemID> = []
        var sum: UInt64 = 0
        for (index, item) in bucket.items.enumerated() {
            func objection(_ text: String) -> CRUSHError {
                CRUSHError("bucket '\(bucket.name)': \(text)", at: .item(bucket.id, index))
            }
            guard known.contains(item.id) else { throw objection("item \(item.id) does not exist") }
            guard members.insert(item.id).inserted else { throw objection("item \(item.id) stands twice") }
            let limit = item.id.isBucket ? CRUSHLimits.bucketWeight : CRUSHLimits.deviceWeight
            guard item.weight <= limit else {
                throw objection("weight \(item.weight) of item \(item.id) is above \(limit)")
            }
            guard bucket.kind != .uniform || item.weight == bucket.items[0].weight else {
                throw objection(
                    "item \(item.id) of weight \(item.weight) beside one of \(bucket.items[0].weight): "
                        + "all items of a uniform bucket have the same weight")
            }
            sum += UInt64(item.weight.rawValue)
            guard sum <= CRUSHLimits.bucketWeight.rawValue else {
                throw objection("the weights add up to more than \(CRUSHLimits.bucketWeight)")
            }
        }
        guard bucket.items.count <= CRUSHLimits.bucketItems else {
            throw CRUSHError(
                "bucket '\(bucket.name)': \(bucket.items.count) items, at most \(CRUSHLimits.bucketItems)",
                at: .item(bucket.id, CRUSHLimits.bucketItems))
        }
        guard bucket.kind != .tree || bucket.items.count <= CRUSHLimits.treeItems else {
            throw CRUSHError(
                "bucket '\(bucket.name)': \(bucket.items.count) items, a tree has at most \(CRUSHLimits.treeItems)",
                at: .item(bucket.id, CRUSHLimits.treeItems))
        }
        if let table = bucket.table {
            let count = BucketTables.count(of: bucket.kind, items: bucket.items.count)
            guard table.count == count else {
                throw CRUSHError(
                    "bucket '\(bucket.name)': \(table.count) computed weights, \(count) expected",
                    at: .bucket(bucket.id))
            }
        }
    }

    /// Every shadow belongs to one bucket and one class. A bucket may remember numbers of shadows that are not made yet, but
    /// then no number twice and none of a bucket.
    private static func checkShadows(of buckets: [Bucket], _ shadows: [Bucket]) throws(CRUSHError) {
        var names: [ItemID: String] = [:]
        for shadow in shadows { names[shadow.id] = shadow.name }
        let real = Set(buckets.map(\.id))
        var seen: Set<ItemID> = []
        for bucket in buckets {
            let part = CRUSHMap.Part.bucket(bucket.id)
            for (name, id) in bucket.shadows.sorted(by: { $0.key < $1.key }) {
                try check(name: name, of: "a device class of bucket '\(bucket.name)'", at: part)
                guard (-CRUSHLimits.buckets...(-1)).contains(Int(id.rawValue)) else {
                    throw CRUSHError(
                        "bucket '\(bucket.name)' class \(name): numbers are from -1 to -\(CRUSHLimits.buckets)",
                        at: part)
                }
                guard seen.insert(id).inserted, !real.contains(id) else {
                    throw CRUSHError("bucket '\(bucket.name)' class \(name): the number \(id) stands twice", at: part)
                }
                guard shadows.isEmpty || names[id] == "\(bucket.name)\(Shadows.separator)\(name)" else {
                    throw CRUSHError("bucket '\(bucket.name)' class \(name): \(id) is not its shadow", at: part)
                }
            }
        }
        for shadow in shadows where !seen.contains(shadow.id) {
            throw CRUSHError("bucket \(shadow.id) '\(shadow.name)' is the shadow of none", at: .bucket(shadow.id))
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
                throw CRUSHError(
                    "buckets are nested more than \(CRUSHLimits.depth) deep", at: level.first.map { .bucket($0) })
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
        if let inside = buckets.first(where: { holders[$0.id, default: 0] > 0 }) {
            throw CRUSHError("buckets form a cycle, at or above '\(inside.name)'", at: .bucket(inside.id))
        }
        precondition(taken == buckets.count, "\(taken) of \(buckets.count) buckets taken away")
    }

    // MARK: Rules and choose arguments

    /// Throws unless the rules, in ascending order, are valid over these buckets.
    func check(rules: [Rule], buckets: [Bucket]) throws(CRUSHError) {
        var ids: Set<RuleID> = []
        var names: Set<String> = []
        let known = devices.union(buckets.lazy.map(\.id))
        for rule in rules {
            guard (0..<CRUSHLimits.rules).contains(Int(rule.id.rawValue)) else {
                throw CRUSHError("rule \(rule.id): numbers are from 0 to \(CRUSHLimits.rules - 1)", at: .rule(rule.id))
            }
            guard ids.insert(rule.id).inserted else {
                throw CRUSHError("rule \(rule.id) stands twice", at: .rule(rule.id))
            }
            try Self.check(name: rule.name, of: "rule \(rule.id)", at: .rule(rule.id))
            guard names.insert(rule.name).inserted else {
                throw CRUSHError("rule '\(rule.name)' stands twice", at: .rule(rule.id))
            }
            guard rule.steps.count <= CRUSHLimits.steps else {
                throw CRUSHError("rule '\(rule.name)': more than \(CRUSHLimits.steps) steps", at: .rule(rule.id))
            }
            for (index, step) in rule.steps.enumerated() {
                if let objection = objection(to: step, known) {
                    throw CRUSHError("rule '\(rule.name)' \(objection)", at: .step(rule.id, index))
                }
            }
            try checkTries(of: rule)
        }
    }

    /// Refuses a rule whose steps, when they find nothing, would try for minutes.
    private func checkTries(of rule: Rule) throws(CRUSHError) {
        var tries = Int(tunables.chooseTotalTries) + 1
        var leafTries = 0
        for (index, step) in rule.steps.enumerated() {
            let searches: Int
            switch step {
            case .setChooseTries(let value):
                if value > 0 { tries = Int(value) }
                continue
            case .setChooseLeafTries(let value):
                if value > 0 { leafTries = Int(value) }
                continue
            case .chooseLeafFirstN:
                searches = leafTries > 0 ? leafTries : tunables.chooseleafDescendOnce ? 1 : tries
            case .chooseLeafIndep:
                searches = max(leafTries, 1)
            default: continue
            }
            guard tries * searches <= CRUSHLimits.triesTogether else {
                throw CRUSHError(
                    "rule '\(rule.name)' tries \(tries) times to choose and \(searches) times in each to find a device: "
                        + "the product is at most \(CRUSHLimits.triesTogether)", at: .step(rule.id, index))
            }
        }
    }

    /// What is wrong with a step of a rule, or nil.
    private func objection(to step: Rule.Step, _ known: Set<ItemID>) -> String? {
        switch step {
        case .take(let item):
            return known.contains(item) ? nil : "takes item \(item), which does not exist"
        case .chooseFirstN(let count, let type), .chooseLeafFirstN(let count, let type),
            .chooseIndep(let count, let type), .chooseLeafIndep(let count, let type):
            guard types[type] != nil else { return "chooses type \(type), which does not exist" }
            let limit = CRUSHLimits.replicas
            return abs(Int(count)) <= limit ? nil : "chooses \(count): at most \(limit)"
        case .setChooseTries(let tries), .setChooseLeafTries(let tries), .setChooseLocalTries(let tries),
            .setChooseLocalFallbackTries(let tries):
            return tries <= CRUSHLimits.tries ? nil : "sets \(tries) tries: at most \(CRUSHLimits.tries)"
        case .setChooseLeafVaryR(let value):
            return value < 32 ? nil : "sets vary_r \(value): at most 31"
        case .setChooseLeafStable(let value):
            return value <= Int32.max ? nil : "sets stable \(value): at most \(Int32.max)"
        case .emit:
            return nil
        }
    }

    /// Throws unless the choose arguments fit these buckets.
    func check(_ arguments: [Int64: ChooseArguments], buckets: [Bucket]) throws(CRUSHError) {
        let last = arguments.keys.max().map { CRUSHMap.Part.argumentSet($0) }
        guard arguments.count <= CRUSHLimits.argumentSets else {
            throw CRUSHError("\(arguments.count) sets of choose_args: at most \(CRUSHLimits.argumentSets)", at: last)
        }
        let lowest = buckets.map(\.id.rawValue).min() ?? 0
        guard arguments.count * -Int(lowest) <= CRUSHLimits.argumentPlaces else {
            throw CRUSHError(
                "\(arguments.count) sets of choose_args for buckets with numbers down to \(lowest): the product is at most "
                    + "\(CRUSHLimits.argumentPlaces)", at: last)
        }
        let sizes = Dictionary(uniqueKeysWithValues: buckets.map { ($0.id, $0.items.count) })
        var values = 0
        for (set, each) in arguments.sorted(by: { $0.key < $1.key }) {
            guard set >= ChooseArguments.defaultSet else {
                throw CRUSHError("choose_args \(set): no such pool", at: .argumentSet(set))
            }
            for (id, replacement) in each.replacements.sorted(by: { $0.key > $1.key }) {
                func objection(_ text: String) -> CRUSHError {
                    CRUSHError("choose_args \(set): bucket \(id) \(text)", at: .replacement(set, id))
                }
                guard let size = sizes[id] else { throw objection("does not exist") }
                let sets = replacement.weightSets
                guard sets.count <= CRUSHLimits.replicas else {
                    throw objection("has \(sets.count) weight sets, at most \(CRUSHLimits.replicas)")
                }
                for weights in sets where weights.count != size {
                    throw objection("needs \(size) weights, not \(weights.count)")
                }
                guard replacement.ids.isEmpty || replacement.ids.count == size else {
                    throw objection("needs \(size) ids, not \(replacement.ids.count)")
                }
                values += (sets.count + 1) * size
                guard values <= CRUSHLimits.argumentValues else {
                    throw objection("is over the limit of \(CRUSHLimits.argumentValues) values in all")
                }
            }
        }
    }
}
