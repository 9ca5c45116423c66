import Protocol
import Wire

extension PlacementGroup {
    /// Activate: tells every member what the history is and what it lacks.
    func activateMembers() {
        phase = .activating
        let participants = acting + targets
        peering.awaiting = Set(participants)
        members.removeAll()
        let merges = participants.map { ($0, merge(of: $0)) }
        peering.mustChooseAgain = merges.contains { acting.contains($0.0) && $0.1.needsBackfill }
        // This member's own log comes first: what replaces another's log is taken from it.
        for (osd, merge) in merges.sorted(by: { $0.0 == me && $1.0 != me }) {
            if merge.rewindTo < (peering.infos[osd]?.lastUpdate ?? .zero), merge.position != .nothing {
                environment.occurred(.divergentLog)
            }
            let activation = activation(for: osd, merge)
            peering.activations[osd] = activation
            members.append(
                Member(osd: osd, committed: .zero, position: merge.position, missing: osd == me ? [:] : merge.missing))
            if osd == me { activate(activation, primary: me) } else { resendActivation(to: osd) }
        }
    }

    private func merge(of osd: OSDID) -> LogMerge {
        guard let theirs = peering.infos[osd] else { preconditionFailure("group \(id): no info of \(osd)") }
        let (entries, lacking): ([LogEntry], MissingSet) =
            osd == me ? (Array(log.entries), missing) : peering.logs[osd] ?? ([], [:])
        return LogMerge(member: theirs, memberLog: entries, memberMissing: lacking, authority: peering.authorityLog)
    }

    private func activation(for osd: OSDID, _ merge: LogMerge) -> Activation {
        var result = GroupInfo(group: id, cutAt: interval)
        result.lastUpdate = peering.authorityLog.head
        result.logTail = merge.rewindTo
        result.lastBackfill = merge.position
        // Below min_size nothing is written: the interval stays without effect on who has the newest history.
        result.lastEpochStarted = mayServe && !peering.mustChooseAgain ? interval : peering.started
        result.historyLastEpochStarted = peering.infos.values.map(\.historyLastEpochStarted).max() ?? .none
        result.historyLastEpochClean = peering.infos.values.map(\.historyLastEpochClean).max() ?? .none
        result.missingCount = UInt32(merge.missing.count)
        var activation = Activation(
            info: result, rewindTo: merge.rewindTo, entries: merge.entries,
            missing: merge.missing.values.sorted { $0.object < $1.object }, removals: merge.removals)
        if merge.position == .nothing {
            let source = osd == me ? peering.authorityLog : log
            activation.info.logTail = source.tail
            activation.rewindTo = source.tail
            activation.entries = Array(source.entries)
            activation.requests = source.trimmed.flatMap(\.requests)
        }
        return activation
    }

    func resendActivation(to osd: OSDID) {
        guard peering.awaiting.contains(osd), let activation = peering.activations[osd] else { return }
        send(.activate(activation), to: osd)
    }

    /// Takes the history that the primary found, on any member: one transaction for the log, what is missing and the info.
    func activate(_ activation: Activation, primary: OSDID) {
        guard isSound(activation) else { return }
        var steps: [Transaction.Operation] = []
        for object in activation.removals {
            steps += removalFromIndex(of: object)
            steps.append(.remove(object))
        }
        var keys: [KeyValue] = []
        if activation.info.lastBackfill == .nothing {
            // The copy is compared object by object afterwards; its old log says nothing any more.
            log = GroupLog(tail: activation.info.logTail)
            steps.append(.removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.logEnd))
            steps.append(.removeGroupKeys(id, from: GroupKeys.requestsStart, to: GroupKeys.requestsEnd))
            if !activation.requests.isEmpty {
                let batch = GroupLog.Batch(upTo: log.tail, requests: activation.requests)
                log.remember(batch)
                keys.append(GroupKeys.entry(batch))
            }
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
        arriving.removeAll()
        info = activation.info
        info.logTail = log.tail
        info.missingCount = UInt32(missing.count)
        precondition(log.head == info.lastUpdate, "group \(id): activated \(info), log ends at \(log.head)")
        committedThrough = min(committedThrough, info.lastUpdate)
        keys += activation.entries.map { GroupKeys.entry($0) } + activation.missing.map { GroupKeys.entry($0) }
        steps.append(.setGroupKeys(id, entries: keys))
        // Two joined logs must not outgrow what a message may hold.
        let tuning = environment.tuning
        if log.entries.count > tuning.logCut {
            steps += trim(to: log.entries[log.entries.count - tuning.logKept].version)
        }
        steps.append(.setGroupKeys(id, entries: [GroupKeys.entry(info)]))
        if primary != me { phase = .replica(activated: true) }
        commit(Transaction(steps), .activation(interval: interval, primary: primary))
    }

