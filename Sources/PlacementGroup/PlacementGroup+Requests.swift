import DequeModule
import Protocol
import Wire

/// What is under way on an object. Writes follow each other without waiting; reads, and requests whose outcome depends on
/// the object's state, wait for the writes before them, so that nobody is told of what could still be lost.
struct ObjectActivity {
    var readers = 0
    var writers = 0
    /// A change is being made and waits for data it reads: nothing else begins. It counts as a writer.
    var isHeld = false
    var queue: Deque<(request: OperationRequest, client: ClientHandle)> = []
    var isIdle: Bool { readers == 0 && writers == 0 && queue.isEmpty }
}

/// The errors of the field that a group answers with.
enum Errno {
    static let noEntry: Int32 = 2
    static let ioError: Int32 = 5
    static let tryAgain: Int32 = 11
    static let busy: Int32 = 16
    static let exists: Int32 = 17
    static let invalid: Int32 = 22
    static let tooLarge: Int32 = 27
    static let noSpace: Int32 = 28
    static let range: Int32 = 34
    static let noData: Int32 = 61
    static let overflow: Int32 = 75
    static let notSupported: Int32 = 95
    /// ESHUTDOWN: what a blocklisted client is told.
    static let blocklisted: Int32 = 108
    static let timedOut: Int32 = 110
    /// ESTALE: a snapshot that is no more.
    static let stale: Int32 = 116
    static let canceled: Int32 = 125
}

/// Which requests begin, and in which order.
extension PlacementGroup {
    /// A client's request, on the primary.
    public func request(_ request: OperationRequest, from client: ClientHandle) {
        precondition(isPrimary, "group \(id): \(me) is not the primary of \(acting)")
        if case .administer(let command)? = request.steps.first { return administer(command, request, client) }
        // One that came before and waits is not overtaken. In a group that is quiet all wait, reads too: after a merge another
        // may lead its objects, who does not wait for what was promised to this one.
        if phase == .active, waiting.isEmpty, !isQuiet, !request.isWrite || writes.count < GroupLimits.writesInFlight {
            admit(request, client)
        } else if waiting.count < GroupLimits.waitingRequests {
            waiting.append((request, client))
        } else {
            answer(request, client, errno: Errno.tryAgain)
        }
    }

    /// Begins a request, or queues it at its object.
    func admit(_ request: OperationRequest, _ client: ClientHandle) {
        if isFenced(request) { return answer(request, client, errno: Errno.blocklisted) }
        guard range.contains(request.object) else { return answer(request, client, errno: Errno.invalid) }
        switch request.steps.first {
        case .listObjects(let after, let prefix, let limit)?:
            // Without a lease it is asked again by its client when that has waited long enough.
            guard request.isWrite || mayRead() else { return answer(request, client, errno: Errno.tryAgain) }
            return list(request, client, after: after, prefix: prefix, limit: limit)
        case .acknowledge?:
            return acknowledge(request, client)
        default: break
        }
        if request.snap != .head, isRemoved(request.snap) {
            // What was there may be trimmed already, so "no such object" would not be the truth.
            return answer(request, client, errno: Errno.stale)
        }
        if let activity = activities[request.object] {
            guard activity.queue.isEmpty, mayStart(activity, request) else { return queue(request, client) }
        } else if mayBlock, isBlocked(request) {
            return queue(request, client)
        } else if !request.isWrite, !mayRead() {
            return queue(request, client)
        }
        perform(request, client)
    }

    /// True when the client is shut out by this OSD's map: nothing of it begins any more, also not what waited here before.
    func isFenced(_ request: OperationRequest) -> Bool {
        environment.hasBlocklist && environment.isBlocklisted(request.id.client)
    }

    private func queue(_ request: OperationRequest, _ client: ClientHandle) {
        activities[request.object, default: ObjectActivity()].queue.append((request, client))
        if !request.isWrite, !mayRead() {
            environment.occurred(.waitedForLease)
            leaseStarved.insert(request.object)
        }
        if mayBlock, isBlocked(request) { expedite(request) }
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
        if activity.isHeld { return false }
        if activity.writers > 0, request.steps.contains(where: { $0.readsState }) { return false }
        if mayBlock, isBlocked(request) { return false }
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
        if !recovery.delayed.isEmpty, activity.writers == 0 { resume(object) }
        wake(object)
    }

    /// Requests that waited for the object go on, in the order they came.
    func wake(_ object: ObjectID) {
        while let activity = activities[object], let next = activity.queue.first, mayStart(activity, next.request) {
            activities[object]?.queue.removeFirst()
            if isFenced(next.request) {
                answer(next.request, next.client, errno: Errno.blocklisted)
            } else {
                perform(next.request, next.client)
            }
        }
        guard let activity = activities[object] else { return }
        if activity.isIdle {
            activities[object] = nil
        } else if mayBlock, let next = activity.queue.first?.request,
            isBlocked(next)
        {
            expedite(next)
        }
    }

    func perform(_ request: OperationRequest, _ client: ClientHandle) {
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

    /// Lets nothing else begin on the object until `unhold`.
    func hold(_ object: ObjectID) {
        activities[object, default: ObjectActivity()].writers += 1
        activities[object]?.isHeld = true
    }

    func unhold(_ object: ObjectID) {
        activities[object]?.isHeld = false
        release(object, writer: true)
    }

    /// Begins a held request from the start, before all that wait for its object.
    func beginAgain(_ request: OperationRequest, _ client: ClientHandle) {
        activities[request.object]?.queue.prepend((request, client))
        unhold(request.object)
    }

    /// A request that changed nothing must not hold up those behind it.
    func settleFailed(_ object: ObjectID) {
        activities[object, default: ObjectActivity()].writers += 1
        release(object, writer: true)
    }
}
