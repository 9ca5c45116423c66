import ClusterMap
import Glibc
import Monitor
import Wire

/// `nacre osd reweight`, `primary-affinity`, `pg-upmap-items` and `balance`: who gets how much.
extension Administration {
    /// Sets the share of its CRUSH weight that an OSD uses.
    public func reweight(_ osd: String, to weight: String) async throws(CommandError) {
        try await change("osd reweight", ["ids": osd, "weight": weight])
    }

    /// Sets the share of the groups that an OSD could lead and does.
    public func primaryAffinity(_ osd: String, to weight: String) async throws(CommandError) {
        try await change("osd primary-affinity", ["ids": osd, "weight": weight])
    }

    /// Replaces OSDs of a group, given in pairs.
    public func setUpmapItems(_ group: String, _ osds: [String]) async throws(CommandError) {
        try await change("osd pg-upmap-items", ["pgid": group, "ids": osds.joined(separator: " ")])
    }

    /// Takes away the replacements of a group.
    public func removeUpmapItems(_ group: String) async throws(CommandError) {
        try await change("osd rm-pg-upmap-items", ["pgid": group])
    }

    /// Levels the groups over the OSDs, or shows how it would be done.
    public func balance(pools: [String], isDryRun: Bool, limit: Int?) async throws(CommandError) {
        var arguments = ["pools": pools.joined(separator: " "), "dry-run": isDryRun ? "true" : "false"]
        arguments["max-moves"] = limit.map(String.init)
        try output.show(try await result("osd balance", arguments), as: BalanceReport.self, plain: Self.text)
    }

    /// Shows how the groups of the map in a file would be levelled, without a cluster.
    public static func balance(
        map path: String, pools names: [String], limit: Int?, output: Output
    ) throws(CommandError) {
        let map: OSDMap
        let bytes = try LocalFile.read(path, atMost: MapLimits.encodedSize)
        do throws(WireError) { map = try OSDMap(decoding: bytes) } catch {
            throw CommandError(errno: EINVAL, "'\(path)' is no OSD map as `osd getmap` writes it: \(error)")
        }
        var pools: [PoolID]?
        for name in names {
            guard let pool = map.pool(named: name) else {
                throw CommandError(errno: ENOENT, "the map in '\(path)' has no pool '\(name)'")
            }
            pools = (pools ?? []) + [pool.id]
        }
        let plan = Balancer.plan(for: map, pools: pools, limit: limit ?? .max)
        output.show(BalanceReport(plan, map, pools: pools, epoch: map.epoch, isDryRun: true), plain: Self.text)
    }

    /// The pools with their spread, what binds, and the changes as the commands that make them.
    static func text(_ report: BalanceReport) -> String {
        func spread(_ spread: BalanceReport.Spread?) -> String {
            guard let spread else { return "-" }
            return "-\(Layout.decimal(-spread.lowest, 2)) +\(Layout.decimal(spread.highest, 2))"
        }
        var text = ""
        for pool in report.pools {
            text += "pool \(pool.pool) '\(pool.poolName)': "
            text += pool.reason ?? "copies from the ideal \(spread(pool.before)), then \(spread(pool.after))"
            text += "\n"
        }
        if report.pools.count > 1 {
            text += "all pools: copies from the ideal \(spread(report.before)), then \(spread(report.after))\n"
        }
        for line in report.bound { text += "bound: \(line)\n" }
        let verb = report.dryRun ? "would move" : "move"
        text += "\(report.moves) copies \(verb) (at least \(report.leastMoves)), \(report.changes.count) groups change"
        text += report.cut ? "; the limit of moves is reached: run it again\n" : "\n"
        guard report.dryRun else { return text }
        for change in report.changes {
            let pairs = change.mappings.map { " \($0.from) \($0.to)" }.joined()
            text += pairs.isEmpty ? "nacre osd rm-pg-upmap-items \(change.pgid)\n" : ""
            text += pairs.isEmpty ? "" : "nacre osd pg-upmap-items \(change.pgid)\(pairs)\n"
        }
        return text
    }
}
