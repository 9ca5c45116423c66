import DequeModule
import Protocol
import Wire

/// What is under way on an object. Writes follow each other without waiting; reads, and requests whose outcome depends on
/// the object's state, wait for the writes before them, so that nobody is told of what could still be lost.
struct ObjectActivity {
    var readers = 0
    var writers = 0
    var queue: Deque<(request: OperationRequest, client: ClientHandle)> = []
    var isIdle: Bool { readers == 0 && writers == 0 && queue.isEmpty }
}

/// A data read under way.
struct PendingRead {
    enum Purpose {
        case push(PushKey, serial: UInt32)
        /// For the answer of this number to a primary's question.
        case scrub(UInt32)
        /// The `step` of a client's request.
        case request(OperationRequest, ClientHandle, outputs: [Bytes], step: Int)
    }
    var purpose: Purpose
}

/// The errors of the field that a group answers with.
enum Errno {
    static let noEntry: Int32 = 2
    static let ioError: Int32 = 5
    static let tryAgain: Int32 = 11
    static let exists: Int32 = 17
    static let invalid: Int32 = 22
    static let tooLarge: Int32 = 27
    static let noSpace: Int32 = 28
    static let canceled: Int32 = 125
}

extension PlacementGroup {
    /// A client's request, on the primary.
    public func request(_ request: OperationRequest, from client: ClientHandle) {
        precondition(isPrimary, "group \(id): \(me) is not the primary of \(acting)")
        if case .administer(let command)? = request.steps.first { return administer(command, request, client) }
        guard phase == .active, !request.isWrite || writes.count < GroupLimits.writesInFlight else {
            if waiting.count < GroupLimits.waitingRequests {
                waiting.append((request, client))
            } else {
                answer(request, client, errno: Errno.tryAgain)
            }
            return
        }
        guard range.contains(request.object) else { return answer(request, client, errno: Errno.invalid) }
        if !request.isWrite, case .listObjects = request.steps.first, !mayRead() {
            // Asked again by its client when it has waited long enough.
            return answer(request, client, errno: Errno.tryAgain)
        }
        if case .listObjects(let after, let prefix, let limit)? = request.steps.first {
            return list(request, client, after: after, prefix: prefix, limit: limit)
        }
        if let activity = activities[request.object] {
            guard activity.queue.isEmpty, mayStart(activity, request) else { return queue(request, client) }
        } else if mayBlock, isBlocked(request.object, isWrite: request.isWrite) {
            return queue(request, client)
        } else if !request.isWrite, !mayRead() {
            return queue(request, client)
        }
        perform(request, client)
    }

    private func queue(_ request: OperationRequest, _ client: ClientHandle) {
        activities[request.object, default: ObjectActivity()].queue.append((request, client))
        if !request.isWrite, !mayRead() {
            environment.occurred(.waitedForLease)
            leaseStarved.insert(request.object)
        }
        if mayBlock, isBlocked(request.object, isWrite: request.isWrite) { expedite(request.object) }
    }

