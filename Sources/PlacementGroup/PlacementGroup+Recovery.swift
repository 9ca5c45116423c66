import DequeModule
import Protocol
import Wire

/// What the primary still has to bring about: members get what their logs say they lack, from this member, which fetches it
/// first if it lacks it itself; then members that have to be are filled. Clients are served meanwhile; what they wait for
/// comes first.
struct Recovery {
    /// False when every member has everything.
    var isWorking = false
    /// Objects that some member lacks by its log.
    var lackingObjects: Set<ObjectID> = []
    /// Objects to bring back, in order; one that is done already is passed over.
    var queue: Deque<ObjectID> = []
    var underway: [ObjectID: Work] = [:]
    /// Versions of objects that are written to: they begin when that is done. True for those that count against the OSD's
    /// bound.
    var delayed: [ObjectID: Bool] = [:]
    /// Objects that are sent, but for the last part, which goes when the writes under way are done.
    var locking: Set<ObjectID> = []
    /// Objects that nobody who can be asked has.
    var unfound: Set<ObjectID> = []
    /// Objects that members, or this one, have no room for now, and who that is.
    var noRoom: [ObjectID: Set<OSDID>] = [:]
    /// Who could not send an object.
    var failed: [ObjectID: Set<OSDID>] = [:]
    var fill: Fill?
    /// Members to be filled, not begun yet.
    var targets: [OSDID] = []

    var lacking: Int { lackingObjects.count }

    /// An object on its way.
    struct Work {
        /// From whom this member fetches it.
        var source: OSDID?
        /// To whom it is being sent.
        var pushing: Set<OSDID> = []
        /// True when it counts against the OSD's bound.
        var isCounted = false
        /// True when a client waits for it.
        var isUrgent = false
        /// True when it must not change until the members have it.
        var isLocked = false
        /// When the part that is awaited was asked for.
        var partAsked: UInt64 = 0
    }

    func mayConcern(_ osd: OSDID) -> Bool { underway.values.contains { $0.source == osd } }
}

extension PlacementGroup {
    func startRecovery() {
        recovery = Recovery()
        recovery.lackingObjects = Set(missing.keys)
        for member in members where member.osd != me { recovery.lackingObjects.formUnion(member.missing.keys) }
        recovery.queue = Deque(recovery.lackingObjects.sorted())
        recovery.targets = members.filter { $0.position != .complete }.map(\.osd)
        for member in members where member.position != .complete {
            environment.occurred(member.position == .nothing ? .backfillStarted : .backfillResumed)
        }
        recovery.isWorking = true
        startTally()
        continueRecovery()
    }

    /// Ends what was under way, with the interval.
    func leaveRecovery() {
        for work in recovery.underway.values where work.isCounted { environment.endRecovery() }
        for isCounted in recovery.delayed.values where isCounted { environment.endRecovery() }
        paused.removeAll()
        environment.releaseTurn(.filling, for: slot)
        recovery = Recovery()
        pushes.removeAll()
    }

    /// The OSD has room for more objects under way.
    public func recoveryMayGoOn() {
        continueRecovery()
        continueTrimming()
    }

    func continueRecovery() {
        guard isActivated, recovery.isWorking else { return }
        while recovery.underway.count < GroupLimits.recoveriesInFlight, let object = recovery.queue.first {
            guard isLacking(object), recovery.underway[object] == nil, recovery.delayed[object] == nil,
                recovery.noRoom[object] == nil
            else {
                recovery.queue.removeFirst()
                continue
            }
            guard environment.beginRecovery(for: slot) else { return }
            recovery.queue.removeFirst()
            bringBack(object, isCounted: true)
        }
        guard recovery.queue.isEmpty, recovery.underway.isEmpty, recovery.delayed.isEmpty,
            recovery.lackingObjects.isEmpty
        else { return }
        if recovery.fill == nil {
            guard let target = recovery.targets.first else { return recoveryDone() }
            recovery.targets.removeFirst()
            startFill(of: target)
        }
    }

    /// True when some member has to be sent the object, so that it must not change meanwhile.
    func isLacking(_ object: ObjectID) -> Bool {
        recovery.lackingObjects.contains(object) || recovery.fill?.pending.contains(object) == true
    }

    /// True when versions of the object are being written.
    func isWritten(_ object: ObjectID) -> Bool { activities[object.head].map { $0.writers > 0 } ?? false }

