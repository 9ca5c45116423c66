import ClusterMap
import Wire

/// One session of the table: its messages, its peer and where its connection stands.
final class Link {
    enum Role {
        /// This side opened it and connects again.
        case initiator(Endpoint, expecting: Entity?)
        /// The peer opened it and comes back, or does not.
        case acceptor
    }

    /// How an acceptor finds a session again.
    struct Key: Hashable {
        var entity: Entity
        var incarnation: UInt64
        var cookie: UInt64
    }

    let id: SessionID
    let role: Role
    var session = Session()
    var peer: Identity?
    /// The initiator's and the acceptor's name for the session; the latter is 0 before the first welcome.
    var cookie: UInt64
    var acceptorCookie: UInt64 = 0
    /// The initiator's number of the latest attempt.
    var attempt: UInt64 = 0
    /// The connection, of whatever phase.
    var connection: Connection?
    /// Counts the ends of connections, so that timers know which of them they were set for.
    var interruptions: UInt64 = 0
    var backOffMilliseconds = MessengerLimits.firstBackOffMilliseconds
    var isReadingPaused = false
    var isPressureHigh = false
    /// In the core's list of sessions with something to send.
    var isTouched = false
    /// In the core's list of sessions that owe an acknowledgement.
    var isOwing = false

    init(id: SessionID, role: Role, cookie: UInt64) {
        self.id = id
        self.role = role
        self.cookie = cookie
    }

    var isInitiator: Bool {
        if case .initiator = role { true } else { false }
    }

    /// The connection when its handshake is done.
    var openConnection: Connection? {
        guard let connection, connection.phase == .open else { return nil }
        return connection
    }

    /// What an acceptor finds it by. Only for sessions whose peer is known.
    var key: Key {
        guard let peer else { preconditionFailure("\(id) has no peer") }
        return Key(entity: peer.entity, incarnation: peer.incarnation, cookie: cookie)
    }
}

/// One byte stream and how far its handshake is.
final class Connection {
    enum Phase {
        /// The stream is being opened by this side.
        case dialing
        /// This side's hello is sent.
        case awaitingWelcome
        /// A peer opened the stream.
        case awaitingHello
        case open
        /// Not in the table any more.
        case ended
    }

    let id: ConnectionID
    var phase: Phase
    /// The session; nil before the hello of an accepted connection.
    var link: Link?
    var parser = FrameParser()
    /// The peer's address, and whether only this host has it.
    var address: String
    var isLocal: Bool
    /// Something came since the last look.
    var isHeard = true
    var silentPeriods = 0

    init(id: ConnectionID, phase: Phase, link: Link?, address: String, isLocal: Bool) {
        self.id = id
        self.phase = phase
        self.link = link
        self.address = address
        self.isLocal = isLocal
    }
}
