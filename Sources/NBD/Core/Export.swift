import Wire

/// A disk that clients can use: what the server knows of an RBD image.
///
/// An export is confined to the event loop of its server: operations are called there, and their replies must be given
/// there. One export may serve several connections at once. `Sendable` is asked for only so that a directory can hand it
/// over; a class says `@unchecked Sendable` and relies on that confinement.
///
/// Operations are called in the order in which requests arrived, over all connections of the export. **The export must
/// keep that order where requests overlap**: when a connection dies and a client sends a write again on a new connection,
/// the copy that arrived first was given to the export first, so it can never land after the second one. The server does
/// its part by giving the export nothing from a connection after `connectionLost`.
///
/// Offsets and lengths are in bytes, within the `size` of the moment of the call and multiples of `blockSizes.minimum`.
/// Every operation is answered exactly once through its `PendingReply`, at once or later. A write (and trim, and zeroes)
/// may be answered before it is durable only when `fua` is false.
public protocol Export: AnyObject, Sendable {
    /// The name clients see, for example the image spec in its full form.
    var name: String { get }
    /// One line for people, sent as NBD_INFO_DESCRIPTION.
    var summary: String { get }
    /// Size in bytes now. It may change while clients are connected: every request is checked against the current value.
    var size: UInt64 { get }
    /// Whether every change is to be refused (EPERM); fixed while the export is open.
    var isReadOnly: Bool { get }
    /// What requests must be aligned to, and what is efficient; fixed while the export is open.
    var blockSizes: BlockSizes { get }
    /// What the export can do beyond reading, writing and flushing; fixed while it is open.
    var features: ExportFeatures { get }

    /// Answered with exactly `length` bytes (at most `Limits.payloadBytes`, at least 1).
    func read(offset: UInt64, length: Int, reply: PendingReply)
    /// Stores `data` (at most `Limits.payloadBytes`, at least 1 byte). With `fua` the answer means durable.
    func write(offset: UInt64, data: Bytes, fua: Bool, reply: PendingReply)
    /// The answer means that every write answered before this call, on any connection, is durable.
    func flush(reply: PendingReply)
    /// The range may be forgotten: it may read as anything afterwards. Up to 2³² − 1 bytes.
    func trim(offset: UInt64, length: UInt64, fua: Bool, reply: PendingReply)
    /// The range reads as zeroes afterwards. Up to 2³² − 1 bytes.
    func writeZeroes(offset: UInt64, length: UInt64, options: ZeroOptions, reply: PendingReply)

    /// The connection ended without taking leave. Operations it has pending go on, are still to be answered, and the
    /// answers go nowhere; none will come from it any more. Not called after an orderly disconnect.
    func connectionLost(_ connection: ConnectionID)
}

/// How to write zeroes.
public struct ZeroOptions: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// The options of `rawValue`.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The answer means durable.
    public static let durable = ZeroOptions(rawValue: 1 << 0)
    /// The range must stay provisioned, so that later writes there cannot run out of space.
    public static let noHole = ZeroOptions(rawValue: 1 << 1)
    /// Fail with `.notSupported`, and at once, where this would be no faster than writing. Only with
    /// `ExportFeatures.fastZero`.
    public static let fast = ZeroOptions(rawValue: 1 << 2)
}

/// What an export can do beyond reading, writing and flushing.
public struct ExportFeatures: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// The features of `rawValue`.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// `trim` may be called.
    public static let trim = ExportFeatures(rawValue: 1 << 0)
    /// `writeZeroes` may be called.
    public static let writeZeroes = ExportFeatures(rawValue: 1 << 1)
    /// `writeZeroes` understands `ZeroOptions.fast`.
    public static let fastZero = ExportFeatures(rawValue: 1 << 2)
    /// Several connections see one disk: what is answered on one is seen by all, and a flush on one covers all.
    public static let multipleConnections = ExportFeatures(rawValue: 1 << 3)
}

/// Block sizes in bytes as told to clients (NBD_INFO_BLOCK_SIZE); the maximum is always `Limits.payloadBytes`.
public struct BlockSizes: Hashable, Sendable {
    /// What offsets and lengths must be multiples of; a request that is not gets EINVAL.
    public let minimum: UInt32
    /// What is efficient.
    public let preferred: UInt32

    /// Both are powers of two; the minimum is at most 64 KiB and at most the preferred size, that at most 32 MiB.
    public init(minimum: UInt32 = 1, preferred: UInt32 = 4096) {
        precondition(
            minimum.nonzeroBitCount == 1 && preferred.nonzeroBitCount == 1 && minimum <= 65536
                && minimum <= preferred && preferred >= 512 && preferred <= Limits.payloadBytes,
            "block sizes \(minimum), \(preferred)")
        self.minimum = minimum
        self.preferred = preferred
    }
}

/// A connection of one server, never used twice.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    /// Counted from 1 by each server.
    public let rawValue: UInt64
    /// The connection with this number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// For messages.
    public var description: String { "connection \(rawValue)" }
}

/// Why an operation failed, as a client hears it ("Error values").
public enum IOFailure: UInt32, Error, Sendable {
    /// EPERM: the export may not be changed.
    case notPermitted = 1
    /// EIO: the data could not be read or stored.
    case inputOutput = 5
    /// ENOMEM: a resource other than space is short.
    case outOfMemory = 12
    /// EINVAL: the request makes no sense for this export.
    case invalid = 22
    /// ENOSPC: no space, also a write past the end.
    case noSpace = 28
    /// EOVERFLOW: longer than a payload may be.
    case overflow = 75
    /// ENOTSUP: only as the answer to `ZeroOptions.fast`.
    case notSupported = 95
    /// ESHUTDOWN: the export is going away. Clients pass it on as an I/O error, so a server that stops in order to come
    /// back closes its connections instead: clients then reconnect and ask again.
    case shutdown = 108
}
