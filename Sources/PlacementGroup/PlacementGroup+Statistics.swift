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
        case .peered, .active:
            state.insert(phase == .active ? .active : .peered)
            if recovery.lacking > 0 { state.formUnion([.degraded, .recovering]) }
            if !recovery.unfound.isEmpty { state.insert(.recoveryUnfound) }
            if let fill = recovery.fill {
                state.insert(fill.stage == .running ? .backfilling : fill.isTooFull ? .backfillTooFull : .backfillWait)
            }
            if isClean { state.insert(.clean) }
        default:
            state.insert(.peering)
            waitingFor = peering.awaiting.sorted()
        }
        return GroupStatistics(group: id, state: state, waitingFor: waitingFor, lastUpdate: info.lastUpdate)
    }

    /// True when every copy is complete and where it should be.
    var isClean: Bool {
        phase == .active && !recovery.isWorking && acting == up && acting.count == Int(intervals.current.size)
    }
}
