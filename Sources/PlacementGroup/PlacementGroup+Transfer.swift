import Protocol
import Wire

/// An object on its way to a member.
struct PushKey: Hashable {
    var target: OSDID
    var object: ObjectID
}

/// A transfer that pauses so that clients keep their share.
enum PausedTransfer {
    case push(PushKey)
    /// The word that the next part may come.
    case word(ObjectID, to: OSDID)

    var object: ObjectID {
        switch self {
        case .push(let key): key.object
        case .word(let object, _): object
        }
    }
}

/// Objects sent whole between members.
extension PlacementGroup {
    func receivedTransfer(_ body: GroupMessage.Body, from: OSDID) {
        switch body {
        case .pull(let object, let need):
            guard from == primary, range.contains(object) else { return }
            startPush(of: object, at: need, to: from)
        case .push(let part): if range.contains(part.object) { store(part, from: from) }
        case .partStored(let object): partStored(PushKey(target: from, object: object))
        case .pushed(let object, let version): pushStored(object, version, by: from)
        case .cannotPush(let object, _): pullFailed(object, from: from)
        case .noRoom(let object): pushRefused(PushKey(target: from, object: object))
        default: preconditionFailure("\(body) moves no object")
        }
    }

    // MARK: Sending

    /// Sends an object; `need` is nil when this member, as primary, sends what it has, which may be nothing at all.
    func startPush(of object: ObjectID, at need: Version?, to target: OSDID) {
        let version = version(of: object)
        if let need, need != version || missing[object] != nil {
            send(.cannotPush(object, need: need), to: target)
            return
        }
        nextRead &+= 1
        let key = PushKey(target: target, object: object)
        // What the primary fetches nobody writes to meanwhile.
        pushes[key] = OutgoingPush(
            version: version, size: environment.size(of: object) ?? 0, serial: nextRead, isLocked: !isPrimary)
        continuePush(key)
    }

    func continuePush(_ key: PushKey) {
        guard var push = pushes[key] else { return }
        let limit = UInt64(environment.tuning.part)
        if !push.isLocked {
            push.size = environment.size(of: key.object) ?? 0
            if push.size - min(push.size, push.offset) <= limit, !lock(key, &push) { return }
        }
        push.stage = .sending
        let range = push.read(limit: limit)
        pushes[key] = push
        if let range {
            let number = newRead(PendingRead(purpose: .push(key, serial: push.serial)))
            environment.read(
                key.object, offset: range.lowerBound, length: range.count, number: number, for: slot)
        } else {
            sendPart(key, data: .empty)
        }
    }

    /// Keeps writes from the object until the member has it, when those under way are done. False when it is not there to be
    /// sent, or has to wait.
    private func lock(_ key: PushKey, _ push: inout OutgoingPush) -> Bool {
        recovery.underway[key.object]?.isLocked = true
        if isWritten(key.object) {
            push.stage = .awaitingLock
            pushes[key] = push
            recovery.locking.insert(key.object)
            return false
        }
        push.isLocked = true
        push.version = version(of: key.object)
        if push.version == .zero {
            pushes[key] = nil
            send(.push(ObjectPart(object: key.object, version: .zero, exists: false, size: 0)), to: key.target)
            return false
        }
        if push.isRewritten { environment.occurred(.writtenWhileSent) }
        return true
    }

    func pushRead(_ key: PushKey, serial: UInt32, _ outcome: ReadOutcome) {
        guard let push = pushes[key], push.serial == serial else { return }
        switch outcome {
        case .data(let data):
            sendPart(key, data: data)
        case .failed: cannotSend(key, push)
        }
    }

    private func cannotSend(_ key: PushKey, _ push: OutgoingPush) {
        pushes[key] = nil
        if isPrimary {
            ownCopyFailed(key.object)
        } else {
            send(.cannotPush(key.object, need: push.version), to: key.target)
        }
    }

