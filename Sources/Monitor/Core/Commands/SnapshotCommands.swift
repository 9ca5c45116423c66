import ClusterMap
import Glibc
import Wire

/// `osd pool selfmanaged-snap …`: numbers for snapshots that clients keep the books of, as images do. What they answer is
/// stored by then.
enum SnapshotCommands {
    /// Gives out the number of a new snapshot. A command that was sent again gets the number that it was given before, as
    /// long as its answer is remembered; a number that nobody came to know costs nothing.
    static func create(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var pool = try draft.map.existingPool(arguments.required("pool"))
        var snapshots = pool.snapshots ?? PoolSnapshots()
        guard let snap = snapshots.create() else {
            throw CommandFailure(
                ENOSPC, "pool '\(pool.name)' has \(MapLimits.snapRuns) snapshots or about that: remove some")
        }
        pool.snapshots = snapshots
        draft.set(pool)
        var result = CommandResult("snapshot \(snap) of pool '\(pool.name)' is made")
        result.output = Bytes("\(snap)")
        return result
    }

    /// Says that a snapshot is no more. One that was removed before is no error, as the sender may have missed the first
    /// answer.
    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var pool = try draft.map.existingPool(arguments.required("pool"))
        guard let id = try arguments.number("snapid", in: 1...SnapID.last.rawValue) else {
            _ = try arguments.required("snapid")
            throw CommandFailure(EINVAL, "give the number of the snapshot as 'snapid'")
        }
        let before = pool
        guard pool.snapshots?.remove(SnapID(id)) == true else {
            throw CommandFailure(
                ENOENT,
                "pool '\(pool.name)' never had a snapshot \(id): the newest is "
                    + "\(pool.snapshots?.sequence ?? .none)")
        }
        if pool != before { draft.set(pool) }
        return CommandResult("snapshot \(id) of pool '\(pool.name)' is removed")
    }
}

extension MonitorCore {
    /// Has the pool's snapshots taken off that all its groups say they have trimmed. Groups say so until the map has it.
    func noteTrimmed(_ id: PoolID) {
        guard let pool = map.pools[id], let trimming = pool.snapshots?.trimming, !trimming.isEmpty else { return }
        var everywhere = trimming
        for group in pool.groups {
            guard let placement = groups[group], let primary = placement.placement.primary,
                let report = watch.reports[primary], report.statistics.epoch >= placement.since,
                let said = report.groups[group]
            else { return }
            everywhere = everywhere.intersection(said.trimmed)
            if everywhere.isEmpty { return }
        }
        want(.trimmed(id, everywhere))
    }

    func judgeTrimmed(_ id: PoolID, _ snaps: SnapIntervals, _ draft: inout MapDraft) {
        guard var pool = draft.map.pools[id], let before = pool.snapshots else { return }
        pool.snapshots?.trimmed(snaps)
        if pool.snapshots != before { draft.set(pool) }
    }
}
