import Monitor
import TextTable

/// `nacre pg …`.
extension Administration {
    /// Shows groups and usage in a line.
    public func groupStat() async throws(CommandError) {
        try output.show(try await result("pg stat"), as: GroupCounts.self) { map in
            let states = map.pgsByState.map { "\($0.count) \($0.stateName)" }.joined(separator: ", ")
            let lines =
                ["\(map.numPgs) pgs: \(states); \(Self.objects(map.data)), \(Self.usage(map))"]
                + Self.deviations(map.data)
            return lines.joined(separator: "; ")
        }
    }

    /// Shows every group.
    public func groupDump() async throws(CommandError) {
        try output.show(try await result("pg dump"), as: GroupDump.self, plain: Self.text)
    }

    static func text(_ dump: GroupDump) -> String {
        func set(_ osds: [Int32]) -> String { "[\(osds.map(String.init).joined(separator: ","))]" }
        let rows = dump.pgStats.map { group in
            [
                group.pgid, group.state, group.version, set(group.up), set(group.acting),
                "\(group.actingPrimary)", group.reason ?? "",
            ]
        }
        let titles: [(String, Alignment)] = [
            ("PG_STAT", .left), ("STATE", .left), ("VERSION", .left), ("UP", .left), ("ACTING", .left),
            ("ACTING_PRIMARY", .right), ("WHY IT DOES NOT SERVE", .left),
        ]
        return "version e\(dump.epoch)\n" + Layout.table(titles, rows)
    }
}
