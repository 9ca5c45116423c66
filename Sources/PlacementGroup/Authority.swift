import Protocol
import Wire

/// Which history wins, and who is to serve it.
public enum Authority {
    /// The member whose log is authoritative, or nil when no complete copy is fit to be.
    ///
    /// The greatest activation seen is taken over what everyone knows of the group's history and what complete members have
    /// stored themselves. A candidate is complete and has stored that activation: what was acknowledged before is in its
    /// log by then, and what was acknowledged since is in the log of every such member. Preferred are the newest last
    /// update, the longest log, nothing missing, and then `me`.
    public static func choose(_ infos: [OSDID: GroupInfo], preferring me: OSDID) -> OSDID? {
        var started = Epoch.none
        for info in infos.values {
            started = max(started, info.historyLastEpochStarted)
            if info.isComplete { started = max(started, info.lastEpochStarted) }
        }
        let candidates = infos.filter { $0.value.isComplete && $0.value.lastEpochStarted >= started }
        func isBetter(_ a: (key: OSDID, value: GroupInfo), _ b: (key: OSDID, value: GroupInfo)) -> Bool {
            if a.value.lastUpdate != b.value.lastUpdate { return a.value.lastUpdate > b.value.lastUpdate }
            if a.value.logTail != b.value.logTail { return a.value.logTail < b.value.logTail }
            if (a.value.missingCount == 0) != (b.value.missingCount == 0) { return a.value.missingCount == 0 }
            if (a.key == me) != (b.key == me) { return a.key == me }
            return a.key < b.key
        }
        return candidates.min(by: isBetter)?.key
    }

    /// Who should serve, primary first: of the up set those whose log overlaps the authority's; while there are fewer than
    /// `size`, also such members of the acting set, and then others that have a copy. The rest of the up set is to be filled.
    ///
    /// With the answer as the acting set of the next interval, the same infos give the same answer.
    public static func servants(
        _ infos: [OSDID: GroupInfo], authority: OSDID, interval: Interval
    ) -> [OSDID] {
        guard let best = infos[authority] else { preconditionFailure("no info of the authority \(authority)") }
        func isUsable(_ osd: OSDID) -> Bool {
            guard let info = infos[osd] else { return false }
            return info.isComplete && info.lastUpdate >= best.logTail
        }
        let size = Int(interval.size)
        var result: [OSDID] = [interval.up.first.flatMap { isUsable($0) ? $0 : nil } ?? authority]
        func add(_ osds: [OSDID]) {
            for osd in osds where result.count < size && isUsable(osd) && !result.contains(osd) { result.append(osd) }
        }
        add(interval.up)
        add(interval.acting)
        // Someone who never had a copy is no help outside the sets.
        add(
            infos.filter { !$0.value.isEmpty }.keys.sorted { a, b in
                guard let left = infos[a], let right = infos[b] else { return a < b }
                return left.lastUpdate == right.lastUpdate ? a < b : left.lastUpdate > right.lastUpdate
            })
        return result
    }
}
