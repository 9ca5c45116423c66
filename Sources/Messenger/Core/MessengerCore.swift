import ClusterMap
import DequeModule
import Protocol
import Wire

/// All sessions and connections of one process, without I/O, clock or chance of its own.
///
/// A session outlives its connections. Whoever opened it (the initiator) connects again, so two daemons that both have
/// something to ask have two sessions. Nothing is lost, doubled or reordered between `opened` and `reset` or `closed`:
/// messages are kept until acknowledged, both handshake frames say what was received, and the rest is sent again. When the
/// acceptor has forgotten the session, it welcomes a new one under another cookie, by which the initiator sees it.
public final class MessengerCore<Environment: MessengerEnvironment> {
    /// It owns this object. Unsafe, because a counted access is an atomic operation at every effect.
    unowned(unsafe) let environment: Environment
    /// What this end says about itself in handshakes to come.
    public var identity: Identity
    package var sessions = SlotTable<Link>()
    package var connections = SlotTable<Connection>()
    /// Accepted sessions by what a hello says.
    package var accepted: [Link.Key: Link] = [:]
    /// Accepted sessions that lost their connection, oldest first, with the interruption; some have been resumed since.
    var interruptedOrder = Deque<(id: SessionID, interruption: UInt64)>()
    package var interruptedCount = 0
    package var handshakeCount = 0
    private var touched: [Link] = []
    /// The former while a turn ends: a stream that takes bytes again in the middle of it touches its session anew.
    private var draining: [Link] = []
    private var owing: [Link] = []
    private var isTurnEndScheduled = false
    private var isAcknowledgeTimerSet = false
    private var isLivenessTimerSet = false

    /// A core without sessions. It does not keep `environment` alive.
    public init(identity: Identity, environment: Environment) {
        MessengerLimits.check()
        self.identity = identity
        self.environment = environment
    }

    // MARK: What the owner asks for

    /// See `Messenger.connect`.
    public func connect(to endpoint: Endpoint, expecting expected: Entity?) -> SessionID {
        let cookie = environment.random() | 1
        let link = sessions.insert { key in
            Link(id: SessionID(key: key), role: .initiator(endpoint, expecting: expected), cookie: cookie)
        }
        if endpoint.isLoopback {
            dial(link, endpoint)
        } else {
            environment.setTimer(.reconnect(link.id, attempt: 0), milliseconds: 0)
        }
        return link.id
    }

    /// See `Messenger.send`.
    public func send(_ payload: Bytes, to session: SessionID) {
        guard let link = sessions[session.key] else { return }
        if payload.count <= MessengerLimits.payloadBytes {
            link.session.enqueue(payload)
        } else {
            // Given up at the end of the turn: its owner is in the middle of an event.
            link.oversized = payload.count
        }
        touch(link)
    }

    /// See `Messenger.close`.
    public func close(_ session: SessionID) {
        guard let link = sessions[session.key] else { return }
        remove(link, sayingGoodbye: true)
    }

    /// See `Messenger.pauseReading` and `resumeReading`.
    public func setReading(_ isReading: Bool, from session: SessionID) {
        guard let link = sessions[session.key], link.isReadingPaused == isReading else { return }
        link.isReadingPaused = !isReading
        if let connection = link.openConnection { environment.setReading(isReading, connection.id) }
    }

    /// Ends every session and connection.
    public func shutdown() {
        for link in sessions.all { remove(link, sayingGoodbye: true) }
        for connection in connections.all { end(connection) }
    }

    /// See `Messenger.requestTurnEnd`.
    public func requestTurnEnd() {
        guard !isTurnEndScheduled else { return }
        isTurnEndScheduled = true
        environment.scheduleTurnEnd()
    }

    // MARK: Turns

    /// The events of a turn have been handled: tells the owner, then lets everything that was sent go out.
    public func endTurn() {
        for link in touched where sessions[link.id.key] === link { checkPressure(link) }
        environment.turnEnded()
        isTurnEndScheduled = false
        swap(&touched, &draining)
        for link in draining {
            link.isTouched = false
            drain(link)
        }
        draining.removeAll(keepingCapacity: true)
        if !owing.isEmpty { settle(isTimeUp: false) }
        environment.turnSent()
    }

