import DequeModule
import Protocol
import Wire

/// A write that some member has not committed, or one that had nothing to change and waits for those before it.
struct PendingWrite {
    /// The version it made; of one without a change, the newest it has seen.
    var version: Version
    var object: ObjectID
    var client: ClientHandle
    var request: RequestID
    var outputs: [Bytes]
    /// What the other members were told, for a member whose session was lost; nil when there was nothing to tell.
    var message: GroupMessage?
}

extension PlacementGroup {
    /// Orders a write: logs and applies it here, has the other members do the same, and answers when all have committed.
    func order(
        _ operations: [Transaction.Operation], kind: LogEntry.Kind, prior: Version, outputs: [Bytes],
        for request: OperationRequest, from client: ClientHandle
    ) {
        let version = Version(epoch: interval, counter: info.lastUpdate.counter + 1)
        let entry = LogEntry(kind: kind, object: request.object, version: version, prior: prior, request: request.id)
        let trimTo = log.trimTarget(committed: leastCommitted)
        let transaction = Transaction(operations)
        let message = GroupMessage(
            group: id, interval: interval, body: .replicate(entry: entry, operations: transaction, trimTo: trimTo))
        writes.append(
            PendingWrite(
                version: version, object: request.object, client: client, request: request.id, outputs: outputs,
                message: message))
        activities[request.object, default: ObjectActivity()].writers += 1
        environment.send(message, to: acting.filter { $0 != me })
        apply(transaction, entry, trimTo: trimTo, .write(version, interval: interval))
    }

    /// Answers a write that has nothing to change. That there is nothing is the doing of writes that may not be durable yet:
    /// the answer waits for them.
    func answerUnchanged(_ request: OperationRequest, outputs: [Bytes], to client: ClientHandle) {
        activities[request.object, default: ObjectActivity()].writers += 1
        writes.append(
            PendingWrite(
                version: info.lastUpdate, object: request.object, client: client, request: request.id,
                outputs: outputs, message: nil))
        completeWrites()
    }

    /// One transaction carries the data, the log entry and the info, on every member alike.
    private func apply(_ operations: Transaction, _ entry: LogEntry, trimTo: Version, _ purpose: CommitPurpose) {
        var transaction = operations
        log.append(entry)
        info.lastUpdate = entry.version
        if trimTo > log.tail {
            log.trim(to: trimTo)
            info.logTail = log.tail
            transaction.operations.append(
                .removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.logAfter(trimTo)))
        }
        transaction.operations.append(.setGroupKeys(id, entries: [GroupKeys.entry(entry), GroupKeys.entry(info)]))
        commit(transaction, purpose)
    }

    /// A replica's part of a write. A repetition is answered with how far this member has committed.
    func replicate(_ entry: LogEntry, _ operations: Transaction, trimTo: Version, from osd: OSDID) {
        guard phase == .replica(activated: true), osd == intervals.current.primary else { return }
        if entry.version <= info.lastUpdate {
            let known = min(entry.version, committedThrough)
            if known == entry.version { send(.replicated(known, isFull: environment.isFull), to: osd) }
            return
        }
        // A gap means that the session was lost in between; the primary says everything again.
        guard entry.version.epoch == interval, entry.version.counter == info.lastUpdate.counter + 1 else { return }
        apply(operations, entry, trimTo: trimTo, .replica(entry.version, interval: interval, primary: osd))
    }

    /// What every member of the acting set has on disk.
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
            environment.reply(
                OperationReply(
                    number: write.request.number, outcome: .done(errno: 0), version: write.version,
                    outputs: write.outputs), to: write.client)
            release(write.object, writer: true)
        }
    }

    func resendWrites(to osd: OSDID) {
        guard let member = members.first(where: { $0.osd == osd }) else { return }
        for write in writes where write.version > member.committed {
            if let message = write.message { environment.send(message, to: osd) }
        }
    }
}
