import Protocol
import Wire

/// What the primary has found out about the group's members in this interval.
struct Peering {
    var infos: [OSDID: GroupInfo] = [:]
    /// Members whose answer is outstanding.
    var awaiting: Set<OSDID> = []
    var authority: OSDID?
    var authorityLog = GroupLog()
    var authorityMissing: MissingSet = [:]
    /// Logs and missing sets of members whose history has parted from the authority's, or who lacked something already.
    var logs: [OSDID: (entries: [LogEntry], missing: MissingSet)] = [:]
    /// What each member of the acting set was told to do.
    var activations: [OSDID: Activation] = [:]
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
        if !intervals.current.isProvenAlive { environment.requestUpThru(interval) }
        peering.infos[me] = info
        var asked = Set(acting)
        for past in intervals.past { asked.formUnion(past.acting) }
        asked = asked.filter { $0 != me && environment.isUp($0) }
        peering.awaiting = asked
        for osd in asked.sorted() { send(.queryInfo, to: osd) }
        if asked.isEmpty { infosComplete() }
    }

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
            send(.info(info), to: osd)
        }
    }

    func receivedInfo(_ info: GroupInfo, from osd: OSDID) {
        guard phase == .gettingInfo, peering.awaiting.remove(osd) != nil else { return }
        peering.infos[osd] = info
        if peering.awaiting.isEmpty { infosComplete() }
    }

    /// GetLog: every interval that may have served must have left a witness; then the authoritative history is chosen.
    private func infosComplete() {
        let started = peering.infos.values.map(\.historyLastEpochStarted).max() ?? .none
        intervals.forget(before: started)
        for past in intervals.past where !past.acting.contains(where: { peering.infos[$0] != nil }) {
            phase = .blocked(past.acting)
            return
        }
        guard let authority = Authority.choose(peering.infos, preferring: me) else {
            phase = .blocked([])
            return
        }
        peering.authority = authority
        let same = acting.allSatisfy { isInStep($0, with: authority) }
        if authority == me {
            authorityKnown(log, missing)
        } else if same && isInStep(me, with: authority) {
            // Equal last updates are equal histories: this member's own log is the authority's.
            peering.authority = me
            authorityKnown(log, missing)
        } else {
            phase = .gettingAuthority(authority)
            peering.awaiting = [authority]
            send(.queryLog(since: .zero), to: authority)
        }
    }

    /// True when a member's copy is complete, lacks nothing, and its history is the authority's.
    private func isInStep(_ osd: OSDID, with authority: OSDID) -> Bool {
        guard let theirs = peering.infos[osd], let best = peering.infos[authority] else { return false }
        return theirs.isComplete && theirs.missingCount == 0 && theirs.lastUpdate == best.lastUpdate
    }

    func receivedLog(_ info: GroupInfo, _ entries: [LogEntry], _ missing: [MissingObject], from osd: OSDID) {
        guard peering.awaiting.contains(osd) else { return }
        let ordered = zip(entries, entries.dropFirst()).allSatisfy { $0.version < $1.version }
        guard ordered, entries.first.map({ $0.version > info.logTail }) ?? true,
            (entries.last?.version ?? info.logTail) == info.lastUpdate
        else { return }
        let lacking = Dictionary(missing.map { ($0.object, $0) }, uniquingKeysWith: { $1 })
        switch phase {
        case .gettingAuthority(let authority) where authority == osd:
            peering.awaiting = []
            authorityKnown(GroupLog(tail: info.logTail, entries: entries), lacking)
        case .gettingLogs:
            peering.awaiting.remove(osd)
            peering.logs[osd] = (entries, lacking)
            if peering.awaiting.isEmpty { membersKnown() }
        default:
            break
        }
    }

    /// GetMissing: members whose history does not end inside the authoritative one have to say where it parted.
    private func authorityKnown(_ log: GroupLog, _ missing: MissingSet) {
        peering.authorityLog = log
        peering.authorityMissing = missing
        phase = .gettingLogs
        for osd in acting where osd != me && osd != peering.authority {
            guard let info = peering.infos[osd] else { preconditionFailure("group \(id): no info of \(osd)") }
            if info.isComplete, info.missingCount > 0 || !log.reaches(info.lastUpdate) { peering.awaiting.insert(osd) }
        }
        for osd in peering.awaiting.sorted() { send(.queryLog(since: .zero), to: osd) }
        if peering.awaiting.isEmpty { membersKnown() }
    }

    /// WaitUpThru: an interval in which the primary was never proven alive is taken for one without writes by all who come
    /// later, so there must be none before that.
    func membersKnown() {
        guard intervals.current.isProvenAlive else {
            phase = .waitingUpThru
            return
        }
        activateMembers()
    }

    /// Activate: tells every member what the history is and what it lacks.
    private func activateMembers() {
        phase = .activating
        peering.awaiting = Set(acting)
        let started = peering.infos.values.map(\.historyLastEpochStarted).max() ?? .none
        for osd in acting {
            guard let theirs = peering.infos[osd] else { preconditionFailure("group \(id): no info of \(osd)") }
            let (entries, lacking): ([LogEntry], MissingSet) =
                if osd == me {
                    (Array(log.entries), missing)
                } else if osd == peering.authority {
                    (Array(peering.authorityLog.entries), peering.authorityMissing)
                } else {
                    peering.logs[osd] ?? ([], [:])
                }
            let merge = LogMerge(
                member: theirs, memberLog: entries, memberMissing: lacking, authority: peering.authorityLog)
            var result = GroupInfo(group: id)
            result.lastUpdate = peering.authorityLog.head
            result.logTail = merge.needsBackfill ? peering.authorityLog.tail : theirs.logTail
            result.isComplete = !merge.needsBackfill
            result.lastEpochStarted = interval
            result.historyLastEpochStarted = started
            result.missingCount = UInt32(merge.missing.count)
            recovery.missing[osd] = merge.missing
            if merge.needsBackfill { recovery.backfills.append(osd) }
            peering.activations[osd] = Activation(
                info: result, rewindTo: merge.rewindTo, entries: merge.entries,
                missing: merge.missing.values.sorted { $0.object < $1.object }, removals: merge.removals)
        }
        if let authority = peering.authority, !acting.contains(authority) {
            recovery.missing[authority] = peering.authorityMissing
            recovery.sources = [authority]
        }
        for osd in acting where osd != me { resendActivation(to: osd) }
        guard let own = peering.activations[me] else { preconditionFailure("group \(id): primary outside \(acting)") }
        activate(own, primary: me)
    }

    func resendActivation(to osd: OSDID) {
        guard peering.awaiting.contains(osd), let activation = peering.activations[osd] else { return }
        send(.activate(activation), to: osd)
    }

    /// Takes the history that the primary found, on any member: one transaction for the log, what is missing and the info.
    func activate(_ activation: Activation, primary: OSDID) {
        guard isSound(activation) else { return }
        var steps: [Transaction.Operation] = activation.removals.map { .remove($0) }
        if !activation.info.isComplete {
            // The copy is compared object by object afterwards; its old log says nothing any more.
            log = GroupLog(tail: activation.info.logTail)
            steps.append(.removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.logEnd))
        } else {
            precondition(
                activation.rewindTo >= log.tail, "group \(id): rewind to \(activation.rewindTo) behind \(log.tail)")
            log.rewind(to: activation.rewindTo)
            steps.append(
                .removeGroupKeys(id, from: GroupKeys.logAfter(activation.rewindTo), to: GroupKeys.logEnd))
        }
        for entry in activation.entries where entry.version > log.head { log.append(entry) }
        steps.append(.removeGroupKeys(id, from: GroupKeys.missingStart, to: GroupKeys.missingEnd))
        missing = Dictionary(activation.missing.map { ($0.object, $0) }, uniquingKeysWith: { $1 })
        info = activation.info
        info.logTail = log.tail
        info.missingCount = UInt32(missing.count)
        precondition(log.head == info.lastUpdate, "group \(id): activated \(info), log ends at \(log.head)")
        committedThrough = min(committedThrough, info.lastUpdate)
        var keys = activation.entries.map { GroupKeys.entry($0) }
        keys.append(contentsOf: activation.missing.map { GroupKeys.entry($0) })
        keys.append(GroupKeys.entry(info))
        steps.append(.setGroupKeys(id, entries: keys))
        if primary != me { phase = .replica(activated: true) }
        commit(Transaction(steps), .activation(interval: interval, primary: primary))
    }

    /// True when the activation is a history that this member's log can take: in order, joined to it, and ending where it says.
    private func isSound(_ activation: Activation) -> Bool {
        let base = activation.info.isComplete ? activation.rewindTo : activation.info.logTail
        if activation.info.isComplete, base < log.tail || !log.reaches(base) { return false }
        var last = base
        for entry in activation.entries {
            guard entry.version > last else { return false }
            last = entry.version
        }
        return last == activation.info.lastUpdate && activation.info.group == id
    }

    /// Only when **all** members have stored the activation is it part of the history that rules out older ones.
    func activationStored(by osd: OSDID) {
        guard phase == .activating, peering.awaiting.remove(osd) != nil, peering.awaiting.isEmpty else { return }
        noteStarted(interval)
        for osd in acting where osd != me { send(.started(interval), to: osd) }
        peering.activations.removeAll()
        phase = .recovering
        startRecovery()
    }

    /// All members of the acting set have stored this activation.
    func noteStarted(_ epoch: Epoch) {
        guard epoch > info.historyLastEpochStarted else { return }
        info.historyLastEpochStarted = epoch
        intervals.forget(before: epoch)
        commit(Transaction([.setGroupKeys(id, entries: [GroupKeys.entry(info)])]), .note)
    }
}
