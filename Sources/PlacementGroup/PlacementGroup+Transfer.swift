import Protocol
import Wire

/// An object on its way to a member.
struct PushKey: Hashable {
    var target: OSDID
    var object: ObjectID
}

/// How far an object has been sent.
struct OutgoingPush {
    var version: Version
    var size: UInt64
    /// Tells the reads of this push from those of one that was begun before and given up.
    var serial: UInt32
    var offset: UInt64 = 0
    var omapAfter = Bytes.empty
    /// Over the omap entries sent so far.
    var omapDigest: UInt32 = 0
    var isFirst = true
    var stage = Stage.sending
    /// When the last part was sent.
    var sentAt: UInt64 = 0

    enum Stage { case sending, awaitingWord, paused }
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
        default: preconditionFailure("\(body) moves no object")
        }
    }

    // MARK: Sending

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
        nextRead &+= 1
        pushes[key] = OutgoingPush(version: version, size: size, serial: nextRead)
        continuePush(key)
    }

    private func continuePush(_ key: PushKey) {
        guard let push = pushes[key] else { return }
        if push.offset < push.size {
            let length = min(UInt64(environment.tuning.part), push.size - push.offset)
            let number = newRead(PendingRead(purpose: .push(key, serial: push.serial)))
            environment.read(key.object, offset: push.offset, length: Int(length), number: number, for: slot)
        } else {
            sendPart(key, data: .empty)
        }
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
        part.offset = push.offset
        if push.isFirst {
            part.attributes = environment.attributes(of: key.object).filter { $0.name != ObjectInfo.attribute }
        }
        // What is all zeros need not travel: the object's size alone makes it so.
        if !data.isAllZero { part.data = data }
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
        push.offset += UInt64(data.count)
        push.isFirst = false
        if let last = part.omap.last { push.omapAfter = last.key }
        part.isLast = push.offset >= push.size && isWholeMap
        if part.isLast {
            // A copy whose metadata is not what was written must not be multiplied.
            guard let info = verifiedInfo(of: key.object, omap: push.omapDigest) else { return cannotSend(key, push) }
            part.attributes.append(Attribute(ObjectInfo.attribute, info))
        }
        push.stage = .awaitingWord
        push.sentAt = environment.nowMilliseconds
        send(.push(part), to: key.target)
        pushes[key] = part.isLast ? nil : push
    }

    /// The member has stored a part: the next follows, after a pause when clients need the time and nobody waits for it.
    private func partStored(_ key: PushKey) {
        // A word about a push that was begun anew meanwhile only makes this one go on a little early.
        guard var push = pushes[key], push.stage == .awaitingWord else { return }
        let isUrgent = recovery.underway[key.object]?.isUrgent ?? true
        let took = environment.nowMilliseconds - push.sentAt
        push.stage = .paused
        pushes[key] = push
        if isUrgent || !environment.pausePush(push.serial, for: slot, took: took) { pushMayGoOn(push.serial) }
    }

    /// A client waits for the object: what is sent of it pauses no more.
    func hurry(_ object: ObjectID) {
        recovery.underway[object]?.isUrgent = true
        for osd in recovery.underway[object]?.pushing ?? [] {
            if let push = pushes[PushKey(target: osd, object: object)] { pushMayGoOn(push.serial) }
        }
    }

    /// The pause of a push is over.
    public func pushMayGoOn(_ number: UInt32) {
        guard let key = pushes.first(where: { $0.value.serial == number })?.key, pushes[key]?.stage == .paused else {
            return
        }
        pushes[key]?.stage = .sending
        continuePush(key)
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
        // The info comes with the last part, and says what the part says.
        let description = part.attributes.last { $0.name == ObjectInfo.attribute }?.value ?? .empty
        if part.isLast, part.exists, (try? ObjectInfo(decoding: description))?.version != part.version { return }
        var steps: [Transaction.Operation] = []
        if part.isFirst {
            steps += removalFromIndex(of: object)
            steps.append(.remove(object))
            if part.exists { steps.append(.touch(object)) }
            steps += additionToIndex(of: part)
            for attribute in part.attributes where attribute.name != ObjectInfo.attribute {
                steps.append(.setAttribute(object, name: attribute.name, value: attribute.value))
            }
            arriving.insert(object)
        }
        if !part.data.isEmpty { steps.append(.write(object, offset: part.offset, data: part.data)) }
        if !part.omap.isEmpty { steps.append(.setOmap(object, entries: part.omap)) }
        guard part.isLast else {
            if part.isFirst, let lacking = missing[object], lacking.have != .zero {
                let next = MissingObject(object: object, need: lacking.need, have: .zero)
                missing[object] = next
                steps.append(.setGroupKeys(id, entries: [GroupKeys.entry(next)]))
            }
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
}
