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

    /// Shows how full OSDs are.
    public func osdUsage() async throws(CommandError) {
        try output.show(try await result("osd df"), as: OSDUsage.self, plain: Self.text)
    }

    /// Shows where an object is, or would be.
    public func mapObject(pool: String, object: String) async throws(CommandError) {
        let json = try await result("osd map", ["pool": pool, "object": object])
        try output.show(json, as: ObjectMapping.self, plain: Self.text)
    }

    static func text(_ tree: OSDTree) -> String {
        let rows = (tree.nodes + tree.stray).map { node in
            let indent = String(repeating: "    ", count: node.depth)
            let name = node.type == "osd" ? node.name : "\(node.type) \(node.name)"
            return [
                "\(node.id)", Layout.decimal(node.crushWeight, 5), indent + name, node.status ?? "",
                node.reweight.map { Layout.decimal($0, 5) } ?? "",
            ]
        }
        let titles: [(String, Alignment)] = [
            ("ID", .right), ("WEIGHT", .right), ("TYPE NAME", .left), ("STATUS", .left), ("REWEIGHT", .right),
        ]
        return Layout.table(titles, rows)
    }

    static func text(_ dump: MapDump) -> String {
        var text = "epoch \(dump.epoch)\nfsid \(dump.fsid)\n"
        for pool in dump.pools { text += self.text(pool) + "\n" }
        for osd in dump.osds {
            text +=
                "osd.\(osd.osd) \(osd.up == 1 ? "up" : "down") \(osd.in == 1 ? "in" : "out") weight "
                + "\(Layout.decimal(osd.weight, 5)) up_from \(osd.upFrom) up_thru \(osd.upThru) down_at \(osd.downAt) "
                + "\(osd.publicAddr.isEmpty ? "-" : osd.publicAddr) \(osd.uuid)\n"
        }
        return text
    }

    static func text(_ usage: OSDUsage) -> String {
        let rows = usage.nodes.map { node in
            [
                "\(node.id)", Layout.decimal(node.crushWeight, 5), Layout.decimal(node.reweight, 5),
                Layout.bytes(node.bytesTotal), Layout.bytes(node.bytesUsed),
                Layout.bytes(node.bytesTotal - min(node.bytesUsed, node.bytesTotal)),
                Layout.decimal(node.utilization, 2), "\(node.pgs)", node.status,
            ]
        }
        let titles: [(String, Alignment)] = [
            ("ID", .right), ("WEIGHT", .right), ("REWEIGHT", .right), ("SIZE", .right), ("USE", .right),
            ("AVAIL", .right), ("%USE", .right), ("PGS", .right), ("STATUS", .left),
        ]
        return Layout.table(titles, rows)
    }

    static func text(_ mapping: ObjectMapping) -> String {
        func set(_ osds: [Int32], _ primary: Int32) -> String {
            "([\(osds.map(String.init).joined(separator: ","))], p\(primary))"
        }
        return "osdmap e\(mapping.epoch) pool '\(mapping.pool)' (\(mapping.poolId)) object '\(mapping.objname)' -> pg "
            + "\(mapping.rawPgid) (\(mapping.pgid)) -> up \(set(mapping.up, mapping.upPrimary)) acting "
            + set(mapping.acting, mapping.actingPrimary)
    }
}
