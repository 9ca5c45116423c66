import ClusterMap
import Glibc
import Logging
import NIOCore
import NIOPosix
import Protocol
import Wire

/// A connection to a cluster. Everything of it happens on one event loop; the handle may be used from anywhere.
///
/// Administration is awaited (`pool(named:)`, `command`, `RADOSPool`). The data path goes through a `PoolChannel` on the
/// loop.
public final class Cluster: Sendable {
    /// The event loop of the connection: whoever uses channels works there.
    public let loop: any EventLoop
    private let state: NIOLoopBound<ClusterLoop>
    /// The threads when they are our own.
    private let ownGroup: MultiThreadedEventLoopGroup?

    private init(loop: any EventLoop, state: NIOLoopBound<ClusterLoop>, ownGroup: MultiThreadedEventLoopGroup?) {
        self.loop = loop
        self.state = state
        self.ownGroup = ownGroup
    }

    /// Connects to a cluster through any of its monitors and waits for the first map. `name` is how others see the client,
    /// for example `nbd@host:pid`; it is cut to what the protocol allows. Runs on `loop`, or a thread of its own. Throws
    /// ETIMEDOUT naming the monitors when none answers within `ClientLimits.connectSeconds`.
    public static func connect(
        monitors: [Endpoint], name: String, on loop: (any EventLoop)? = nil,
        logger: Logger = Logger(label: "nacre.client")
    ) async throws(RADOSError) -> Cluster {
        guard !monitors.isEmpty else {
            throw RADOSError(errno: Errno.invalid, "no monitor was given: name at least one as host:port")
        }
        let group = loop == nil ? MultiThreadedEventLoopGroup(numberOfThreads: 1) : nil
        guard let loop = loop ?? group?.next() else { preconditionFailure("no event loop") }
        let entity = shortened(name)
        do {
            let state = try await loop.submit {
                NIOLoopBound(
                    ClusterLoop(monitors: monitors, name: entity, on: loop, logger: logger), eventLoop: loop)
            }.get()
            let cluster = Cluster(loop: loop, state: state, ownGroup: group)
            do {
                try await cluster.start(monitors)
            } catch {
                await cluster.shutdown()
                throw error
            }
            return cluster
        } catch let error as RADOSError {
            throw error
        } catch {
            throw RADOSError(errno: Errno.timedOut, "\(error)")
        }
    }

    private func start(_ monitors: [Endpoint]) async throws {
        let state = state
        try await loop.flatSubmit { () -> EventLoopFuture<Void> in
            let started = state.value.start()
            let promise = state.value.loop.makePromise(of: Void.self)
            let limit = state.value.loop.scheduleTask(in: .seconds(ClientLimits.connectSeconds)) {
                let names = monitors.map(\.description).joined(separator: ", ")
                let report = state.value.lastReport.map { " (\($0))" } ?? ""
                promise.fail(
                    RADOSError(
                        errno: Errno.timedOut,
                        "no monitor answers at \(names)\(report): check the address and that 'nacre mon' runs there"))
            }
            started.whenComplete { result in
                limit.cancel()
                promise.completeWith(result)
            }
            return promise.futureResult
        }.get()
    }

    /// Ends the connection. Requests that are under way may or may not have been done; those awaited fail.
    public func shutdown() async {
        let state = state
        try? await loop.flatSubmit { state.value.stop() }.get()
        try? await ownGroup?.shutdownGracefully()
    }

    /// The newest map.
    public func map() async throws(RADOSError) -> OSDMap {
        let state = state
        guard let map = try? await loop.submit({ state.value.map }).get() else {
            throw RADOSError(errno: Errno.timedOut, "the connection to the cluster was closed")
        }
        return map
    }

    /// The pools by number.
    public func pools() async throws(RADOSError) -> [Pool] { try await map().poolsInOrder }

    /// The pool of this name. Throws ENOENT when there is none.
    public func pool(named name: String) async throws(RADOSError) -> RADOSPool {
        let state = state
        let found = try? await loop.submit { () -> (Pool, PoolSlot)? in
            guard let pool = state.value.map?.pool(named: name), let slot = state.value.objecter.open(pool.id) else {
                return nil
            }
            return (pool, slot)
        }.get()
        guard let (pool, slot) = found else {
            throw RADOSError(
                errno: Errno.noEntry, "pool '\(name)' does not exist: create it with 'nacre pool create \(name)'")
        }
        return RADOSPool(pool: pool, slot: slot, loop: loop, state: state)
    }

