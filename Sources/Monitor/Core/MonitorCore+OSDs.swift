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
            refuse(boot, "the map has no \(boot.id): register its disk \(boot.uuid) with `osd new`", session)
            return true
        }
        guard record.uuid == boot.uuid else {
            refuse(boot, "the map gives \(boot.id) to the disk \(record.uuid), and this is \(boot.uuid)", session)
            return true
        }
        if record.isUp, record.incarnation == boot.incarnation { return true }
        if record.isUp {
            // The disk can be opened by one process at a time, so the run before this one has ended.
            record.markDown(in: draft.epoch, isDead: true)
            draft.settle(boot.id, record)
            return false
        }
        record.markUp(in: draft.epoch, incarnation: boot.incarnation, endpoint: boot.endpoint)
        if record.isAutomaticallyOut {
            record.isAutomaticallyOut = false
            record.reweight = OSDRecord.fullReweight
        }
        draft.settle(boot.id, record)
        environment.note("\(boot.id) is up in epoch \(draft.epoch) at \(boot.endpoint)")
        return true
    }

    /// An OSD that cannot come up is told so: it would wait for ever.
    private func refuse(_ boot: OSDBoot, _ reason: String, _ session: PeerSession) {
        environment.note("the boot of \(boot.id) is refused: \(reason)")
        environment.send(.bootRefused(reason), to: session)
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

    /// Takes a report: proof of death counts at once, silence when enough others say the same.
    func take(_ failure: OSDFailure) {
        if failure.evidence == .refused {
            let reason = "\(failure.reporter) lost its connection and was refused"
            return want(.down(failure.target, incarnation: failure.incarnation, reason: reason, isDead: true))
        }
        guard let record = map.osds[failure.target], record.isUp, record.incarnation == failure.incarnation else {
            return
        }
        accusations.take(failure, now: environment.nowMilliseconds, forgetAfter: times.accusation)
        let accusers = accusations.accusers(of: failure.target).filter { map.isUp($0) }
        let domains = FailureDomains(map)
        guard Set(accusers.map { domains[$0] }).count >= domains.needed(against: failure.target) else { return }
        let reason = "\(accusers.map(\.description).joined(separator: ", ")) hear nothing from it"
        want(.down(failure.target, incarnation: failure.incarnation, reason: reason, isDead: false))
    }

    /// Marks an OSD out that is down for too long, unless that would leave a whole failure domain, or the cluster, without
    /// any that is in.
    func judgeOut(_ osd: OSDID, _ incarnation: UInt64, _ draft: inout MapDraft) {
        guard var record = draft.map.osds[osd], !record.isUp, record.isIn, record.incarnation == incarnation,
            draft.map.osdsInOrder.contains(where: { $0.id != osd && $0.record.isIn && $0.record.isUp })
        else { return }
        record.isAutomaticallyOut = true
        record.reweight = 0
        draft.set(osd, record)
        environment.note("\(osd) is marked out in epoch \(draft.epoch): it is down for \(times.downOut / 1000) s")
    }

    /// Keeps the statistics of an OSD that the map says is up in that run.
    func take(_ statistics: OSDStatistics, from session: PeerSession) {
        guard let record = map.osds[statistics.id], record.isUp, record.incarnation == statistics.incarnation else {
            return
        }
        sessions.setRun(session, statistics.incarnation)
        watch.take(statistics, now: environment.nowMilliseconds)
        if statistics.groups.contains(where: { $0.state.contains(.premerge) }) { continueMerging() }
        for pool in Set(statistics.groups.filter { !$0.trimmed.isEmpty }.map(\.group.pool)) { noteTrimmed(pool) }
    }
}
