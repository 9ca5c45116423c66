import Protocol
import Wire

/// Requests that change their object. Their steps work on a draft, in order, each seeing what those before it did; the draft
/// is then ordered as one write.
extension PlacementGroup {
    func write(_ request: OperationRequest, _ client: ClientHandle) {
        let object = request.object
        guard request.metadataSize <= OperationLimits.metadataSize else {
            answer(request, client, errno: Errno.tooLarge)
            return settleFailed(object)
        }
        if case .rollback(let snap)? = request.steps.first { return rollBack(to: snap, request, client) }
        let (prior, flags) = objectInfo(of: object)
        var draft = ObjectDraft(object, exists: prior != .zero && !flags.contains(.isWhiteout), flags: flags)
        for step in request.steps {
            guard let errno = apply(step, of: request, to: &draft, client) else { continue }
            if errno == Errno.noSpace {
                answer(request, client, errno: errno)
                return settleFailed(object)
            }
            // A resend must fail as this did, whatever has changed by then.
            return order([], kind: .error, prior: prior, outputs: [], errno: errno, for: request, from: client)
        }
        finish(&draft, prior: prior, request, client)
    }

    /// Orders what the steps came to.
    func finish(
        _ draft: inout ObjectDraft, prior: Version, _ request: OperationRequest, _ client: ClientHandle
    ) {
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
            draft.append(
                .setAttribute(draft.object, name: ObjectInfo.attribute, value: ObjectInfo.encoded(nextVersion())))
        }
        order(
            draft.operations, kind: draft.exists ? .modify : .delete, prior: prior, outputs: draft.outputs, errno: 0,
            for: request, from: client)
    }

    /// Whether the object's attributes stay within bounds: they lie in one record, which each of its changes logs whole.
    private func fits(_ name: String, _ value: Bytes, in draft: ObjectDraft) -> Bool {
        var attributes = attributes(in: draft)
        attributes[name] = value
        return attributes.count <= OperationLimits.attributes
            && attributes.reduce(0) { $0 + $1.key.utf8.count + $1.value.count } <= OperationLimits.attributesSize
    }

    /// Adds a step to the draft; an errno when it fails.
    private func apply(
        _ step: ObjectOperation, of request: OperationRequest, to draft: inout ObjectDraft, _ client: ClientHandle
    ) -> Int32? {
        let object = draft.object
        if step.addsData, environment.isFull || members.contains(where: { $0.isFull }) { return Errno.noSpace }
        var output = Bytes.empty
        switch step {
        case .create(let exclusive):
            if exclusive, draft.exists { return Errno.exists }
            if !draft.exists { draft.append(.touch(object)) }
        case .write(let offset, let data):
            draft.append(.write(object, offset: offset, data: data))
        case .writeFull(let data):
            draft.append(.truncate(object, size: 0))
            draft.append(.write(object, offset: 0, data: data))
        case .zero(let offset, let length):
            if draft.exists { draft.append(.zero(object, offset: offset, length: length)) }
        case .truncate(let size):
            if draft.exists { draft.append(.truncate(object, size: size)) }
        case .remove:
            guard draft.exists else { return Errno.noEntry }
            draft.append(.remove(object))
            forgetWatches(of: object)
        case .setAttribute(let name, let value):
            guard name != ObjectInfo.attribute, name != Self.watchersAttribute, name != Self.snapshotsAttribute else {
                return Errno.invalid
            }
            guard fits(name, value, in: draft) else { return Errno.tooLarge }
            draft.append(.setAttribute(object, name: name, value: value))
        case .setOmap(let entries):
            draft.append(.setOmap(object, entries: entries))
        case .removeOmap(let keys):
            if draft.exists { draft.append(.removeOmap(object, keys: keys)) }
        case .watch, .unwatch:
            guard draft.exists else { return Errno.noEntry }
            switch watch(step, request, client, in: draft) {
            case .success(let value):
                draft.append(.setAttribute(object, name: Self.watchersAttribute, value: value))
            case .failure(let failure): return failure.errno
            }
        case .read, .rollback:
            return Errno.invalid
        default:
            switch evaluate(step, in: draft) {
            case .success(let value): output = value
            case .failure(let failure): return failure.errno
            }
        }
        draft.outputs.append(output)
        return nil
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
        case .write, .writeFull, .create, .setAttribute, .setOmap: true
        default: false
        }
    }
}
