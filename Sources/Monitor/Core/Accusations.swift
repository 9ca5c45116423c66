import CRUSH
import ClusterMap
import Protocol
import Wire

/// Who says of whom that it is silent. Nothing of it is stored: what is true is said again.
struct Accusations {
    private struct Report {
        var incarnation: UInt64
        var until: UInt64
    }

    private var reports: [OSDID: [OSDID: Report]] = [:]

    mutating func take(_ failure: OSDFailure, now: UInt64, forgetAfter time: UInt64) {
        var known = (reports[failure.target] ?? [:]).filter {
            $0.value.until > now && $0.value.incarnation == failure.incarnation
        }
        known[failure.reporter] = Report(incarnation: failure.incarnation, until: now + time)
        reports[failure.target] = known
    }

    mutating func withdraw(_ failure: OSDFailure) { reports[failure.target]?[failure.reporter] = nil }

    func accusers(of target: OSDID) -> [OSDID] { (reports[target] ?? [:]).keys.sorted() }

    /// Forgets what was said of those that are not up in that run any more.
    mutating func follow(_ map: OSDMap) {
        guard !reports.isEmpty else { return }
        reports = reports.filter { target, said in
            guard let record = map.osds[target], record.isUp else { return false }
            return said.values.contains { $0.incarnation == record.incarnation }
        }
    }
}

/// In which failure domain each OSD is: its host, or, when all that are up are on one host, the OSD itself.
struct FailureDomains {
    private var domains: [OSDID: ItemID] = [:]
    private let up: [OSDID]

    init(_ map: OSDMap) {
        up = map.osdsInOrder.filter(\.record.isUp).map(\.id)
        for osd in map.osdsInOrder.map(\.id) {
            domains[osd] = map.crush.parents(of: ItemID(osd)).first?.id ?? ItemID(osd)
        }
        if Set(up.compactMap { domains[$0] }).count <= 1 { for osd in domains.keys { domains[osd] = ItemID(osd) } }
    }

    subscript(osd: OSDID) -> ItemID { domains[osd] ?? ItemID(osd) }

    /// From how many domains reports must come: two, or fewer where there are not as many others.
    func needed(against target: OSDID) -> Int {
        let others = Set(up.filter { $0 != target }.map { self[$0] }).subtracting([self[target]])
        return max(1, min(2, others.count))
    }
}
