import NIOCore
import Protocol
import Wire

/// What someone who watches an object hears.
public enum ObjectWatchEvent: Sendable {
    /// Someone notifies: its number, the run of the client that does, and what it says.
    case notification(UInt64, notifier: UInt64, payload: Bytes)
    /// The watch was not renewed in time and is registered again: notifications in between were missed.
    case missed
    /// The watch is over, with an errno of the field: ENOENT when the object was removed.
    case ended(errno: Int32)
}

/// A watch on an object. Renews itself while it is held, over every change of the cluster, and answers notifications by what
/// its handler gives.
public final class ObjectWatch: ReplyReceiver, @unchecked Sendable {
    // Confined to the loop from when it is registered; Sendable relies on that.
    /// The run of the client that watches, and the watch among its others.
    public let client: UInt64
    public let cookie: UInt64
    private let loop: any EventLoop
    private let object: ObjectName
    private let timeoutMilliseconds: UInt32
    private let handler: @Sendable (ObjectWatchEvent) -> Bytes
    private var channel: PoolChannel!
    private var renewal: RepeatedTask?
    private var registered: EventLoopPromise<Void>?
    private var closed: EventLoopPromise<Void>?
    private var isOver = false
    /// The newest notifications with what was answered: one that comes again is not handled again.
    private var answered: [(number: UInt64, payload: Bytes)] = []

    private enum Token: UInt64 { case watch = 1, unwatch, acknowledge }

    init(
        _ object: ObjectName, pool: RADOSPool, client: UInt64, cookie: UInt64, timeoutMilliseconds: UInt32,
        registered: EventLoopPromise<Void>, handler: @escaping @Sendable (ObjectWatchEvent) -> Bytes
    ) {
        (self.object, self.client, self.cookie) = (object, client, cookie)
        self.timeoutMilliseconds = timeoutMilliseconds
        self.handler = handler
        self.registered = registered
        loop = pool.loop
        channel = pool.channel(for: self)
        channel.listen(cookie: cookie) { [weak self] event in self?.received(event) }
        let period = TimeAmount.milliseconds(Int64(timeoutMilliseconds) / 3)
        renewal = loop.scheduleRepeatedTask(initialDelay: period, delay: period) { [weak self] _ in self?.renew() }
        renew()
        let limit = loop.scheduleTask(in: .seconds(ClientLimits.administrativeSeconds)) { [weak self] in
            self?.end(Errno.timedOut)
        }
        registered.futureResult.whenComplete { _ in limit.cancel() }
    }

    private func renew() {
        guard !isOver else { return }
        channel.submit(
            [.assertExists, .watch(cookie: cookie, timeoutMilliseconds: timeoutMilliseconds)], on: object,
            token: Token.watch.rawValue)
    }

    private func received(_ event: WatchEvent) {
        guard !isOver else { return }
        switch event.kind {
        case .notification(let number, let notifier, let payload):
            let answer: Bytes
            if let known = answered.first(where: { $0.number == number }) {
                answer = known.payload
            } else {
                let given = handler(.notification(number, notifier: notifier, payload: payload))
                answer = given[0..<min(given.count, OperationLimits.notification)]
                answered.append((number, answer))
                if answered.count > ClientLimits.rememberedNotifications { answered.removeFirst() }
            }
            channel.submit(
                [.acknowledge(notification: number, cookie: cookie, payload: answer)], on: object,
                token: Token.acknowledge.rawValue)
        case .disconnected(Errno.timedOut):
            _ = handler(.missed)
            renew()
        case .disconnected(let errno): end(errno)
        }
    }

    private func end(_ errno: Int32) {
        guard !isOver else { return }
        finish()
        if let registered {
            self.registered = nil
            channel.close()
            registered.fail(RADOSError(errno: errno, RADOSError.text(errno), isAnswer: errno != Errno.timedOut))
        } else {
            _ = handler(.ended(errno: errno))
        }
    }

    private func finish() {
        isOver = true
        renewal?.cancel()
        renewal = nil
        channel.listen(cookie: cookie, nil)
    }

    /// Gives the watch up. Gives up waiting for a cluster that does not answer after `ClientLimits.administrativeSeconds`.
    public func close() async {
        try? await loop.flatSubmit { [self] in
            if let closed { return closed.futureResult }
            let promise = loop.makePromise(of: Void.self)
            closed = promise
            guard !isOver else {
                channel.close()
                promise.succeed(())
                return promise.futureResult
            }
            finish()
            let limit = loop.scheduleTask(in: .seconds(ClientLimits.administrativeSeconds)) { promise.succeed(()) }
            promise.futureResult.whenComplete { [self] _ in
                limit.cancel()
                channel.close()
            }
            channel.submit([.assertExists, .unwatch(cookie: cookie)], on: object, token: Token.unwatch.rawValue)
            return promise.futureResult
        }.get()
    }

    // MARK: Events of the channel

    public func received(_ reply: OperationReply, token: UInt64) {
        guard let token = Token(rawValue: token), case .done(let errno) = reply.outcome else {
            preconditionFailure("an answer to \(token) nobody waits for")
        }
        switch token {
        case .watch:
            if errno == 0 {
                registered?.succeed(())
                registered = nil
            } else if errno != Errno.tryAgain {
                end(errno)
            }
        case .unwatch: closed?.succeed(())
        case .acknowledge: if errno == Errno.blocklisted { end(errno) }
        }
    }

    public func clusterChanged() { renew() }
}

extension RADOSPool {
    /// Watches an object: `handler` hears of notifications, on the loop, and gives the answer to each. The watch counts for
    /// `timeoutMilliseconds` after each of its renewals. Throws ENOENT when there is no such object. To be ended by `close`.
    public func watch(
        _ object: ObjectName, timeoutMilliseconds: UInt32 = ClientLimits.watchMilliseconds,
        handler: @escaping @Sendable (ObjectWatchEvent) -> Bytes
    ) async throws(RADOSError) -> ObjectWatch {
        let cookie = UInt64.random(in: 1...UInt64.max)
        let registered = loop.makePromise(of: Void.self)
        do {
            let client = try await client()
            let watch = try await loop.submit { [self] in
                ObjectWatch(
                    object, pool: self, client: client, cookie: cookie, timeoutMilliseconds: timeoutMilliseconds,
                    registered: registered, handler: handler)
            }.get()
            try await registered.futureResult.get()
            return watch
        } catch let error as RADOSError {
            throw error
        } catch {
            throw RADOSError(errno: Errno.timedOut, "\(error)")
        }
    }

    /// Notifies everyone who watches an object, and waits until all have answered or the time is over.
    public func notify(
        _ object: ObjectName, _ payload: Bytes, timeoutMilliseconds: UInt32 = 10_000
    ) async throws(RADOSError) -> NotifyResult {
        guard payload.count <= OperationLimits.notification else {
            throw RADOSError(
                errno: Errno.invalid,
                "a notification of \(payload.count) bytes is over the limit of \(OperationLimits.notification)")
        }
        let step = ObjectOperation.notify(payload: payload, timeoutMilliseconds: timeoutMilliseconds)
        let outputs = try await perform(
            [step], on: object, seconds: ClientLimits.administrativeSeconds + Int64(timeoutMilliseconds) / 1000)
        do {
            return try NotifyResult(decoding: outputs.first ?? .empty)
        } catch {
            throw RADOSError(errno: Errno.inputOutput, "the answers to a notification cannot be read: \(error)")
        }
    }
}
