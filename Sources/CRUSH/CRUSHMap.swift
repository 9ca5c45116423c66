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
    /// The buckets from -1 downwards; numbers may be missing.
    public let buckets: [Bucket]
    /// The rules by ascending number; numbers may be missing.
    public let rules: [Rule]
    /// The same hierarchy laid out for mapping.
    let layout: Layout

    /// A map of these parts, in any order. Throws `CRUSHError` when they do not make a valid one.
    public init(
        tunables: Tunables, types: [TypeID: String], devices: [Device], buckets: [Bucket], rules: [Rule]
    ) throws(CRUSHError) {
        self.tunables = tunables
        self.types = types
        self.devices = devices.sorted { $0.id < $1.id }
        self.buckets = buckets.sorted { $0.id > $1.id }
        self.rules = rules.sorted { $0.id < $1.id }
        try Validation.check(
            tunables: tunables, types: types, devices: self.devices, buckets: self.buckets, rules: self.rules)
        layout = Layout(buckets: self.buckets, rules: self.rules)
    }

    /// The bucket with this number.
    public func bucket(_ id: ItemID) -> Bucket? {
        // Descending order, and usually without gaps.
        let guess = -1 - Int(id.rawValue)
        if buckets.indices.contains(guess), buckets[guess].id == id { return buckets[guess] }
        return buckets.first { $0.id == id }
    }

    /// The bucket with this name.
    public func bucket(named name: String) -> Bucket? { buckets.first { $0.name == name } }

    /// The rule with this number.
    public func rule(_ id: RuleID) -> Rule? { rules.first { $0.id == id } }

    /// The rule with this name.
    public func rule(named name: String) -> Rule? { rules.first { $0.name == name } }

    /// The number of a type.
    public func type(named name: String) -> TypeID? { types.first { $0.value == name }?.key }

    /// True when the OSD is among the devices.
    public func contains(_ osd: OSDID) -> Bool { devices.contains { $0.id == osd } }

    /// The buckets that hold the item directly: none for a root, usually one.
    public func parents(of item: ItemID) -> [Bucket] {
        buckets.filter { $0.items.contains { $0.id == item } }
    }
}

extension CRUSHMap: Hashable {
    /// True when the maps have the same parts; then they give the same mappings and the same encoding.
    public static func == (left: CRUSHMap, right: CRUSHMap) -> Bool {
        left.layout === right.layout
            || (left.tunables == right.tunables && left.types == right.types && left.devices == right.devices
                && left.buckets == right.buckets && left.rules == right.rules)
    }

    /// Feeds the parts that `==` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(tunables)
        hasher.combine(types)
        hasher.combine(devices)
        hasher.combine(buckets)
        hasher.combine(rules)
    }
}
