import Monitor
import TextTable

/// `nacre osd …`.
extension Administration {
    /// What `osd in`, `out`, `down`, `rm` and `purge` do to OSDs.
    public enum Mark: String, Sendable {
        /// Gets data again.
        case `in`
        /// Gets no data.
        case out
        /// Is taken for dead, until it says otherwise.
        case down
        /// Is taken out of the map.
        case rm
        /// Is taken out of the map for good.
        case purge
        /// Its only copies are given up.
        case lost
    }

    /// What can be asked before an OSD is touched.
    public enum Question: String, Sendable {
        /// May they be stopped without a group that stops serving?
        case okToStop = "ok-to-stop"
        /// Is everything that they have whole elsewhere?
        case safeToDestroy = "safe-to-destroy"
    }

    /// Asks about OSDs, given as numbers or `osd.N`; throws the reason when the answer is no.
    public func ask(_ question: Question, _ osds: [String]) async throws(CommandError) {
        try await change("osd \(question.rawValue)", ["ids": osds.joined(separator: " ")])
    }

    /// Changes OSDs, given as numbers or `osd.N`.
    public func mark(_ mark: Mark, _ osds: [String], isSure: Bool = false) async throws(CommandError) {
        var arguments = ["ids": osds.joined(separator: " ")]
        if isSure { arguments["yes-i-really-mean-it"] = "true" }
        try await change("osd \(mark.rawValue)", arguments)
    }

    /// Shows the numbers of all OSDs.
    public func listOSDs() async throws(CommandError) {
        try output.show(try await result("osd ls"), as: [Int32].self) { ids in
            ids.map { "\($0)\n" }.joined()
        }
    }

    /// Shows how many OSDs there are.
    public func osdStat() async throws(CommandError) {
        try output.show(try await result("osd stat"), as: OSDCounts.self) {
            "\(Self.text(of: $0)); epoch: e\($0.epoch)"
        }
    }

    /// Shows the hierarchy with every OSD's state.
    public func osdTree() async throws(CommandError) {
        try output.show(try await result("osd tree"), as: OSDTree.self, plain: Self.text)
    }

    /// Shows the whole map.
    public func osdDump() async throws(CommandError) {
        try output.show(try await result("osd dump"), as: MapDump.self, plain: Self.text)
    }

    /// Shows how full OSDs are and how many groups they hold; as a tree with the buckets above them.
    public func osdUsage(asTree: Bool = false) async throws(CommandError) {
        let json = try await result("osd df", asTree ? ["output_method": "tree"] : [:])
        try output.show(json, as: OSDUsage.self, plain: Self.text)
    }

    /// Shows where an object is, or would be.
    public func mapObject(pool: String, object: String) async throws(CommandError) {
        let json = try await result("osd map", ["pool": pool, "object": object])
        try output.show(json, as: ObjectMapping.self, plain: Self.text)
    }

    static func text(_ tree: OSDTree) -> String {
        let rows = (tree.nodes + tree.stray).map { node in
            let isOSD = node.exists != nil
            return [
                "\(node.id)", node.deviceClass ?? "", node.crushWeight == 0 ? "0" : Layout.decimal(node.crushWeight, 5),
                named(node.name, node.type, node.depth), node.exists == 0 ? "DNE" : node.status ?? "",
                isOSD ? Layout.decimal(node.reweight ?? 0, 5) : "",
                isOSD && node.exists == 1 ? Layout.decimal(node.primaryAffinity ?? 1, 5) : "",
            ]
        }
        let titles: [(String, Alignment)] = [
            ("ID", .right), ("CLASS", .right), ("WEIGHT", .right), ("TYPE NAME", .left), ("STATUS", .right),
            ("REWEIGHT", .right), ("PRI-AFF", .right),
        ]
        return Layout.table(titles, rows)
    }

    private static func named(_ name: String, _ type: String, _ depth: Int) -> String {
        String(repeating: "    ", count: depth) + (type == "osd" ? name : "\(type) \(name)")
    }

