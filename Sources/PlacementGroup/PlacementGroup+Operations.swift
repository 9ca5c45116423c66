import Protocol
import Wire

/// Requests that change their object. Their steps work on a draft, in order, each seeing what those before it did; the draft
/// is then ordered as one write.
extension PlacementGroup {
    func write(_ request: OperationRequest, _ client: ClientHandle) {
        guard request.metadataSize <= OperationLimits.metadataSize else {
            answer(request, client, errno: Errno.tooLarge)
            return settleFailed(request.object)
        }
        if case .rollback(let snap)? = request.steps.first { return rollBack(to: snap, request, client) }
        let before = objectInfo(of: request.object)
        let exists = before.version != .zero && !before.flags.contains(.isWhiteout)
        let draft = ObjectDraft(request.object, exists: exists, flags: before.flags)
        var execution = Execution(request: request, client: client, draft: draft, before: before)
        if let range = run(&execution) {
            hold(request.object)
            fetch(offset: range.offset, length: range.length, for: execution)
        }
    }

    /// Goes on with a held request when what its step reads is there.
    func continueWrite(_ execution: inout Execution) {
        let (request, client) = (execution.request, execution.client)
        if mayBlock, isBlocked(request) {
            // A member has to be given the object as it is before it can follow its changes, or copies of it are compared.
            return beginAgain(request, client)
        }
        if isFenced(request) {
            answer(request, client, errno: Errno.blocklisted)
            return unhold(request.object)
        }
        if let range = run(&execution) {
            fetch(offset: range.offset, length: range.length, for: execution)
        } else {
            unhold(request.object)
        }
    }

    /// Does the steps and orders what they came to, or says what has to be read first.
    private func run(_ execution: inout Execution) -> (offset: UInt64, length: UInt64)? {
        let (request, client, before) = (execution.request, execution.client, execution.before)
        while execution.step < request.steps.count {
            switch apply(request.steps[execution.step], in: &execution) {
            case .done(let output):
                execution.draft.outputs.append(output)
                execution.step += 1
                if !execution.fetched.isEmpty { execution.fetched = [] }
            case .failed(let errno):
                // A resend must fail as this did, whatever has changed by then: also when it was refused for want of room,
                // since there may be room when the resend comes. The log has its reserve, and its acknowledgements say who is
                // full still.
                order([], kind: .error, prior: before.version, outputs: [], errno: errno, for: request, from: client)
                return nil
            case .reads(let offset, let length):
                return (offset, length)
            }
        }
        finish(&execution.draft, before: before, request, client)
        return nil
    }

    /// Orders what the steps came to.
    func finish(
        _ draft: inout ObjectDraft, before: ObjectInfo, _ request: OperationRequest, _ client: ClientHandle
    ) {
        let prior = before.version
        if draft.isRemoved { disconnectWatches(of: draft.object, errno: Errno.noEntry) }
        guard draft.isChanged else {
            // That there is nothing to change may be the doing of writes that are not durable yet, and a resend must not
            // find something: it takes its place in the order like any other.
            return order(
                [], kind: .error, prior: prior, outputs: draft.outputs, errno: 0, for: request, from: client)
        }
        guard request.context.isNone, draft.flags.isEmpty else {
            return finishKeepingVersions(draft, prior: prior, request, client)
        }
        if draft.exists {
            let digests = digests(of: draft.object, before: before, after: draft.operations)
            let info = ObjectInfo(version: nextVersion(), modified: environment.wallNanoseconds, digests: digests)
            draft.append(.setAttribute(draft.object, name: ObjectInfo.attribute, value: info.encoded))
        }
        order(
            draft.operations, kind: draft.exists ? .modify : .delete, prior: prior, outputs: draft.outputs, errno: 0,
            for: request, from: client)
    }

    /// Whether the object's attributes stay within bounds: they lie in one record, which each of its changes logs whole.
    private func fits(_ name: String, _ value: Bytes, in draft: ObjectDraft) -> Bool {
        guard name.utf8.count <= StorageLimits.attributeName, value.count <= StorageLimits.attributeValue else {
            return false
        }
        var attributes = attributes(in: draft)
        attributes[name] = value
        return attributes.count <= OperationLimits.attributes
            && attributes.reduce(0) { $0 + $1.key.utf8.count + $1.value.count } <= OperationLimits.attributesSize
    }

