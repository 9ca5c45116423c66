import CRUSH
import ClusterMap
import Wire

/// `osd tree` and `osd df`: the hierarchy with what OSDs are and hold.
enum HierarchyCommands {
    static func tree(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let hierarchy = Hierarchy(view.map)
        let nodes = hierarchy.entries.map { node($0.item, $0.weight, $0.depth, $0.children, view.map) }
        let stray = hierarchy.stray.map { node(ItemID($0), .zero, 0, nil, view.map) }
        return CommandResult(OSDTree(nodes: nodes, stray: stray))
    }

    private static func node(
        _ item: ItemID, _ weight: CRUSHWeight, _ depth: Int, _ children: [ItemID]?, _ map: OSDMap
    ) -> OSDTree.Node {
        let type = map.crush.bucket(item)?.type ?? .osd
        var node = OSDTree.Node(
            id: item.rawValue, name: map.crush.name(of: item) ?? item.osd?.description ?? "\(item)",
            type: map.crush.types[type] ?? "\(type)", typeId: Int(type.rawValue),
            crushWeight: CRUSHCommands.share(weight.rawValue), depth: depth,
            children: children.map { $0.reversed().map(\.rawValue) })
        guard let osd = item.osd else { return node }
        let record = map.osds[osd]
        node.deviceClass = map.crush.device(osd)?.deviceClass
        node.exists = record == nil ? 0 : 1
        node.status = record?.isUp == true ? "up" : "down"
        node.reweight = CRUSHCommands.share(record?.reweight ?? 0)
        node.primaryAffinity = CRUSHCommands.share(record?.primaryAffinity ?? OSDRecord.fullAffinity)
        return node
    }

    // MARK: Usage

    static func usage(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let osds = UsageTable(view)
        let hierarchy = Hierarchy(view.map)
        var nodes: [OSDUsage.Node] = []
        if arguments.optional("output_method") == "tree" {
            // What is below a bucket comes after it: from the end, everything is there when it is needed.
            var sums: [ItemID: OSDUsage.Node] = [:]
            for entry in hierarchy.entries.reversed() {
                let node = osds.node(entry, view.map, sums)
                sums[entry.item] = node
                nodes.append(node)
            }
            nodes.reverse()
        } else {
            let weights = Dictionary(
                hierarchy.entries.map { ($0.item, $0.weight) }, uniquingKeysWith: { first, _ in first })
            for osd in view.map.osds.keys where weights[ItemID(osd)] != nil {
                let weight = weights[ItemID(osd)] ?? .zero
                nodes.append(osds.node(.init(item: ItemID(osd), weight: weight, depth: 0), view.map, [:]))
            }
        }
        let stray = hierarchy.stray.map { osds.node(.init(item: ItemID($0), weight: .zero, depth: 0), view.map, [:]) }
        return CommandResult(OSDUsage(nodes: nodes, stray: stray, summary: osds.summary))
    }
}

/// The buckets and OSDs of a map in the order in which administrators see them: roots by ascending number, what is below a
/// bucket by class and number or by name.
private struct Hierarchy {
    struct Entry {
        var item: ItemID
        var weight: CRUSHWeight
        var depth: Int
        /// What is below a bucket, in order; nil for an OSD.
        var children: [ItemID]?
    }

    /// Far more than all OSDs with the buckets that hold them.
    private static let limit = 4 * MapLimits.osds

    private(set) var entries: [Entry] = []
    /// OSDs that stand in no bucket.
    private(set) var stray: [OSDID] = []
    private let crush: CRUSHMap
    private let classes: [OSDID: String]

    init(_ map: OSDMap) {
        crush = map.crush
        classes = Dictionary(
            map.crush.devices.map { ($0.id, $0.deviceClass ?? "") }, uniquingKeysWith: { first, _ in first })
        var held: Set<ItemID> = []
        for bucket in map.crush.buckets { held.formUnion(bucket.items.map(\.id)) }
        for root in map.crush.buckets.reversed() where !held.contains(root.id) {
            append(root, weight: root.weight, depth: 0)
        }
        stray = map.osds.keys.filter { !held.contains(ItemID($0)) }
    }

    /// The map has no cycles, and its depth is bounded by `CRUSHLimits.depth`. Buckets that stand in several places multiply,
    /// from level to level: what nobody can read is left out.
    private mutating func append(_ bucket: Bucket, weight: CRUSHWeight, depth: Int) {
        let items = bucket.items.sorted { isBefore($0.id, $1.id) }
        entries.append(Entry(item: bucket.id, weight: weight, depth: depth, children: items.map(\.id)))
        guard entries.count < Self.limit else { return }
        for item in items {
            if let below = crush.bucket(item.id) {
                append(below, weight: item.weight, depth: depth + 1)
            } else {
                entries.append(Entry(item: item.id, weight: item.weight, depth: depth + 1))
            }
        }
    }

