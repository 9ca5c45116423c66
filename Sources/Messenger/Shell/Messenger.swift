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
public final class Messenger<Handler: MessengerHandler> {
    /// The loop that everything happens on.
    public let loop: any EventLoop

    /// A messenger that listens nowhere and is connected to nobody. It does not keep `handler` alive.
    public init(identity: Identity, handler: Handler, on loop: any EventLoop, logger: Logger) {
        preconditionFailure("not built yet")
    }

    /// What this end says about itself in handshakes to come; a cluster learned later is set here.
    public var identity: Identity {
        get { preconditionFailure("not built yet") }
        set { preconditionFailure("not built yet") }
    }

    /// Accepts connections at `endpoint`; port 0 lets the system choose. The result is the endpoint with the port that is
    /// bound. Fails with `MessengerError`, whose text names the address and what to do, when the port is in use, the address
    /// is not this machine's, or is not a loopback address (there is no authentication yet).
    public func listen(on endpoint: Endpoint) -> EventLoopFuture<Endpoint> { preconditionFailure("not built yet") }

    /// Opens a session with whoever listens at `endpoint`. Returns at once; connects, and connects again, by itself. When
    /// somebody else than `expected` answers, the attempt counts as refused.
    public func connect(to endpoint: Endpoint, expecting expected: Entity? = nil) -> SessionID {
        preconditionFailure("not built yet")
    }

    /// Sends an encoded message; one encoding may go to several sessions. It leaves at the end of the turn; while the
    /// session is interrupted it is kept. Nothing happens when the session is gone.
    public func send(_ payload: Bytes, to session: SessionID) { preconditionFailure("not built yet") }

    /// Encodes and sends a message.
    public func send(_ message: Message, to session: SessionID) { send(message.encoded, to: session) }

    /// Ends a session after what was sent has been handed to the socket, as far as it takes it; the id is void. The peer
    /// is told `closed` when this side opened it, and otherwise `reset` when it connects again.
    public func close(_ session: SessionID) { preconditionFailure("not built yet") }

    /// Stops reading from the session's connection until `resumeReading`, so that TCP slows the peer down. A few messages
    /// that are there already still arrive.
    public func pauseReading(_ session: SessionID) { preconditionFailure("not built yet") }

    /// Undoes `pauseReading`.
    public func resumeReading(_ session: SessionID) { preconditionFailure("not built yet") }

    /// Makes `turnEnded` be called at the end of this turn, for work that came from elsewhere than the messenger.
    public func requestTurnEnd() { preconditionFailure("not built yet") }

    /// Closes every session and stops listening; no handler method is called from now on. Completes when all sockets are
    /// closed.
    public func shutdown() -> EventLoopFuture<Void> { preconditionFailure("not built yet") }
}

/// Why a messenger cannot do what it was asked for; the text is one line and says what to do.
public struct MessengerError: Error, Hashable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
