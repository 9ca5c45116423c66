import ClusterMap
import DequeModule
import Protocol
import Wire

/// The client's side of every object operation: chooses the OSD that must do it, and sees it through changes of the
/// cluster. The name is the one that RADOS gives to this part of a client.
///
/// A machine without I/O, confined to the client's event loop. A request is targeted by the current map (name → hash →
/// group → primary), sent, and kept until it is answered. It is sent again, under the same request id, whenever what was
/// sent may have been forgotten: a new map begins a new interval of the group, the session to the OSD was begun anew, or
/// the OSD answered that it is not the one. OSDs answer a request they have done already with the result they recorded, so
/// sending twice is harmless; not sending would hang.
///
/// Requests on one object are done in the order in which they were submitted, also over resends:
/// - The requests of a group stand in one list, oldest first, and are only ever sent in its order: one at its end when it is
///   submitted, or all of them from the start.
/// - When one request of a group was misdirected nothing of the group is sent before the newer map has come.
/// - When an OSD has no room for one (EAGAIN), nothing of the group is sent before the next `retry`. Only what was on its
///   way already could overtake it, so OSDs slow their clients' sessions down before they refuse.
/// - OSDs refuse (as misdirected) what was sent under a map older than the group's interval, so a late copy of an older
///   sending cannot be done between requests of a newer one.
///
/// While a group has no primary its requests wait; there is no limit of time. What is in flight is bounded in number and
/// bytes; more is taken and waits its turn (`hasRoom` says when to pause).
public final class Objecter<Environment: ObjecterEnvironment> {
    public typealias Map = Environment.Map

    /// Identifies this run of the client to the cluster.
    public let client: UInt64
    unowned let environment: Environment
    /// The newest map; nil before the first.
    public private(set) var map: Map?

    var pools: ContiguousArray<PoolState> = []
    var requests: ContiguousArray<Request> = []
    private var freeRequests: ContiguousArray<Int32> = []
    private var slots: [UInt64: Int32] = [:]
    private var nextNumber: UInt64 = 1
    private var backlog: Deque<Submission> = []
    private var bytesInFlight = 0
    /// True from when a map, or an OSD, has said that this run of the client is blocklisted. For ever, also when the entry's
    /// time is over: others have gone on without it meanwhile, and what it still has in mind may be overtaken.
    public private(set) var isFenced = false

    /// `client` is drawn at random by the caller, never 0.
    public init(client: UInt64, environment: Environment) {
        precondition(client != 0, "client 0 stands for no client")
        ClientLimits.check()
        self.client = client
        self.environment = environment
    }

    /// A request in flight, or a free place for one.
    struct Request {
        var number: UInt64
        var token: RequestToken
        var object: ObjectID
        var scope: SnapshotScope
        var steps: [ObjectOperation]
        var pool: Int
        var seed: UInt32
        var cost: Int
        /// Set for operations on a group itself: their group is not a function of the object's name.
        var isGroupOperation: Bool
        /// To whom and under which map it was sent last; nil while it waits.
        var sentTo: OSDID?
        var sentEpoch: Epoch
        /// Neighbours in the group's list.
        var previous: Int32
        var next: Int32
    }

    /// The requests of a placement group.
    struct Group {
        /// The epoch that `target` was taken from; anything else when it must be taken anew.
        var targetEpoch = Epoch.none
        var target: GroupTarget?
        /// Nothing is sent before a map of this epoch has come.
        var resumesAt = Epoch.none
        /// The OSD had no room for one of its requests: nothing is sent before the next `retry`.
        var isRefused = false
        var first: Int32 = -1
        var last: Int32 = -1

        var isEmpty: Bool { first < 0 }
    }

    struct PoolState {
        var id: PoolID
        /// Nil when the pool was removed.
        var pool: Pool?
        var groups: ContiguousArray<Group>
    }

    /// A request that waits its turn.
    private struct Submission {
        var token: RequestToken
        var pool: Int
        /// The object's name, or the seed of a group for an operation on the group itself.
        var name: ObjectName?
        var seed: UInt32
        var scope: SnapshotScope
        var steps: [ObjectOperation]
        var cost: Int
    }

    // MARK: What callers see

    /// Requests in flight, sent or waiting for a primary.
    public var inFlight: Int { slots.count }
    /// False while requests wait their turn: whoever has more to submit than one request should pause.
    public var hasRoom: Bool { backlog.isEmpty && isWithinLimits(0) }

