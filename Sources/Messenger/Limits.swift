import Protocol

/// The limits of the messenger, in one place.
public enum MessengerLimits {
    /// Bytes of a frame's payload.
    public static let payloadBytes = MessageLimits.encodedSize
    /// Bytes of a frame's payload before the handshake is done: a hello, a welcome or a refusal.
    public static let handshakeBytes = 4096
    /// Bytes of the name in an entity.
    public static let nameBytes = 255
    /// Bytes of a refusal's reason.
    public static let reasonBytes = 1024
    /// How long a connection may take from its beginning to the end of its handshake.
    public static let handshakeMilliseconds = 10_000

    /// Messages and bytes of one session that wait for their acknowledgement before the owner is asked to slow down.
    public static let unacknowledgedMessages = 16_384
    public static let unacknowledgedBytes = 256 << 20
    /// Times the former that are the end: the session is given up, and both sides are told.
    public static let overflowFactor = 4

    /// Messages and bytes received that are acknowledged at the end of the turn even with nothing to carry it.
    public static let acknowledgeMessages = 64
    public static let acknowledgeBytes = 4 << 20
    /// The longest that less than this waits for a message to carry its acknowledgement.
    public static let acknowledgeMilliseconds = 20

    /// The first pause between two attempts to connect; it doubles up to the last.
    public static let firstBackOffMilliseconds = 50
    public static let lastBackOffMilliseconds = 2_000
    /// How often a quiet connection is asked for a sign of life, and how many silent periods make it dead.
    public static let livenessMilliseconds = 5_000
    public static let silentPeriods = 4

    /// How long, and how many, accepted sessions without a connection are kept for their initiators to come back.
    public static let keepMilliseconds = 60_000
    public static let keptSessions = 1024
    /// Connections at a time, and among them those whose handshake is not done.
    public static let connections = 8192
    public static let handshakes = 1024

    /// Bytes gathered into one buffer before it is handed to the socket.
    static let gatherBytes = 256 << 10
    /// Bytes handed to the socket and not taken yet, above which nothing more is handed over, and below which it goes on.
    static let unsentBytes = (low: 1 << 20, high: 4 << 20)
    /// The largest receive buffer, and the reads of one turn.
    static let receiveBytes = 256 << 10
    static let receivesPerTurn: UInt = 16

    /// Stops the program when the limits contradict each other.
    static func check() {
        precondition(handshakeBytes < payloadBytes && payloadBytes < Int(UInt32.max), "payload limits")
        precondition(nameBytes + reasonBytes + 256 < handshakeBytes, "a hello or a refusal fits its limit")
        // Otherwise a single message could be more than a session may hold.
        precondition(payloadBytes <= unacknowledgedBytes, "a session holds the largest message")
        // Otherwise the sender comes to its bound and the receiver sees no reason to acknowledge.
        precondition(acknowledgeMessages < unacknowledgedMessages / 4, "acknowledgements come before the bound")
        precondition(acknowledgeBytes < unacknowledgedBytes / 4, "acknowledgements come before the bound")
        precondition(firstBackOffMilliseconds <= lastBackOffMilliseconds, "back-off")
        // A peer that reconnects after the longest pause and a whole handshake still finds its session.
        precondition(keepMilliseconds > 2 * lastBackOffMilliseconds + 2 * handshakeMilliseconds, "kept long enough")
        precondition(livenessMilliseconds > 10 * acknowledgeMilliseconds, "a living peer is heard in every period")
        precondition(handshakes <= connections && unsentBytes.low < unsentBytes.high, "connections and marks")
    }
}