    /// Asks the monitors a command. A refusal is a reply with an errno; throws ETIMEDOUT when no monitor answers in time.
    public func command(
        _ words: [String], arguments: [String: String] = [:], input: Bytes = .empty, timeout: Duration = .seconds(30)
    ) async throws(RADOSError) -> CommandReply {
        let state = state
        let milliseconds = Int(
            timeout.components.seconds * 1000 + timeout.components.attoseconds / 1_000_000_000_000_000)
        do {
            return try await loop.flatSubmit {
                state.value.command(
                    words: words, arguments: arguments, input: input, timeoutMilliseconds: milliseconds)
            }.get()
        } catch let error as RADOSError {
            throw error
        } catch {
            throw RADOSError(errno: Errno.timedOut, "\(error)")
        }
    }

    /// The longest beginning that fits the protocol, not cut inside a character.
    private static func shortened(_ name: String) -> String {
        var name = name
        while name.utf8.count > OperationLimits.clientName { name.removeLast() }
        return name
    }
}

/// A pool of a connected cluster.
public final class RADOSPool: ObjectPool {
    public let name: String
    /// The pool's number.
    public let id: PoolID
    /// The event loop of the cluster's connection.
    public let loop: any EventLoop
    private let slot: PoolSlot
    private let state: NIOLoopBound<ClusterLoop>

    init(pool: Pool, slot: PoolSlot, loop: any EventLoop, state: NIOLoopBound<ClusterLoop>) {
        name = pool.name
        id = pool.id
        self.slot = slot
        self.loop = loop
        self.state = state
    }

    public func groupCount() async throws(RADOSError) -> UInt32 {
        let (state, slot) = (state, slot)
        guard let count = try? await loop.submit({ state.value.objecter.pool(slot)?.groupCount }).get() else {
            throw RADOSError(errno: Errno.noEntry, "pool '\(name)' was removed")
        }
        return count
    }

    @discardableResult
    public func perform(
        _ steps: [ObjectOperation], on object: ObjectName, in scope: SnapshotScope
    ) async throws(RADOSError) -> [Bytes] {
        let (state, slot) = (state, slot)
        return try await answer(
            loop.flatSubmit {
                state.value.perform {
                    state.value.objecter.submit(steps, on: object, in: slot, scope: scope, token: $0)
                }
            })
    }

    public func createSnapshot() async throws(RADOSError) -> SnapID {
        let reply = try await command(["osd", "pool", "selfmanaged-snap", "create"], [:])
        guard let id = UInt64(String(reply.output)) else {
            throw RADOSError(errno: Errno.inputOutput, "the monitor's number of a snapshot cannot be read")
        }
        return SnapID(id)
    }

    public func removeSnapshot(_ snap: SnapID) async throws(RADOSError) {
        _ = try await command(["osd", "pool", "selfmanaged-snap", "rm"], ["snapid": "\(snap.rawValue)"])
    }

    /// Asks the monitors to change something of the pool.
    private func command(_ words: [String], _ more: [String: String]) async throws(RADOSError) -> CommandReply {
        let (state, name) = (state, name)
        let milliseconds = Int(ClientLimits.administrativeSeconds) * 1000
        let reply: CommandReply
        do {
            reply = try await loop.flatSubmit {
                state.value.command(
                    words: words, arguments: more.merging(["pool": name]) { $1 }, input: .empty,
                    timeoutMilliseconds: milliseconds)
            }.get()
        } catch let error as RADOSError {
            throw error
        } catch {
            throw RADOSError(errno: Errno.timedOut, "\(error)")
        }
        guard reply.errno == 0 else { throw RADOSError(errno: reply.errno, reply.message, isAnswer: true) }
        return reply
    }

    /// The same with so many seconds for the answer.
    func perform(
        _ steps: [ObjectOperation], on object: ObjectName, seconds: Int64
    ) async throws(RADOSError) -> [Bytes] {
        let (state, slot) = (state, slot)
        return try await answer(
            loop.flatSubmit {
                state.value.perform(seconds: seconds) {
                    state.value.objecter.submit(steps, on: object, in: slot, token: $0)
                }
            })
    }

