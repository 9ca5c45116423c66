import ClusterMap

/// `status`, `health`, `mon stat`: the cluster as a whole.
enum StatusCommands {
    static func status(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(
            ClusterStatus(
                fsid: view.map.cluster.description, health: view.health, monmap: view.monitors,
                osdmap: view.osdCounts, pgmap: view.groupCounts))
    }

    static func health(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.health)
    }

    static func monitors(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.monitors.mons)
    }
}

extension ClusterView {
    /// The monitors; one in this version.
    var monitors: ClusterStatus.Monitors {
        ClusterStatus.Monitors(
            numMons: 1, mons: [MonitorReport(name: identity.name, addr: identity.endpoint.description)])
    }

    /// The OSDs in numbers.
    var osdCounts: OSDCounts {
        OSDCounts(
            epoch: map.epoch.rawValue, numOsds: map.osds.count, numUpOsds: map.osds.values.count(where: \.isUp),
            numInOsds: map.osds.values.count(where: \.isIn))
    }
}
