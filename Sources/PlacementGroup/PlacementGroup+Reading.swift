import Protocol
import Wire

/// A data read under way.
struct PendingRead {
    enum Purpose {
        case push(PushKey, serial: UInt32)
        /// For the answer of this number to a primary's question.
        case scrub(UInt32)
        /// The `step` of a client's request.
        case request(OperationRequest, ClientHandle, outputs: [Bytes], step: Int)
        /// What a step of any kind needs to go on.
        indirect case execution(Execution, offset: UInt64, length: UInt64)
    }
    var purpose: Purpose
}

/// A request on its way through its steps.
struct Execution {
    var request: OperationRequest
    var client: ClientHandle
    /// The object as the steps so far leave it.
    var draft: ObjectDraft
    /// The object's info before the request.
    var before = ObjectInfo.none
    /// The step to be done next.
    var step = 0
    /// Data of the stored object that this step has asked for.
    var fetched: [FetchedRange] = []
}

/// A part of an object as the store has it.
struct FetchedRange {
    var offset: UInt64
    /// As much as was asked for; `data` is shorter where the object ends.
    var length: UInt64
    var data: Bytes
}

/// How a step ended.
enum StepOutcome {
    case done(Bytes)
    case failed(errno: Int32)
    /// It needs this range of the stored object, and is then done again from its start.
    case reads(offset: UInt64, length: UInt64)
}

/// Requests that change nothing.
extension PlacementGroup {
    func newRead(_ read: PendingRead) -> UInt32 {
        nextRead &+= 1
        while reads[nextRead] != nil { nextRead &+= 1 }
        reads[nextRead] = read
        return nextRead
    }

    /// A data read has ended.
    public func readCompleted(_ number: UInt32, _ outcome: ReadOutcome) {
        // A read of an older interval has no one waiting for it any more.
        guard let read = reads.removeValue(forKey: number) else { return }
        switch read.purpose {
        case .push(let key, let serial):
            pushRead(key, serial: serial, outcome)
        case .scrub(let number):
            scrubRead(number, outcome)
        case .request(let request, let client, var outputs, let step):
            switch outcome {
            case .data(let data):
                outputs.append(data)
                self.read(request, client, outputs: outputs, step: step + 1)
            case .failed: readFailed(of: draft(of: request).object, request, client)
            }
        case .execution(var execution, let offset, let length):
            switch outcome {
            case .data(let data):
                execution.fetched.append(FetchedRange(offset: offset, length: length, data: data))
                execution.request.isWrite ? continueWrite(&execution) : continueRead(execution)
            case .failed: readFailed(of: execution.draft.object, execution.request, execution.client)
            }
        }
    }

    /// A request cannot have the data of an object, or of a version of it, from this copy: it begins again when the members have
    /// been asked for theirs, or is told to fail.
    private func readFailed(of version: ObjectID, _ request: OperationRequest, _ client: ClientHandle) {
        let isLookedInto = inspect(version)
        if !isLookedInto { answer(request, client, errno: Errno.ioError) }
        if request.isWrite { return isLookedInto ? beginAgain(request, client) : unhold(request.object) }
        if isLookedInto { activities[request.object]?.queue.prepend((request, client)) }
        release(request.object, writer: false)
    }

    /// Goes on with a reading request at `step`; ends, or waits for data.
    func read(_ request: OperationRequest, _ client: ClientHandle, outputs: [Bytes], step: Int) {
        guard step < request.steps.count else { return finishRead(request, client, outputs) }
        var draft = draft(of: request)
        if case .read(let offset, let length) = request.steps[step] {
            // The usual one takes the short way.
            guard draft.exists else {
                answer(request, client, errno: Errno.noEntry)
                return release(request.object, writer: false)
            }
            let pending = PendingRead(purpose: .request(request, client, outputs: outputs, step: step))
            return environment.read(
                draft.object, offset: offset, length: Int(length), number: newRead(pending), for: slot)
        }
        draft.outputs = outputs
        continueRead(Execution(request: request, client: client, draft: draft, step: step))
    }

    private func continueRead(_ execution: Execution) {
        var execution = execution
        let (request, client) = (execution.request, execution.client)
        while execution.step < request.steps.count {
            let step = request.steps[execution.step]
            if case .read = step {
                // Nothing has changed what is stored.
                return read(request, client, outputs: execution.draft.outputs, step: execution.step)
            }
            if case .notify(let payload, let timeout) = step {
                return notify(request, client, payload, timeoutMilliseconds: timeout, in: execution.draft)
            }
            switch evaluate(step, in: execution) {
            case .done(let output):
                execution.draft.outputs.append(output)
                execution.step += 1
                execution.fetched = []
            case .failed(let errno):
                answer(request, client, errno: errno)
                return release(request.object, writer: false)
            case .reads(let offset, let length):
                return fetch(offset: offset, length: length, for: execution)
            }
        }
        finishRead(request, client, execution.draft.outputs)
    }