    /// The slot of a pool; nil when the current map has no such pool. The first map must have come.
    public func open(_ id: PoolID) -> PoolSlot? {
        guard let map else { preconditionFailure("pool \(id) opened before the first map") }
        if let index = pools.firstIndex(where: { $0.id == id }) {
            return pools[index].pool == nil ? nil : PoolSlot(index: index)
        }
        guard let pool = map.pool(id) else { return nil }
        pools.append(
            PoolState(id: id, pool: pool, groups: ContiguousArray(repeating: Group(), count: Int(pool.groupCount))))
        return PoolSlot(index: pools.count - 1)
    }

    /// The pool as the current map has it; nil when it was removed.
    public func pool(_ slot: PoolSlot) -> Pool? { pools[slot.index].pool }

    /// Submits a compound request on an object. Ends in `Environment.completed` with the token, perhaps before this
    /// returns.
    public func submit(
        _ steps: [ObjectOperation], on name: ObjectName, in slot: PoolSlot, scope: SnapshotScope = .head,
        token: RequestToken
    ) {
        precondition(!steps.isEmpty && steps.count <= OperationLimits.steps, "a request of \(steps.count) steps")
        assert(OperationRequest.excess(of: steps) == nil, "\(OperationRequest.excess(of: steps) ?? "")")
        take(
            Submission(
                token: token, pool: slot.index, name: name, seed: 0, scope: scope, steps: steps,
                cost: Self.cost(of: steps)))
    }

    /// Submits an operation on a placement group itself, such as a listing; no such group is ENOENT.
    public func submit(
        _ step: ObjectOperation, onGroup seed: UInt32, in slot: PoolSlot, scope: SnapshotScope = .head,
        token: RequestToken
    ) {
        take(
            Submission(
                token: token, pool: slot.index, name: nil, seed: seed, scope: scope, steps: [step],
                cost: Self.smallCost))
    }

    // MARK: Events

    /// A newer map came. Older ones are ignored.
    public func mapChanged(to newMap: Map) {
        let old = map?.epoch ?? .none
        guard newMap.epoch > old else { return }
        map = newMap
        if newMap.isBlocklisted(client) { return fence() }
        // After a gap an interval may have come and gone unseen, so everything is taken for forgotten.
        let sawAll = newMap.epoch == old.next
        var failed: [RequestToken] = []
        for index in pools.indices where pools[index].pool != nil {
            updatePool(index, to: newMap, sawAll: sawAll, failed: &failed)
        }
        for token in failed { environment.completed(token, Self.failure(Errno.noEntry)) }
        drainBacklog()
    }

    /// The session with `osd` was begun anew: what was on its way in either direction is lost.
    public func sessionReset(with osd: OSDID) {
        for pool in pools.indices where pools[pool].pool != nil {
            for seed in pools[pool].groups.indices where !pools[pool].groups[seed].isEmpty {
                if pools[pool].groups[seed].target?.primary == osd { sendAll(pool, seed) }
            }
        }
    }

    /// The time asked for by `wantRetry` has passed.
    public func retry() {
        for pool in pools.indices where pools[pool].pool != nil {
            for seed in pools[pool].groups.indices where pools[pool].groups[seed].isRefused {
                pools[pool].groups[seed].isRefused = false
                sendAll(pool, seed)
            }
        }
    }

    /// An OSD answered. Ignored unless it comes from whom the request was sent to last.
    public func received(_ reply: OperationReply, from osd: OSDID) {
        guard let slot = slots[reply.number] else { return }
        let index = Int(slot)
        guard requests[index].sentTo == osd else { return }
        switch reply.outcome {
        case .done(Errno.tryAgain):
            // What follows on the group is held back too, or it would overtake this one.
            let (pool, seed) = (requests[index].pool, Int(requests[index].seed))
            pools[pool].groups[seed].isRefused = true
            markUnsent(pool, seed)
            environment.wantRetry()
        case .done(Errno.blocklisted):
            fence()
        case .done:
            let token = requests[index].token
            remove(slot)
            environment.completed(token, reply)
            drainBacklog()
        case .misdirected(let epoch):
            // A copy sent under that map or a newer one is under way and gets its own answer.
            guard epoch > requests[index].sentEpoch, let map else { return }
            let (pool, seed) = (requests[index].pool, Int(requests[index].seed))
            if epoch > map.epoch {
                pools[pool].groups[seed].resumesAt = max(pools[pool].groups[seed].resumesAt, epoch)
                markUnsent(pool, seed)
                environment.wantMap(atLeast: epoch)
            } else {
                sendAll(pool, seed)
            }
        }
    }

    /// Ends everything with ESHUTDOWN: what was sent may or may not have been done, what follows will not be.
    private func fence() {
        isFenced = true
        let sent = slots.values.sorted { requests[Int($0)].number < requests[Int($1)].number }
        let tokens = sent.map { requests[Int($0)].token } + backlog.map(\.token)
        for slot in sent { remove(slot) }
        backlog.removeAll()
        for token in tokens { environment.completed(token, Self.failure(Errno.blocklisted)) }
    }