    /// This run of the client, as watchers and locks name it.
    public func client() async throws(RADOSError) -> UInt64 {
        let state = state
        guard let client = try? await loop.submit({ state.value.objecter.client }).get() else {
            throw RADOSError(errno: Errno.timedOut, "the connection to the cluster was closed")
        }
        return client
    }

    public func list(
        from position: ListingPosition, prefix: Bytes, at snap: SnapID
    ) async throws(RADOSError) -> ObjectListing {
        while true {
            let count = try await groupCount()
            let seed = position.seed(of: count)
            let step = position.step(seed, of: count, in: id, prefix: prefix, limit: OperationLimits.listing)
            do {
                let output = try await list(seed, step, at: snap)
                if let part = try ObjectListing(decoding: output, of: seed, in: id, from: position) { return part }
            } catch let error as RADOSError {
                // A group that was merged into another meanwhile.
                guard error.errno == Errno.noEntry, !error.isAnswer else { throw error }
            } catch {
                throw RADOSError(errno: Errno.inputOutput, "a listing of pool '\(name)' cannot be read: \(error)")
            }
        }
    }

    private func list(_ seed: UInt32, _ step: ObjectOperation, at snap: SnapID) async throws(RADOSError) -> Bytes {
        let (state, slot) = (state, slot)
        let outputs = try await answer(
            loop.flatSubmit {
                state.value.perform {
                    state.value.objecter.submit(
                        step, onGroup: seed, in: slot, scope: SnapshotScope(snap: snap), token: $0)
                }
            })
        return outputs.first ?? .empty
    }

    /// Has a placement group's primary do an administrator's command; its output. Waits for as long as the group has none.
    public func administer(_ command: GroupCommand, group seed: UInt32) async throws(RADOSError) -> Bytes {
        let (state, slot) = (state, slot)
        let outputs = try await answer(
            loop.flatSubmit {
                state.value.perform {
                    state.value.objecter.submit(.administer(command), onGroup: seed, in: slot, token: $0)
                }
            })
        return outputs.first ?? .empty
    }

    private func answer(_ future: EventLoopFuture<OperationReply>) async throws(RADOSError) -> [Bytes] {
        let reply: OperationReply
        do {
            reply = try await future.get()
        } catch let error as RADOSError {
            throw error
        } catch {
            throw RADOSError(errno: Errno.timedOut, "\(error)")
        }
        guard case .done(let errno) = reply.outcome else {
            preconditionFailure("a request ended with \(reply.outcome)")
        }
        guard errno == 0 else {
            if !reply.isAnswer, errno == Errno.noEntry {
                throw RADOSError(errno: errno, "pool '\(name)' was removed")
            }
            throw RADOSError(errno: errno, RADOSError.text(errno), isAnswer: reply.isAnswer)
        }
        return reply.outputs
    }

    /// A way to the pool for the data path. To be called on the loop; the receiver is kept until the channel is closed.
    public func channel(for receiver: any ReplyReceiver) -> PoolChannel {
        PoolChannel(cluster: state.value, slot: slot, owner: state.value.addReceiver(receiver))
    }
}

/// Requests on a pool, answered by token. Confined to the event loop of the cluster's connection.
public final class PoolChannel {
    private let cluster: ClusterLoop
    private let slot: PoolSlot
    private let owner: UInt32

    init(cluster: ClusterLoop, slot: PoolSlot, owner: UInt32) {
        self.cluster = cluster
        self.slot = slot
        self.owner = owner
    }

    /// Submits a compound request. Ends in `ReplyReceiver.received` with the token, perhaps before this returns. Requests
    /// on one object are done in the order of submission, over all channels of the cluster.
    public func submit(
        _ steps: [ObjectOperation], on object: ObjectName, scope: SnapshotScope = .head, token: UInt64
    ) {
        cluster.objecter.submit(
            steps, on: object, in: slot, scope: scope, token: RequestToken(owner: owner, value: token))
    }

    /// The newest snapshot of the pool by the newest map.
    public var newestSnapshot: SnapID { cluster.objecter.pool(slot)?.snapshots?.sequence ?? .none }

    /// Has `handler` hear of what happens to the watch under `cookie`, which nobody else of this client may use; nil ends
    /// that. Notifications to watches that nobody listens to are answered without a word.
    public func listen(cookie: UInt64, _ handler: ((WatchEvent) -> Void)?) {
        cluster.listen(cookie: cookie, handler)
    }

    /// Answers that come from now on go nowhere.
    public func close() { cluster.removeReceiver(owner) }
}
