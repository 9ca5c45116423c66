import ClusterMap
import Logging
import NIOCore
import NIOPosix
import Protocol
import Wire

/// Sessions with other daemons and clients over TCP: messages arrive exactly once and in order as long as both processes
/// live, whatever happens to connections.
///
/// Confined to one event loop: every method is called on it, and it calls its handler on it. Not thread-safe, no locks.
/// What is decided is decided in `MessengerCore`; this is its shell.
public final class Messenger<Handler: MessengerHandler> {
    /// The loop that everything happens on.
    public let loop: any EventLoop
    private weak var handler: Handler?
    private let logger: Logger
    private var core: MessengerCore<Messenger>!
    /// By the index of the core's connection.
    private var channels: [ConnectionHandler<Handler>?] = []
    private var listeners: [any Channel] = []
    /// Accepted and dialed sockets that are not closed yet, for `shutdown`.
    private var openSockets = 0
    private var isShutDown = false
    private var shutdownPromise: EventLoopPromise<Void>?
    private var generator = SystemRandomNumberGenerator()
    /// Made once, so that ending a turn allocates nothing.
    private var turnEnd: @Sendable () -> Void = {}
    /// What a connection's bytes are given to. Made where the handler's type is known, so that the core behind it is
    /// specialised: a channel handler's methods, looked up at run time, never are.
    private(set) var bytesArrived: (UnsafeRawBufferPointer, ConnectionID) -> Void = { _, _ in }

    /// A messenger that listens nowhere and is connected to nobody. It does not keep `handler` alive.
    public init(identity: Identity, handler: Handler, on loop: any EventLoop, logger: Logger) {
        loop.preconditionInEventLoop()
        self.loop = loop
        self.handler = handler
        self.logger = logger
        core = MessengerCore(identity: identity, environment: self)
        let bound = NIOLoopBound(Unretained(self), eventLoop: loop)
        turnEnd = { bound.value.messenger?.core.endTurn() }
        bytesArrived = { [unowned self] bytes, id in core.receive(bytes, on: id) }
    }

    /// What this end says about itself in handshakes to come; a cluster learned later is set here.
    public var identity: Identity {
        get { core.identity }
        set { core.identity = newValue }
    }

