import Wire

/// A sign of life between two OSDs. The answer is also a lease: until it ends, the answering OSD takes part in no newer
/// interval that serves without the asking one's reads being over.
public struct Heartbeat: Hashable, Sendable {
    /// True for the answer.
    public var isReply: Bool
    /// The asking OSD's monotonic clock, in milliseconds, when it asked; given back in the answer.
    public var stamp: UInt64
    /// The newest map of the sender.
    public var epoch: Epoch
    /// How long the lease is, in milliseconds from when the question arrived.
    public var lease: UInt32

    /// A sign of life with these values.
    public init(isReply: Bool, stamp: UInt64, epoch: Epoch, lease: UInt32) {
        self.isReply = isReply
        self.stamp = stamp
        self.epoch = epoch
        self.lease = lease
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        isReply = try reader.readBool()
        stamp = try reader.readU64()
        epoch = Epoch(try reader.readU32())
        lease = try reader.readU32()
    }

    /// The sign of life as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.writeBool(isReply)
        writer.writeU64(stamp)
        writer.writeU32(epoch.rawValue)
        writer.writeU32(lease)
    }
}

/// What a member has promised to an older primary: `GroupMessage.Body.info`.
public struct LeasePromise: Hashable, Sendable {
    /// The older primary, which may serve reads.
    public var primary: OSDID
    /// For how much longer, in milliseconds.
    public var remaining: UInt32

    /// A promise with these values.
    public init(primary: OSDID, remaining: UInt32) {
        self.primary = primary
        self.remaining = remaining
    }

    init(from reader: inout ByteReader) throws(WireError) {
        primary = OSDID(try reader.readI32())
        remaining = try reader.readU32()
    }

    func encode(into writer: inout ByteWriter) {
        writer.writeI32(primary.rawValue)
        writer.writeU32(remaining)
    }
}
