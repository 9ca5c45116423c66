import Wire

/// The compiled form of a map: the binary file that `crushtool -c -o` writes and `crushtool -i` reads, and `ceph osd
/// getcrushmap` gives. Little-endian throughout; a name has a u32 length.
///
///     header      u32 0x00010000, i32 bucket slots, u32 rule slots, i32 device slots
///     buckets     for each slot from -1 downwards: u32 kind, 0 for an empty one; else i32 number, u16 type, u8 kind, u8 hash,
///                 u32 weight, u32 items, each i32, and by kind
///                     uniform   u32 weight of each item
///                     list      for each item: u32 weight, u32 sum of the weights up to it
///                     tree      u8 nodes, u32 weight of each
///                     straw     for each item: u32 weight, u32 length of its straw
///                     straw2    u32 weight of each item
///     rules       for each slot from 0: u32 1, or 0 for an empty one; u32 steps, u8 number, u8 kind, u8 min size, u8 max
///                 size, each step: u32 operation, i32, i32
///     types       u32 count, each: i32 number, name
///     names       u32 count, each: i32 item, name; shadows included
///     rule names  u32 count, each: i32 rule, name
///     tunables    u32 local tries, u32 fallback tries, u32 total tries, u32 descend once, u8 vary r, u8 straw version,
///                 u32 allowed kinds, u8 stable
///     classes     u32 count, each: i32 item, i32 class; u32 count, each: i32 class, name; u32 count, each: i32 bucket,
///                 u32 count, each: i32 class, i32 shadow
///     arguments   u32 sets, each: i64 pool, u32 buckets, each: u32 slot, u32 weight sets, each: u32 count of u32, u32 count
///                 of i32
///
/// Older files end before the arguments, the classes, or in the middle of the tunables; what is missing has the value that it
/// had then.
enum CompiledMap {
    static let magic: UInt32 = 0x0001_0000

    /// The numbers of the operations of rule steps.
    enum Operation: UInt32 {
        case take = 1
        case chooseFirstN = 2
        case chooseIndep = 3
        case emit = 4
        case chooseLeafFirstN = 6
        case chooseLeafIndep = 7
        case setChooseTries = 8
        case setChooseLeafTries = 9
        case setChooseLocalTries = 10
        case setChooseLocalFallbackTries = 11
        case setChooseLeafVaryR = 12
        case setChooseLeafStable = 13
    }
}

// MARK: Writing

extension CRUSHMap {
    /// The compiled form, byte for byte what `crushtool -c -o` makes of the text. (Where crushtool leaves memory as it finds
    /// it, in nodes of trees that are never used, there is 0.)
    public var compiled: Bytes {
        Bytes.encoding(capacity: 1 << 12) { w in
            let all = (buckets + shadowBuckets).sorted { $0.id > $1.id }
            let slots = bucketSlots
            w.writeU32(CompiledMap.magic)
            w.writeI32(Int32(slots))
            w.writeU32(rules.last.map { UInt32($0.id.rawValue) + 1 } ?? 0)
            w.writeI32(Int32(deviceSlots))
            var next = all[...]
            for slot in 0..<slots {
                if let bucket = next.first, Int(bucket.id.rawValue) == -1 - slot {
                    bucket.compile(into: &w)
                    next.removeFirst()
                } else {
                    w.writeU32(0)
                }
            }
            compileRules(into: &w)
            compileNames(all, into: &w)
            tunables.compile(into: &w)
            compileClasses(into: &w)
            compileArguments(into: &w)
        }
    }

    /// How many numbers of buckets the compiled form has room for: they double from 8 in the tool that made the format.
    var bucketSlots: Int {
        let last = min(buckets.last?.id.rawValue ?? 0, shadowBuckets.last?.id.rawValue ?? 0)
        var slots = last == 0 ? 0 : 8
        while slots < -Int(last) { slots *= 2 }
        return slots
    }

    /// How many numbers of devices the compiled form has room for.
    var deviceSlots: Int { (devices.last?.id.rawValue).map { Int($0) + 1 } ?? 0 }

    private func compileRules(into w: inout ByteWriter) {
        var next = rules[...]
        for slot in 0..<(rules.last.map { $0.id.rawValue + 1 } ?? 0) {
            if let rule = next.first, rule.id.rawValue == slot {
                rule.compile(into: &w)
                next.removeFirst()
            } else {
                w.writeU32(0)
            }
        }
    }

    private func compileNames(_ buckets: [Bucket], into w: inout ByteWriter) {
        w.writeArray(types.sorted { $0.key < $1.key }) { w, type in
            w.writeI32(Int32(type.key.rawValue))
            w.writeString(type.value)
        }
        let names = buckets.reversed().map { ($0.id.rawValue, $0.name) } + devices.map { ($0.id.rawValue, $0.name) }
        w.writeArray(names) { w, name in
            w.writeI32(name.0)
            w.writeString(name.1)
        }
        w.writeArray(rules) { w, rule in
            w.writeI32(rule.id.rawValue)
            w.writeString(rule.name)
        }
    }