    /// Accepts connections at `endpoint`; port 0 lets the system choose. The result is the endpoint with the port that is
    /// bound. Fails with `MessengerError`, whose text names the address and what to do, when the port is in use, the address
    /// is not this machine's, or is not a loopback address (there is no authentication yet).
    public func listen(on endpoint: Endpoint) -> EventLoopFuture<Endpoint> {
        loop.preconditionInEventLoop()
        guard endpoint.isLoopback else {
            return loop.makeFailedFuture(
                MessengerError(MessengerCore<Messenger>.notLoopback("listen on", endpoint)))
        }
        let bound = NIOLoopBound(self, eventLoop: loop)
        let bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: MessengerLimits.receivesPerTurn)
            .childChannelOption(.recvAllocator, value: SocketOptions.receiveAllocator)
            .childChannelOption(.writeBufferWaterMark, value: SocketOptions.marks)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value.accept(channel) }
            }
        let binding: EventLoopFuture<any Channel>
        if let address = try? SocketAddress(ipAddress: endpoint.host, port: Int(endpoint.port)) {
            binding = bootstrap.bind(to: address)
        } else {
            binding = bootstrap.bind(host: endpoint.host, port: Int(endpoint.port))
        }
        return binding.assumeIsolated().flatMapErrorThrowing { error in
            throw MessengerError("cannot listen on \(endpoint): \(SocketOptions.listenReason(error))")
        }.flatMapThrowing { [self] channel in
            guard !isShutDown, SocketOptions.isLocal(channel.localAddress) else {
                channel.close(promise: nil)
                throw MessengerError(
                    isShutDown
                        ? "cannot listen on \(endpoint): shutting down"
                        : MessengerCore<Messenger>.notLoopback("listen on", endpoint))
            }
            listeners.append(channel)
            return Endpoint(host: endpoint.host, port: UInt16(channel.localAddress?.port ?? Int(endpoint.port)))
        }.nonisolated()
    }

    /// Opens a session with whoever listens at `endpoint`. Returns at once; connects, and connects again, by itself. When
    /// somebody else than `expected` answers, the attempt counts as refused.
    public func connect(to endpoint: Endpoint, expecting expected: Entity? = nil) -> SessionID {
        loop.preconditionInEventLoop()
        precondition(!isShutDown, "connect to \(endpoint) after shutdown")
        return core.connect(to: endpoint, expecting: expected)
    }

    /// Sends an encoded message; one encoding may go to several sessions. It leaves at the end of the turn; while the
    /// session is interrupted it is kept. Nothing happens when the session is gone. A message over
    /// `MessengerLimits.payloadBytes` cannot be sent, so the session is given up at the end of the turn.
    public func send(_ payload: Bytes, to session: SessionID) {
        loop.assertInEventLoop()
        core.send(payload, to: session)
    }

    /// Encodes and sends a message.
    public func send(_ message: Message, to session: SessionID) { send(message.encoded, to: session) }

    /// Ends a session after what was sent has been handed to the socket, as far as it takes it; the id is void. The peer
    /// is told `closed` when this side opened it, and otherwise `reset` when it connects again.
    public func close(_ session: SessionID) {
        loop.preconditionInEventLoop()
        core.close(session)
    }

    /// Stops reading from the session's connection until `resumeReading`, so that TCP slows the peer down. A few messages
    /// that are there already still arrive.
    public func pauseReading(_ session: SessionID) { core.setReading(false, from: session) }

    /// Undoes `pauseReading`.
    public func resumeReading(_ session: SessionID) { core.setReading(true, from: session) }

    /// Makes `turnEnded` be called at the end of this turn, for work that came from elsewhere than the messenger.
    public func requestTurnEnd() { core.requestTurnEnd() }

    /// Closes every session and stops listening; no handler method is called from now on. Completes when all sockets are
    /// closed.
    public func shutdown() -> EventLoopFuture<Void> {
        loop.preconditionInEventLoop()
        if let shutdownPromise { return shutdownPromise.futureResult }
        isShutDown = true
        handler = nil
        let promise = loop.makePromise(of: Void.self)
        shutdownPromise = promise
        core.shutdown()
        let closing = listeners.map { $0.close() }
        listeners = []
        EventLoopFuture.andAllComplete(closing, on: loop).assumeIsolated().whenComplete { [self] _ in
            openSockets += 1
            socketClosed()
        }
        return promise.futureResult
    }

    // MARK: From the sockets

    private func accept(_ channel: any Channel) throws {
        let address = channel.remoteAddress
        let text = address.flatMap { $0.ipAddress.map { ip in Endpoint(host: ip, port: UInt16(address?.port ?? 0)) } }
        let id =
            isShutDown
            ? nil : core.accepted(from: text.map { "\($0)" } ?? "unknown", isLocal: SocketOptions.isLocal(address))
        guard let id else { throw MessengerError("too many connections") }
        try add(channel, id)
    }

    private func add(_ channel: any Channel, _ id: ConnectionID) throws {
        let handler = ConnectionHandler(id: id, messenger: self)
        try channel.pipeline.syncOperations.addHandler(handler)
        while channels.count <= id.index { channels.append(nil) }
        channels[id.index] = handler
        openSockets += 1
    }

    private func channel(_ id: ConnectionID) -> ConnectionHandler<Handler>? {
        guard id.index < channels.count, let channel = channels[id.index], channel.id == id else { return nil }
        return channel
    }

    func writable(_ id: ConnectionID) { core.writable(id) }

    func inactive(_ id: ConnectionID, why: Interruption) { core.disconnected(id, why: why) }

    /// The last that a connection's handler says.
    func socketClosed() {
        openSockets -= 1
        if openSockets == 0 { shutdownPromise?.succeed() }
    }
}

