import Wire

extension CRUSHMap {
    /// Reads the compiled form, see `compiled`. Throws on anything that is not a valid map; the error names the byte where
    /// what is wrong begins.
    public init(compiled bytes: Bytes) throws(CRUSHError) {
        guard bytes.count <= CRUSHLimits.fileBytes else {
            throw CRUSHError("\(bytes.count) bytes: a map has at most \(CRUSHLimits.fileBytes)")
        }
        var reader = CompiledReader(bytes)
        do {
            let parts = try reader.map()
            try self.init(parts)
        } catch let error as WireError {
            throw CRUSHError("at byte \(reader.offset): \(error)")
        } catch let error as CRUSHError {
            guard let offset = error.part.flatMap({ reader.places[$0] }) else { throw error }
            throw CRUSHError("at byte \(offset): \(error)")
        } catch {
            preconditionFailure("reading a compiled map throws \(error)")
        }
    }

    /// Whether a file is a compiled map: no text begins with these bytes.
    public static func isCompiled(_ bytes: Bytes) -> Bool {
        var reader = ByteReader(bytes)
        return (try? reader.readU32()) == CompiledMap.magic
    }
}

/// The parts of a compiled map, and where in the file each begins.
private struct CompiledReader {
    private var r: ByteReader
    private let size: Int
    private(set) var places: [CRUSHMap.Part: Int] = [:]

    private var bucketSlots = 0
    private var buckets: [Bucket] = []
    private var rules: [Rule] = []

    init(_ bytes: Bytes) {
        r = ByteReader(bytes)
        size = bytes.count
    }

    /// The byte that is read next.
    var offset: Int { size - r.remaining }

    mutating func map() throws(WireError) -> CRUSHMap.Parts {
        guard try r.readU32() == CompiledMap.magic else { throw WireError("this is no compiled CRUSH map") }
        bucketSlots = try slots("bucket", atMost: CRUSHLimits.buckets)
        let ruleSlots = try slots("rule", atMost: CRUSHLimits.rules)
        _ = try slots("device", atMost: CRUSHLimits.devices)
        var items = 0
        for slot in 0..<bucketSlots {
            guard let bucket = try bucket(slot) else { continue }
            items += bucket.items.count
            guard items <= CRUSHLimits.items else { throw WireError("more than \(CRUSHLimits.items) items") }
            buckets.append(bucket)
        }
        for slot in 0..<ruleSlots { if let rule = try rule(slot) { rules.append(rule) } }
        let types = try types()
        let devices = try names()
        var parts = CRUSHMap.Parts(
            tunables: try tunables(), types: types, devices: devices, buckets: buckets, rules: rules)
        parts.shadowBuckets = []
        if r.remaining > 0 { try classes(&parts) }
        if r.remaining > 0 { parts.chooseArguments = try arguments() }
        try r.expectEnd()
        return parts
    }

    private mutating func slots(_ thing: String, atMost limit: Int) throws(WireError) -> Int {
        let count = try r.readU32()
        guard count <= limit else { throw WireError("\(count) \(thing) slots: at most \(limit)") }
        return Int(count)
    }

    // MARK: Buckets

    private mutating func bucket(_ slot: Int) throws(WireError) -> Bucket? {
        let begin = offset
        let number = try r.readU32()
        if number == 0 { return nil }
        guard let kind = UInt8(exactly: number).flatMap({ Bucket.Kind(rawValue: $0) }) else {
            throw WireError("bucket \(-1 - slot): unknown kind \(number)")
        }
        let id = ItemID(try r.readI32())
        guard Int(id.rawValue) == -1 - slot else { throw WireError("bucket \(id) stands in slot \(slot)") }
        places[.bucket(id)] = begin
        let type = TypeID(try r.readU16())
        guard try r.readU8() == kind.rawValue else {
            throw WireError("bucket \(id): its kind stands twice, differently")
        }
        let hash = try r.readU8()
        guard hash == 0 else { throw WireError("bucket \(id): hash \(hash), but only 0 (rjenkins1) is known") }
        let weight = try r.readU32()
        let first = offset + 4
        let ids = try r.readArray(atMost: CRUSHLimits.items) { r throws(WireError) in ItemID(try r.readI32()) }
        for index in ids.indices { places[.item(id, index)] = first + 4 * index }
        var bucket = Bucket(id: id, name: "", type: type, kind: kind)
        try weights(of: &bucket, ids)
        guard bucket.items.lazy.map({ UInt64($0.weight.rawValue) }).reduce(0, +) == weight else {
            throw WireError("bucket \(id): its weight \(CRUSHWeight(weight)) is not the sum of its items'")
        }
        return bucket
    }