    private func finishRead(_ request: OperationRequest, _ client: ClientHandle, _ outputs: [Bytes]) {
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: outputs),
            to: client)
        release(request.object, writer: false)
    }

    /// Reads from the store for a step, which is then done again.
    func fetch(offset: UInt64, length: UInt64, for execution: Execution) {
        let pending = PendingRead(purpose: .execution(execution, offset: offset, length: length))
        environment.read(
            execution.draft.object, offset: offset, length: Int(length), number: newRead(pending), for: slot)
    }

    /// A step that reads or guards, on the object as the steps before it leave it.
    func evaluate(_ step: ObjectOperation, in execution: Execution) -> StepOutcome {
        let draft = execution.draft
        switch step {
        case .compareOmap(let key, let expected):
            let value = omapValues(in: draft, keys: [key]).first?.value
            return value == expected ? .done(.empty) : .failed(errno: Errno.canceled)
        case .listSnaps:
            return versions(of: draft.object.head).map { .done($0) } ?? .failed(errno: Errno.noEntry)
        case .assertUnwatched:
            return draft.exists && !liveWatchers(in: draft).isEmpty ? .failed(errno: Errno.busy) : .done(.empty)
        case .call(let call):
            return self.call(call, in: execution).outcome
        default:
            return draft.exists ? evaluateExisting(step, in: execution) : .failed(errno: Errno.noEntry)
        }
    }

    private func evaluateExisting(_ step: ObjectOperation, in execution: Execution) -> StepOutcome {
        let draft = execution.draft
        switch step {
        case .assertExists:
            return .done(.empty)
        case .listWatchers:
            return .done(Self.encode(liveWatchers(in: draft)))
        case .stat:
            let info = objectInfo(of: draft.object)
            return .done(
                ObjectStatus(size: size(in: draft), version: info.version, modified: info.modified).encoded)
        case .getAttribute(let name):
            guard isClients(name), let value = attribute(name, in: draft) else {
                return .failed(errno: Errno.noData)
            }
            return .done(value)
        case .getAttributes:
            let entries = attributes(in: draft).filter { isClients($0.key) }.sorted { $0.key < $1.key }
            return .done(.encoding { $0.writeArray(entries) { Attribute($1.key, $1.value).encode(into: &$0) } })
        case .compareAttribute(let name, let comparison, let operand):
            let value = isClients(name) ? attribute(name, in: draft) ?? .empty : .empty
            return Self.compare(operand, comparison, value) ? .done(.empty) : .failed(errno: Errno.canceled)
        case .assertVersion(let expected):
            let version = version(of: draft.object)
            return version == expected
                ? .done(.empty) : .failed(errno: version > expected ? Errno.range : Errno.overflow)
        case .getOmap(let keys):
            let entries = omapValues(in: draft, keys: keys)
            return .done(.encoding { $0.writeArray(entries) { $1.encode(into: &$0) } })
        case .listOmap(let after, let prefix, let limit):
            var entries = omap(in: draft, after: after, prefix: prefix, limit: Int(limit) + 1)
            let more = entries.count > Int(limit)
            if more { entries.removeLast() }
            return .done(
                .encoding { writer in
                    writer.writeArray(entries) { $1.encode(into: &$0) }
                    writer.writeBool(more)
                })
        default:
            return evaluateData(step, in: execution)
        }
    }

    /// Steps that need the object's data.
    private func evaluateData(_ step: ObjectOperation, in execution: Execution) -> StepOutcome {
        switch step {
        case .read(let offset, let length):
            return data(offset: offset, length: UInt64(length), in: execution).map { .done($0) }
                ?? .reads(offset: offset, length: UInt64(length))
        case .sparseRead(let offset, let length):
            return sparseRead(offset, UInt64(length), in: execution)
        case .compareExtent(let offset, let expected):
            guard let data = data(offset: offset, length: UInt64(expected.count), in: execution) else {
                return .reads(offset: offset, length: UInt64(expected.count))
            }
            guard let mismatch = Self.mismatch(data, expected) else { return .done(.empty) }
            return .failed(errno: OperationLimits.mismatch + Int32(mismatch))
        default:
            return .failed(errno: Errno.invalid)
        }
    }

    private func sparseRead(_ offset: UInt64, _ length: UInt64, in execution: Execution) -> StepOutcome {
        let draft = execution.draft
        guard draft.operations.isEmpty else {
            // What is there is not known before it is stored: blocks of zeros count as not there.
            return data(offset: offset, length: length, in: execution).map { .done(SparseData($0, at: offset).encoded) }
                ?? .reads(offset: offset, length: length)
        }
        let extents = environment.extents(of: draft.object, offset: offset, length: length)
        guard let first = extents.first, let last = extents.last else {
            return .done(SparseData(extents: [], data: .empty).encoded)
        }
        let (start, span) = (first.lowerBound, last.upperBound - first.lowerBound)
        guard let data = data(offset: start, length: span, in: execution) else {
            return .reads(offset: start, length: span)
        }
        return .done(SparseData(data, at: start, extents).encoded)
    }

    /// The first byte that differs, where what `data` does not have counts as zeros.
    private static func mismatch(_ data: Bytes, _ expected: Bytes) -> Int? {
        data.withUnsafeBytes { have in
            expected.withUnsafeBytes { want in
                want.indices.first { want[$0] != ($0 < have.count ? have[$0] : 0) }
            }
        }
    }

    private static func compare(_ operand: AttributeOperand, _ comparison: Comparison, _ value: Bytes) -> Bool {
        switch operand {
        case .bytes(let bytes): comparison.holds(bytes, value)
        case .number(let number): comparison.holds(number, UInt64(String(value)) ?? 0)
        }
    }

    /// True for what clients may name; the group keeps attributes of its own beside them.
    func isClients(_ name: String) -> Bool {
        name != ObjectInfo.attribute && name != Self.watchersAttribute && name != Self.snapshotsAttribute
    }
}