    /// Buckets stand where OSDs without a class do.
    private func isBefore(_ left: ItemID, _ right: ItemID) -> Bool {
        switch (left.osd, right.osd) {
        case (let one?, let other?):
            let (first, second) = (classes[one] ?? "", classes[other] ?? "")
            return first == second ? one < other : first < second
        case (nil, nil): return (crush.name(of: left) ?? "") < (crush.name(of: right) ?? "")
        case (let osd?, nil): return classes[osd]?.isEmpty ?? true
        case (nil, let osd?): return !(classes[osd]?.isEmpty ?? true)
        }
    }
}

/// What every OSD holds, and the sums.
private struct UsageTable {
    private let held: [OSDID: Int]
    private let ideals: [OSDID: Double]
    private let reports: [OSDID: OSDWatch.Report]
    private(set) var summary: OSDUsage.Summary

    init(_ view: ClusterView) {
        var held: [OSDID: Int] = [:]
        for groups in view.groups.groups.values {
            for group in groups { for osd in group.wanted where osd != .none { held[osd, default: 0] += 1 } }
        }
        let ideals = Balancer.ideals(of: view.map)
        self.held = held
        self.ideals = ideals
        reports = view.watch.reports
        let said = reports.values.map(\.statistics)
        let total = said.reduce(0) { $0 &+ $1.capacity >> 10 }
        let used = said.reduce(0) { $0 &+ min($1.used, $1.capacity) >> 10 }
        let average = total == 0 ? 0 : Double(used) / Double(total) * 100
        let shares = said.filter { $0.capacity > 0 }.map { Double($0.used) / Double($0.capacity) * 100 }
        let variance = shares.reduce(0) { $0 + ($1 - average) * ($1 - average) } / Double(max(shares.count, 1))
        let surplus = view.map.osds.filter { $0.value.isUp && $0.value.isIn }.map {
            Double(held[$0.key, default: 0]) - ideals[$0.key, default: 0]
        }
        summary = OSDUsage.Summary(
            totalKb: total, totalKbUsed: used, totalKbAvail: total - used, averageUtilization: Self.rounded(average),
            minVar: Self.rounded((shares.min() ?? 0) / max(average, 1e-9)),
            maxVar: Self.rounded((shares.max() ?? 0) / max(average, 1e-9)), dev: Self.rounded(variance.squareRoot()),
            lowestPgs: Self.rounded(min(0, surplus.min() ?? 0)), highestPgs: Self.rounded(max(0, surplus.max() ?? 0)))
        if average == 0 { (summary.minVar, summary.maxVar) = (0, 0) }
    }

    static func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }

    /// An OSD, or a bucket with the sums of what is below it.
    func node(_ entry: Hierarchy.Entry, _ map: OSDMap, _ sums: [ItemID: OSDUsage.Node]) -> OSDUsage.Node {
        let type = map.crush.bucket(entry.item)?.type ?? .osd
        var node = OSDUsage.Node(
            id: entry.item.rawValue, name: map.crush.name(of: entry.item) ?? entry.item.osd?.description ?? "",
            type: map.crush.types[type] ?? "\(type)", typeId: Int(type.rawValue),
            crushWeight: CRUSHCommands.share(entry.weight.rawValue), depth: entry.depth, reweight: 0, kb: 0, kbUsed: 0,
            kbAvail: 0, utilization: 0, var: 0, pgs: 0, idealPgs: 0, status: "",
            children: entry.children?.map(\.rawValue))
        if let osd = entry.item.osd {
            let record = map.osds[osd]
            let said = reports[osd]?.statistics
            node.deviceClass = map.crush.device(osd)?.deviceClass
            node.reweight = CRUSHCommands.share(record?.reweight ?? 0)
            node.kb = (said?.capacity ?? 0) >> 10
            node.kbUsed = min(said?.used ?? 0, said?.capacity ?? 0) >> 10
            node.pgs = held[osd, default: 0]
            node.idealPgs = Self.rounded(ideals[osd, default: 0])
            node.status = record?.isUp == true ? "up" : "down"
        } else {
            for below in entry.children ?? [] {
                guard let child = sums[below] else { continue }
                node.kb += child.kb
                node.kbUsed += child.kbUsed
                node.pgs += child.pgs
                node.idealPgs += child.idealPgs
                node.reweight += child.reweight * child.crushWeight
            }
            node.idealPgs = Self.rounded(node.idealPgs)
            node.reweight = entry.weight == .zero ? 0 : Self.rounded(node.reweight / max(node.crushWeight, 1e-5))
        }
        node.kbAvail = node.kb - node.kbUsed
        node.utilization = node.kb == 0 ? 0 : Self.rounded(Double(node.kbUsed) / Double(node.kb) * 100)
        let average = summary.averageUtilization
        node.var = average == 0 ? 0 : Self.rounded(node.utilization / average)
        return node
    }
}