    func touch(_ link: Link) {
        if !link.isTouched {
            link.isTouched = true
            touched.append(link)
        }
        requestTurnEnd()
    }

    private func drain(_ link: Link) {
        guard let connection = link.openConnection, link.session.hasUnsent else { return }
        while environment.isWritable(connection.id), let (header, payload) = link.session.nextUnsent() {
            environment.write(OutgoingFrame(header: header, payload: payload), on: connection.id)
        }
        environment.flush(connection.id)
    }

    /// The stream takes bytes again.
    public func writable(_ id: ConnectionID) {
        guard let link = connections[id.key]?.link, link.session.hasUnsent else { return }
        touch(link)
    }

    /// Sends the acknowledgements that are due and that no message has carried.
    private func settle(isTimeUp: Bool) {
        owing.removeAll { link in
            guard link.session.owedMessages > 0, let connection = link.openConnection else {
                link.isOwing = false
                return true
            }
            guard isTimeUp || link.session.owesAcknowledgement else { return false }
            write(.acknowledgement, on: connection, acknowledged: link.session.acknowledgement())
            link.isOwing = false
            return true
        }
        guard !owing.isEmpty, !isAcknowledgeTimerSet else { return }
        isAcknowledgeTimerSet = true
        environment.setTimer(.acknowledge, milliseconds: MessengerLimits.acknowledgeMilliseconds)
    }

    private func checkPressure(_ link: Link) {
        if let count = link.oversized {
            link.oversized = nil
            return giveUp(link, "a message of \(count) bytes is over the limit of \(MessengerLimits.payloadBytes)")
        }
        let messages = link.session.waitingMessages, bytes = link.session.waitingBytes
        let isHigh = messages > MessengerLimits.unacknowledgedMessages || bytes > MessengerLimits.unacknowledgedBytes
        let isLow =
            messages <= MessengerLimits.unacknowledgedMessages / 2 && bytes <= MessengerLimits.unacknowledgedBytes / 2
        if messages > MessengerLimits.unacknowledgedMessages * MessengerLimits.overflowFactor
            || bytes > MessengerLimits.unacknowledgedBytes * MessengerLimits.overflowFactor
        {
            giveUp(link, "\(messages) messages of \(bytes) bytes are not acknowledged")
        } else if link.isPressureHigh ? isLow : isHigh {
            link.isPressureHigh.toggle()
            environment.pressureChanged(link.id, isHigh: link.isPressureHigh)
        }
    }

    // MARK: Bytes

    /// Bytes arrived on a stream.
    public func receive(_ bytes: UnsafeRawBufferPointer, on id: ConnectionID) {
        guard let connection = connections[id.key] else { return }
        connection.isHeard = true
        var input = bytes
        do throws(WireError) {
            while let (header, payload) = try connection.parser.next(&input) {
                try take(header, payload, connection)
                // What it meant may have ended the connection, or its owner may have.
                guard connection.phase != .ended else { return }
            }
        } catch {
            fail(connection, .violation(error.description))
        }
    }

    private func take(_ header: FrameHeader, _ payload: Bytes, _ connection: Connection) throws(WireError) {
        switch connection.phase {
        case .awaitingHello:
            guard header.kind == .hello else { throw WireError("\(header.kind) before the hello") }
            try greet(Hello(decoding: payload), connection)
        case .awaitingWelcome:
            switch header.kind {
            case .welcome: try welcomed(Welcome(decoding: payload), connection)
            case .refusal: fail(connection, .handshakeRefused(try Refusal.reason(decoding: payload)))
            default: throw WireError("\(header.kind) in answer to the hello")
            }
        case .open:
            guard let link = connection.link else { preconditionFailure("\(connection.id) is open without a session") }
            try take(header, payload, connection, link)
        case .dialing, .ended:
            preconditionFailure("bytes on \(connection.id) while \(connection.phase)")
        }
    }

