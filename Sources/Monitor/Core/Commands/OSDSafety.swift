import ClusterMap
import Glibc
import Protocol
import Wire

/// What is asked before an OSD is stopped, destroyed, or given up.
enum OSDSafety {
    /// Says whether these OSDs can be stopped together without a group that stops serving, or that would be left with
    /// copies that lack something.
    static func okToStop(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let osds = try known(arguments, view)
        for pool in view.map.poolsInOrder {
            for state in view.states(of: pool) where state.group.placement.acting.contains(where: osds.contains) {
                guard let said = state.said else {
                    throw CommandFailure(EAGAIN, "pg \(state.id) has not reported: try again")
                }
                let left = state.group.placement.acting.filter { !osds.contains($0) }.count
                guard said.contains(.active), left >= Int(pool.minSize) else {
                    throw CommandFailure(
                        EBUSY, "pg \(state.id) is \(state.name) and would have \(left) OSDs, it needs \(pool.minSize)")
                }
                guard said.isDisjoint(with: [.recovering, .recoveryUnfound]) else {
                    throw CommandFailure(EBUSY, "pg \(state.id) is \(state.name): wait until nothing is missing")
                }
            }
        }
        return CommandResult("\(list(osds)) can be stopped")
    }

    /// Says whether nothing is kept on these OSDs that is not whole elsewhere.
    static func safeToDestroy(
        _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let osds = try known(arguments, view)
        for state in view.allStates {
            let placement = state.group.placement
            if let osd = (placement.acting + placement.up).first(where: osds.contains) {
                throw CommandFailure(EBUSY, "\(osd) holds pg \(state.id): mark it out and wait until it has none")
            }
            // An OSD that is down may have a copy that nobody speaks of.
            guard state.said?.isActiveClean == true else {
                throw CommandFailure(EAGAIN, "pg \(state.id) is \(state.name): wait until it is active+clean")
            }
        }
        return CommandResult("\(list(osds)) can be destroyed")
    }

    /// Gives up what only OSDs that are down have, so that groups go on without.
    static func lost(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        guard arguments.flag("yes-i-really-mean-it") else {
            throw CommandFailure(
                EPERM, "lost gives up every write that only this OSD has: add --yes-i-really-mean-it")
        }
        var done: [String] = []
        for id in try arguments.osds() {
            if draft.settled.contains(id) { throw .later }
            var record = try draft.map.existing(id)
            guard !record.isUp else {
                throw CommandFailure(EBUSY, "\(id) is up: what it has is not lost")
            }
            record.lostAt = draft.epoch
            draft.set(id, record)
            done.append("marked \(id) lost in epoch \(draft.epoch)")
        }
        return CommandResult(done.joined(separator: ", "))
    }

    private static func known(
        _ arguments: CommandArguments, _ view: ClusterView
    ) throws(CommandFailure) -> Set<OSDID> {
        let osds = try arguments.osds()
        for id in osds { _ = try view.map.existing(id) }
        return Set(osds)
    }

    private static func list(_ osds: Set<OSDID>) -> String {
        osds.sorted().map(\.description).joined(separator: ", ")
    }
}