    /// The object's info, if its metadata is what the info says.
    private func verifiedInfo(of object: ObjectID, omap: UInt32) -> Bytes? {
        let attributes = environment.attributes(of: object)
        guard let info = attributes.first(where: { $0.name == ObjectInfo.attribute })?.value,
            let known = try? ObjectInfo(decoding: info),
            known.digests == MetadataDigests(attributes: MetadataDigest.of(attributes), omap: omap)
        else { return nil }
        return info
    }

    private func sendPart(_ key: PushKey, data: Bytes) {
        guard var push = pushes[key] else { return }
        var part = ObjectPart(object: key.object, version: push.version, exists: true, size: push.size)
        part.isFirst = push.isFirst
        part.offset = push.reading?.lowerBound ?? push.offset
        // What is all zeros need not travel: the object's size alone makes it so, where nothing else was sent.
        if push.isReadAgain || !data.isAllZero { part.data = data }
        let entries = environment.omap(
            of: key.object, after: push.omapAfter, prefix: .empty, limit: GroupLimits.partEntries)
        var bytes = 0
        for entry in entries {
            bytes += entry.key.count + entry.value.count
            if !part.omap.isEmpty, bytes > GroupLimits.partMetadata { break }
            part.omap.append(entry)
            push.omapDigest &+= MetadataDigest.of(entry.key, entry.value)
        }
        let isWholeMap = part.omap.count == entries.count && entries.count < GroupLimits.partEntries
        if let last = part.omap.last { push.omapAfter = last.key }
        part.isLast = push.isLocked && push.isThrough && isWholeMap
        if push.isFirst || (part.isLast && push.hasNewAttributes) {
            part.attributes = environment.attributes(of: key.object).filter { $0.name != ObjectInfo.attribute }
        }
        if part.isLast {
            // A copy whose metadata is not what was written must not be multiplied.
            guard let info = verifiedInfo(of: key.object, omap: push.omapDigest) else { return cannotSend(key, push) }
            part.attributes.append(Attribute(ObjectInfo.attribute, info))
        }
        push.isFirst = false
        push.sentAt = environment.nowMilliseconds
        send(.push(part), to: key.target)
        guard !part.isLast else {
            pushes[key] = nil
            return
        }
        push.stage = .awaitingWord
        push.unanswered += 1
        pushes[key] = push
        if mayGoOn(key, push) { continuePush(key) }
    }

    /// True when clients wait for the object, as far as this member knows.
    private func isUrgent(_ key: PushKey, _ push: OutgoingPush) -> Bool {
        push.isLocked || (recovery.underway[key.object]?.isUrgent ?? true)
    }

    /// True when the next part need not wait for the word about the last.
    private func mayGoOn(_ key: PushKey, _ push: OutgoingPush) -> Bool {
        push.unanswered < (isUrgent(key, push) || environment.areClientsQuiet ? GroupLimits.partsInFlight : 1)
    }

    /// The member has stored a part: the next follows, after a pause when clients need the time and nobody waits for it.
    private func partStored(_ key: PushKey) {
        // A word about a push that was begun anew meanwhile only makes this one go on a little early.
        guard var push = pushes[key], push.unanswered > 0 else { return }
        push.unanswered -= 1
        pushes[key] = push
        guard push.stage == .awaitingWord else { return }
        let took = environment.nowMilliseconds - push.sentAt
        if !isUrgent(key, push), environment.pausePush(push.serial, for: slot, took: took) {
            pushes[key]?.stage = .paused
            paused[push.serial] = .push(key)
        } else if mayGoOn(key, push) {
            continuePush(key)
        }
    }

    /// This member has stored a part: the next may come, after a pause likewise.
    func tellStored(_ object: ObjectID, to osd: OSDID) {
        if isPrimary, let work = recovery.underway[object], !work.isUrgent {
            nextRead &+= 1
            let took = environment.nowMilliseconds - work.partAsked
            if environment.pausePush(nextRead, for: slot, took: took) {
                paused[nextRead] = .word(object, to: osd)
                return
            }
        }
        recovery.underway[object]?.partAsked = environment.nowMilliseconds
        send(.partStored(object), to: osd)
    }

