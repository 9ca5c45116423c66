import Wire

/// The hierarchy of devices and the rules by which placement groups are dealt to them: a value that gives the same mappings
/// everywhere.
///
/// Always valid: every way to make or change one checks that all references lead somewhere, that buckets form no cycle, that
/// names and numbers are unique and that numbers and weights are within `CRUSHLimits`. A bucket may stand in several others.
public struct CRUSHMap: Sendable {
    /// How hard mappings try.
    public let tunables: Tunables
    /// The names of the levels. Type 0 is always there.
    public let types: [TypeID: String]
    /// The devices by ascending number.
    public let devices: [Device]
    /// The buckets that administrators see, from -1 downwards; numbers may be missing.
    public let buckets: [Bucket]
    /// The rules by ascending number; numbers may be missing.
    public let rules: [Rule]
    /// The replacements of weights by number of the pool, or `ChooseArguments.defaultSet`.
    public let chooseArguments: [Int64: ChooseArguments]
    /// The classes of devices by ascending number.
    public let classes: [DeviceClass]
    /// The shadows of the buckets: for each class the part of the hierarchy that holds its devices. In descending order of
    /// their numbers.
    public let shadowBuckets: [Bucket]
    /// The same hierarchy laid out for mapping.
    let layout: Layout

    /// A map of these parts, in any order. Throws `CRUSHError` when they do not make a valid one.
    ///
    /// Shadow trees are made for every class that a device has or that `Bucket.shadows` names, with the numbers that the
    /// buckets remember.
    public init(
        tunables: Tunables, types: [TypeID: String], devices: [Device], buckets: [Bucket], rules: [Rule],
        chooseArguments: [Int64: ChooseArguments] = [:]
    ) throws(CRUSHError) {
        let devices = devices.sorted { $0.id < $1.id }
        var names: [String] = []
        let used = devices.compactMap(\.deviceClass) + buckets.flatMap { $0.shadows.keys.sorted() }
        for name in used where !names.contains(name) { names.append(name) }
        try self.init(
            Parts(
                tunables: tunables, types: types, devices: devices, buckets: buckets, rules: rules,
                chooseArguments: chooseArguments,
                classes: names.enumerated().map { DeviceClass(id: Int32($0.offset), name: $0.element) }))
    }

    /// What a map is made of.
    package struct Parts {
        var tunables: Tunables
        var types: [TypeID: String]
        var devices: [Device]
        var buckets: [Bucket]
        var rules: [Rule]
        var chooseArguments: [Int64: ChooseArguments] = [:]
        var classes: [DeviceClass] = []
        /// The shadow trees as they are; nil when they are to be made.
        var shadowBuckets: [Bucket]?
    }

    /// A map of these parts, in any order. Throws `CRUSHError` when they do not make a valid one.
    package init(_ parts: Parts) throws(CRUSHError) {
        tunables = parts.tunables
        types = parts.types
        devices = parts.devices.sorted { $0.id < $1.id }
        rules = parts.rules.sorted { $0.id < $1.id }
        // What replaces nothing has no place in the compiled form.
        chooseArguments = parts.chooseArguments.mapValues { arguments in
            ChooseArguments(
                replacements: arguments.replacements.filter { !$0.value.weightSets.isEmpty || !$0.value.ids.isEmpty })
        }
        classes = parts.classes.sorted { $0.id < $1.id }
        var buckets = parts.buckets.sorted { $0.id > $1.id }
        var shadows = (parts.shadowBuckets ?? []).sorted { $0.id > $1.id }
        let validation = try Validation(tunables: tunables, types: types, devices: devices, classes: classes)
        try validation.check(buckets: buckets, shadows: shadows)
        if parts.shadowBuckets == nil, !classes.isEmpty {
            (buckets, shadows) = try Shadows.make(devices: devices, buckets: buckets, classes: classes)
            try validation.check(buckets: buckets, shadows: shadows)
        }
        self.buckets = Self.withTables(buckets, tunables)
        shadowBuckets = Self.withTables(shadows, tunables)
        let all = self.buckets + shadowBuckets
        try validation.check(rules: rules, buckets: all)
        try validation.check(parts.chooseArguments, buckets: all)
        layout = Layout(buckets: all, rules: rules, arguments: chooseArguments)
    }

