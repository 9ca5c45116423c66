import ClusterMap
import Protocol
import Wire

/// Where every placement group is, and since when.
struct GroupTable {
    struct Group {
        var placement: OSDMap.Placement
        /// Where it would be if all its OSDs were up.
        var wanted: [OSDID]
        /// The lowest bits of the hash that its objects share.
        var bits: Int
        /// True while it writes nothing because it is about to be merged.
        var isQuiet: Bool
        /// The epoch since which, as far as this run of the monitor knows, the acting set and the group's extent are what they
        /// are, and it is quiet or not.
        var since: Epoch
    }

    private(set) var groups: [PoolID: [Group]] = [:]

    init(_ map: OSDMap) {
        place(map)
    }

    subscript(group: PGID) -> Group? {
        guard let pool = groups[group.pool], group.seed < pool.count else { return nil }
        return pool[Int(group.seed)]
    }

    /// Goes on to the next map. Nothing is computed when the change cannot move a group.
    mutating func follow(_ map: OSDMap, after before: OSDMap, _ increment: OSDMap.Increment) {
        let movesPool = increment.pools.contains { pool in
            guard var old = before.pools[pool.id] else { return true }
            (old.name, old.application, old.snapshots) = (pool.name, pool.application, pool.snapshots)
            return old != pool
        }
        guard
            movesPool || !increment.removedPools.isEmpty || !increment.osds.isEmpty || !increment.removedOSDs.isEmpty
                || increment.crush != nil || !increment.exceptions.isEmpty
        else { return }
        place(map)
    }

    private mutating func place(_ map: OSDMap) {
        var everyoneUp = map
        for id in everyoneUp.osds.keys { everyoneUp.osds[id]?.isUp = true }
        var next: [PoolID: [Group]] = [:]
        for pool in map.pools.values {
            let placements = zip(map.placements(of: pool), everyoneUp.placements(of: pool))
            next[pool.id] = zip(pool.groups, placements).map { id, placements in
                let before = self[id]
                let (bits, isQuiet) = (pool.bits(ofGroup: id.seed), pool.isQuiet(id.seed))
                let isSame =
                    before?.placement.acting == placements.0.acting
                    && before?.placement.primary == placements.0.primary
                    && before?.bits == bits && before?.isQuiet == isQuiet
                return Group(
                    placement: placements.0, wanted: placements.1.acting, bits: bits, isQuiet: isQuiet,
                    since: isSame ? before?.since ?? map.epoch : map.epoch)
            }
        }
        groups = next
    }
}

/// Everything that a command may look at: what is stored, and what OSDs say.
struct ClusterView {
    let identity: MonitorIdentity
    let map: OSDMap
    let groups: GroupTable
    let watch: OSDWatch
    /// The time of day, in seconds since 1970.
    let wallSeconds: UInt64

    /// How a group is, as far as the monitor knows.
    struct GroupState {
        var id: PGID
        var group: GroupTable.Group
        /// What the primary says of the acting set that the map has now; nil when it has not spoken.
        var said: GroupStatistics.State?
        /// All that it says.
        var statistics: GroupStatistics?
        /// The state of the field, or `unknown`.
        var name: String
        var isServing: Bool
        var isDegraded: Bool
        /// The OSDs that it waits for.
        var waitingFor: [OSDID]
        /// Why it does not serve; nil when it does.
        var reason: String?
        var lastUpdate: Version?
    }

    /// The groups of a pool in order.
    func states(of pool: Pool) -> [GroupState] { pool.groups.map { state(of: $0, in: pool) } }

    /// All groups in order.
    var allStates: [GroupState] { map.poolsInOrder.flatMap { states(of: $0) } }

    /// What the primary says, if it says it of the acting set that the map has now; else what follows from the map.
    private func state(of id: PGID, in pool: Pool) -> GroupState {
        guard let group = groups[id] else { preconditionFailure("group \(id) is not in the table") }
        var state = GroupState(
            id: id, group: group, name: "unknown", isServing: false, isDegraded: false, waitingFor: [], reason: nil)
        let missing = group.wanted.filter { !group.placement.acting.contains($0) }
        if let primary = group.placement.primary, let report = watch.reports[primary],
            report.statistics.epoch >= group.since, let said = report.groups[id]
        {
            state.said = said.state
            state.statistics = said
            state.name = said.state.text
            state.isServing = said.state.contains(.active)
            state.isDegraded = !said.state.isDisjoint(with: [.undersized, .degraded])
            state.waitingFor = said.waitingFor.isEmpty && !state.isServing ? missing : said.waitingFor
            state.lastUpdate = said.lastUpdate
        } else {
            state.waitingFor = missing
            if group.placement.primary != nil, group.placement.acting.count < Int(pool.size) {
                state.name = GroupStatistics.State.undersized.text
                state.isDegraded = true
            }
        }
        if !state.isServing { state.reason = reason(state, pool) }
        return state
    }

    private func reason(_ state: GroupState, _ pool: Pool) -> String {
        if !state.waitingFor.isEmpty { return "waits for " + state.waitingFor.map(describe).joined(separator: ", ") }
        if state.group.wanted.count < Int(pool.size) {
            return "has \(state.group.wanted.count) of \(pool.size) OSDs: add OSDs, or lower the size of pool "
                + "'\(pool.name)'"
        }
        guard let primary = state.group.placement.primary else { return "has no OSD" }
        return state.name == "unknown" ? "waits for the report of \(primary)" : "is \(state.name) on \(primary)"
    }

    private func describe(_ osd: OSDID) -> String {
        guard let record = map.osds[osd] else { return "\(osd) (removed)" }
        if record.isUp { return "\(osd)" }
        return record.downAt == .none ? "\(osd) (never up)" : "\(osd) (down since epoch \(record.downAt))"
    }
}
