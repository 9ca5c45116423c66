import DequeModule
import Protocol
import Wire

/// A write that some member has not committed.
struct PendingWrite {
    var version: Version
    var object: ObjectID
    var client: ClientHandle
    var request: RequestID
    var outputs: [Bytes]
    var errno: Int32
    /// What the other members were told, for a member whose session was lost.
    var message: GroupMessage
    /// Members that were told of the log entry alone.
    var loggedOnly: [OSDID] = []
}

extension PlacementGroup {
    /// Orders a write: logs and applies it here, has the other members do the same, and answers when all have committed.
    /// A write that fails, or has nothing to change, is logged all the same: its resend must end the same way.
    func order(
        _ operations: [Transaction.Operation], kind: LogEntry.Kind, prior: Version, outputs: [Bytes], errno: Int32,
        for request: OperationRequest, from client: ClientHandle
    ) {
        let version = Version(epoch: interval, counter: info.lastUpdate.counter + 1)
        let entry = LogEntry(
            kind: kind, object: request.object, version: version, prior: prior, request: request.id, errno: errno)
        let trimTo = log.trimTarget(committed: leastCommitted, environment.tuning)
        let transaction = Transaction(operations)
        let message = GroupMessage(
            group: id, interval: interval, body: .replicate(entry: entry, operations: transaction, trimTo: trimTo))
        writes.append(
            PendingWrite(
                version: version, object: request.object, client: client, request: request.id, outputs: outputs,
                errno: errno, message: message))
        activities[request.object, default: ObjectActivity()].writers += 1
        if recovery.isWorking {
            replicatePartly(message, entry, trimTo)
        } else {
            environment.send(message, to: others)
        }
        apply(transaction, entry, trimTo: trimTo, .write(version, interval: interval))
    }

    /// While members are given what they lack: those that do not have the object yet get the log entry alone.
    private func replicatePartly(_ message: GroupMessage, _ entry: LogEntry, _ trimTo: Version) {
        var whole: [OSDID] = []
        for index in members.indices where members[index].osd != me {
            let osd = members[index].osd
            if takesData(members[index], of: entry) {
                whole.append(osd)
            } else {
                environment.occurred(.loggedOnly)
                if entry.kind == .delete {
                    members[index].missing[entry.object] = nil
                } else {
                    members[index].missing[entry.object]?.need = entry.version
                }
                writes[writes.count - 1].loggedOnly.append(osd)
                send(.replicate(entry: entry, operations: Transaction(), trimTo: trimTo), to: osd)
            }
        }
        if !whole.isEmpty { environment.send(message, to: whole) }
    }

    /// True when the member has the object as this one does, so that it can change it.
    private func takesData(_ member: Member, of entry: LogEntry) -> Bool {
        let object = entry.object
        if member.missing[object] != nil { return entry.kind == .error }
        return member.position.covers(object)
            || (recovery.fill.map { $0.target == member.osd && $0.has(object) } ?? false)
    }

    /// One transaction carries the data and the log entry, on every member alike. Where the log ends is what the info would
    /// say of it, so the info is stored only when more of it changes.
    private func apply(_ operations: Transaction, _ entry: LogEntry, trimTo: Version, _ purpose: CommitPurpose) {
        var transaction = operations
        log.append(entry)
        info.lastUpdate = entry.version
        transaction.operations.append(.setGroupKeys(id, entries: [GroupKeys.entry(entry)]))
        if operations.operations.isEmpty, !missing.isEmpty { noteMissed(entry, &transaction) }
        if trimTo > log.tail {
            transaction.operations += trim(to: trimTo)
            transaction.operations.append(.setGroupKeys(id, entries: [GroupKeys.entry(info)]))
        }
        commit(transaction, purpose)
    }

    /// The entry alone came of an object that this member lacks: it lacks the newer version from now on, or nothing, if the
    /// object was removed.
    private func noteMissed(_ entry: LogEntry, _ transaction: inout Transaction) {
        guard entry.kind != .error, var lacking = missing[entry.object] else { return }
        if entry.kind == .delete {
            transaction.operations.append(.remove(entry.object))
            transaction.operations += noLongerMissing(entry.object)
        } else {
            lacking.need = entry.version
            missing[entry.object] = lacking
            transaction.operations.append(.setGroupKeys(id, entries: [GroupKeys.entry(lacking)]))
        }
    }