    /// Answers a resend of a write that is known, to where the client is now: when it is committed. False when it is new.
    private func isRepeated(_ request: OperationRequest, _ client: ClientHandle) -> Bool {
        guard let known = log.outcome(of: request.id) else { return false }
        environment.occurred(.duplicateAnswered)
        if known.version.epoch < interval || known.version <= log.tail { environment.occurred(.duplicateAfterFailover) }
        if known.version > leastCommitted, let index = writes.firstIndex(where: { $0.request == request.id }) {
            writes[index].client = client
            return true
        }
        let outputs = [Bytes](repeating: .empty, count: request.steps.count)
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: known.errno), version: known.version,
                outputs: outputs), to: client)
        return true
    }

    private func mayStart(_ activity: ObjectActivity, _ request: OperationRequest) -> Bool {
        if activity.writers > 0, request.steps.contains(where: { $0.readsState }) { return false }
        if mayBlock, isBlocked(request.object, isWrite: request.isWrite) { return false }
        if !request.isWrite, !mayRead() {
            leaseStarved.insert(request.object)
            return false
        }
        return activity.readers == 0 || !request.isWrite
    }

    /// An operation on the object has ended: those that waited for it go on, in the order they came.
    func release(_ object: ObjectID, writer: Bool) {
        guard var activity = activities[object] else { preconditionFailure("group \(id): \(object) is not in use") }
        if writer { activity.writers -= 1 } else { activity.readers -= 1 }
        precondition(activity.writers >= 0 && activity.readers >= 0, "group \(id): \(object) released twice")
        activities[object] = activity.isIdle ? nil : activity
        if !recovery.delayed.isEmpty, activity.writers == 0, recovery.delayed.contains(object) { resume(object) }
        wake(object)
    }

    /// Requests that waited for the object go on, in the order they came.
    func wake(_ object: ObjectID) {
        while let activity = activities[object], let next = activity.queue.first, mayStart(activity, next.request) {
            activities[object]?.queue.removeFirst()
            perform(next.request, next.client)
        }
        guard let activity = activities[object] else { return }
        if activity.isIdle {
            activities[object] = nil
        } else if mayBlock, let next = activity.queue.first?.request,
            isBlocked(object, isWrite: next.isWrite)
        {
            expedite(object)
        }
    }

    private func perform(_ request: OperationRequest, _ client: ClientHandle) {
        if request.isWrite {
            // It may have waited here twice.
            if isRepeated(request, client) { return settleFailed(request.object) }
            write(request, client)
        } else {
            activities[request.object, default: ObjectActivity()].readers += 1
            read(request, client, outputs: [], step: 0)
        }
    }

    func answer(_ request: OperationRequest, _ client: ClientHandle, errno: Int32) {
        environment.reply(
            OperationReply(number: request.id.number, outcome: .done(errno: errno), version: info.lastUpdate),
            to: client)
    }

    // MARK: Reading

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
            case .failed:
                if inspect(request.object) {
                    activities[request.object]?.queue.prepend((request, client))
                } else {
                    answer(request, client, errno: Errno.ioError)
                }
                release(request.object, writer: false)
            }
        }
    }

    /// Goes on with a reading request at `step`; ends, or waits for data.
    private func read(_ request: OperationRequest, _ client: ClientHandle, outputs: [Bytes], step: Int) {
        var outputs = outputs
        for index in step..<request.steps.count {
            if case .read(let offset, let length) = request.steps[index] {
                guard environment.size(of: request.object) != nil else {
                    answer(request, client, errno: Errno.noEntry)
                    return release(request.object, writer: false)
                }
                let pending = PendingRead(purpose: .request(request, client, outputs: outputs, step: index))
                return environment.read(
                    request.object, offset: offset, length: Int(length), number: newRead(pending), for: slot)
            }
            switch evaluate(request.steps[index], on: request.object) {
            case .success(let output): outputs.append(output)
            case .failure(let failure):
                answer(request, client, errno: failure.errno)
                return release(request.object, writer: false)
            }
        }
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: outputs),
            to: client)
        release(request.object, writer: false)
    }

    struct StepFailure: Error { var errno: Int32 }

    /// A step that reads metadata or guards, on the object as it is before the request.
    private func evaluate(_ step: ObjectOperation, on object: ObjectID) -> Result<Bytes, StepFailure> {
        func failed(_ errno: Int32) -> Result<Bytes, StepFailure> { .failure(StepFailure(errno: errno)) }
        let size = environment.size(of: object)
        switch step {
        case .compareOmap(let key, let expected):
            let value = environment.omapValues(of: object, keys: [key]).first?.value
            return value == expected ? .success(.empty) : failed(Errno.canceled)
        case .listWatchers:
            guard size != nil else { return failed(Errno.noEntry) }
            return .success(Self.encode(liveWatchers(of: object)))
        default:
            guard let size else { return failed(Errno.noEntry) }
            return evaluateExisting(step, on: object, size: size)
        }
    }

    private func evaluateExisting(
        _ step: ObjectOperation, on object: ObjectID, size: UInt64
    ) -> Result<Bytes, StepFailure> {
        switch step {
        case .assertExists:
            return .success(.empty)
        case .stat:
            let version = version(of: object)
            return .success(
                .encoding { writer in
                    writer.writeU64(size)
                    version.encode(into: &writer)
                })
        case .getAttribute(let name):
            guard let value = environment.attribute(name, of: object) else {
                return .failure(StepFailure(errno: Errno.noEntry))
            }
            return .success(value)
        case .getOmap(let keys):
            let entries = environment.omapValues(of: object, keys: keys)
            return .success(.encoding { $0.writeArray(entries) { $1.encode(into: &$0) } })
        case .listOmap(let after, let prefix, let limit):
            var entries = environment.omap(of: object, after: after, prefix: prefix, limit: Int(limit) + 1)
            let more = entries.count > Int(limit)
            if more { entries.removeLast() }
            return .success(
                .encoding { writer in
                    writer.writeArray(entries) { $1.encode(into: &$0) }
                    writer.writeBool(more)
                })
        default:
            return .failure(StepFailure(errno: Errno.invalid))
        }
    }

    private func list(
        _ request: OperationRequest, _ client: ClientHandle, after: ObjectID?, prefix: Bytes, limit: UInt32
    ) {
        guard request.steps.count == 1, limit > 0 else { return answer(request, client, errno: Errno.invalid) }
        var objects = environment.objects(in: range, after: after, limit: Int(limit))
        if !missing.isEmpty {
            // What this copy lacks exists all the same.
            let lacking = missing.keys.filter { object in after.map { object > $0 } ?? true }
            objects = Array(Set(objects).union(lacking).sorted().prefix(Int(limit)))
        }
        let names = objects.map(\.name).filter { $0.bytes.starts(with: prefix.array) }
        let output = Bytes.encoding(capacity: 64 * names.count + 64) { writer in
            writer.writeArray(names) { $1.encode(into: &$0) }
            writer.writeOptional(objects.count == Int(limit) ? objects.last : nil) { $1.encode(into: &$0) }
        }
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: [output]),
            to: client)
    }

    // MARK: Writing

    /// What a changing request makes of the object.
    private struct Change {
        var exists: Bool
        var operations: [Transaction.Operation] = []
        var outputs: [Bytes] = []
        var removes = false
    }

    private func write(_ request: OperationRequest, _ client: ClientHandle) {
        let object = request.object
        guard request.metadataSize <= OperationLimits.metadataSize else {
            answer(request, client, errno: Errno.tooLarge)
            return settleFailed(object)
        }
        let before = objectInfo(of: object)
        let prior = before.version
        var change = Change(exists: prior != .zero)
        for step in request.steps {
            guard let errno = apply(step, of: request, &change, client) else { continue }
            if errno == Errno.noSpace {
                answer(request, client, errno: errno)
                return settleFailed(object)
            }
            // A resend must fail as this did, whatever has changed by then.
            return order([], kind: .error, prior: prior, outputs: [], errno: errno, for: request, from: client)
        }
        guard !change.operations.isEmpty else {
            // That there is nothing to change may be the doing of writes that are not durable yet, and a resend must not
            // find something: it takes its place in the order like any other.
            return order(
                [], kind: .error, prior: prior, outputs: change.outputs, errno: 0, for: request, from: client)
        }
        if !change.removes {
            let version = Version(epoch: interval, counter: info.lastUpdate.counter + 1)
            let digests = digests(of: object, before: before, after: change.operations)
            let info = ObjectInfo(version: version, digests: digests)
            change.operations.append(.setAttribute(object, name: ObjectInfo.attribute, value: info.encoded))
        }
        order(
            change.operations, kind: change.removes ? .delete : .modify, prior: prior, outputs: change.outputs,
            errno: 0, for: request, from: client)
    }

    /// Whether the object's attributes stay within bounds: they lie in one record, which each of its changes logs whole.
    private func fits(_ name: String, _ value: Bytes, on object: ObjectID, _ change: Change) -> Bool {
        var sizes: [String: Int] = [:]
        for attribute in environment.attributes(of: object) { sizes[attribute.name] = attribute.value.count }
        for case .setAttribute(_, let name, let value) in change.operations { sizes[name] = value.count }
        sizes[name] = value.count
        return sizes.count <= OperationLimits.attributes
            && sizes.reduce(0) { $0 + $1.key.utf8.count + $1.value } <= OperationLimits.attributesSize
    }

    /// A request that changed nothing must not hold up those behind it.
    private func settleFailed(_ object: ObjectID) {
        activities[object, default: ObjectActivity()].writers += 1
        release(object, writer: true)
    }

    /// Adds a step to the change; an errno when it fails.
    private func apply(
        _ step: ObjectOperation, of request: OperationRequest, _ change: inout Change, _ client: ClientHandle
    ) -> Int32? {
        let object = request.object
        guard !change.removes else { return Errno.invalid }
        if step.addsData, environment.isFull || members.contains(where: { $0.isFull }) { return Errno.noSpace }
        var output = Bytes.empty
        switch step {
        case .create(let exclusive):
            if exclusive, change.exists { return Errno.exists }
            if !change.exists { change.operations.append(.touch(object)) }
            change.exists = true
        case .write(let offset, let data):
            change.operations.append(.write(object, offset: offset, data: data))
            change.exists = true
        case .writeFull(let data):
            change.operations += [.truncate(object, size: 0), .write(object, offset: 0, data: data)]
            change.exists = true
        case .zero(let offset, let length):
            if change.exists { change.operations.append(.zero(object, offset: offset, length: length)) }
        case .truncate(let size):
            if change.exists { change.operations.append(.truncate(object, size: size)) }
        case .remove:
            guard change.exists else { return Errno.noEntry }
            change.operations.append(.remove(object))
            change.removes = true
            forgetWatches(of: object)
        case .setAttribute(let name, let value):
            guard name != ObjectInfo.attribute, name != Self.watchersAttribute else { return Errno.invalid }
            guard fits(name, value, on: object, change) else { return Errno.tooLarge }
            change.operations.append(.setAttribute(object, name: name, value: value))
            change.exists = true
        case .setOmap(let entries):
            change.operations.append(.setOmap(object, entries: entries))
            change.exists = true
        case .removeOmap(let keys):
            if change.exists { change.operations.append(.removeOmap(object, keys: keys)) }
        case .watch, .unwatch:
            guard change.exists else { return Errno.noEntry }
            switch watch(step, request, client) {
            case .success(let value):
                change.operations.append(.setAttribute(object, name: Self.watchersAttribute, value: value))
            case .failure(let failure): return failure.errno
            }
        case .read:
            return Errno.invalid
        default:
            switch evaluate(step, on: object) {
            case .success(let value): output = value
            case .failure(let failure): return failure.errno
            }
        }
        change.outputs.append(output)
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
