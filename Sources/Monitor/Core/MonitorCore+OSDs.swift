import ClusterMap
import Protocol
import Wire

/// OSDs come up and say how they are.
extension MonitorCore {
    /// Takes a boot as proof that this run of the OSD has a session, and has it judged.
    func announce(_ boot: OSDBoot, from session: PeerSession) {
        sessions.setRun(session, boot.incarnation)
        watch.found(boot.id, incarnation: boot.incarnation)
        want(.boot(boot, session))
    }

    /// Marks an OSD up. One that is up in another run goes down first, and up in the epoch after: its peers must see that
    /// an interval ended, since what the old run had in memory is gone. False when it must wait for the next epoch.
    func judgeBoot(_ boot: OSDBoot, _ session: PeerSession, _ draft: inout MapDraft) -> Bool {
        // A daemon whose session is over would be up for the whole grace.
        guard sessions[session] != nil else { return true }
        if draft.settled.contains(boot.id) { return false }
        guard var record = draft.map.osds[boot.id] else {
            environment.note("\(boot.id) (\(boot.uuid)) boots and is not in the map: register it with `osd new`")
            return true
        }
        guard record.uuid == boot.uuid else {
            environment.note("\(boot.id) boots with disk \(boot.uuid), the map says \(record.uuid): refused")
            return true
        }
        if record.isUp, record.incarnation == boot.incarnation { return true }
        if record.isUp {
            record.isUp = false
            record.downAt = draft.epoch
            draft.settle(boot.id, record)
            return false
        }
        record.isUp = true
        record.incarnation = boot.incarnation
        record.endpoint = boot.endpoint
        record.upFrom = draft.epoch
        draft.settle(boot.id, record)
        environment.note("\(boot.id) is up in epoch \(draft.epoch) at \(boot.endpoint)")
        return true
    }

    /// Gives a group the temporary acting set that its primary asks for. The primary asks again if the map has moved on.
    func judgeActing(_ request: ActingRequest, by osd: OSDID, _ incarnation: UInt64, _ draft: inout MapDraft) {
        let map = draft.map
        guard let record = map.osds[osd], record.isUp, record.incarnation == incarnation,
            let pool = map.pools[request.group.pool], request.group.seed < pool.groupCount,
            request.osds.count <= Int(pool.size), Set(request.osds).count == request.osds.count,
            request.osds.allSatisfy({ map.isUp($0) }), map.exceptions.temporary[request.group] ?? [] != request.osds,
            map.placement(of: request.group).primary == osd
        else { return }
        var changes = GroupExceptions()
        changes.temporary[request.group] = request.osds
        draft.set(changes)
    }

    /// Keeps the statistics of an OSD that the map says is up in that run.
    func take(_ statistics: OSDStatistics, from session: PeerSession) {
        guard let record = map.osds[statistics.id], record.isUp, record.incarnation == statistics.incarnation else {
            return
        }
        sessions.setRun(session, statistics.incarnation)
        watch.take(statistics, now: environment.nowMilliseconds)
    }
}