    /// A client waits for the object: what is sent of it pauses no more.
    func hurry(_ object: ObjectID) {
        recovery.underway[object]?.isUrgent = true
        for (number, transfer) in paused.sorted(by: { $0.key < $1.key }) where transfer.object == object {
            pushMayGoOn(number)
        }
    }

    /// The pause of a transfer is over.
    public func pushMayGoOn(_ number: UInt32) {
        guard let transfer = paused.removeValue(forKey: number) else { return }
        switch transfer {
        case .push(let key):
            if pushes[key]?.serial == number { continuePush(key) }
        case .word(let object, let osd):
            guard recovery.underway[object]?.source == osd else { return }
            recovery.underway[object]?.partAsked = environment.nowMilliseconds
            send(.partStored(object), to: osd)
        }
    }

    // MARK: Receiving

    /// False when an attribute that this group would have to read some day cannot be read.
    private func isReadable(_ part: ObjectPart) -> Bool {
        part.attributes.allSatisfy { attribute in
            switch attribute.name {
            case ObjectInfo.attribute: (try? ObjectInfo(decoding: attribute.value)) != nil
            case Self.snapshotsAttribute where part.object.snap == .head:
                (try? SnapSet(decoding: attribute.value)) != nil
            case Self.snapshotsAttribute: (try? CloneRecord(decoding: attribute.value)) != nil
            default: true
            }
        }
    }

    /// Stores a part of an object. With the last part, and not before, the object counts as there: until then it has no
    /// version, and what is said to be missing is said to be had in none.
    func store(_ part: ObjectPart, from osd: OSDID) {
        if isPrimary {
            guard isActivated, recovery.underway[part.object]?.source == osd else { return }
        } else {
            guard phase == .replica(activated: true), osd == primary else { return }
        }
        guard part.isFirst || arriving.contains(part.object), isReadable(part) else { return }
        let object = part.object
        if part.isFirst, part.exists, !isPrimary, environment.isFull {
            // What is there of an earlier attempt must not be gone on with.
            arriving.remove(object)
            return send(.noRoom(object), to: osd)
        }
        // The info comes with the last part, and says what the part says.
        let description = part.attributes.last { $0.name == ObjectInfo.attribute }?.value ?? .empty
        if part.isLast, part.exists, (try? ObjectInfo(decoding: description))?.version != part.version { return }
        var steps: [Transaction.Operation] = []
        if part.isFirst {
            steps += removalFromIndex(of: object)
            steps.append(.remove(object))
            if part.exists { steps.append(.touch(object)) }
            steps += additionToIndex(of: part)
            arriving.insert(object)
        }
        for attribute in part.attributes where attribute.name != ObjectInfo.attribute && part.exists {
            steps.append(.setAttribute(object, name: attribute.name, value: attribute.value))
        }
        if !part.data.isEmpty { steps.append(.write(object, offset: part.offset, data: part.data)) }
        if !part.omap.isEmpty { steps.append(.setOmap(object, entries: part.omap)) }
        guard part.isLast else {
            if part.isFirst { steps += nothingHad(of: object, need: part.version) }
            commit(Transaction(steps), .partStored(object, interval: interval, from: osd))
            return
        }
        arriving.remove(object)
        if part.exists {
            steps.append(.truncate(object, size: part.size))
            steps.append(.setAttribute(object, name: ObjectInfo.attribute, value: description))
        }
        steps += noLongerMissing(object)
        commit(Transaction(steps), .objectStored(object, part.version, interval: interval, from: osd))
    }

    /// What is there of the object is no version of it: from now on it is missing, if it was not, and had in none. What lies
    /// beyond the backfill is compared anyway.
    private func nothingHad(of object: ObjectID, need: Version) -> [Transaction.Operation] {
        let lacking = missing[object]
        guard lacking?.have != .zero, lacking != nil || info.lastBackfill.covers(object) else { return [] }
        let next = MissingObject(object: object, need: lacking?.need ?? need, have: .zero)
        missing[object] = next
        info.missingCount = UInt32(missing.count)
        return [.setGroupKeys(id, entries: [GroupKeys.entry(next), GroupKeys.entry(info)])]
    }
}
