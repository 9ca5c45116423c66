import CRUSH
import ClusterMap
import Glibc
import Wire

/// `pg …` and `osd map`: where things are and how they are.
enum GroupCommands {
    static func stat(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.groupCounts)
    }

    static func dump(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let groups = view.allStates.map { state in
            GroupDump.Group(
                pgid: state.id.description, state: state.name, version: state.lastUpdate?.description ?? "0'0",
                up: state.group.placement.up.map(\.rawValue), acting: state.group.placement.acting.map(\.rawValue),
                actingPrimary: state.group.placement.primary?.rawValue ?? -1,
                waitingFor: state.waitingFor.map(\.rawValue), reason: state.reason,
                statSum: state.statistics.map(GroupDump.GroupData.init))
        }
        return CommandResult(GroupDump(epoch: view.map.epoch.rawValue, pgStats: groups))
    }

    /// Where an object is, or would be.
    static func mapObject(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let pool = try view.map.existingPool(arguments.required("pool"))
        let objectName = try arguments.required("object")
        guard let object = ObjectName(Array(objectName.utf8)) else {
            throw CommandFailure(
                ENAMETOOLONG, "the name has \(objectName.utf8.count) bytes, the limit is \(ObjectName.limit)")
        }
        let hash = pool.hash(of: object)
        let group = pool.group(ofHash: hash)
        let placement = view.map.placement(of: group)
        return CommandResult(
            ObjectMapping(
                epoch: view.map.epoch.rawValue, pool: pool.name, poolId: pool.id.rawValue, objname: objectName,
                rawPgid: PGID(pool: pool.id, seed: hash).description, pgid: group.description,
                up: placement.up.map(\.rawValue), upPrimary: placement.upPrimary?.rawValue ?? -1,
                acting: placement.acting.map(\.rawValue), actingPrimary: placement.primary?.rawValue ?? -1))
    }
}

extension ClusterView {
    /// Pools, groups and usage in numbers.
    var groupCounts: GroupCounts {
        let states = allStates
        var byState: [String: Int] = [:]
        for state in states { byState[state.name, default: 0] += 1 }
        let sorted = byState.sorted { $0.value == $1.value ? $0.key < $1.key : $0.value > $1.value }
        let reports = watch.reports.values.map(\.statistics)
        let total = reports.reduce(0) { $0 &+ $1.capacity }
        let used = reports.reduce(0) { $0 &+ $1.used }
        return GroupCounts(
            numPools: map.pools.count, numPgs: states.count,
            pgsByState: sorted.map { GroupCounts.State(stateName: $0.key, count: $0.value) },
            waiting: waiting(states), bytesUsed: used, bytesAvail: total > used ? total - used : 0, bytesTotal: total,
            data: DataReport(dataCounts))
    }

    /// The reasons why groups do not serve, in the order of the first group of each.
    private func waiting(_ states: [GroupState]) -> [GroupCounts.Waiting] {
        var found: [GroupCounts.Waiting] = []
        var places: [String: Int] = [:]
        for state in states {
            guard let reason = state.reason else { continue }
            if let place = places[reason] {
                found[place].count += 1
            } else {
                places[reason] = found.count
                found.append(GroupCounts.Waiting(reason: reason, count: 1, pgid: state.id.description))
            }
        }
        return found
    }
}
