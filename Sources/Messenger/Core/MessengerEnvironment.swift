import ClusterMap
import Protocol
import Wire

/// What a `MessengerCore` needs of the shell around it. The core calls it in the middle of its events; the shell must not
/// call the core back from `dial`, `close`, `write`, `setReading` and `setTimer`, but may from the rest.
public protocol MessengerEnvironment: AnyObject {
    /// Opens a byte stream; ends in the core's `dialed` or `disconnected`.
    func dial(_ connection: ConnectionID, to endpoint: Endpoint)
    /// Ends a byte stream after what was written; the core knows it no more. `disconnected` may follow or not.
    func close(_ connection: ConnectionID)
    /// Puts bytes at the end of the stream; they leave with the next `flush`.
    func write(_ frame: OutgoingFrame, on connection: ConnectionID)
    /// True while the stream takes more without piling it up; the core's `writable` follows when that changes to true.
    func isWritable(_ connection: ConnectionID) -> Bool
    func flush(_ connection: ConnectionID)
    /// Reads from the stream, or leaves what comes to the system.
    func setReading(_ isReading: Bool, _ connection: ConnectionID)
    /// Calls the core's `timerFired` after a time. Timers are never cancelled; the core ignores those it needs no more.
    func setTimer(_ timer: MessengerTimer, milliseconds: Int)
    /// Calls the core's `endTurn` when the events that are there now have been handled.
    func scheduleTurnEnd()
    /// A number that nobody can guess.
    func random() -> UInt64
    /// One line for the log.
    func report(_ line: String)

    // MARK: To the owner, as in `MessengerHandler`

    func received(_ message: Message, from session: SessionID)
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool)
    func interrupted(_ session: SessionID, why: Interruption)
    func reset(_ session: SessionID)
    func closed(_ session: SessionID)
    func pressureChanged(_ session: SessionID, isHigh: Bool)
    func turnEnded()
    func turnSent()
}

/// A frame on its way out.
public struct OutgoingFrame {
    let header: FrameHeader
    let payload: Bytes

    package init(header: FrameHeader, payload: Bytes) {
        self.header = header
        self.payload = payload
    }

    /// The bytes of the whole frame.
    public var byteCount: Int { FrameHeader.byteCount + payload.count }

    /// Writes the frame into `bytes`, which has room for `byteCount`.
    public func encode(into bytes: UnsafeMutableRawBufferPointer) {
        header.encode(into: bytes)
        guard payload.count > 0 else { return }
        payload.withUnsafeBytes { from in
            UnsafeMutableRawBufferPointer(rebasing: bytes[FrameHeader.byteCount...]).copyMemory(from: from)
        }
    }
}

/// A timer of a `MessengerCore`.
public enum MessengerTimer: Hashable, Sendable {
    /// A connection's handshake must be done.
    case handshake(ConnectionID)
    /// A session that this side opened connects again.
    case reconnect(SessionID, attempt: UInt64)
    /// A session that a peer opened and has not come back to is forgotten.
    case forget(SessionID, interruption: UInt64)
    /// Acknowledgements that found nothing to carry them go out.
    case acknowledge
    /// Quiet connections are asked for a sign of life.
    case liveness
}