    /// True when a write must wait for its object. Members that lack it get the log entry alone while it is not on its way, and
    /// until the last part of it is, if enough have it: the write is as safe as in a group that has only those.
    private func mustWait(_ request: OperationRequest) -> Bool {
        let object = request.object
        if missing[object] != nil || awaitsWrites(of: object) { return true }
        guard isLacking(object) else { return false }
        if let work = recovery.underway[object], work.source != nil || work.isLocked || !isPlain(request) {
            return true
        }
        // With each clone that is made a member lacks more, and what it lacks must fit a message.
        return !isHeldWidely(object)
            || recovery.lackingObjects.count + GroupLimits.entriesTogether > GroupLimits.missingObjects
    }

    /// True when a version of the object goes on its way, or the last part of one, when the writes under way are done: no more
    /// of them may begin, or that would never be.
    private func awaitsWrites(of object: ObjectID) -> Bool {
        if recovery.delayed.isEmpty, recovery.locking.isEmpty { return false }
        return recovery.delayed.keys.contains { $0.isSameObject(as: object) }
            || recovery.locking.contains { $0.isSameObject(as: object) }
    }

    /// True when a request does no more than write data of an object that is there: that can be sent again.
    private func isPlain(_ request: OperationRequest) -> Bool {
        let isData = request.steps.allSatisfy { step in
            switch step {
            case .write, .writeSame, .zero: true
            default: false
            }
        }
        return isData
            && (request.context.isNone || request.context.sequence <= snapSet(of: request.object).sequence)
    }

    /// True when as many members of the acting set have the object as the group needs to serve.
    private func isHeldWidely(_ object: ObjectID) -> Bool {
        guard recovery.lackingObjects.contains(object) else { return true }
        let holders = members.count { $0.position == .complete && $0.missing[object] == nil && acting.contains($0.osd) }
        // One alone is not enough, whatever the pool says: the acknowledgement would hang on one disk of several.
        return holders >= max(2, Int(intervals.current.minSize))
    }

    /// True while requests may have to wait for objects on their way, or for what is compared.
    var mayBlock: Bool { recovery.isWorking || scrub.isBlocking }

    /// True when a request must wait for its object, or the version of it that it needs, to be brought back or compared.
    func isBlocked(_ request: OperationRequest) -> Bool {
        if scrub.isBlocking, isHeldUpByScrub(request) { return true }
        return recovery.isWorking && whatBlocks(request) != nil
    }

    private func isHeldUpByScrub(_ request: OperationRequest) -> Bool {
        if request.isWrite { return isExamined(request.object) }
        if scrub.inspections[request.object] != nil { return true }
        return version(needed: request).map { scrub.inspections[$0] != nil } ?? false
    }

    private func whatBlocks(_ request: OperationRequest) -> ObjectID? {
        let object = request.object
        guard request.isWrite else {
            if missing[object] != nil { return object }
            return version(needed: request).flatMap { missing[$0] != nil ? $0 : nil }
        }
        if mustWait(request) { return object }
        return version(needed: request).flatMap { isLacking($0) ? $0 : nil }
    }

    /// A client waits for what it needs: that goes before all others.
    func expedite(_ request: OperationRequest) {
        guard let object = whatBlocks(request) else { return environment.occurred(.waitedForScrub) }
        environment.occurred(.waitedForObject)
        guard recovery.underway[object] == nil else { return hurry(object) }
        if awaitsWrites(of: object) { return }
        if !recovery.unfound.contains(object), recovery.noRoom[object] == nil {
            bringBack(object, isCounted: false)
        }
    }

    /// The writes that the recovery of an object, or of its clones, waited for are done.
    func resume(_ head: ObjectID) {
        for object in recovery.locking.filter({ $0.isSameObject(as: head) }).sorted() {
            recovery.locking.remove(object)
            for key in pushes.keys.filter({ $0.object == object }).sorted(by: { $0.target < $1.target })
            where pushes[key]?.stage == .awaitingLock {
                continuePush(key)
            }
        }
        for object in recovery.delayed.keys.filter({ $0.isSameObject(as: head) }).sorted() {
            let isCounted = recovery.delayed.removeValue(forKey: object) ?? false
            bringBack(object, isCounted: isCounted)
        }
    }