    private func take(
        _ header: FrameHeader, _ payload: Bytes, _ connection: Connection, _ link: Link
    ) throws(WireError) {
        switch header.kind {
        case .message:
            try link.session.acknowledge(header.acknowledged)
            if link.isPressureHigh {
                checkPressure(link)
                // The owner may have closed it at that.
                guard connection.phase != .ended else { return }
            }
            owe(link)
            guard try link.session.receive(header.sequence, count: payload.count) == .new else { return }
            deliver(payload, link)
        case .acknowledgement:
            try link.session.acknowledge(header.acknowledged)
            if link.isPressureHigh { checkPressure(link) }
        case .probe:
            try link.session.acknowledge(header.acknowledged)
            write(.acknowledgement, on: connection, acknowledged: link.session.acknowledgement())
        case .goodbye:
            guard !link.isInitiator else { throw WireError("goodbye from the acceptor") }
            remove(link, sayingGoodbye: false)
            environment.closed(link.id)
        case .hello, .welcome, .refusal:
            throw WireError("\(header.kind) after the handshake")
        }
    }

    private func deliver(_ payload: Bytes, _ link: Link) {
        requestTurnEnd()
        let message: Message
        do throws(WireError) {
            message = try Message(decoding: payload)
        } catch {
            // Sent again it would be no better, so the session cannot go on.
            return giveUp(link, "message \(link.session.received): \(error)")
        }
        environment.received(message, from: link.id)
    }

    private func owe(_ link: Link) {
        guard !link.isOwing else { return }
        link.isOwing = true
        owing.append(link)
    }

    /// Writes a frame outside of the sequence and lets it go.
    func write(_ kind: FrameKind, payload: Bytes = .empty, on connection: Connection, acknowledged: UInt64 = 0) {
        let header = FrameHeader(kind, payload: payload, acknowledged: acknowledged)
        environment.write(OutgoingFrame(header: header, payload: payload), on: connection.id)
        environment.flush(connection.id)
    }

    // MARK: Time

    /// A timer set through the environment has run out.
    public func timerFired(_ timer: MessengerTimer) {
        switch timer {
        case .handshake(let id):
            guard let connection = connections[id.key], connection.phase != .open else { return }
            fail(connection, .timedOut)
        case .reconnect(let id, let attempt):
            guard let link = sessions[id.key], link.attempt == attempt, link.connection == nil,
                case .initiator(let endpoint, _) = link.role
            else { return }
            guard endpoint.isLoopback else {
                return environment.interrupted(id, why: .unreachable(Self.notLoopback("connect to", endpoint)))
            }
            dial(link, endpoint)
        case .forget(let id, let interruption):
            guard let link = sessions[id.key], link.connection == nil, link.interruptions == interruption else {
                return
            }
            forget(link)
        case .acknowledge:
            isAcknowledgeTimerSet = false
            settle(isTimeUp: true)
        case .liveness:
            isLivenessTimerSet = false
            for connection in connections.all where connection.phase == .open { checkLife(connection) }
            watchLife()
        }
    }

    /// Begins to look at connections from time to time, as long as there are any.
    func watchLife() {
        guard !isLivenessTimerSet, connections.count > 0 else { return }
        isLivenessTimerSet = true
        environment.setTimer(.liveness, milliseconds: MessengerLimits.livenessMilliseconds)
    }

    private func checkLife(_ connection: Connection) {
        guard let link = connection.link else { preconditionFailure("\(connection.id) is open without a session") }
        if connection.isHeard || link.isReadingPaused {
            connection.isHeard = false
            connection.silentPeriods = 0
            guard link.isReadingPaused else { return }
            // The peer's probes are not read; it must hear all the same that this side lives.
            return write(.acknowledgement, on: connection, acknowledged: link.session.acknowledgement())
        }
        connection.silentPeriods += 1
        guard connection.silentPeriods < MessengerLimits.silentPeriods else { return fail(connection, .timedOut) }
        write(.probe, on: connection, acknowledged: link.session.acknowledgement())
    }

    static func notLoopback(_ verb: String, _ endpoint: Endpoint) -> String {
        "cannot \(verb) \(endpoint): without authentication only loopback addresses are allowed, use 127.0.0.1 or ::1"
    }
}
