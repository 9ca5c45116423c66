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
    ///
    /// - Parameters:
    ///   - object: what the entry is about; the request's unless said otherwise.
    ///   - earlier: entries about other versions of the object that come before, with the versions that follow the last.
    func order(
        _ operations: [Transaction.Operation], kind: LogEntry.Kind, prior: Version, outputs: [Bytes], errno: Int32,
        for request: OperationRequest, from client: ClientHandle, object: ObjectID? = nil,
        after earlier: [LogEntry] = []
    ) {
        precondition(!isQuiet, "group \(id) writes although it is about to be merged")
        let version = nextVersion(after: earlier.count)
        let entry = LogEntry(
            kind: kind, object: object ?? request.object, version: version, prior: prior, request: request.id,
            errno: errno)
        let trimTo = log.trimTarget(committed: leastCommitted, environment.tuning)
        let transaction = Transaction(operations)
        let message = GroupMessage(
            group: id, interval: interval,
            body: earlier.isEmpty
                ? .replicate(entry: entry, operations: transaction, trimTo: trimTo)
                : .replicateTogether(entries: earlier + [entry], operations: transaction, trimTo: trimTo))
        writes.append(
            PendingWrite(
                version: version, object: request.object, client: client, request: request.id, outputs: outputs,
                errno: errno, message: message))
        activities[request.object, default: ObjectActivity()].writers += 1
        if recovery.isWorking {
            replicatePartly(message, of: entry.object)
        } else {
            environment.send(message, to: others)
        }
        if earlier.isEmpty {
            let isCounted = tally.covers(request.object)
            let size = isCounted ? environment.size(of: request.object) : nil
            apply(transaction, CollectionOfOne(entry), trimTo: trimTo, .write(version, interval: interval))
            if isCounted { tally.changed(from: size, to: environment.size(of: request.object)) }
        } else {
            let entries = earlier + [entry]
            let counted = Set(entries.map(\.object)).filter { tally.covers($0) }
            let sizes = counted.map { environment.size(of: $0) }
            apply(transaction, entries, trimTo: trimTo, .write(version, interval: interval))
            for (object, size) in zip(counted, sizes) { tally.changed(from: size, to: environment.size(of: object)) }
        }
    }

    /// The version of the next entry, or of one after it.
    func nextVersion(after others: Int = 0) -> Version {
        Version(epoch: interval, counter: info.lastUpdate.counter + 1 + UInt64(others))
    }

    /// While members are being filled: those that do not have the object yet get the log entry alone.
    private func replicatePartly(_ message: GroupMessage, of object: ObjectID) {
        var whole: [OSDID] = []
        for member in members where member.osd != me {
            if takesData(member, of: object) {
                whole.append(member.osd)
            } else {
                environment.occurred(.loggedOnly)
                writes[writes.count - 1].loggedOnly.append(member.osd)
                send(message.body.withoutOperations, to: member.osd)
            }
        }
        if !whole.isEmpty { environment.send(message, to: whole) }
    }

    /// True when the member has the object as this one does, so that it can change it.
    private func takesData(_ member: Member, of object: ObjectID) -> Bool {
        member.position.covers(object)
            || (recovery.fill.map { $0.target == member.osd && $0.covers(object) } ?? false)
    }

    /// One transaction carries the data and the log entries, on every member alike. Where the log ends is what the info would
    /// say of it, so the info is stored only when more of it changes.
    @inline(__always)
    private func apply(
        _ operations: Transaction, _ entries: some Collection<LogEntry>, trimTo: Version, _ purpose: CommitPurpose
    ) {
        var transaction = operations
        var keys: [KeyValue] = []
        keys.reserveCapacity(entries.count)
        for entry in entries {
            log.append(entry)
            info.lastUpdate = entry.version
            keys.append(GroupKeys.entry(entry))
        }
        transaction.operations.append(.setGroupKeys(id, entries: keys))
        if trimTo > log.tail {
            transaction.operations += trim(to: trimTo)
            transaction.operations.append(.setGroupKeys(id, entries: [GroupKeys.entry(info)]))
        }
        commit(transaction, purpose)
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
    @inline(__always)
    func replicate(
        _ entries: some BidirectionalCollection<LogEntry>, _ operations: Transaction, trimTo: Version, from osd: OSDID
    ) {
        guard phase == .replica(activated: true), osd == primary, let last = entries.last?.version else { return }
        if last <= info.lastUpdate {
            let known = min(last, committedThrough)
            if known == last { send(.replicated(known, isFull: environment.isFull), to: osd) }
            return
        }
        guard trimTo <= info.lastUpdate, last.counter < UInt64.max / 2 else { return }
        // A gap means that the session was lost in between; the primary says everything again.
        var counter = info.lastUpdate.counter
        for entry in entries {
            counter += 1
            guard entry.version.epoch == interval, entry.version.counter == counter, range.contains(entry.object) else {
                return
            }
        }
        guard operations.operations.allSatisfy({ mayApply($0) }) else { return }
        apply(operations, entries, trimTo: trimTo, .replica(last, interval: interval, primary: osd))
    }

    /// True for what a write may have the store do: change objects of the group, and its index of snapshots.
    private func mayApply(_ operation: Transaction.Operation) -> Bool {
        switch operation {
        case .setGroupKeys(id, let entries):
            entries.allSatisfy { $0.key >= GroupKeys.snapsStart && $0.key < GroupKeys.snapsEnd }
        case .removeGroupKeys(id, let from, let to):
            from >= GroupKeys.snapsStart && from < GroupKeys.snapsEnd && to <= GroupKeys.snapsEnd
        case .clone(let object, let target), .cloneRange(let object, let target, _, _, _):
            range.contains(object) && range.contains(target)
        default:
            operation.object.map { range.contains($0) } ?? false
        }
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
            if write.request == .none { trimCompleted(write.version) }
        }
        if scrub.awaitsCommits { beginExaminations() }
        // Requests that waited for the writes under way to become fewer.
        while !waiting.isEmpty, writes.count < GroupLimits.writesInFlight / 2, phase == .active, !isQuiet {
            let (request, client) = waiting.removeFirst()
            admit(request, client)
        }
    }

    func resendWrites(to osd: OSDID) {
        guard let member = members.first(where: { $0.osd == osd }) else { return }
        for write in writes where write.version > member.committed {
            if write.loggedOnly.contains(osd) {
                send(write.message.body.withoutOperations, to: osd)
            } else {
                environment.send(write.message, to: osd)
            }
        }
    }
}

extension GroupMessage.Body {
    /// The log entries of a write alone.
    fileprivate var withoutOperations: GroupMessage.Body {
        switch self {
        case .replicate(let entry, _, let trimTo):
            .replicate(entry: entry, operations: Transaction(), trimTo: trimTo)
        case .replicateTogether(let entries, _, let trimTo):
            .replicateTogether(entries: entries, operations: Transaction(), trimTo: trimTo)
        default: preconditionFailure("\(self) is no write")
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