    /// Fetches an object that this member lacks, or sends it to those that do.
    private func bringBack(_ object: ObjectID, isCounted: Bool) {
        var work = Recovery.Work()
        work.isCounted = isCounted
        work.isUrgent = !isCounted
        if missing[object] != nil, isWritten(object) {
            let wasCounted = recovery.delayed.updateValue(isCounted, forKey: object) ?? false
            if wasCounted { environment.endRecovery() }
            return
        }
        if let lacking = missing[object] {
            guard !environment.isFull else {
                if isCounted { environment.endRecovery() }
                return leave(object, without: me)
            }
            guard let source = source(of: object) else {
                environment.occurred(.unfound)
                if isCounted { environment.endRecovery() }
                recovery.unfound.insert(object)
                if restoreOwnCopy(of: object) { wake(object) }
                return
            }
            work.source = source
            work.partAsked = environment.nowMilliseconds
            recovery.underway[object] = work
            send(.pull(object, need: lacking.need), to: source)
            return
        }
        for member in members where member.osd != me {
            let isFilled = recovery.fill?.target == member.osd && recovery.fill?.pending.contains(object) == true
            if member.missing[object] != nil || isFilled { work.pushing.insert(member.osd) }
        }
        recovery.underway[object] = work
        guard !work.pushing.isEmpty else { return objectDone(object) }
        for osd in work.pushing.sorted() { startPush(of: object, at: nil, to: osd) }
    }

    /// Someone who should have the object, members first, or nil while nobody that can be asked does. At last those are asked
    /// whose copies do not count any more: an object that is there at the version that is needed is the one. It may be nowhere
    /// else, when its last members went and came back after the log had gone on without them.
    private func source(of object: ObjectID) -> OSDID? {
        let failed = recovery.failed[object] ?? []
        for member in members where member.osd != me && !failed.contains(member.osd) {
            if member.position.covers(object), member.missing[object] == nil { return member.osd }
        }
        let others = peering.infos.keys.sorted().filter { osd in
            !members.contains { $0.osd == osd } && !failed.contains(osd) && environment.isUp(osd)
                && peering.infos[osd]?.isEmpty == false
        }
        return others.first { peering.infos[$0]?.lastBackfill.covers(object) == true }
            ?? members.first { $0.osd != me && !failed.contains($0.osd) && !$0.position.covers(object) }?.osd
            ?? others.first
    }

    /// The object is where it has to be, or is to go on from here to those that lack it.
    private func objectDone(_ object: ObjectID) {
        guard let work = recovery.underway.removeValue(forKey: object) else { return }
        recovery.locking.remove(object)
        if recovery.noRoom[object] != nil {
            if work.isCounted { environment.endRecovery() }
            wake(object.head)
            return continueRecovery()
        }
        let isFilling = recovery.fill?.pending.contains(object) == true
        if missing[object] != nil || isFilling || members.contains(where: { $0.missing[object] != nil }) {
            return bringBack(object, isCounted: work.isCounted)
        }
        if work.isCounted { environment.endRecovery() }
        if recovery.lackingObjects.remove(object) != nil { environment.occurred(.recoveredObject) }
        if object.snap != .head { environment.occurred(.cloneRecovered) }
        recovery.failed[object] = nil
        finishWindow()
        wake(object.head)
        continueRecovery()
    }

    /// An object that this primary fetched is on its disk.
    func pullStored(_ object: ObjectID, _ version: Version) {
        guard isActivated, recovery.underway[object]?.source != nil, missing[object] == nil else { return }
        environment.recovered(bytes: environment.size(of: object) ?? 0)
        if !scrub.inconsistent.isEmpty { copyReplaced(object, on: me) }
        roomFound(on: me)
        wake(object.head)
        objectDone(object)
    }

    func pullFailed(_ object: ObjectID, from osd: OSDID) {
        guard isActivated, let work = recovery.underway[object], work.source == osd else { return }
        recovery.underway[object] = nil
        recovery.failed[object, default: []].insert(osd)
        bringBack(object, isCounted: work.isCounted)
        continueRecovery()
    }

    /// A member has stored an object that this one sent.
    func pushStored(_ object: ObjectID, _ version: Version, by osd: OSDID) {
        // The word may be about a push from before the session was lost, and another one is on its way.
        guard isActivated, pushes[PushKey(target: osd, object: object)] == nil, version == self.version(of: object),
            recovery.underway[object]?.pushing.remove(osd) != nil
        else { return }
        if let index = members.firstIndex(where: { $0.osd == osd }) { members[index].missing[object] = nil }
        environment.recovered(bytes: environment.size(of: object) ?? 0)
        if !scrub.inconsistent.isEmpty { copyReplaced(object, on: osd) }
        if recovery.fill?.target == osd { recovery.fill?.pending.remove(object) }
        roomFound(on: osd)
        if recovery.underway[object]?.pushing.isEmpty == true { objectDone(object) }
    }