    private mutating func weights(of bucket: inout Bucket, _ ids: [ItemID]) throws(WireError) {
        func add(_ id: ItemID, _ weight: UInt32) {
            bucket.items.append(Bucket.Item(id: id, weight: CRUSHWeight(weight)))
        }
        switch bucket.kind {
        case .uniform:
            let weight = try r.readU32()
            for id in ids { add(id, weight) }
        case .list:
            var sum: UInt32 = 0
            for id in ids {
                let weight = try r.readU32()
                sum &+= weight
                guard try r.readU32() == sum else { throw WireError("list bucket \(bucket.id): the sums are wrong") }
                add(id, weight)
            }
        case .tree:
            let count = Int(try r.readU8())
            guard count == BucketTables.nodeCount(ids.count) else {
                throw WireError("tree bucket \(bucket.id): \(count) nodes over \(ids.count) items")
            }
            var nodes: [UInt32] = []
            for _ in 0..<count { nodes.append(try r.readU32()) }
            for (index, id) in ids.enumerated() { add(id, nodes[2 * index + 1]) }
            bucket.table = nodes
        case .straw:
            var straws: [UInt32] = []
            for id in ids {
                add(id, try r.readU32())
                straws.append(try r.readU32())
            }
            bucket.table = straws
        case .straw2:
            for id in ids { add(id, try r.readU32()) }
        }
    }

    // MARK: Rules

    private mutating func rule(_ slot: Int) throws(WireError) -> Rule? {
        let begin = offset
        guard try r.readU32() != 0 else { return nil }
        let id = RuleID(Int32(slot))
        places[.rule(id)] = begin
        let count = Int(try r.readU32())
        guard count <= CRUSHLimits.steps else { throw WireError("rule \(id): more than \(CRUSHLimits.steps) steps") }
        let set = try r.readU8()
        guard set == UInt8(slot) else {
            throw WireError("rule \(id): belongs to rule set \(set); compile its text again to give it its own number")
        }
        let number = try r.readU8()
        guard let kind = Rule.Kind(rawValue: number) else { throw WireError("rule \(id): unknown kind \(number)") }
        var rule = Rule(id: id, name: "", kind: kind, minSize: try r.readU8(), maxSize: try r.readU8(), steps: [])
        for index in 0..<count {
            places[.step(id, index)] = offset
            rule.steps.append(try step(of: id))
        }
        return rule
    }

    private mutating func step(of rule: RuleID) throws(WireError) -> Rule.Step {
        let number = try r.readU32()
        let first = try r.readI32()
        let second = try r.readI32()
        guard let operation = CompiledMap.Operation(rawValue: number) else {
            throw WireError("rule \(rule): unknown step \(number)")
        }
        func type() throws(WireError) -> TypeID {
            guard let type = UInt16(exactly: second) else {
                throw WireError("rule \(rule): \(second) is not a type")
            }
            return TypeID(type)
        }
        func value() throws(WireError) -> UInt32 {
            guard let value = UInt32(exactly: first) else { throw WireError("rule \(rule): sets \(first)") }
            return value
        }
        switch operation {
        case .take: return .take(ItemID(first))
        case .chooseFirstN: return .chooseFirstN(count: first, type: try type())
        case .chooseIndep: return .chooseIndep(count: first, type: try type())
        case .chooseLeafFirstN: return .chooseLeafFirstN(count: first, type: try type())
        case .chooseLeafIndep: return .chooseLeafIndep(count: first, type: try type())
        case .setChooseTries: return .setChooseTries(try value())
        case .setChooseLeafTries: return .setChooseLeafTries(try value())
        case .setChooseLocalTries: return .setChooseLocalTries(try value())
        case .setChooseLocalFallbackTries: return .setChooseLocalFallbackTries(try value())
        case .setChooseLeafVaryR: return .setChooseLeafVaryR(try value())
        case .setChooseLeafStable: return .setChooseLeafStable(try value())
        case .emit: return .emit
        }
    }

