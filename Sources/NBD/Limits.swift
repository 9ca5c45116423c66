/// Every bound of the NBD server in one place. What comes from the protocol names its section of `doc/proto.md`; the
/// relations between them are checked when a server is made.
public enum Limits {
    // MARK: Negotiation

    /// Longest string on the wire in bytes ("Values": strings are limited to 4096 bytes).
    public static let stringBytes = 4096
    /// Longest name put into a LIST reply, in bytes: nbd-client 3.24 dies on 1024. Longer names can be opened, not listed.
    public static let listedNameBytes = 1023
    /// Most names in one LIST reply; a directory with more is answered "too big", since a silent cut would look complete.
    public static let listedNames = 65_536
    /// Longest text of an error reply in bytes: qemu disconnects on a payload over 1000.
    public static let errorTextBytes = 255
    /// Longest option payload kept in memory, in bytes: the longest name with a few thousand information requests.
    /// What is longer is consumed without being kept.
    public static let optionPayloadBytes = 16 * 1024
    /// Most options in one negotiation.
    public static let options = 1024
    /// A client that still has something to say in the negotiation after this many seconds is disconnected. One that is
    /// waiting for its export to be opened then has as long again.
    public static let handshakeSeconds = 10

    // MARK: Transmission

    /// Longest payload of a request or reply in bytes ("Block size constraints": 32 MiB is what every client may assume).
    public static let payloadBytes = 32 * 1024 * 1024
    /// Requests of one connection that the export may hold at a time. nbdcopy has 64, the kernel 128.
    public static let requestsInFlight = 256
    /// Reading stops while the requests of one connection hold this many bytes of payload; the last one admitted may
    /// overshoot by its own length.
    public static let bytesInFlight = 64 * 1024 * 1024
    /// Reading stops while the requests of all connections of a server hold this many bytes of payload, but for connections
    /// that hold none.
    public static let serverBytesInFlight = 256 * 1024 * 1024
    /// Taking requests stops while this many bytes of replies wait to be handed to the socket.
    public static let replyBytes = 4 * 1024 * 1024
    /// Replies are gathered in buffers of about this many bytes, one `writev` for all of them.
    public static let gatheredReplyBytes = 64 * 1024

    // MARK: Sockets

    /// Connections of one server, unless its options say otherwise.
    public static let connections = 1024
    /// Unsent bytes of a socket above which taking requests stops, and below which it starts again.
    public static let unsentBytes = (low: 1024 * 1024, high: 4 * 1024 * 1024)
    /// Least, first and greatest size of the buffer of one `recv`, in bytes.
    public static let receiveBytes = (least: 2048, first: 16 * 1024, greatest: 256 * 1024)
    /// Full receive buffers taken before the replies to them are sent.
    public static let receivesPerTurn: UInt = 8
    /// A connection that is to be closed has this many seconds to take its last replies.
    public static let lingerSeconds = 10
    /// Longest path of a unix socket in bytes (`sun_path` with its terminator is 108).
    public static let unixPathBytes = 107

    /// Stops the program when the limits contradict each other.
    static func check() {
        precondition(errorTextBytes < 1000, "qemu disconnects on longer error texts")
        precondition(listedNameBytes < 1024 && listedNameBytes <= stringBytes, "nbd-client dies on longer names")
        precondition(optionPayloadBytes >= stringBytes + 6, "the longest name must fit into an option")
        precondition(bytesInFlight >= payloadBytes, "the longest request must be admitted")
        precondition(serverBytesInFlight >= bytesInFlight, "one connection alone must reach its own limit")
        precondition(unsentBytes.low < unsentBytes.high, "water marks")
        precondition(
            receiveBytes.least <= receiveBytes.first && receiveBytes.first <= receiveBytes.greatest, "receive sizes")
        precondition(gatheredReplyBytes <= replyBytes, "a gathered buffer must not exceed what may wait")
    }
}