    // MARK: Room

    /// A member has no room for an object that it lacks. The others get it; this one is asked again from time to time.
    func pushRefused(_ key: PushKey) {
        guard isActivated, recovery.underway[key.object]?.pushing.remove(key.target) != nil else { return }
        // Of one that went in one part nothing is left here.
        pushes[key] = nil
        leave(key.object, without: key.target)
        if recovery.underway[key.object]?.pushing.isEmpty == true { objectDone(key.object) }
    }

    private func leave(_ object: ObjectID, without osd: OSDID) {
        environment.occurred(.recoveryTooFull)
        recovery.noRoom[object, default: []].insert(osd)
    }

    /// Tries one of the objects that there was no room for, of each member: one that stays full holds up no other.
    func tryRoom() {
        var tried = Set<OSDID>()
        for object in recovery.noRoom.keys.sorted() {
            guard let osds = recovery.noRoom[object], !osds.isSubset(of: tried) else { continue }
            tried.formUnion(osds)
            recovery.noRoom[object] = nil
            recovery.queue.append(object)
        }
    }

    /// The member has room again: all that it lacks may come.
    private func roomFound(on osd: OSDID) {
        guard !recovery.noRoom.isEmpty else { return }
        let objects = recovery.noRoom.filter { $0.value.contains(osd) }.keys.sorted()
        for object in objects { recovery.noRoom[object] = nil }
        recovery.queue.append(contentsOf: objects)
    }

    /// This member cannot read what it is to send: what the members have is compared before any copy is given up.
    func ownCopyFailed(_ object: ObjectID) {
        guard isActivated, missing[object] == nil, let work = recovery.underway.removeValue(forKey: object) else {
            return
        }
        for osd in work.pushing { pushes[PushKey(target: osd, object: object)] = nil }
        recovery.locking.remove(object)
        if work.isCounted { environment.endRecovery() }
        if !inspect(object) {
            environment.occurred(.unfound)
            recovery.unfound.insert(object)
            wake(object.head)
        }
        continueRecovery()
    }

    /// Begins again what was under way with someone who went, or whose session was lost; looks again for what was not found.
    func recoveryPeersChanged(reset: OSDID? = nil) {
        guard recovery.isWorking else { return }
        for (object, work) in recovery.underway.sorted(by: { $0.key < $1.key }) {
            if let source = work.source, source == reset || !environment.isUp(source) {
                recovery.underway[object] = nil
                bringBack(object, isCounted: work.isCounted)
            } else if let reset, work.pushing.contains(reset) {
                startPush(of: object, at: nil, to: reset)
            }
        }
        if let reset, recovery.fill?.target == reset { repeatFill() }
        if reset == nil, !recovery.unfound.isEmpty { askOthers() }
        searchAgain()
        continueRecovery()
    }

    /// Asks those of older intervals that have come up since.
    private func askOthers() {
        for past in intervals.past {
            for osd in past.acting where osd != me && peering.infos[osd] == nil && environment.isUp(osd) {
                send(.queryInfo, to: osd)
            }
        }
    }

    /// What nobody had is looked for again.
    func searchAgain() {
        guard !recovery.unfound.isEmpty else { return }
        let objects = recovery.unfound.sorted()
        recovery.unfound.removeAll()
        for object in objects {
            recovery.failed[object] = nil
            recovery.queue.append(object)
        }
        continueRecovery()
    }

    /// All members have everything.
    private func recoveryDone() {
        precondition(
            members.allSatisfy { $0.withheld == nil }, "group \(id) withholds writes from whole members: \(summary)")
        recovery.isWorking = false
        recovery.noRoom.removeAll()
        startTally()
        chooseAgain()
        if isClean { becomeClean() }
    }

    /// With members that have become complete, others may be the ones to serve.
    func chooseAgain() {
        var infos = peering.infos.filter { osd, _ in environment.isUp(osd) && !acting.contains(osd) && !up.contains(osd)
        }
        for member in members {
            var theirs = info
            theirs.lastBackfill = member.position
            infos[member.osd] = theirs
        }
        let servants = Authority.servants(infos, authority: me, interval: intervals.current)
        if !isServedBy(servants) { ask(for: servants) }
    }
}
