import DequeModule
import Protocol
import Wire

/// What the primary still has to bring about before the group serves, in this order: its own copy gets what it lacks, is
/// filled if it has to be; then the other members get what they lack, and are filled if they have to be.
struct Recovery {
    /// What each member lacks; the primary's own set is the group's.
    var missing: [OSDID: MissingSet] = [:]
    /// Members whose copy must be compared object by object, not begun yet.
    var backfills: [OSDID] = []
    /// Holders outside the acting set that objects can be taken from.
    var sources: [OSDID] = []
    var pullQueue: Deque<ObjectVersion> = []
    var pulling: [ObjectID: Pull] = [:]
    var pushQueue: Deque<PushKey> = []
    var pushing: Set<PushKey> = []
    var fill: Fill?
    /// Members that could not send an object although they should have it.
    var failed: [ObjectID: Set<OSDID>] = [:]
    /// Objects of which the first part has been stored, and not yet the last.
    var arriving: Set<ObjectID> = []

    var isBackfilling: Bool { fill != nil || !backfills.isEmpty }

    struct Pull {
        var need: Version
        var source: OSDID
    }
}

/// An object on its way to a member.
struct PushKey: Hashable {
    var target: OSDID
    var object: ObjectID
}

/// How far an object has been sent.
struct OutgoingPush {
    var version: Version
    var size: UInt64
    var offset: UInt64 = 0
    var omapAfter = Bytes.empty
    var isFirst = true
}

extension PlacementGroup {
    func startRecovery() {
        precondition(phase == .recovering, "group \(id) recovers while \(phase)")
        recovery.backfills.sort { ($0 == me ? 0 : 1, $0) < ($1 == me ? 0 : 1, $1) }
        for lacking in missing.values.sorted(by: { $0.object < $1.object }) {
            recovery.pullQueue.append(ObjectVersion(lacking.object, lacking.need))
        }
        continueRecovery()
    }

    func continueRecovery() {
        guard phase == .recovering else { return }
        startPulls()
        guard recovery.pullQueue.isEmpty, recovery.pulling.isEmpty, missing.isEmpty else { return }
        if recovery.fill == nil, recovery.backfills.first == me { startFill(of: recovery.backfills.removeFirst()) }
        if recovery.fill?.target == me { return }
        queuePushes()
        while recovery.pushing.count < GroupLimits.recoveriesInFlight, let key = recovery.pushQueue.popFirst() {
            recovery.pushing.insert(key)
            startPush(of: key.object, at: nil, to: key.target)
        }
        guard recovery.pushQueue.isEmpty, recovery.pushing.isEmpty else { return }
        if recovery.fill == nil, !recovery.backfills.isEmpty { startFill(of: recovery.backfills.removeFirst()) }
        if recovery.fill == nil, recovery.missing.values.allSatisfy({ $0.isEmpty }) { becomeActive() }
    }

    /// Queues what members lack, once this copy has everything.
    private func queuePushes() {
        guard recovery.pushQueue.isEmpty, recovery.pushing.isEmpty, recovery.fill == nil else { return }
        for osd in acting where osd != me {
            for object in (recovery.missing[osd] ?? [:]).keys.sorted() {
                recovery.pushQueue.append(PushKey(target: osd, object: object))
            }
        }
        // What members outside the acting set lack is of no account.
        for osd in recovery.sources { recovery.missing[osd] = [:] }
        recovery.missing[me] = [:]
    }

    private func startPulls() {
        var unfound: [ObjectVersion] = []
        while recovery.pulling.count < GroupLimits.recoveriesInFlight, let wanted = recovery.pullQueue.popFirst() {
            guard let source = source(of: wanted.object) else {
                unfound.append(wanted)
                continue
            }
            recovery.pulling[wanted.object] = Recovery.Pull(need: wanted.version, source: source)
            send(.pull(wanted.object, need: wanted.version), to: source)
        }
        recovery.pullQueue.append(contentsOf: unfound)
    }

    /// A member that has the object, or nil while none that has it can be reached.
    private func source(of object: ObjectID) -> OSDID? {
        if let fill = recovery.fill, fill.target == me { return environment.isUp(fill.source) ? fill.source : nil }
        return (acting + recovery.sources).first { osd in
            osd != me && environment.isUp(osd) && recovery.missing[osd]?[object] == nil
                && recovery.failed[object]?.contains(osd) != true && peering.infos[osd]?.isComplete == true
        }
    }

    /// Begins again what was under way with members that went, or whose session was lost.
    func recoveryPeersChanged(reset: OSDID? = nil) {
        func isLost(_ osd: OSDID) -> Bool { osd == reset || !environment.isUp(osd) }
        for (object, pull) in recovery.pulling.sorted(by: { $0.key < $1.key }) where isLost(pull.source) {
            recovery.pulling[object] = nil
            recovery.pullQueue.append(ObjectVersion(object, pull.need))
        }
        for key in recovery.pushing.sorted(by: { $0.object < $1.object }) where isLost(key.target) {
            recovery.pushing.remove(key)
            pushes[key] = nil
            recovery.pushQueue.append(key)
        }
        if let fill = recovery.fill, isLost(fill.partner(me)) || isLost(fill.target) { scanForFill() }
        continueRecovery()
    }

    // MARK: Sending objects

