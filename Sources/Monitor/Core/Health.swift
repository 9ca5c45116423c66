import ClusterMap
import Wire

/// The ratios of used space at which health speaks up.
public enum FullRatio {
    /// `OSD_NEARFULL`.
    public static let near = 0.85
    /// `OSD_FULL`: the OSD takes no more data.
    public static let full = 0.95
}

extension ClusterView {
    /// Every check that finds something, under the names that administrators know.
    var health: HealthReport {
        var checks: [String: HealthReport.Check] = [:]
        func add(_ name: String, _ severity: HealthReport.Severity, _ message: String, count: Int, _ details: [String])
        {
            guard count > 0 else { return }
            let lines = details.prefix(MonitorBounds.healthDetails).map { HealthReport.Check.Detail(message: $0) }
            checks[name] = HealthReport.Check(
                severity: severity, summary: .init(message: message, count: count), detail: lines)
        }
        // Authentication is its own issue; until then a monitor listens on loopback only.
        add("AUTH_NONE", .ok, "authentication is none: for this host only", count: 1, [])
        checkOSDs(add)
        checkGroups(add)
        let worst = checks.values.map(\.severity).max() ?? .ok
        return HealthReport(status: worst, checks: checks)
    }

    private typealias Add = (String, HealthReport.Severity, String, Int, [String]) -> Void

    private func checkOSDs(_ add: Add) {
        let osds = map.osdsInOrder
        let down = osds.filter { !$0.record.isUp && $0.record.isIn }
        add(
            "OSD_DOWN", .warning, "\(down.count) osds down", down.count,
            down.map { id, record in
                record.downAt == .none ? "\(id) was never up" : "\(id) is down since epoch \(record.downAt)"
            })
        let size = map.pools.values.map(\.size).max() ?? 0
        if osds.count < Int(size) {
            let message = "OSD count \(osds.count) < pool size \(size)"
            add("TOO_FEW_OSDS", .warning, message, 1, [message + ": add OSDs with `nacre osd`"])
        }
        var near: [String] = []
        var full: [String] = []
        for (id, _) in osds {
            guard let said = watch.reports[id]?.statistics, said.capacity > 0 else { continue }
            let ratio = Double(said.used) / Double(said.capacity)
            let line = "\(id) is \(Int(ratio * 100)) % full"
            if ratio >= FullRatio.full { full.append(line) } else if ratio >= FullRatio.near { near.append(line) }
        }
        add("OSD_NEARFULL", .warning, "\(near.count) nearfull osd(s)", near.count, near)
        add("OSD_FULL", .error, "\(full.count) full osd(s)", full.count, full)
        checkSpeed(add)
    }

    /// Who answers late, by what those say who wait. There is one network, the one that Ceph calls back.
    private func checkSpeed(_ add: Add) {
        var slow: [(delay: UInt32, line: String)] = []
        var (writes, oldest): (UInt64, UInt32) = (0, 0)
        var waiting: [String] = []
        for (id, record) in map.osdsInOrder where record.isUp {
            guard let said = watch.reports[id]?.statistics else { continue }
            for peer in said.slowPeers where map.osds[peer.osd]?.isUp == true {
                slow.append((peer.milliseconds, "\(peer.osd) answers \(id) after \(peer.milliseconds) ms"))
            }
            guard said.slowWrites > 0 else { continue }
            writes += UInt64(said.slowWrites)
            oldest = max(oldest, said.oldestWrite)
            waiting.append("\(id) has \(said.slowWrites) slow ops, oldest one blocked for \(said.oldestWrite) sec")
        }
        slow.sort { $0.delay > $1.delay }
        add(
            "OSD_SLOW_PING_TIME_BACK", .warning,
            "Slow OSD heartbeats on back (longest \(slow.first?.delay ?? 0) ms)", slow.count, slow.map(\.line))
        add(
            "SLOW_OPS", .warning, "\(writes) slow ops, oldest one blocked for \(oldest) sec", Int(clamping: writes),
            waiting)
    }

    private func checkGroups(_ add: Add) {
        let states = allStates
        let inactive = states.filter { !$0.isServing }
        add(
            "PG_AVAILABILITY", .warning, "Reduced data availability: \(inactive.count) pgs inactive", inactive.count,
            inactive.map { "pg \($0.id) \($0.reason ?? "is \($0.name)")" })
        let degraded = states.filter(\.isDegraded)
        let copies = degradedText(dataCounts.counts)
        add(
            "PG_DEGRADED", .warning,
            "Degraded data redundancy: \(copies.isEmpty ? "" : copies + ", ")\(degraded.count) pgs degraded",
            degraded.count,
            degraded.map { "pg \($0.id) is \($0.name), acting \($0.group.placement.acting.map(\.rawValue))" })
        checkData(states, add)
    }
}