    // MARK: Names

    /// A list of numbers with their names, without repetition.
    private mutating func table(
        of thing: String, atMost limit: Int
    ) throws(WireError) -> [(id: Int32, name: String, place: Int)] {
        let count = Int(try r.readU32())
        guard count <= limit else { throw WireError("\(count) names of \(thing): at most \(limit)") }
        var result: [(Int32, String, Int)] = []
        var seen: Set<Int32> = []
        for _ in 0..<count {
            let place = offset
            let id = try r.readI32()
            let name = try r.readString(atMost: 2 * CRUSHLimits.name + 1)
            guard seen.insert(id).inserted else { throw WireError("\(thing) \(id) has two names") }
            result.append((id, name, place))
        }
        return result
    }

    private mutating func types() throws(WireError) -> [TypeID: String] {
        var types: [TypeID: String] = [:]
        for (id, name, place) in try table(of: "type", atMost: CRUSHLimits.types) {
            guard let number = UInt16(exactly: id) else { throw WireError("type \(id): the number is out of range") }
            types[TypeID(number)] = name
            places[.type(TypeID(number))] = place
        }
        // Tools take it for granted.
        if types[.osd] == nil { types[.osd] = "osd" }
        return types
    }

    /// Gives buckets and rules their names; returns the devices.
    private mutating func names() throws(WireError) -> [Device] {
        var devices: [Device] = []
        let indices = Dictionary(uniqueKeysWithValues: buckets.enumerated().map { ($1.id, $0) })
        for (id, name, place) in try table(of: "item", atMost: CRUSHLimits.devices + CRUSHLimits.buckets) {
            if id >= 0 {
                devices.append(Device(id: OSDID(id), name: name))
                places[.device(id)] = place
            } else if let index = indices[ItemID(id)] {
                buckets[index].name = name
            } else {
                throw WireError("'\(name)' is the name of bucket \(id), which does not exist")
            }
        }
        if let bucket = buckets.first(where: { $0.name.isEmpty }) {
            throw WireError("bucket \(bucket.id) has no name")
        }
        for (id, name, _) in try table(of: "rule", atMost: CRUSHLimits.rules) {
            guard let index = rules.firstIndex(where: { $0.id.rawValue == id }) else {
                throw WireError("'\(name)' is the name of rule \(id), which does not exist")
            }
            rules[index].name = name
        }
        if let rule = rules.first(where: { $0.name.isEmpty }) { throw WireError("rule \(rule.id) has no name") }
        return devices
    }

    // MARK: Tunables, classes, arguments

    /// What an old file does not have is as it was then.
    private mutating func tunables() throws(WireError) -> Tunables {
        var tunables = Tunables.legacy
        guard r.remaining > 0 else { return tunables }
        tunables.chooseLocalTries = try r.readU32()
        tunables.chooseLocalFallbackTries = try r.readU32()
        tunables.chooseTotalTries = try r.readU32()
        if r.remaining > 0 { tunables.chooseleafDescendOnce = try r.readU32() != 0 }
        if r.remaining > 0 { tunables.chooseleafVaryR = try r.readU8() }
        if r.remaining > 0 { tunables.strawCalculationVersion = try r.readU8() }
        if r.remaining > 0 { tunables.allowedBucketKinds = try r.readU32() }
        if r.remaining > 0 { tunables.chooseleafStable = try r.readU8() != 0 }
        return tunables
    }