    // MARK: Taking requests

    private func take(_ submission: Submission) {
        guard !isFenced else {
            return environment.completed(submission.token, Self.failure(Errno.blocklisted))
        }
        if backlog.isEmpty, isWithinLimits(submission.cost) { return admit(submission) }
        guard backlog.count < ClientLimits.requestsWaiting else {
            return environment.completed(submission.token, Self.failure(Errno.tryAgain))
        }
        backlog.append(submission)
    }

    private func isWithinLimits(_ cost: Int) -> Bool {
        slots.isEmpty
            || (slots.count < ClientLimits.requestsInFlight && bytesInFlight + cost <= ClientLimits.bytesInFlight)
    }

    private func drainBacklog() {
        while let first = backlog.first, isWithinLimits(first.cost) {
            backlog.removeFirst()
            admit(first)
        }
    }

    private func admit(_ submission: Submission) {
        guard let pool = pools[submission.pool].pool,
            submission.name != nil || submission.seed < pool.groupCount
        else { return environment.completed(submission.token, Self.failure(Errno.noEntry)) }
        let object: ObjectID
        let seed: UInt32
        if let name = submission.name {
            object = ObjectID(pool: pool.id, hash: Map.hash(of: name), name: name)
            seed = pool.group(ofHash: object.hash).seed
        } else {
            // The seed taken as a hash lies in its own group, so this is an object of the group as good as any.
            object = ObjectID(pool: pool.id, hash: submission.seed, name: ObjectName("group"))
            seed = submission.seed
        }
        let request = Request(
            number: nextNumber, token: submission.token, object: object, scope: submission.scope,
            steps: submission.steps,
            pool: submission.pool, seed: seed, cost: submission.cost, isGroupOperation: submission.name == nil,
            sentTo: nil, sentEpoch: .none, previous: -1, next: -1)
        nextNumber += 1
        bytesInFlight += submission.cost
        let slot = store(request)
        append(slot, toGroup: Int(seed), of: submission.pool)
        refreshTarget(submission.pool, Int(seed))
        if let primary = openTarget(submission.pool, Int(seed)) { send(slot, to: primary) }
    }

    private func store(_ request: Request) -> Int32 {
        let slot: Int32
        if let free = freeRequests.popLast() {
            slot = free
            requests[Int(free)] = request
        } else {
            slot = Int32(requests.count)
            requests.append(request)
        }
        slots[request.number] = slot
        return slot
    }

    // MARK: Targets

    /// Takes the group's target from the current map, for a group that had no requests when the map came.
    private func refreshTarget(_ pool: Int, _ seed: Int) {
        guard let map else { preconditionFailure("a request before the first map") }
        guard pools[pool].groups[seed].targetEpoch != map.epoch else { return }
        pools[pool].groups[seed].targetEpoch = map.epoch
        pools[pool].groups[seed].target = map.target(of: PGID(pool: pools[pool].id, seed: UInt32(seed)))
    }

    /// To whom the group's requests go now; nil when they wait for a primary or a map.
    private func openTarget(_ pool: Int, _ seed: Int) -> OSDID? {
        guard let map, pools[pool].groups[seed].resumesAt <= map.epoch, !pools[pool].groups[seed].isRefused
        else { return nil }
        return pools[pool].groups[seed].target?.primary
    }

    private func updatePool(_ index: Int, to newMap: Map, sawAll: Bool, failed: inout [RequestToken]) {
        guard let pool = newMap.pool(pools[index].id) else {
            pools[index].pool = nil
            for request in requestsInOrder(of: index) {
                failed.append(requests[Int(request)].token)
                remove(request)
            }
            pools[index].groups = []
            return
        }
        let wasSplit = pool.groupCount != pools[index].pool?.groupCount
        pools[index].pool = pool
        if wasSplit { return deal(index, pool, failed: &failed) }
        for seed in pools[index].groups.indices where !pools[index].groups[seed].isEmpty {
            let target = newMap.target(of: PGID(pool: pool.id, seed: UInt32(seed)))
            let waited = pools[index].groups[seed].resumesAt
            let isChanged = target != pools[index].groups[seed].target
            pools[index].groups[seed].target = target
            pools[index].groups[seed].targetEpoch = newMap.epoch
            let hasWaited = waited > .none && waited <= newMap.epoch
            if hasWaited { pools[index].groups[seed].resumesAt = .none }
            if isChanged || !sawAll || hasWaited { sendAll(index, seed) }
        }
    }

