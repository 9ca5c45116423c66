import ClusterMap
import Protocol
import Wire

/// What a monitor knows of OSDs beside the map: when it heard of them last and what they said. Nothing of it is stored.
struct OSDWatch {
    /// One run of an OSD's daemon.
    struct Run: Hashable, Comparable {
        var id: OSDID
        var incarnation: UInt64

        static func < (left: Run, right: Run) -> Bool {
            left.id == right.id ? left.incarnation < right.incarnation : left.id < right.id
        }
    }

    /// The newest statistics of an OSD.
    struct Report {
        var statistics: OSDStatistics
        var groups: [PGID: GroupStatistics]
        var progress = RecoveryProgress()
    }

    private(set) var reports: [OSDID: Report] = [:]
    private var heard: [OSDID: UInt64] = [:]
    private var lostSince: [Run: UInt64] = [:]
    private var downSince: [OSDID: UInt64] = [:]

    /// At a monitor's start, everything that is up was heard of just now.
    init(upOSDs: [OSDID], now: UInt64) {
        for osd in upOSDs { heard[osd] = now }
    }

    /// What was not heard until now says nothing: everybody gets the whole time again.
    mutating func beginAnew(now: UInt64) {
        for osd in heard.keys { heard[osd] = now }
        for run in lostSince.keys { lostSince[run] = now }
    }

    /// The session of a run broke.
    mutating func lost(_ osd: OSDID, incarnation: UInt64, now: UInt64) {
        let run = Run(id: osd, incarnation: incarnation)
        if lostSince[run] == nil { lostSince[run] = now }
    }

    /// A run has a session again.
    mutating func found(_ osd: OSDID, incarnation: UInt64) {
        lostSince[Run(id: osd, incarnation: incarnation)] = nil
    }

    /// The runs that have had no session for too long; each is told once.
    mutating func gone(now: UInt64, reconnect: UInt64) -> [Run] {
        let gone = lostSince.filter { now >= $0.value + reconnect }.keys.sorted()
        for run in gone { lostSince[run] = nil }
        return gone
    }

    /// True when an up OSD said nothing for the grace.
    func isSilent(_ osd: OSDID, now: UInt64, grace: UInt64) -> Bool {
        guard let last = heard[osd] else { preconditionFailure("\(osd) is up and was never heard of") }
        return now >= last + grace
    }

    /// The OSDs that are down and in for longer than that, as far as this run of the monitor knows; 0 for never.
    mutating func downTooLong(_ map: OSDMap, now: UInt64, after time: UInt64) -> [Run] {
        guard time > 0 else { return [] }
        var gone: [Run] = []
        for (id, record) in map.osdsInOrder {
            guard !record.isUp, record.isIn, record.downAt != .none else {
                downSince[id] = nil
                continue
            }
            let since = downSince[id] ?? now
            downSince[id] = since
            if now - since >= time { gone.append(Run(id: id, incarnation: record.incarnation)) }
        }
        return gone
    }

    /// Takes the statistics of an OSD that is up.
    mutating func take(_ statistics: OSDStatistics, now: UInt64) {
        heard[statistics.id] = now
        found(statistics.id, incarnation: statistics.incarnation)
        var report = Report(statistics: statistics, groups: [:])
        if let before = reports[statistics.id], before.statistics.incarnation == statistics.incarnation {
            report.progress = before.progress
            if !statistics.isWhole { report.groups = before.groups }
        }
        for group in statistics.groups { report.groups[group.group] = group }
        report.progress.take(statistics.recoveredObjects, statistics.recoveredBytes, now: now)
        reports[statistics.id] = report
    }

    /// Forgets what OSDs said that went down, and begins the grace of those that came up.
    mutating func follow(from before: OSDMap, to after: OSDMap, now: UInt64) {
        for (id, record) in before.osds where record.isUp {
            let next = after.osds[id]
            guard next?.isUp != true || next?.incarnation != record.incarnation else { continue }
            reports[id] = nil
            heard[id] = nil
            found(id, incarnation: record.incarnation)
        }
        for (id, record) in after.osds where record.isUp && heard[id] == nil { heard[id] = now }
    }
}
