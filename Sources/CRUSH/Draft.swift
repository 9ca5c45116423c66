import Wire

/// A map in the middle of a change: not checked yet.
struct Draft {
    let types: [TypeID: String]
    var tunables: Tunables
    var devices: [Device]
    var buckets: [ItemID: Bucket]
    var rules: [Rule]
    var arguments: [Int64: ChooseArguments]
    private let classes: [DeviceClass]
    /// Numbers that are taken: those of shadows stay theirs.
    private var used: Set<ItemID>

    init(_ map: CRUSHMap) {
        types = map.types
        tunables = map.tunables
        devices = map.devices
        buckets = Dictionary(uniqueKeysWithValues: map.buckets.map { ($0.id, $0) })
        rules = map.rules
        arguments = map.chooseArguments
        classes = map.classes
        used = Set(map.buckets.map(\.id) + map.shadowBuckets.map(\.id))
    }

    /// Makes an empty bucket that nothing holds yet, with the free number nearest to zero, as other tools number buckets.
    mutating func makeBucket(named name: String, type: TypeID) -> ItemID {
        var id = ItemID(-1)
        while !used.insert(id).inserted { id = ItemID(id.rawValue - 1) }
        // The best kind that the tunables allow.
        let kinds: [Bucket.Kind] = [.straw2, .straw, .tree, .list]
        let kind = kinds.first { tunables.allowedBucketKinds & 1 << UInt32($0.rawValue) != 0 } ?? .straw2
        buckets[id] = Bucket(id: id, name: name, type: type, kind: kind)
        return id
    }

    func bucket(named name: String) -> Bucket? { buckets.values.first { $0.name == name } }

    /// The buckets that hold an item.
    func holders(of item: ItemID) -> [ItemID] {
        buckets.values.filter { $0.items.contains { $0.id == item } }.map(\.id).sorted()
    }

    /// Whether `item` is `top` or stands somewhere below it.
    func stands(_ item: ItemID, below top: ItemID) -> Bool {
        var seen: Set<ItemID> = [top]
        var next = [top]
        while let each = next.popLast() {
            if each == item { return true }
            for child in buckets[each]?.items ?? [] where seen.insert(child.id).inserted { next.append(child.id) }
        }
        return false
    }

    /// Sets the weight of an item in a bucket, adding it when it is not there; nil takes it out. Above, each bucket's weight
    /// becomes the sum of its items, and what choose arguments say of them likewise.
    mutating func setWeight(of item: ItemID, in holder: ItemID, to weight: CRUSHWeight?) throws(CRUSHError) {
        try change(item, in: holder, to: weight)
        var parents: [ItemID: [ItemID]] = [:]
        for bucket in buckets.values {
            for child in bucket.items where child.id.isBucket { parents[child.id, default: []].append(bucket.id) }
        }
        // A bucket is done before those that hold it: one that stands in several places is counted once.
        var order: [ItemID] = []
        var seen: Set<ItemID> = []
        Self.sortUpwards(from: holder, parents, &seen, &order)
        for bucket in order.reversed() {
            let sum = buckets[bucket]?.weight ?? .zero
            for parent in (parents[bucket] ?? []).sorted() {
                try change(bucket, in: parent, to: sum)
                correctReplacement(of: bucket, in: parent)
            }
        }
    }

    /// Puts what is above a bucket, and then itself, into the order. Recursion is bounded by `CRUSHLimits.depth`.
    private static func sortUpwards(
        from bucket: ItemID, _ parents: [ItemID: [ItemID]], _ seen: inout Set<ItemID>, _ order: inout [ItemID]
    ) {
        guard seen.insert(bucket).inserted else { return }
        for parent in parents[bucket] ?? [] { sortUpwards(from: parent, parents, &seen, &order) }
        order.append(bucket)
    }

    private mutating func change(_ item: ItemID, in holder: ItemID, to weight: CRUSHWeight?) throws(CRUSHError) {
        guard var bucket = buckets[holder] else { preconditionFailure("bucket \(holder) is missing") }
        let index = bucket.items.firstIndex { $0.id == item }
        switch (index, weight) {
        case (let index?, let weight?): bucket.items[index].weight = weight
        case (let index?, nil): bucket.items.remove(at: index)
        case (nil, let weight?): bucket.items.append(Bucket.Item(id: item, weight: weight))
        case (nil, nil): preconditionFailure("item \(item) is not in bucket \(holder)")
        }
        bucket.table = nil
        guard bucket.weight <= CRUSHLimits.bucketWeight else {
            throw CRUSHError("bucket '\(bucket.name)': the weights add up to more than \(CRUSHLimits.bucketWeight)")
        }
        buckets[holder] = bucket
        replace(item, at: index, in: holder, by: weight)
    }