    /// Adds a step to the draft.
    func apply(_ step: ObjectOperation, in execution: inout Execution) -> StepOutcome {
        let object = execution.draft.object
        if step.addsData, environment.isFull || members.contains(where: { $0.isFull }) {
            return .failed(errno: Errno.noSpace)
        }
        switch step {
        case .create(let exclusive):
            if exclusive, execution.draft.exists { return .failed(errno: Errno.exists) }
            if !execution.draft.exists { execution.draft.append(.touch(object)) }
        case .write(let offset, let data):
            execution.draft.append(.write(object, offset: offset, data: data))
        case .writeFull(let data):
            execution.draft.append(.truncate(object, size: 0))
            execution.draft.append(.write(object, offset: 0, data: data))
        case .append, .writeSame:
            return applyDerived(step, in: &execution)
        case .zero(let offset, let length):
            if execution.draft.exists { execution.draft.append(.zero(object, offset: offset, length: length)) }
        case .truncate(let size):
            if execution.draft.exists { execution.draft.append(.truncate(object, size: size)) }
        case .remove:
            guard execution.draft.exists else { return .failed(errno: Errno.noEntry) }
            execution.draft.append(.remove(object))
        case .setAttribute(let name, let value):
            guard isClients(name) else { return .failed(errno: Errno.invalid) }
            guard fits(name, value, in: execution.draft) else { return .failed(errno: Errno.tooLarge) }
            execution.draft.append(.setAttribute(object, name: name, value: value))
        case .removeAttribute(let name):
            guard isClients(name) else { return .failed(errno: Errno.invalid) }
            if execution.draft.exists { execution.draft.append(.removeAttribute(object, name: name)) }
        case .setOmap(let entries):
            execution.draft.append(.setOmap(object, entries: entries))
        case .removeOmap(let keys):
            if execution.draft.exists { execution.draft.append(.removeOmap(object, keys: keys)) }
        case .removeOmapRange(let from, let to):
            if execution.draft.exists { execution.draft.append(.removeOmapRange(object, from: from, to: to)) }
        case .clearOmap:
            if execution.draft.exists { execution.draft.append(.clearOmap(object)) }
        case .watch, .unwatch:
            return watch(step, in: &execution)
        case .call(let call):
            let (outcome, draft) = self.call(call, in: execution)
            if case .done = outcome { execution.draft = draft }
            return outcome
        default:
            return evaluate(step, in: execution)
        }
        return .done(.empty)
    }

    /// Writes whose place or content follows from something else.
    private func applyDerived(_ step: ObjectOperation, in execution: inout Execution) -> StepOutcome {
        let object = execution.draft.object
        switch step {
        case .append(let data):
            let end = size(in: execution.draft)
            guard UInt64(data.count) <= StorageLimits.objectSize - end else { return .failed(errno: Errno.tooLarge) }
            execution.draft.append(.write(object, offset: end, data: data))
        case .writeSame(let offset, let length, let pattern):
            guard !pattern.isEmpty, length % UInt64(pattern.count) == 0 else { return .failed(errno: Errno.invalid) }
            let data = Bytes.encoding(capacity: Int(length)) { writer in
                for _ in 0..<Int(length) / pattern.count { writer.writeRaw(pattern) }
            }
            execution.draft.append(.write(object, offset: offset, data: data))
        default:
            preconditionFailure("\(step) writes what it says")
        }
        return .done(.empty)
    }
}

extension OperationRequest {
    /// Bytes of omap entries and attributes that it sets, and of keys that it removes: they all go into one journal record.
    fileprivate var metadataSize: Int {
        steps.reduce(0) { sum, step in
            switch step {
            case .setOmap(let entries): sum + entries.reduce(0) { $0 + $1.key.count + $1.value.count }
            case .setAttribute(_, let value): sum + value.count
            case .removeOmap(let keys): sum + keys.reduce(0) { $0 + $1.count }
            default: sum
            }
        }
    }
}

extension ObjectOperation {
    /// True when it needs room.
    fileprivate var addsData: Bool {
        switch self {
        case .write, .append, .writeSame, .writeFull, .create, .setAttribute, .setOmap: true
        default: false
        }
    }
}
