import Monitor

/// `nacre status`, `nacre health`, `nacre mon stat`.
extension Administration {
    /// Shows how the cluster is.
    public func status() async throws(CommandError) {
        try output.show(try await result("status"), as: ClusterStatus.self, plain: Self.text)
    }

    /// Shows what is wrong: a line, or with `detail` every thing.
    public func health(detail: Bool) async throws(CommandError) {
        try output.show(try await result("health"), as: HealthReport.self) { Self.text($0, detail: detail) }
    }

    /// Shows the monitors.
    public func monitors() async throws(CommandError) {
        try output.show(try await result("mon stat"), as: [MonitorReport].self) { monitors in
            let names = monitors.map { "\($0.name) at \($0.addr)" }.joined(separator: ", ")
            return "\(monitors.count) mons: \(names)"
        }
    }

    static func text(_ status: ClusterStatus) -> String {
        let monitors = status.monmap.mons.map { "\($0.name) at \($0.addr)" }.joined(separator: ", ")
        var text = "  cluster:\n    id:     \(status.fsid)\n    health: \(status.health.status.rawValue)\n"
        for (_, check) in inOrder(status.health) { text += "            \(check.summary.message)\n" }
        text +=
            "\n  services:\n    mon: \(status.monmap.numMons) daemons, \(monitors)\n    osd: \(Self.text(of: status.osdmap))\n"
        let map = status.pgmap
        text +=
            "\n  data:\n    pools:   \(map.numPools) pools, \(map.numPgs) pgs\n    objects: \(objects(map.data))\n    usage:   \(usage(map))\n"
        var label = "    pgs:     "
        for line in deviations(map.data) {
            text += "\(label)\(line)\n"
            label = "             "
        }
        for state in map.pgsByState {
            text += "\(label)\(state.count) \(state.stateName)\n"
            label = "             "
        }
        for waiting in map.waiting { text += "             \(self.text(waiting))\n" }
        return text + recovery(map.data)
    }

    /// Why groups do not serve, in a sentence.
    private static func text(_ waiting: GroupCounts.Waiting) -> String {
        let others = waiting.count == 1 ? "" : " and \(waiting.count - 1) more: each"
        return "pg \(waiting.pgid)\(others) \(waiting.reason)"
    }

    static func text(of counts: OSDCounts) -> String {
        "\(counts.numOsds) osds: \(counts.numUpOsds) up, \(counts.numInOsds) in"
    }

    static func usage(_ map: GroupCounts) -> String {
        "\(Layout.bytes(map.bytesUsed)) used, \(Layout.bytes(map.bytesAvail)) / \(Layout.bytes(map.bytesTotal)) avail"
    }

    /// The worst first, then by name.
    private static func inOrder(_ health: HealthReport) -> [(name: String, check: HealthReport.Check)] {
        health.checks
            .sorted { $0.value.severity == $1.value.severity ? $0.key < $1.key : $0.value.severity > $1.value.severity }
            .map { ($0.key, $0.value) }
    }

    static func text(_ health: HealthReport, detail: Bool) -> String {
        let checks = inOrder(health)
        let summaries = checks.map(\.check.summary.message).joined(separator: "; ")
        var text = health.status.rawValue + (summaries.isEmpty ? "" : " " + summaries) + "\n"
        guard detail else { return text }
        for (name, check) in checks {
            let mark =
                switch check.severity {
                case .ok: "[INF]"
                case .warning: "[WRN]"
                case .error: "[ERR]"
                }
            text += "\(mark) \(name): \(check.summary.message)\n"
            for line in check.detail { text += "    \(line.message)\n" }
            let more = check.summary.count - check.detail.count
            if more > 0, !check.detail.isEmpty { text += "    and \(more) more\n" }
        }
        return text
    }
}