    private static func withTables(_ buckets: [Bucket], _ tunables: Tunables) -> [Bucket] {
        buckets.map { bucket in
            guard bucket.table == nil else { return bucket }
            var bucket = bucket
            bucket.table = BucketTables.table(of: bucket, strawVersion: tunables.strawCalculationVersion)
            return bucket
        }
    }

    /// The parts of this map, for making another.
    package var parts: Parts {
        Parts(
            tunables: tunables, types: types, devices: devices, buckets: buckets, rules: rules,
            chooseArguments: chooseArguments, classes: classes, shadowBuckets: shadowBuckets)
    }

    /// The bucket with this number, be it a shadow.
    public func bucket(_ id: ItemID) -> Bucket? {
        Self.bucket(id, in: buckets) ?? Self.bucket(id, in: shadowBuckets)
    }

    private static func bucket(_ id: ItemID, in buckets: [Bucket]) -> Bucket? {
        var low = 0
        var high = buckets.count
        while low < high {
            let middle = (low + high) / 2
            if buckets[middle].id == id { return buckets[middle] }
            if buckets[middle].id > id { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    /// The bucket with this name; no shadow.
    public func bucket(named name: String) -> Bucket? { buckets.first { $0.name == name } }

    /// The device with this number.
    public func device(_ osd: OSDID) -> Device? {
        var low = 0
        var high = devices.count
        while low < high {
            let middle = (low + high) / 2
            if devices[middle].id == osd { return devices[middle] }
            if devices[middle].id < osd { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    /// The item with this name: a bucket or a device.
    public func item(named name: String) -> ItemID? {
        bucket(named: name)?.id ?? devices.first { $0.name == name }.map { ItemID($0.id) }
    }

    /// The name of an item, as the text map writes it; of a shadow that of the bucket, `~` and the class.
    public func name(of item: ItemID) -> String? {
        item.osd.map { device($0)?.name } ?? bucket(item)?.name
    }

    /// The number to take for choosing only devices of a class below a bucket. Nil when there is no such bucket or class.
    public func shadow(of bucket: ItemID, deviceClass: String) -> ItemID? {
        self.bucket(bucket)?.shadows[deviceClass]
    }

    /// The bucket and the class whose shadow this is, or nil when it is none.
    public func original(ofShadow id: ItemID) -> (bucket: Bucket, deviceClass: String)? {
        guard Self.bucket(id, in: shadowBuckets) != nil else { return nil }
        for bucket in buckets {
            if let entry = bucket.shadows.first(where: { $0.value == id }) { return (bucket, entry.key) }
        }
        return nil
    }

    /// The rule with this number.
    public func rule(_ id: RuleID) -> Rule? { rules.first { $0.id == id } }

    /// The rule with this name.
    public func rule(named name: String) -> Rule? { rules.first { $0.name == name } }

    /// The number of a type.
    public func type(named name: String) -> TypeID? { types.first { $0.value == name }?.key }

    /// True when the OSD is among the devices.
    public func contains(_ osd: OSDID) -> Bool { device(osd) != nil }

    /// The buckets that hold the item directly, shadows not among them: none for a root, usually one.
    public func parents(of item: ItemID) -> [Bucket] {
        buckets.filter { $0.items.contains { $0.id == item } }
    }
}

extension CRUSHMap: Hashable {
    /// True when the maps have the same parts; then they give the same mappings and the same encoding.
    public static func == (left: CRUSHMap, right: CRUSHMap) -> Bool {
        left.layout === right.layout
            || (left.tunables == right.tunables && left.types == right.types && left.devices == right.devices
                && left.buckets == right.buckets && left.rules == right.rules
                && left.chooseArguments == right.chooseArguments && left.classes == right.classes
                && left.shadowBuckets == right.shadowBuckets)
    }

    /// Feeds the parts that `==` compares, but those that follow from others.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(tunables)
        hasher.combine(types)
        hasher.combine(devices)
        hasher.combine(buckets)
        hasher.combine(rules)
        hasher.combine(chooseArguments)
    }
}