    /// Classes of devices; sorts the buckets into those of administrators and their shadows.
    private mutating func classes(_ parts: inout CRUSHMap.Parts) throws(WireError) {
        let ofItem = try r.readArray(atMost: CRUSHLimits.devices + CRUSHLimits.buckets) { r throws(WireError) in
            (try r.readI32(), try r.readI32())
        }
        var names: [Int32: String] = [:]
        for (id, name, _) in try table(of: "device class", atMost: CRUSHLimits.classes) {
            names[id] = name
            parts.classes.append(DeviceClass(id: id, name: name))
        }
        func name(_ id: Int32) throws(WireError) -> String {
            guard let name = names[id] else { throw WireError("device class \(id) does not exist") }
            return name
        }
        let devices = Dictionary(uniqueKeysWithValues: parts.devices.enumerated().map { ($1.id.rawValue, $0) })
        for (item, number) in ofItem where item >= 0 {
            guard let index = devices[item] else { throw WireError("device \(item) has a class but no name") }
            parts.devices[index].deviceClass = try name(number)
        }
        let indices = Dictionary(uniqueKeysWithValues: buckets.enumerated().map { ($1.id, $0) })
        var shadows: Set<ItemID> = []
        let count = Int(try r.readU32())
        guard count <= CRUSHLimits.buckets else { throw WireError("shadows of \(count) buckets") }
        for _ in 0..<count {
            let id = ItemID(try r.readI32())
            guard let index = indices[id] else { throw WireError("bucket \(id) has shadows but does not exist") }
            let entries = try r.readArray(atMost: CRUSHLimits.classes) { r throws(WireError) in
                (try r.readI32(), ItemID(try r.readI32()))
            }
            for (number, shadow) in entries {
                let name = try name(number)
                guard indices[shadow] != nil, shadows.insert(shadow).inserted else {
                    throw WireError("bucket \(id) class \(name): no shadow, or not its own: \(shadow)")
                }
                buckets[index].shadows[name] = shadow
            }
        }
        parts.buckets = buckets.filter { !shadows.contains($0.id) }
        parts.shadowBuckets = buckets.filter { shadows.contains($0.id) }
        if let bucket = parts.shadowBuckets?.first(where: { !$0.shadows.isEmpty }) {
            throw WireError("bucket \(bucket.id) is a shadow and has shadows")
        }
    }

    private mutating func arguments() throws(WireError) -> [Int64: ChooseArguments] {
        var sets: [Int64: ChooseArguments] = [:]
        let count = Int(try r.readU32())
        guard count <= CRUSHLimits.argumentSets else {
            throw WireError("\(count) sets of choose_args: at most \(CRUSHLimits.argumentSets)")
        }
        for _ in 0..<count {
            let begin = offset
            let set = try r.readI64()
            places[.argumentSet(set)] = begin
            var arguments = ChooseArguments()
            let replaced = Int(try r.readU32())
            guard replaced <= bucketSlots else { throw WireError("choose_args \(set): \(replaced) buckets") }
            for _ in 0..<replaced {
                let place = offset
                let slot = try r.readU32()
                guard slot < bucketSlots else { throw WireError("choose_args \(set): bucket slot \(slot)") }
                let id = ItemID(-1 - Int32(slot))
                places[.replacement(set, id)] = place
                let sets = try r.readArray(atMost: CRUSHLimits.replicas) { r throws(WireError) in
                    try r.readArray(atMost: CRUSHLimits.items) { r throws(WireError) in CRUSHWeight(try r.readU32()) }
                }
                let ids = try r.readArray(atMost: CRUSHLimits.items) { r throws(WireError) in ItemID(try r.readI32()) }
                let replacement = ChooseArguments.Replacement(weightSets: sets, ids: ids)
                guard arguments.replacements.updateValue(replacement, forKey: id) == nil else {
                    throw WireError("choose_args \(set): bucket \(id) stands twice")
                }
            }
            guard sets.updateValue(arguments, forKey: set) == nil else {
                throw WireError("choose_args \(set) stands twice")
            }
        }
        return sets
    }
}
