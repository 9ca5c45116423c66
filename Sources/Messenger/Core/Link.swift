import ClusterMap
import Wire

/// One session of the table: its messages, its peer and where its connection stands.
package final class Link {
    package enum Role {
        /// This side opened it and connects again.
        case initiator(Endpoint, expecting: Entity?)
        /// The peer opened it and comes back, or does not.
        case acceptor
    }

    /// How an acceptor finds a session again.
    package struct Key: Hashable {
        var entity: Entity
        var incarnation: UInt64
        var cookie: UInt64
    }

    package let id: SessionID
    package let role: Role
    package var session = Session()
    package var peer: Identity?
    /// The initiator's and the acceptor's name for the session; the latter is 0 before the first welcome.
    package var cookie: UInt64
    package var acceptorCookie: UInt64 = 0
    /// The initiator's number of the latest attempt.
    package var attempt: UInt64 = 0
    /// The connection, of whatever phase.
    package var connection: Connection?
    /// Counts the ends of connections, so that timers know which of them they were set for.
    package var interruptions: UInt64 = 0
    package var backOffMilliseconds = MessengerLimits.firstBackOffMilliseconds
    package var isReadingPaused = false
    package var isPressureHigh = false
    /// Bytes of a message that is too large to be sent, which is the end of the session.
    package var oversized: Int?
    /// In the core's list of sessions with something to send.
    package var isTouched = false
    /// In the core's list of sessions that owe an acknowledgement.
    package var isOwing = false

    package init(id: SessionID, role: Role, cookie: UInt64) {
        self.id = id
        self.role = role
        self.cookie = cookie
    }

    package var isInitiator: Bool {
        if case .initiator = role { true } else { false }
    }

    /// The connection when its handshake is done.
    package var openConnection: Connection? {
        guard let connection, connection.phase == .open else { return nil }
        return connection
    }

    /// What an acceptor finds it by. Only for sessions whose peer is known.
    package var key: Key {
        guard let peer else { preconditionFailure("\(id) has no peer") }
        return Key(entity: peer.entity, incarnation: peer.incarnation, cookie: cookie)
    }
}

/// One byte stream and how far its handshake is.
package final class Connection {
    package enum Phase {
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

    package let id: ConnectionID
    package var phase: Phase
    /// The session; nil before the hello of an accepted connection.
    package var link: Link?
    package var parser = FrameParser()
    /// The peer's address, and whether only this host has it.
    package var address: String
    package var isLocal: Bool
    /// Something came since the last look.
    package var isHeard = true
    package var silentPeriods = 0

    package init(id: ConnectionID, phase: Phase, link: Link?, address: String, isLocal: Bool) {
        self.id = id
        self.phase = phase
        self.link = link
        self.address = address
        self.isLocal = isLocal
    }
}
