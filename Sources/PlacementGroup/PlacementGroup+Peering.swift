import Protocol
import Wire

/// What the primary has found out about the group's members in this interval.
struct Peering {
    var infos: [OSDID: GroupInfo] = [:]
    /// Members whose answer is outstanding.
    var awaiting: Set<OSDID> = []
    /// The newest activation that counts: known to all of some acting set, or stored by a complete copy.
    var started = Epoch.none
    var authority: OSDID?
    var authorityLog = GroupLog()
    /// Logs and missing sets of members whose history has parted from the authority's, or who lacked something already.
    var logs: [OSDID: (entries: [LogEntry], missing: MissingSet)] = [:]
    /// What each member was told to do.
    var activations: [OSDID: Activation] = [:]
    /// Until when primaries of older intervals may still serve reads.
    var leases: [OSDID: UInt64] = [:]
    /// True when a member of the acting set turned out to need filling: another set is to serve.
    var mustChooseAgain = false
}

extension PlacementGroup {
    /// GetInfo: asks everyone who may have a copy what it has.
    func startPeering() {
        peering = Peering()
        guard commits.isEmpty else {
            phase = .settling
            return
        }
        phase = .gettingInfo
        if mayServe, !intervals.current.isProvenAlive { environment.requestUpThru(interval) }
        peering.infos[me] = info
        take(promises(before: me))
        var asked = Set(acting).union(up)
        for past in intervals.past { asked.formUnion(past.acting) }
        asked = asked.filter { $0 != me && environment.isUp($0) }
        peering.awaiting = asked
        for osd in asked.sorted() { send(.queryInfo, to: osd) }
        if asked.isEmpty { infosComplete() }
    }

    /// True when there are `min_size` members: below that the group brings back what members lack, and clients wait.
    var mayServe: Bool { intervals.current.mayServe }

    /// Members of the up set that do not serve: they are to be filled.
    var targets: [OSDID] { up.filter { !acting.contains($0) } }

    /// Answers a question of peering once everything this member has written is durable.
    func answer(_ question: GroupMessage, to osd: OSDID) {
        guard commits.isEmpty else {
            deferred.append((osd, question))
            return
        }
        if case .queryLog(let since) = question.body {
            let missing = missing.values.sorted { $0.object < $1.object }
            send(.log(info, entries: log.entries(after: since), missing: missing), to: osd)
        } else {
            send(.info(info, leases: promises(before: osd)), to: osd)
        }
    }

    func receivedInfo(_ info: GroupInfo, _ leases: [LeasePromise], from osd: OSDID) {
        guard isPrimary, info.group == id, info.lastEpochStarted <= interval,
            info.historyLastEpochStarted <= interval, info.historyLastEpochClean <= interval
        else { return }
        if phase == .gettingInfo, peering.awaiting.remove(osd) != nil {
            peering.infos[osd] = info
            take(leases)
            if peering.awaiting.isEmpty { infosComplete() }
        } else if isActivated, !acting.contains(osd), !up.contains(osd), !info.isEmpty {
            peering.infos[osd] = info
            strayAppeared(osd)
        }
    }

    /// GetLog: every interval that may have served must have left a witness; then the authoritative history is chosen, and
    /// who is to serve it.
    private func infosComplete() {
        let infos = peering.infos
        intervals.forget(before: infos.values.map(\.historyLastEpochClean).max() ?? .none)
        peering.started = infos.values.map(\.historyLastEpochStarted).max() ?? .none
        for info in infos.values where info.isComplete {
            peering.started = max(peering.started, info.lastEpochStarted)
        }
        let known = infos.values.map(\.historyLastEpochStarted).max() ?? .none
        for past in intervals.past where past.last >= known {
            guard !past.acting.contains(where: { infos[$0] != nil }) else { continue }
            environment.occurred(.blockedByDown)
            phase = .blocked(past.acting)
            return
        }
        guard let authority = Authority.choose(infos, preferring: me) else {
            phase = .blocked([])
            return
        }
        let servants = Authority.servants(infos, authority: authority, interval: intervals.current)
        guard isServedBy(servants) else {
            phase = .awaitingActing(servants)
            return ask(for: servants)
        }
        environment.requestActing(nil, for: id)
        getLog(of: authority)
    }

    func isServedBy(_ osds: [OSDID]) -> Bool { osds == acting && osds.first == primary }

    /// Asks the monitors for another acting set; its coming is a new interval.
    func ask(for osds: [OSDID]) {
        environment.occurred(.actingRequested)
        environment.requestActing(osds == up ? [] : osds, for: id)
    }

    private func getLog(of authority: OSDID) {
        peering.authority = authority
        let same = (acting + targets).allSatisfy { peering.infos[$0]?.isComplete != true || isInStep($0, authority) }
        if authority == me {
            authorityKnown(log)
        } else if same && isInStep(me, authority) {
            // Equal last updates are equal histories: this member's own log is the authority's.
            peering.authority = me
            authorityKnown(log)
        } else {
            phase = .gettingAuthority(authority)
            peering.awaiting = [authority]
            send(.queryLog(since: .zero), to: authority)
        }
    }

    /// True when a member's copy is complete, lacks nothing, and its history is the authority's.
    private func isInStep(_ osd: OSDID, _ authority: OSDID) -> Bool {
        guard let theirs = peering.infos[osd], let best = peering.infos[authority] else { return false }
        return theirs.isComplete && theirs.missingCount == 0 && theirs.lastUpdate == best.lastUpdate
    }

    func receivedLog(_ info: GroupInfo, _ entries: [LogEntry], _ missing: [MissingObject], from osd: OSDID) {
        guard peering.awaiting.contains(osd), info.group == id else { return }
        let ordered = zip(entries, entries.dropFirst()).allSatisfy { $0.version < $1.version }
        guard ordered, entries.first.map({ $0.version > info.logTail }) ?? true,
            (entries.last?.version ?? info.logTail) == info.lastUpdate
        else { return }
        let lacking = Dictionary(missing.map { ($0.object, $0) }, uniquingKeysWith: { $1 })
        switch phase {
        case .gettingAuthority(let authority) where authority == osd:
            peering.awaiting = []
            peering.logs[osd] = (entries, lacking)
            authorityKnown(GroupLog(tail: info.logTail, entries: entries))
        case .gettingLogs:
            peering.awaiting.remove(osd)
            peering.logs[osd] = (entries, lacking)
            if peering.awaiting.isEmpty { membersKnown() }
        default:
            break
        }
    }

    /// GetMissing: members whose history does not end inside the authoritative one have to say where it parted.
    private func authorityKnown(_ log: GroupLog) {
        peering.authorityLog = log
        phase = .gettingLogs
        for osd in acting + targets where osd != me && osd != peering.authority {
            // One that came up in this very epoch's wake is asked in the next round.
            guard let info = peering.infos[osd] else { return startPeering() }
            if info.lastBackfill != .nothing, info.missingCount > 0 || !log.reaches(info.lastUpdate) {
                peering.awaiting.insert(osd)
            }
        }
        for osd in peering.awaiting.sorted() { send(.queryLog(since: .zero), to: osd) }
        if peering.awaiting.isEmpty { membersKnown() }
    }

    /// WaitUpThru: an interval in which the primary was never proven alive is taken for one without writes by all who come
    /// later, so there must be none before that.
    func membersKnown() {
        guard !mayServe || intervals.current.isProvenAlive else {
            environment.occurred(.waitedUpThru)
            phase = .waitingUpThru
            return
        }
        activateMembers()
    }
}
