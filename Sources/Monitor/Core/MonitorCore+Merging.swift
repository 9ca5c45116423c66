import ClusterMap
import Protocol
import Wire

/// Since when pools have quiet groups, and when those may be quiet again that had to be let go. Nothing of it is stored.
struct MergeWatch {
    private var quietSince: [PoolID: UInt64] = [:]
    private var mayBegin: [PoolID: UInt64] = [:]

    /// For how many milliseconds groups of the pool have been quiet, as far as this run of the monitor knows; nil when none is.
    mutating func quiet(_ pool: Pool, now: UInt64) -> UInt64? {
        guard pool.lowering?.pending != nil else {
            quietSince[pool.id] = nil
            return nil
        }
        let since = quietSince[pool.id] ?? now
        quietSince[pool.id] = since
        return now - since
    }

    func mayBegin(_ pool: PoolID, now: UInt64) -> Bool { now >= mayBegin[pool] ?? 0 }

    mutating func letGo(_ pool: PoolID, until end: UInt64) { mayBegin[pool] = end }

    /// The pool is no more.
    mutating func forget(_ pool: PoolID) {
        quietSince[pool] = nil
        mayBegin[pool] = nil
    }
}

/// Fewer groups in a pool, some at a time: those that end and their takers are made quiet, and merged when all of them have said
/// where they stand. Clients wait meanwhile, so what is not ready soon is let go and tried again later.
extension MonitorCore {
    /// Looks at what is to be done for pools that are to have fewer groups.
    func continueMerging() {
        let now = environment.nowMilliseconds
        for pool in map.poolsInOrder {
            guard let quiet = merges.quiet(pool, now: now) else {
                if merges.mayBegin(pool.id, now: now), nextGroupCount(of: pool) != nil { want(.quiet(pool.id)) }
                continue
            }
            if versions(of: pool) != nil {
                want(.merge(pool.id))
            } else if quiet >= times.mergeGrace {
                want(.letGo(pool.id))
            }
        }
    }

    /// To how many groups the pool can go with the next step: nil when there is nothing to do, or groups are not where they have
    /// to be, in step with those that take them up.
    private func nextGroupCount(of pool: Pool) -> UInt32? {
        guard let lowering = pool.lowering, lowering.pending == nil else { return nil }
        let count = pool.groupCount
        let next = max(lowering.target, (count + 1) / 2, count - min(count, MonitorBounds.mergesAtATime))
        let table = groups.groups[pool.id] ?? []
        for seed in 0..<count where Pool.isMerged(seed, from: count, to: next) {
            guard Int(seed) < table.count, isPlacedAlike(seed, next, table),
                let primary = table[Int(seed)].placement.primary, let report = watch.reports[primary],
                report.statistics.epoch >= table[Int(seed)].since,
                // What scrubs have found is no hindrance.
                report.groups[PGID(pool: pool.id, seed: seed)]?.state.isSuperset(of: .activeClean) == true
            else { return nil }
        }
        return next
    }

    /// True when the group lies on the OSDs of the one that will take it up; who leads is of no matter.
    private func isPlacedAlike(_ seed: UInt32, _ count: UInt32, _ table: [GroupTable.Group]) -> Bool {
        let (one, other) = (table[Int(seed)].placement, table[Int(Pool.stableModulo(seed, count))].placement)
        return Set(one.acting) == Set(other.acting) && Set(one.up) == Set(other.up)
    }

    /// Where the quiet groups of the pool stand, when all of them stand still on all their members.
    private func versions(of pool: Pool) -> [UInt32: Version]? {
        guard let pending = pool.lowering?.pending else { return nil }
        let table = groups.groups[pool.id] ?? []
        var versions: [UInt32: Version] = [:]
        for seed in 0..<pool.groupCount where pool.isQuiet(seed) {
            guard Int(seed) < table.count, isPlacedAlike(seed, pending, table),
                let primary = table[Int(seed)].placement.primary,
                let said = watch.reports[primary]?.groups[PGID(pool: pool.id, seed: seed)],
                // Said of the interval in which it is quiet, or of a later one in which it is quiet still.
                said.interval >= table[Int(seed)].since, said.state.isSuperset(of: [.active, .clean, .premerge])
            else { return nil }
            versions[seed] = said.lastUpdate
        }
        return versions
    }

    func judgeQuiet(_ id: PoolID, _ draft: inout MapDraft) {
        // Groups that move with this epoch would not be ready.
        guard draft.increment.isEmpty, var pool = draft.map.pools[id], let next = nextGroupCount(of: pool) else {
            return
        }
        pool.lowering?.pending = next
        draft.set(pool)
    }

    func judgeLetGo(_ id: PoolID, _ draft: inout MapDraft) {
        guard var pool = draft.map.pools[id], pool.lowering?.pending != nil else { return }
        pool.lowering?.pending = nil
        draft.set(pool)
        merges.letGo(id, until: environment.nowMilliseconds + times.mergePause)
        environment.note(
            "groups of pool '\(pool.name)' are not ready to be merged: they serve again in epoch \(draft.epoch)")
    }

    /// Merges the quiet groups of a pool. False when it must wait for the next epoch: where they stand is known of the map as it
    /// is stored.
    func judgeMerge(_ id: PoolID, _ draft: inout MapDraft) -> Bool {
        guard draft.increment.isEmpty else { return false }
        guard var pool = draft.map.pools[id], let next = pool.lowering?.pending, let versions = versions(of: pool)
        else {
            return true
        }
        var exceptions = GroupExceptions()
        for seed in next..<pool.groupCount {
            let group = PGID(pool: id, seed: seed)
            if draft.map.exceptions.temporary[group] != nil { exceptions.temporary[group] = [] }
            if draft.map.exceptions.temporaryPrimaries[group] != nil {
                exceptions.temporaryPrimaries[group] = OSDID.none
            }
        }
        if !exceptions.isEmpty { draft.set(exceptions) }
        environment.note(
            "pool '\(pool.name)' goes from \(pool.groupCount) to \(next) groups in epoch \(draft.epoch)")
        pool.merge = Pool.Merge(epoch: draft.epoch, versions: versions)
        pool.groupCount = next
        pool.placementGroupCount = min(pool.placementGroupCount, next)
        pool.lowering?.pending = nil
        if pool.lowering?.target == next { pool.lowering = nil }
        draft.set(pool)
        return true
    }
}
