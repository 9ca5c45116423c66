import Wire

/// New maps and new rules.
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
        let steps = replicatedSteps(root: root.id, failureDomain: failureDomain)
        let rule = Rule(id: RuleID(0), name: defaultRule, steps: steps)
        do throws(CRUSHError) {
            return try CRUSHMap(tunables: .jewel, types: types, devices: [], buckets: [root], rules: [rule])
        } catch {
            preconditionFailure("the map of a new cluster with failure domain \(failureDomain): \(error)")
        }
    }

    private static func replicatedSteps(root: ItemID, failureDomain: TypeID) -> [Rule.Step] {
        // For devices both kinds of choice find the same, and other tools write it like this.
        let choice: Rule.Step =
            failureDomain == .osd
            ? .chooseFirstN(count: 0, type: .osd) : .chooseLeafFirstN(count: 0, type: failureDomain)
        return [.take(root), choice, .emit]
    }

    /// Adds a rule that puts replicas on different items of type `failureDomain` below `root`, on devices of a class if one
    /// is named; returns its number, the lowest that is free.
    @discardableResult
    public mutating func addReplicatedRule(
        named name: String, root: String = defaultRoot, failureDomain: TypeID, deviceClass: String? = nil
    ) throws(CRUSHError) -> RuleID {
        let top = try start(of: name, root: root, deviceClass: deviceClass)
        return try addRule(
            named: name, kind: .replicated, sizes: 1...10,
            steps: Self.replicatedSteps(root: top, failureDomain: failureDomain))
    }

    /// Adds a rule that gives every position of an erasure-coded pool its own item of type `failureDomain` below `root`, and
    /// leaves a position empty rather than move the others; returns its number, the lowest that is free.
    @discardableResult
    public mutating func addErasureRule(
        named name: String, root: String = defaultRoot, failureDomain: TypeID, deviceClass: String? = nil
    ) throws(CRUSHError) -> RuleID {
        let top = try start(of: name, root: root, deviceClass: deviceClass)
        return try addRule(
            named: name, kind: .erasure, sizes: 3...20,
            steps: Self.positionalSteps(root: top, failureDomain: failureDomain))
    }

    /// Adds a rule as `crushtool --create-simple-rule` does: of the kind for replicated pools, whichever way it chooses.
    package mutating func addRule(
        named name: String, root: String, failureDomain: TypeID, deviceClass: String?, indep: Bool
    ) throws(CRUSHError) {
        guard indep else {
            try addReplicatedRule(named: name, root: root, failureDomain: failureDomain, deviceClass: deviceClass)
            return
        }
        let top = try start(of: name, root: root, deviceClass: deviceClass)
        _ = try addRule(
            named: name, kind: .replicated, sizes: 3...20,
            steps: Self.positionalSteps(root: top, failureDomain: failureDomain))
    }

    private static func positionalSteps(root: ItemID, failureDomain: TypeID) -> [Rule.Step] {
        let choice: Rule.Step =
            failureDomain == .osd
            ? .chooseIndep(count: 0, type: .osd) : .chooseLeafIndep(count: 0, type: failureDomain)
        return [.setChooseLeafTries(5), .setChooseTries(100), .take(root), choice, .emit]
    }

    /// What a new rule takes.
    private mutating func start(of rule: String, root: String, deviceClass: String?) throws(CRUSHError) -> ItemID {
        if self.rule(named: rule) != nil { throw CRUSHError("the CRUSH map has a rule '\(rule)' already") }
        guard let top = bucket(named: root) else { throw CRUSHError("the CRUSH map has no bucket '\(root)'") }
        guard let deviceClass else { return top.id }
        // A text without rules has classes but no shadow trees yet.
        if top.shadows.isEmpty { self = try Draft(self).finish() }
        guard let shadow = shadow(of: top.id, deviceClass: deviceClass) else {
            let known = classes.map(\.name).joined(separator: ", ")
            throw CRUSHError("no OSD has the class '\(deviceClass)'; there are: \(known.isEmpty ? "none" : known)")
        }
        return shadow
    }

    private mutating func addRule(
        named name: String, kind: Rule.Kind, sizes: ClosedRange<UInt8>, steps: [Rule.Step]
    ) throws(CRUSHError) -> RuleID {
        let used = Set(rules.map(\.id))
        guard let id = (0..<Int32(CRUSHLimits.rules)).lazy.map({ RuleID($0) }).first(where: { !used.contains($0) })
        else { throw CRUSHError("all \(CRUSHLimits.rules) rules are in use") }
        var parts = parts
        parts.rules.append(
            Rule(
                id: id, name: name, kind: kind, minSize: sizes.lowerBound, maxSize: sizes.upperBound, steps: steps))
        self = try CRUSHMap(parts)
        return id
    }

    /// Takes a rule out of the map. Whether a pool uses it is for the caller to know.
    public mutating func removeRule(_ id: RuleID) throws(CRUSHError) {
        guard rule(id) != nil else { throw CRUSHError("the CRUSH map has no rule \(id)") }
        var parts = parts
        parts.rules.removeAll { $0.id == id }
        self = try CRUSHMap(parts)
    }
}