    private func compileClasses(into w: inout ByteWriter) {
        let numbers = Dictionary(uniqueKeysWithValues: classes.map { ($0.name, $0.id) })
        var ofItem: [(Int32, Int32)] = []
        for bucket in buckets {
            for (name, shadow) in bucket.shadows { ofItem.append((shadow.rawValue, numbers[name] ?? 0)) }
        }
        for device in devices {
            if let number = device.deviceClass.flatMap({ numbers[$0] }) { ofItem.append((device.id.rawValue, number)) }
        }
        w.writeArray(ofItem.sorted { $0 < $1 }) { w, entry in
            w.writeI32(entry.0)
            w.writeI32(entry.1)
        }
        w.writeArray(classes) { w, each in
            w.writeI32(each.id)
            w.writeString(each.name)
        }
        w.writeArray(buckets.reversed().filter { !$0.shadows.isEmpty }) { w, bucket in
            w.writeI32(bucket.id.rawValue)
            let shadows = bucket.shadows.map { (numbers[$0.key] ?? 0, $0.value.rawValue) }
            w.writeArray(shadows.sorted { $0 < $1 }) { w, entry in
                w.writeI32(entry.0)
                w.writeI32(entry.1)
            }
        }
    }

    private func compileArguments(into w: inout ByteWriter) {
        // In the order of unsigned numbers, the set for all pools last.
        let sets = chooseArguments.sorted { UInt64(bitPattern: $0.key) < UInt64(bitPattern: $1.key) }
        w.writeArray(sets) { w, set in
            w.writeI64(set.key)
            let replacements = set.value.replacements.filter { !$0.value.weightSets.isEmpty || !$0.value.ids.isEmpty }
            w.writeArray(replacements.sorted { $0.key > $1.key }) { w, entry in
                w.writeU32(UInt32(-1 - entry.key.rawValue))
                w.writeArray(entry.value.weightSets) { w, weights in
                    w.writeArray(weights) { $0.writeU32($1.rawValue) }
                }
                w.writeArray(entry.value.ids) { $0.writeI32($1.rawValue) }
            }
        }
    }
}

extension Bucket {
    fileprivate func compile(into w: inout ByteWriter) {
        w.writeU32(UInt32(kind.rawValue))
        w.writeI32(id.rawValue)
        w.writeU16(type.rawValue)
        w.writeU8(kind.rawValue)
        w.writeU8(0)
        w.writeU32(weight.rawValue)
        w.writeArray(items) { $0.writeI32($1.id.rawValue) }
        switch kind {
        case .uniform:
            w.writeU32(items.first?.weight.rawValue ?? 0)
        case .list:
            var sum: UInt32 = 0
            for item in items {
                sum += item.weight.rawValue
                w.writeU32(item.weight.rawValue)
                w.writeU32(sum)
            }
        case .tree:
            let nodes = table ?? []
            w.writeU8(UInt8(nodes.count))
            for node in nodes { w.writeU32(node) }
        case .straw:
            for (item, straw) in zip(items, table ?? []) {
                w.writeU32(item.weight.rawValue)
                w.writeU32(straw)
            }
        case .straw2:
            for item in items { w.writeU32(item.weight.rawValue) }
        }
    }
}

extension Rule {
    fileprivate func compile(into w: inout ByteWriter) {
        w.writeU32(1)
        w.writeU32(UInt32(steps.count))
        w.writeU8(UInt8(truncatingIfNeeded: id.rawValue))
        w.writeU8(kind.rawValue)
        w.writeU8(minSize)
        w.writeU8(maxSize)
        for step in steps {
            let (operation, first, second) = step.compiled
            w.writeU32(operation.rawValue)
            w.writeI32(first)
            w.writeI32(second)
        }
    }
}

extension Rule.Step {
    fileprivate var compiled: (CompiledMap.Operation, Int32, Int32) {
        switch self {
        case .take(let item): (.take, item.rawValue, 0)
        case .chooseFirstN(let count, let type): (.chooseFirstN, count, Int32(type.rawValue))
        case .chooseLeafFirstN(let count, let type): (.chooseLeafFirstN, count, Int32(type.rawValue))
        case .chooseIndep(let count, let type): (.chooseIndep, count, Int32(type.rawValue))
        case .chooseLeafIndep(let count, let type): (.chooseLeafIndep, count, Int32(type.rawValue))
        case .setChooseTries(let value): (.setChooseTries, Int32(bitPattern: value), 0)
        case .setChooseLeafTries(let value): (.setChooseLeafTries, Int32(bitPattern: value), 0)
        case .setChooseLocalTries(let value): (.setChooseLocalTries, Int32(bitPattern: value), 0)
        case .setChooseLocalFallbackTries(let value): (.setChooseLocalFallbackTries, Int32(bitPattern: value), 0)
        case .setChooseLeafVaryR(let value): (.setChooseLeafVaryR, Int32(bitPattern: value), 0)
        case .setChooseLeafStable(let value): (.setChooseLeafStable, Int32(bitPattern: value), 0)
        case .emit: (.emit, 0, 0)
        }
    }
}

extension Tunables {
    fileprivate func compile(into w: inout ByteWriter) {
        w.writeU32(chooseLocalTries)
        w.writeU32(chooseLocalFallbackTries)
        w.writeU32(chooseTotalTries)
        w.writeU32(chooseleafDescendOnce ? 1 : 0)
        w.writeU8(chooseleafVaryR)
        w.writeU8(strawCalculationVersion)
        w.writeU32(allowedBucketKinds)
        w.writeU8(chooseleafStable ? 1 : 0)
    }
}