    /// Sends an object; `need` is nil when this member, as primary, sends what it has, which may be nothing at all.
    func startPush(of object: ObjectID, at need: Version?, to target: OSDID) {
        let version = version(of: object)
        let key = PushKey(target: target, object: object)
        if let need, need != version || missing[object] != nil {
            send(.cannotPush(object, need: need), to: target)
            return
        }
        guard version != .zero, let size = environment.size(of: object) else {
            send(.push(ObjectPart(object: object, version: .zero, exists: false, size: 0)), to: target)
            return
        }
        pushes[key] = OutgoingPush(version: version, size: size)
        continuePush(key)
    }

    private func continuePush(_ key: PushKey) {
        guard let push = pushes[key] else { return }
        if push.offset < push.size {
            let length = min(UInt64(GroupLimits.partSize), push.size - push.offset)
            let number = newRead(PendingRead(purpose: .push(key)))
            environment.read(key.object, offset: push.offset, length: Int(length), number: number, for: slot)
        } else {
            sendPart(key, data: .empty)
        }
    }

    func pushRead(_ key: PushKey, _ outcome: ReadOutcome) {
        guard let push = pushes[key] else { return }
        switch outcome {
        case .data(let data):
            sendPart(key, data: data)
        case .failed:
            pushes[key] = nil
            if !isPrimary { send(.cannotPush(key.object, need: push.version), to: key.target) }
        }
    }

    private func sendPart(_ key: PushKey, data: Bytes) {
        guard var push = pushes[key] else { return }
        var part = ObjectPart(object: key.object, version: push.version, exists: true, size: push.size)
        part.isFirst = push.isFirst
        part.offset = push.offset
        if push.isFirst { part.attributes = environment.attributes(of: key.object) }
        // What is all zeros need not travel: the object's size alone makes it so.
        if !data.isAllZero { part.data = data }
        part.omap = environment.omap(
            of: key.object, after: push.omapAfter, prefix: .empty, limit: GroupLimits.partEntries)
        push.offset += UInt64(data.count)
        push.isFirst = false
        if let last = part.omap.last { push.omapAfter = last.key }
        part.isLast = push.offset >= push.size && part.omap.count < GroupLimits.partEntries
        send(.push(part), to: key.target)
        pushes[key] = part.isLast ? nil : push
        if !part.isLast { continuePush(key) }
    }

    /// A member has stored an object that this one sent.
    func pushStored(_ object: ObjectID, _ version: Version, by osd: OSDID) {
        let key = PushKey(target: osd, object: object)
        guard phase == .recovering, recovery.pushing.remove(key) != nil else { return }
        recovery.missing[osd]?[object] = nil
        fillStored(object)
        continueRecovery()
    }

    // MARK: Receiving objects

    /// Stores a part of an object. With the last part, and not before, the object counts as there.
    func store(_ part: ObjectPart, from osd: OSDID) {
        if isPrimary {
            guard phase == .recovering, recovery.pulling[part.object]?.source == osd else { return }
        } else {
            guard phase == .replica(activated: true), osd == intervals.current.primary else { return }
        }
        guard part.isFirst || recovery.arriving.contains(part.object) else { return }
        let object = part.object
        var steps: [Transaction.Operation] = []
        if part.isFirst {
            steps.append(.remove(object))
            if part.exists { steps.append(.touch(object)) }
            steps += part.attributes.map { .setAttribute(object, name: $0.name, value: $0.value) }
            recovery.arriving.insert(object)
        }
        if !part.data.isEmpty { steps.append(.write(object, offset: part.offset, data: part.data)) }
        if !part.omap.isEmpty { steps.append(.setOmap(object, entries: part.omap)) }
        guard part.isLast else {
            commit(Transaction(steps), .note)
            return
        }
        recovery.arriving.remove(object)
        if part.exists { steps.append(.truncate(object, size: part.size)) }
        if missing.removeValue(forKey: object) != nil {
            info.missingCount = UInt32(missing.count)
            let key = GroupKeys.missing(object)
            steps.append(.removeGroupKeys(id, from: key, to: Bytes(key.array + [0])))
            steps.append(.setGroupKeys(id, entries: [GroupKeys.entry(info)]))
        }
        commit(Transaction(steps), .objectStored(object, part.version, interval: interval, from: osd))
    }

    /// An object that this primary fetched is on its disk.
    func pullStored(_ object: ObjectID, _ version: Version) {
        guard phase == .recovering, recovery.pulling.removeValue(forKey: object) != nil else { return }
        fillStored(object)
        continueRecovery()
    }

    func pullFailed(_ object: ObjectID, from osd: OSDID) {
        guard phase == .recovering, let pull = recovery.pulling[object], pull.source == osd else { return }
        recovery.pulling[object] = nil
        recovery.failed[object, default: []].insert(osd)
        recovery.pullQueue.append(ObjectVersion(object, pull.need))
        continueRecovery()
    }

    private func becomeActive() {
        precondition(missing.isEmpty && info.isComplete, "group \(id) would serve from \(info)")
        phase = .active
        recovery = Recovery()
        pushes.removeAll()
        members = acting.map { Member(osd: $0, committed: info.lastUpdate) }
        let requests = waiting
        waiting.removeAll()
        for (request, client) in requests { self.request(request, from: client) }
    }
}