    /// Follows a change of an item in the choose arguments of its bucket.
    private mutating func replace(_ item: ItemID, at index: Int?, in holder: ItemID, by weight: CRUSHWeight?) {
        for set in arguments.keys {
            guard var replacement = arguments[set]?.replacements[holder] else { continue }
            for position in replacement.weightSets.indices {
                switch (index, weight) {
                case (let index?, let weight?): replacement.weightSets[position][index] = weight
                case (let index?, nil): replacement.weightSets[position].remove(at: index)
                case (nil, let weight?): replacement.weightSets[position].append(weight)
                case (nil, nil): break
                }
            }
            if !replacement.ids.isEmpty {
                if index == nil { replacement.ids.append(item) }
                if let index, weight == nil { replacement.ids.remove(at: index) }
            }
            arguments[set]?.replacements[holder] = replacement
        }
    }

    /// Makes the weight of a bucket in the choose arguments of its parent the sum of what its own say.
    private mutating func correctReplacement(of bucket: ItemID, in parent: ItemID) {
        guard let index = buckets[parent]?.items.firstIndex(where: { $0.id == bucket }) else { return }
        for set in arguments.keys {
            guard let own = arguments[set]?.replacements[bucket], !own.weightSets.isEmpty,
                let positions = arguments[set]?.replacements[parent]?.weightSets.indices
            else { continue }
            for position in positions {
                let sum = ChooseArguments.sum(own.weightSets[min(position, own.weightSets.count - 1)])
                arguments[set]?.replacements[parent]?.weightSets[position][index] = sum
            }
        }
    }

    /// The changed map, checked: its shadow trees follow, classes that nothing uses are gone.
    func finish() throws(CRUSHError) -> CRUSHMap {
        var parts = CRUSHMap.Parts(
            tunables: tunables, types: types, devices: devices, buckets: Array(buckets.values), rules: rules,
            chooseArguments: arguments, classes: classesInUse())
        // Checked without shadows first: making them relies on a hierarchy.
        let validation = try Validation(
            tunables: tunables, types: types, devices: devices.sorted { $0.id < $1.id }, classes: parts.classes)
        try validation.check(buckets: parts.buckets.sorted { $0.id > $1.id }, shadows: [])
        let made = try Shadows.make(devices: devices, buckets: parts.buckets, classes: parts.classes)
        parts.buckets = made.buckets
        parts.shadowBuckets = made.shadows
        for set in arguments.keys {
            guard var each = arguments[set] else { continue }
            each.replacements = each.replacements.filter { buckets[$0.key]?.kind == .straw2 }
            each.addShadows(buckets: made.buckets, shadows: made.shadows)
            parts.chooseArguments[set] = each
        }
        return try CRUSHMap(parts)
    }

    /// The classes that a device has or a rule takes.
    private func classesInUse() -> [DeviceClass] {
        var taken: Set<ItemID> = []
        for rule in rules {
            for case .take(let item) in rule.steps { taken.insert(item) }
        }
        var wanted = Set(devices.compactMap(\.deviceClass))
        for bucket in buckets.values {
            for (name, shadow) in bucket.shadows where taken.contains(shadow) { wanted.insert(name) }
        }
        var result = classes.filter { wanted.contains($0.name) }
        wanted.subtract(result.map(\.name))
        // As other tools do: behind the last, even if that is no longer in use.
        var next = (classes.last?.id ?? -1) + 1
        for name in wanted.sorted() {
            result.append(DeviceClass(id: next, name: name))
            next += 1
        }
        return result.sorted { $0.id < $1.id }
    }
}

extension ChooseArguments {
    static func sum(_ weights: [CRUSHWeight]) -> CRUSHWeight {
        CRUSHWeight(UInt32(clamping: weights.reduce(UInt64(0)) { $0 + UInt64($1.rawValue) }))
    }

    /// Gives the shadow of every bucket with weight sets its own: of devices those of the bucket, of buckets the sums.
    mutating func addShadows(buckets: [Bucket], shadows: [Bucket]) {
        let byNumber = Dictionary(uniqueKeysWithValues: shadows.map { ($0.id, $0) })
        var originals: [ItemID: Bucket] = [:]
        for bucket in buckets { for shadow in bucket.shadows.values { originals[shadow] = bucket } }
        for shadow in shadows { addShadow(shadow, byNumber, originals) }
    }

    /// Recursion is bounded by `CRUSHLimits.depth`.
    private mutating func addShadow(_ shadow: Bucket, _ shadows: [ItemID: Bucket], _ originals: [ItemID: Bucket]) {
        guard replacements[shadow.id] == nil, shadow.kind == .straw2, let original = originals[shadow.id],
            let own = replacements[original.id], !own.weightSets.isEmpty
        else { return }
        for item in shadow.items { if let child = shadows[item.id] { addShadow(child, shadows, originals) } }
        let sets = own.weightSets.indices.map { position in
            shadow.items.map { item in
                if let child = replacements[item.id]?.weightSets, !child.isEmpty {
                    return Self.sum(child[min(position, child.count - 1)])
                }
                guard let index = original.items.firstIndex(where: { $0.id == item.id }) else { return item.weight }
                return own.weightSets[position][index]
            }
        }
        replacements[shadow.id] = Replacement(weightSets: sets)
    }
}
