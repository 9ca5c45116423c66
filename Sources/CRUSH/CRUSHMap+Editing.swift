import Wire

/// Changes to a map as the monitors make them. A change that throws leaves the map as it was; the error says what to do
/// about it or names the limit.
extension CRUSHMap {
    /// The name of the root of a new cluster.
    public static let defaultRoot = "default"

    /// The name of the rule of a new cluster.
    public static let defaultRule = "replicated_rule"

    /// The names of the levels in a new cluster, from the devices upwards, as administrators know them.
    public static let defaultTypes = [
        "osd", "host", "chassis", "rack", "row", "pdu", "pod", "room", "datacenter", "zone", "region", "root",
    ]

    /// The map of a new cluster: a root without anything below it, and rule 0 that puts replicas on different items of type
    /// `failureDomain`, one of `defaultTypes`.
    public static func newCluster(failureDomain: TypeID = .host) -> CRUSHMap {
        var types: [TypeID: String] = [:]
        for (number, name) in defaultTypes.enumerated() { types[TypeID(UInt16(number))] = name }
        let root = Bucket(id: ItemID(-1), name: defaultRoot, type: .root)
        let rule = replicatedRule(RuleID(0), named: defaultRule, root: root.id, failureDomain: failureDomain)
        do throws(CRUSHError) {
            return try CRUSHMap(tunables: .jewel, types: types, devices: [], buckets: [root], rules: [rule])
        } catch {
            preconditionFailure("the map of a new cluster with failure domain \(failureDomain): \(error)")
        }
    }

    private static func replicatedRule(_ id: RuleID, named name: String, root: ItemID, failureDomain: TypeID) -> Rule {
        // For devices both kinds of choice find the same, and other tools write it like this.
        let choice: Rule.Step =
            failureDomain == .osd
            ? .chooseFirstN(count: 0, type: .osd) : .chooseLeafFirstN(count: 0, type: failureDomain)
        return Rule(id: id, name: name, steps: [.take(root), choice, .emit])
    }

    /// Adds an OSD below the host with this name, and the host below `root` when there is none yet. The weights of all
    /// buckets above grow accordingly. Refuses an OSD that is in the map already.
    public mutating func add(
        _ osd: OSDID, weight: CRUSHWeight, host: String, root: String = defaultRoot
    ) throws(CRUSHError) {
        // Before anything else: a negative number would mean a bucket.
        guard (0..<CRUSHLimits.devices).contains(Int(osd.rawValue)) else {
            throw CRUSHError("\(osd): the numbers of OSDs are from 0 to \(CRUSHLimits.devices - 1)")
        }
        guard !contains(osd) else { throw CRUSHError("\(osd) is in the CRUSH map already") }
        var draft = Draft(self)
        guard let level = type(named: "host") else { throw CRUSHError("the CRUSH map has no type 'host'") }
        if let bucket = bucket(named: host) {
            guard bucket.type == level else {
                throw CRUSHError("'\(host)' is a \(types[bucket.type] ?? "bucket") in the CRUSH map, not a host")
            }
        } else {
            guard let top = bucket(named: root) else { throw CRUSHError("the CRUSH map has no bucket '\(root)'") }
            let bucket = Bucket(id: unusedBucketID, name: host, type: level)
            draft.buckets[bucket.id] = bucket
            try draft.setWeight(of: bucket.id, in: top.id, to: .zero)
        }
        guard let holder = draft.buckets.values.first(where: { $0.name == host }) else {
            preconditionFailure("host \(host) is neither found nor made")
        }
        draft.devices.append(Device(id: osd, name: osd.description))
        try draft.setWeight(of: ItemID(osd), in: holder.id, to: weight)
        self = try draft.finish()
    }

    /// Takes an OSD out of the map. Its host stays, be it empty. Refuses an OSD that is not there, or that a rule takes.
    public mutating func remove(_ osd: OSDID) throws(CRUSHError) {
        guard contains(osd) else { throw CRUSHError("\(osd) is not in the CRUSH map") }
        var draft = Draft(self)
        for parent in parents(of: ItemID(osd)) { try draft.setWeight(of: ItemID(osd), in: parent.id, to: nil) }
        draft.devices.removeAll { $0.id == osd }
        self = try draft.finish()
    }