    /// Deals the requests of a pool to its groups anew, after their number has changed.
    private func deal(_ index: Int, _ pool: Pool, failed: inout [RequestToken]) {
        let all = requestsInOrder(of: index)
        let resumesAt = pools[index].groups.map(\.resumesAt).max() ?? .none
        pools[index].groups = ContiguousArray(repeating: Group(), count: Int(pool.groupCount))
        for slot in all {
            let request = requests[Int(slot)]
            requests[Int(slot)].previous = -1
            requests[Int(slot)].next = -1
            if !request.isGroupOperation { requests[Int(slot)].seed = pool.group(ofHash: request.object.hash).seed }
            let seed = Int(requests[Int(slot)].seed)
            guard seed < pools[index].groups.count else {
                failed.append(request.token)
                release(slot)
                continue
            }
            append(slot, toGroup: seed, of: index)
        }
        for seed in pools[index].groups.indices where !pools[index].groups[seed].isEmpty {
            pools[index].groups[seed].resumesAt = resumesAt
            refreshTarget(index, seed)
            sendAll(index, seed)
        }
    }

    private func requestsInOrder(of pool: Int) -> [Int32] {
        slots.values.filter { requests[Int($0)].pool == pool }
            .sorted { requests[Int($0)].number < requests[Int($1)].number }
    }

    // MARK: Sending

    private func send(_ slot: Int32, to osd: OSDID) {
        guard let map else { preconditionFailure("a request before the first map") }
        let index = Int(slot)
        requests[index].sentTo = osd
        requests[index].sentEpoch = map.epoch
        let group = PGID(pool: requests[index].object.pool, seed: requests[index].seed)
        environment.send(
            OperationRequest(
                id: RequestID(client: client, number: requests[index].number), epoch: map.epoch, group: group,
                object: requests[index].object, steps: requests[index].steps, snap: requests[index].scope.snap,
                context: requests[index].scope.context),
            to: osd)
    }

    /// Sends everything of a group, oldest first, or marks it as waiting when there is nobody to send to.
    private func sendAll(_ pool: Int, _ seed: Int) {
        guard let primary = openTarget(pool, seed) else { return markUnsent(pool, seed) }
        var slot = pools[pool].groups[seed].first
        var last: UInt64 = 0
        while slot >= 0 {
            precondition(requests[Int(slot)].number > last, "request \(requests[Int(slot)].number) after \(last)")
            last = requests[Int(slot)].number
            send(slot, to: primary)
            slot = requests[Int(slot)].next
        }
    }

    private func markUnsent(_ pool: Int, _ seed: Int) {
        var slot = pools[pool].groups[seed].first
        while slot >= 0 {
            requests[Int(slot)].sentTo = nil
            slot = requests[Int(slot)].next
        }
    }

    // MARK: Lists

    private func append(_ slot: Int32, toGroup seed: Int, of pool: Int) {
        let last = pools[pool].groups[seed].last
        requests[Int(slot)].previous = last
        if last >= 0 { requests[Int(last)].next = slot } else { pools[pool].groups[seed].first = slot }
        pools[pool].groups[seed].last = slot
    }

    private func remove(_ slot: Int32) {
        let request = requests[Int(slot)]
        let seed = Int(request.seed)
        if request.previous >= 0 {
            requests[Int(request.previous)].next = request.next
        } else {
            pools[request.pool].groups[seed].first = request.next
        }
        if request.next >= 0 {
            requests[Int(request.next)].previous = request.previous
        } else {
            pools[request.pool].groups[seed].last = request.previous
        }
        release(slot)
    }

    private func release(_ slot: Int32) {
        slots[requests[Int(slot)].number] = nil
        bytesInFlight -= requests[Int(slot)].cost
        // The data is let go now, not when the place is used again.
        requests[Int(slot)].steps = []
        requests[Int(slot)].scope = .head
        requests[Int(slot)].sentTo = nil
        freeRequests.append(slot)
        precondition(bytesInFlight >= 0, "\(bytesInFlight) bytes in flight")
    }

    // MARK: Costs and answers

    /// What a request without data counts.
    private static var smallCost: Int { 256 }

    private static func cost(of steps: [ObjectOperation]) -> Int {
        var cost = smallCost
        for step in steps {
            switch step {
            case .write(_, let data), .writeFull(let data), .append(let data), .compareExtent(_, let data):
                cost += data.count
            case .read(_, let length), .sparseRead(_, let length): cost += Int(length)
            case .call(let call): cost += call.input.count
            default: break
            }
        }
        return cost
    }

    private static func failure(_ errno: Int32) -> OperationReply {
        OperationReply(number: 0, outcome: .done(errno: errno))
    }
}