    /// True when the activation is a history that this member's log can take: in order, joined to it, and ending where it says.
    private func isSound(_ activation: Activation) -> Bool {
        let base = activation.rewindTo
        if activation.info.lastBackfill != .nothing, base < log.tail || !log.reaches(base) { return false }
        var last = base
        for entry in activation.entries {
            guard entry.version > last, entry.kind == .error || range.contains(entry.object) else { return false }
            last = entry.version
        }
        return last == activation.info.lastUpdate && activation.info.group == id && last.counter < UInt64.max / 2
            && activation.missing.allSatisfy { range.contains($0.object) }
            && activation.removals.allSatisfy { range.contains($0) }
    }

    /// Only when **all** members have stored the activation is it part of the history that rules out older ones.
    func activationStored(by osd: OSDID, isFull: Bool) {
        guard phase == .activating, peering.awaiting.remove(osd) != nil else { return }
        // Known before the first write: one that has no room could only stop.
        if let index = members.firstIndex(where: { $0.osd == osd }) { members[index].isFull = isFull }
        guard peering.awaiting.isEmpty else { return }
        if peering.mustChooseAgain { return startPeering() }
        peering.activations.removeAll()
        peering.logs.removeAll()
        peering.authorityLog = GroupLog()
        members.sort { place($0.osd) < place($1.osd) }
        for index in members.indices { members[index].committed = info.lastUpdate }
        others = members.map(\.osd).filter { $0 != me }
        phase = mayServe ? .leasing : .peered
        startRecovery()
        if mayServe { beginServiceWhenAllowed() }
    }

    private func place(_ osd: OSDID) -> Int { acting.firstIndex(of: osd) ?? acting.count + Int(osd.rawValue) }

    /// All members have stored this interval's activation.
    func noteStarted() {
        guard interval > info.historyLastEpochStarted else { return }
        info.historyLastEpochStarted = interval
        commitInfo()
    }

    func serveWaiting() {
        guard phase == .active, !isQuiet else { return }
        let requests = waiting
        waiting.removeAll()
        for (request, client) in requests { self.request(request, from: client) }
    }

    // MARK: Clean, and copies outside the sets

    /// Every copy is complete and where it should be: what older intervals left is of no use any more.
    func becomeClean() {
        noteClean()
        if isQuiet { environment.reportSoon() }
        for osd in others { send(.clean(interval), to: osd) }
        shareScrubState()
        for osd in peering.infos.keys.sorted() where !acting.contains(osd) { strayAppeared(osd) }
        continueTrimming()
    }

    func noteClean() {
        guard interval > info.historyLastEpochClean else { return }
        info.historyLastEpochClean = interval
        intervals.forget(before: interval)
        commitInfo()
    }

    /// A copy outside the sets: removed once the group is clean, until then a place to find objects.
    func strayAppeared(_ osd: OSDID) {
        guard peering.infos[osd]?.isEmpty == false, environment.isUp(osd) else { return }
        if isClean {
            environment.occurred(.strayRemoved)
            peering.infos[osd] = nil
            send(.remove, to: osd)
        } else {
            searchAgain()
            // With too few members its copy may serve.
            if acting.count < Int(intervals.current.size) { chooseAgain() }
        }
    }

    /// Tells the primary of a copy that is in neither set.
    func announceStray() {
        guard phase == .stray, !isRemoving, !info.isEmpty, let primary, environment.isUp(primary) else { return }
        send(.info(info, leases: []), to: primary)
    }

    /// Removes this copy. The first step makes it one that is being filled and has nothing: whatever happens before the
    /// last, it is never taken for a copy.
    func startRemoval() {
        guard phase == .stray, !isRemoving else { return }
        isRemoving = true
        log = GroupLog()
        missing.removeAll()
        committedThrough = .zero
        var next = GroupInfo(group: id, cutAt: info.cutAt)
        next.lastBackfill = .nothing
        next.historyLastEpochStarted = info.historyLastEpochStarted
        next.historyLastEpochClean = info.historyLastEpochClean
        info = next
        commit(
            Transaction([
                .removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.trimmedEnd),
                .setGroupKeys(id, entries: [GroupKeys.entry(info)]),
            ]), .removal)
    }

    func continueRemoval() {
        guard isRemoving, phase == .stray else {
            isRemoving = false
            return
        }
        let objects = environment.objects(in: range, after: nil, limit: GroupLimits.removals)
        if objects.isEmpty {
            isRemoving = false
            info = GroupInfo(group: id, cutAt: interval)
            scrub = Scrub()
            commit(Transaction([.removeGroup(id)]), .note)
        } else {
            commit(Transaction(objects.map { .remove($0) }), .removal)
        }
    }

    /// To be called every second or so: says again what may have been lost.
    public func tick() {
        if phase == .stray {
            info.lastBackfill == .nothing && info.lastUpdate == .zero ? startRemoval() : announceStray()
        }
        if let fill = recovery.fill, fill.isTooFull { send(.reserve, to: fill.target) }
        if isClean, info.historyLastEpochClean < interval { becomeClean() }
        if isPrimary {
            scrubTick()
            markWrites()
            if recovery.isWorking {
                tryRoom()
                continueRecovery()
            }
        }
        continueTrimming()
    }
}