    static func text(_ dump: MapDump) -> String {
        var text = "epoch \(dump.epoch)\nfsid \(dump.fsid)\n"
        for pool in dump.pools { text += self.text(pool) + "\n" }
        for osd in dump.osds {
            text +=
                "osd.\(osd.osd) \(osd.up == 1 ? "up" : "down") \(osd.in == 1 ? "in" : "out") weight "
                + "\(Layout.decimal(osd.weight, 5)) primary_affinity \(Layout.decimal(osd.primaryAffinity, 5)) up_from \(osd.upFrom) up_thru \(osd.upThru) down_at \(osd.downAt) "
                + "\(osd.publicAddr.isEmpty ? "-" : osd.publicAddr) \(osd.uuid)\n"
        }
        for entry in dump.pgUpmap { text += "pg_upmap \(entry.pgid) \(entry.osds)\n" }
        for entry in dump.pgUpmapItems {
            let pairs = entry.mappings.map { "\($0.from)->\($0.to)" }.joined(separator: ",")
            text += "pg_upmap_items \(entry.pgid) [\(pairs)]\n"
        }
        for entry in dump.pgTemp { text += "pg_temp \(entry.pgid) \(entry.osds)\n" }
        for entry in dump.primaryTemp { text += "primary_temp \(entry.pgid) \(entry.osd)\n" }
        return text
    }

    static func text(_ usage: OSDUsage) -> String {
        let isTree = usage.nodes.contains { $0.children != nil }
        let rows = (usage.nodes + usage.stray).map { node in
            [
                "\(node.id)", node.deviceClass ?? "", Layout.decimal(node.crushWeight, 5),
                node.children == nil ? Layout.decimal(node.reweight, 5) : "-", Layout.bytes(node.kb << 10),
                Layout.bytes(node.kbUsed << 10), Layout.bytes(node.kbAvail << 10), Layout.decimal(node.utilization, 2),
                Layout.decimal(node.var, 2), "\(node.pgs)", Layout.decimal(node.idealPgs, 2), node.status,
                isTree ? named(node.name, node.type, node.depth) : "",
            ]
        }
        let sum = usage.summary
        let total = [
            "", "", "", "TOTAL", Layout.bytes(sum.totalKb << 10), Layout.bytes(sum.totalKbUsed << 10),
            Layout.bytes(sum.totalKbAvail << 10), Layout.decimal(sum.averageUtilization, 2), "", "", "", "", "",
        ]
        let titles: [(String, Alignment)] = [
            ("ID", .right), ("CLASS", .right), ("WEIGHT", .right), ("REWEIGHT", .right), ("SIZE", .right),
            ("RAW USE", .right), ("AVAIL", .right), ("%USE", .right), ("VAR", .right), ("PGS", .right),
            ("IDEAL", .right),
            ("STATUS", .left), (isTree ? "TYPE NAME" : "", .left),
        ]
        return Layout.table(titles, rows + [total])
            + "MIN/MAX VAR: \(Layout.decimal(sum.minVar, 2))/\(Layout.decimal(sum.maxVar, 2))  STDDEV: "
            + "\(Layout.decimal(sum.dev, 2))  PGS FROM IDEAL: -\(Layout.decimal(-sum.lowestPgs, 2))/"
            + "+\(Layout.decimal(sum.highestPgs, 2))\n"
    }

    static func text(_ mapping: ObjectMapping) -> String {
        func set(_ osds: [Int32], _ primary: Int32) -> String {
            "([\(osds.map { $0 == Int32.max ? "NONE" : "\($0)" }.joined(separator: ","))], p\(primary))"
        }
        return "osdmap e\(mapping.epoch) pool '\(mapping.pool)' (\(mapping.poolId)) object '\(mapping.objname)' -> pg "
            + "\(mapping.rawPgid) (\(mapping.pgid)) -> up \(set(mapping.up, mapping.upPrimary)) acting "
            + set(mapping.acting, mapping.actingPrimary)
    }
}
