import ClusterMap
import Protocol
import RADOS
import Synchronization
import Wire

/// A pool in memory for administration: every request is done at once. It can stop as if the caller had died before its
/// n-th request, and let something else happen before a request.
public final class MemoryPool: ObjectPool {
    private struct State {
        var objects = MemoryObjects()
        var snapshots = PoolSnapshots()
        var requests = 0
        var stopsBefore: Int?
        var hook: (before: Int, body: @Sendable () async -> Void)?
    }

    private let state = Mutex(State())
    public let name = "rbd"
    private let groups: UInt32

    public init(groups: UInt32 = 4) { self.groups = groups }

    /// The objects as they are.
    public var objects: MemoryObjects {
        get { state.withLock { $0.objects } }
        set { state.withLock { $0.objects = newValue } }
    }

    /// Requests since the last `begin`.
    public var requests: Int { state.withLock { $0.requests } }

    /// Counts requests from 0 anew; `stopsBefore` is the first that is no longer done.
    public func begin(stopsBefore: Int? = nil) {
        state.withLock {
            $0.requests = 0
            $0.stopsBefore = stopsBefore
            $0.hook = nil
        }
    }

    /// Lets `body` happen before request `before`.
    public func interpose(before: Int, _ body: @escaping @Sendable () async -> Void) {
        state.withLock {
            $0.requests = 0
            $0.stopsBefore = nil
            $0.hook = (before, body)
        }
    }

    public func id(of object: ObjectName) -> ObjectID {
        ObjectID(pool: PoolID(1), hash: MemoryMap.hash(of: object), name: object)
    }

    public func groupCount() async throws(RADOSError) -> UInt32 { groups }

    /// The snapshots as the monitors know them.
    public var snapshots: PoolSnapshots { state.withLock { $0.snapshots } }

    public func perform(
        _ steps: [ObjectOperation], on object: ObjectName, in scope: SnapshotScope
    ) async throws(RADOSError) -> [Bytes] {
        let id = id(of: object)
        return try await perform(steps, on: id, seed: Pool.stableModulo(id.hash, groups), scope)
    }

    public func createSnapshot() async throws(RADOSError) -> SnapID {
        let snap = try await ask { $0.create() }
        guard let snap else { throw RADOSError(errno: 28, "no more snapshots", isAnswer: true) }
        return snap
    }

    public func removeSnapshot(_ snap: SnapID) async throws(RADOSError) {
        guard try await ask({ $0.remove(snap) }) else { throw RADOSError(errno: 2, "no snapshot", isAnswer: true) }
    }

    /// A command to the monitors counts as a request.
    private func ask<Answer: Sendable>(
        _ body: @Sendable (inout PoolSnapshots) -> Answer
    ) async throws(RADOSError) -> Answer {
        let answer = state.withLock { state -> Answer? in
            if let limit = state.stopsBefore, state.requests >= limit { return nil }
            state.requests += 1
            return body(&state.snapshots)
        }
        guard let answer else { throw RADOSError(errno: 5, "stopped") }
        return answer
    }

    public func list(
        from position: ListingPosition, prefix: Bytes, at snap: SnapID
    ) async throws(RADOSError) -> ObjectListing {
        let seed = position.seed(of: groups)
        let step = position.step(seed, of: groups, in: PoolID(1), prefix: prefix, limit: 3)
        let id = ObjectID(pool: PoolID(1), hash: seed, name: ObjectName("group"))
        let outputs = try await perform(
            [step], on: id, seed: seed, SnapshotScope(snap: snap))
        guard let listing = try? ObjectListing(decoding: outputs[0], of: seed, in: PoolID(1), from: position) else {
            throw RADOSError(errno: 5, "a listing that cannot be decoded")
        }
        return listing
    }

    private func perform(
        _ steps: [ObjectOperation], on id: ObjectID, seed: UInt32, _ scope: SnapshotScope
    ) async throws(RADOSError) -> [Bytes] {
        let hook = state.withLock { state -> (@Sendable () async -> Void)? in
            guard let hook = state.hook, hook.before == state.requests else { return nil }
            state.hook = nil
            return hook.body
        }
        await hook?()
        let result = state.withLock { state -> (errno: Int32, outputs: [Bytes])? in
            if let limit = state.stopsBefore, state.requests >= limit { return nil }
            state.requests += 1
            return state.objects.execute(
                steps, on: id, group: (seed, groups), client: 1, name: "test", at: scope.snap, context: scope.context)
        }
        guard let result else { throw RADOSError(errno: 5, "stopped") }
        guard result.errno == 0 else {
            throw RADOSError(errno: result.errno, "errno \(result.errno)", isAnswer: true)
        }
        return steps.contains { $0.isWrite } ? result.outputs.map { _ in .empty } : result.outputs
    }
}