    /// Takes an empty bucket out of the map. Refuses one that is not there, not empty, or that a rule takes.
    public mutating func removeBucket(named name: String) throws(CRUSHError) {
        guard let bucket = bucket(named: name) else { throw CRUSHError("the CRUSH map has no bucket '\(name)'") }
        guard bucket.items.isEmpty else {
            throw CRUSHError("bucket '\(name)' still holds \(bucket.items.count) items: remove or move them first")
        }
        var draft = Draft(self)
        for parent in parents(of: bucket.id) { try draft.setWeight(of: bucket.id, in: parent.id, to: nil) }
        draft.buckets[bucket.id] = nil
        self = try draft.finish()
    }

    /// Gives an OSD another weight, wherever it stands; the weights of all buckets above change accordingly.
    public mutating func reweight(_ osd: OSDID, to weight: CRUSHWeight) throws(CRUSHError) {
        let holders = contains(osd) ? parents(of: ItemID(osd)) : []
        guard !holders.isEmpty else { throw CRUSHError("\(osd) is in no bucket of the CRUSH map") }
        var draft = Draft(self)
        for holder in holders { try draft.setWeight(of: ItemID(osd), in: holder.id, to: weight) }
        self = try draft.finish()
    }

    /// Adds a rule that puts replicas on different items of type `failureDomain` below `root`; returns its number, the lowest
    /// that is free.
    public mutating func addReplicatedRule(
        named name: String, root: String = defaultRoot, failureDomain: TypeID
    ) throws(CRUSHError) -> RuleID {
        guard let top = bucket(named: root) else { throw CRUSHError("the CRUSH map has no bucket '\(root)'") }
        let used = Set(rules.map(\.id))
        guard let id = (0..<Int32(CRUSHLimits.rules)).lazy.map({ RuleID($0) }).first(where: { !used.contains($0) })
        else { throw CRUSHError("all \(CRUSHLimits.rules) rules are in use") }
        var draft = Draft(self)
        draft.rules.append(Self.replicatedRule(id, named: name, root: top.id, failureDomain: failureDomain))
        self = try draft.finish()
        return id
    }

    /// Takes a rule out of the map. Whether a pool uses it is for the caller to know.
    public mutating func removeRule(_ id: RuleID) throws(CRUSHError) {
        guard rule(id) != nil else { throw CRUSHError("the CRUSH map has no rule \(id)") }
        var draft = Draft(self)
        draft.rules.removeAll { $0.id == id }
        self = try draft.finish()
    }

    /// The number nearest to zero that no bucket has, as other tools number buckets.
    private var unusedBucketID: ItemID {
        var id = ItemID(-1)
        for bucket in buckets where bucket.id == id { id = ItemID(id.rawValue - 1) }
        return id
    }
}

/// A map in the middle of a change: not checked yet.
private struct Draft {
    let tunables: Tunables
    let types: [TypeID: String]
    var devices: [Device]
    var buckets: [ItemID: Bucket]
    var rules: [Rule]

    init(_ map: CRUSHMap) {
        tunables = map.tunables
        types = map.types
        devices = map.devices
        buckets = Dictionary(uniqueKeysWithValues: map.buckets.map { ($0.id, $0) })
        rules = map.rules
    }

    /// Sets the weight of an item in a bucket, adding it when it is not there; nil takes it out. Above, each bucket's weight
    /// becomes the sum of its items. The map that this began with has no cycles, so this ends.
    mutating func setWeight(of item: ItemID, in holder: ItemID, to weight: CRUSHWeight?) throws(CRUSHError) {
        guard var bucket = buckets[holder] else { preconditionFailure("bucket \(holder) is missing") }
        let index = bucket.items.firstIndex { $0.id == item }
        switch (index, weight) {
        case (let index?, let weight?): bucket.items[index].weight = weight
        case (let index?, nil): bucket.items.remove(at: index)
        case (nil, let weight?): bucket.items.append(Bucket.Item(id: item, weight: weight))
        case (nil, nil): preconditionFailure("item \(item) is not in bucket \(holder)")
        }
        let sum = bucket.weight
        guard sum <= CRUSHLimits.bucketWeight else {
            throw CRUSHError("bucket '\(bucket.name)': the weights add up to more than \(CRUSHLimits.bucketWeight)")
        }
        buckets[holder] = bucket
        let above = buckets.values.filter { $0.items.contains { $0.id == holder } }.map(\.id)
        for parent in above { try setWeight(of: holder, in: parent, to: sum) }
    }

    /// The changed map, checked.
    func finish() throws(CRUSHError) -> CRUSHMap {
        try CRUSHMap(
            tunables: tunables, types: types, devices: devices, buckets: Array(buckets.values), rules: rules)
    }
}