    /// Takes the object out of what is missing; what is to be stored with that.
    func noLongerMissing(_ object: ObjectID) -> [Transaction.Operation] {
        guard missing.removeValue(forKey: object) != nil else { return [] }
        info.missingCount = UInt32(missing.count)
        let key = GroupKeys.missing(object)
        return [
            .removeGroupKeys(id, from: key, to: Bytes(key.array + [0])),
            .setGroupKeys(id, entries: [GroupKeys.entry(info)]),
        ]
    }

    /// Trims the log; what is to be stored with that. The requests stay known for longer.
    func trim(to version: Version) -> [Transaction.Operation] {
        let (added, dropped) = log.trim(to: version, requestsKept: environment.tuning.requestsKept)
        environment.occurred(.logTrimmed)
        info.logTail = log.tail
        var steps: [Transaction.Operation] = [
            .removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.logAfter(version))
        ]
        if let last = dropped.last {
            steps.append(
                .removeGroupKeys(
                    id, from: GroupKeys.requestsStart, to: Bytes(GroupKeys.requests(last).array + [0])))
        }
        if let added { steps.append(.setGroupKeys(id, entries: [GroupKeys.entry(added)])) }
        return steps
    }

    /// A replica's part of a write. A repetition is answered with how far this member has committed.
    func replicate(_ entry: LogEntry, _ operations: Transaction, trimTo: Version, from osd: OSDID) {
        guard phase == .replica(activated: true), osd == primary else { return }
        if entry.version <= info.lastUpdate {
            let known = min(entry.version, committedThrough)
            if known == entry.version { send(.replicated(known, isFull: environment.isFull), to: osd) }
            return
        }
        // A gap means that the session was lost in between; the primary says everything again.
        guard entry.version.epoch == interval, entry.version.counter == info.lastUpdate.counter + 1,
            entry.version.counter < UInt64.max / 2, trimTo <= info.lastUpdate, range.contains(entry.object),
            operations.operations.allSatisfy({ $0.object.map { range.contains($0) } ?? false })
        else { return }
        apply(operations, entry, trimTo: trimTo, .replica(entry.version, interval: interval, primary: osd))
    }

    /// What every member has on disk.
    var leastCommitted: Version {
        guard var least = members.first?.committed else { return .zero }
        for member in members where member.committed < least { least = member.committed }
        return least
    }

    /// A member has committed everything up to `version`; requests that all members have committed are answered.
    func memberCommitted(_ osd: OSDID, _ version: Version, isFull: Bool) {
        guard let index = members.firstIndex(where: { $0.osd == osd }) else { return }
        members[index].isFull = isFull
        // What was never ordered cannot have been committed: such a word is nobody's to believe.
        guard version > members[index].committed, version <= info.lastUpdate else { return }
        members[index].committed = version
        completeWrites()
    }

    private func completeWrites() {
        let everywhere = leastCommitted
        while let write = writes.first, write.version <= everywhere {
            writes.removeFirst()
            if write.request != .none {
                environment.reply(
                    OperationReply(
                        number: write.request.number, outcome: .done(errno: write.errno), version: write.version,
                        outputs: write.outputs), to: write.client)
            }
            release(write.object, writer: true)
        }
        // Requests that waited for the writes under way to become fewer.
        while !waiting.isEmpty, writes.count < GroupLimits.writesInFlight / 2, phase == .active {
            let (request, client) = waiting.removeFirst()
            admit(request, client)
        }
    }

    func resendWrites(to osd: OSDID) {
        guard let member = members.first(where: { $0.osd == osd }) else { return }
        for write in writes where write.version > member.committed {
            guard case .replicate(let entry, _, let trimTo) = write.message.body else { continue }
            if write.loggedOnly.contains(osd) {
                send(.replicate(entry: entry, operations: Transaction(), trimTo: trimTo), to: osd)
            } else {
                environment.send(write.message, to: osd)
            }
        }
    }
}

extension Transaction.Operation {
    /// The object that it changes; nil for a group's own keys.
    fileprivate var object: ObjectID? {
        switch self {
        case .touch(let object), .write(let object, _, _), .zero(let object, _, _), .truncate(let object, _),
            .remove(let object), .setAttribute(let object, _, _), .removeAttribute(let object, _),
            .setOmap(let object, _), .removeOmap(let object, _), .clearOmap(let object),
            .removeOmapRange(let object, _, _),
            .clone(_, let object), .cloneRange(_, let object, _, _, _):
            object
        case .setGroupKeys, .removeGroupKeys, .removeGroup: nil
        }
    }
}