/// Does not keep the messenger alive.
private struct Unretained<Handler: MessengerHandler> {
    weak var messenger: Messenger<Handler>?

    init(_ messenger: Messenger<Handler>) { self.messenger = messenger }
}

extension Messenger: MessengerEnvironment {
    public func dial(_ connection: ConnectionID, to endpoint: Endpoint) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.milliseconds(Int64(MessengerLimits.handshakeMilliseconds)))
            .channelOption(.maxMessagesPerRead, value: MessengerLimits.receivesPerTurn)
            .channelOption(.recvAllocator, value: SocketOptions.receiveAllocator)
            .channelOption(.writeBufferWaterMark, value: SocketOptions.marks)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        let dialing: EventLoopFuture<any Channel>
        if let address = try? SocketAddress(ipAddress: endpoint.host, port: Int(endpoint.port)) {
            dialing = bootstrap.connect(to: address)
        } else {
            dialing = bootstrap.connect(host: endpoint.host, port: Int(endpoint.port))
        }
        dialing.hop(to: loop).whenComplete { result in
            switch result {
            case .success(let channel): bound.value.dialed(connection, channel, endpoint)
            case .failure(let error): bound.value.inactive(connection, why: SocketOptions.dialReason(error, endpoint))
            }
        }
    }

    private func dialed(_ connection: ConnectionID, _ channel: any Channel, _ endpoint: Endpoint) {
        guard core.isDialing(connection) else { return channel.close(promise: nil) }
        guard SocketOptions.isLocal(channel.remoteAddress) else {
            channel.close(promise: nil)
            let reason = MessengerCore<Messenger>.notLoopback("connect to", endpoint)
            return core.disconnected(connection, why: .unreachable(reason))
        }
        do {
            try add(channel, connection)
            core.dialed(connection)
        } catch {
            core.disconnected(connection, why: .unreachable("\(endpoint): \(error)"))
        }
    }

    public func close(_ connection: ConnectionID) {
        guard let channel = channel(connection) else { return }
        channels[connection.index] = nil
        channel.closeWhenSent()
    }

    public func write(_ frame: OutgoingFrame, on connection: ConnectionID) { channel(connection)?.write(frame) }

    public func isWritable(_ connection: ConnectionID) -> Bool { channel(connection)?.isWritable ?? false }

    public func flush(_ connection: ConnectionID) { channel(connection)?.flush() }

    public func setReading(_ isReading: Bool, _ connection: ConnectionID) {
        channel(connection)?.setReading(isReading)
    }

    public func setTimer(_ timer: MessengerTimer, milliseconds: Int) {
        guard !isShutDown else { return }
        loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
            guard let self, !self.isShutDown else { return }
            self.core.timerFired(timer)
        }
    }

    public func scheduleTurnEnd() { loop.execute(turnEnd) }

    public func random() -> UInt64 { generator.next() }

    public func report(_ line: String) { logger.notice("\(line)") }

    public func received(_ message: Message, from session: SessionID) { handler?.received(message, from: session) }

    public func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        handler?.opened(session, peer: peer, resumed: resumed)
    }

    public func interrupted(_ session: SessionID, why: Interruption) { handler?.interrupted(session, why: why) }

    public func reset(_ session: SessionID) { handler?.reset(session) }

    public func closed(_ session: SessionID) { handler?.closed(session) }

    public func pressureChanged(_ session: SessionID, isHigh: Bool) {
        handler?.pressureChanged(session, isHigh: isHigh)
    }

    public func turnEnded() { handler?.turnEnded() }

    public func turnSent() { handler?.turnSent() }
}

/// Why a messenger cannot do what it was asked for; the text is one line and says what to do.
public struct MessengerError: Error, Hashable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
