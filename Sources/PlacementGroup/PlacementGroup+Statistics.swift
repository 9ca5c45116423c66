import Protocol
import Wire

extension PlacementGroup {
    /// What the monitor is told of the group by its primary.
    public var statistics: GroupStatistics {
        var state: GroupStatistics.State = []
        var waitingFor: [OSDID] = []
        if acting.count < Int(intervals.current.size) { state.formUnion([.undersized, .degraded]) }
        if acting != up { state.insert(.remapped) }
        switch phase {
        case .blocked(let osds):
            state.insert(osds.isEmpty ? .incomplete : .down)
            waitingFor = osds
        case .peered, .leasing, .active:
            state.insert(phase == .active ? .active : phase == .leasing ? .wait : .peered)
            if recovery.lacking > 0 { state.formUnion([.degraded, .recovering]) }
            if !recovery.unfound.isEmpty { state.insert(.recoveryUnfound) }
            if let fill = recovery.fill {
                state.insert(fill.stage == .running ? .backfilling : fill.isTooFull ? .backfillTooFull : .backfillWait)
            }
            if isClean { state.insert(.clean) }
            if !snapsToTrim.isEmpty { state.insert(isClean ? .snapTrim : .snapTrimWait) }
        default:
            state.insert(.peering)
            waitingFor = peering.awaiting.sorted()
        }
        return GroupStatistics(
            group: id, state: state, waitingFor: waitingFor, lastUpdate: info.lastUpdate,
            trimmed: snapsTrimmed)
    }

    /// How the group is on this OSD, in a line for traces and failing tests.
    public var summary: String {
        let work = recovery.underway.sorted { $0.key < $1.key }.map { object, work in
            work.source.map { "\(object) from \($0)" } ?? "\(object) to \(work.pushing.sorted())"
        }
        let fill = recovery.fill.map { "\($0.stage) \($0.target) after \(String(describing: $0.cursor)) \($0.pending)" }
        let held = members.map { "\($0.osd) at \($0.committed) \($0.position) lacks \($0.missing.count)" }
        return "\(id) on \(me) in \(interval): \(phase), acting \(acting), up \(up), log \(log.tail)..\(log.head), "
            + "\(info.lastBackfill), les \(info.lastEpochStarted), missing \(missing.count), \(commits.count) commits, "
            + "\(writes.count) writes, \(waiting.count) waiting, members \(held), lacking \(recovery.lackingObjects.count), "
            + "queue \(recovery.queue.count), delayed \(recovery.delayed.count), unfound \(recovery.unfound.count), "
            + "under way \(work), fill \(fill ?? "none")"
    }

    /// True when every copy is complete and where it should be.
    var isClean: Bool {
        phase == .active && !recovery.isWorking && acting == up && acting.count == Int(intervals.current.size)
    }
}
