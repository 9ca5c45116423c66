import Wire

/// What a writer knows of the snapshots of what it writes to: it goes with every write, and the first write after a newer
/// snapshot has the object kept as it was.
public struct SnapContext: Hashable, Sendable {
    /// The newest snapshot that the writer knows of, also when it was removed since.
    public let sequence: SnapID
    /// The snapshots that live, newest first.
    public let snaps: [SnapID]

    /// No snapshots.
    public static let none = SnapContext(sequence: .none)

    private init(sequence: SnapID) {
        self.sequence = sequence
        snaps = []
    }

    /// Nil when the snapshots are not in descending order, are newer than `sequence`, or are more than
    /// `SnapLimits.contextSnaps`.
    public init?(sequence: SnapID, snaps: [SnapID]) {
        guard sequence <= .last, snaps.count <= SnapLimits.contextSnaps, snaps.first.map({ $0 <= sequence }) ?? true,
            snaps.last.map({ $0 > .none }) ?? true, zip(snaps, snaps.dropFirst()).allSatisfy({ $0 > $1 })
        else { return nil }
        self.sequence = sequence
        self.snaps = snaps
    }

    /// True when the writer knows of no snapshot, past or present.
    @inlinable public var isNone: Bool { sequence == .none }

    /// Decodes what `encode` wrote.
    @inlinable
    public init(from reader: inout ByteReader) throws(WireError) {
        guard try reader.readBool() else {
            self = .none
            return
        }
        try self.init(present: &reader)
    }

    @usableFromInline
    init(present reader: inout ByteReader) throws(WireError) {
        let sequence = SnapID(try reader.readU64())
        let snaps = try reader.readArray(atMost: SnapLimits.contextSnaps) { r throws(WireError) in
            SnapID(try r.readU64())
        }
        guard let context = SnapContext(sequence: sequence, snaps: snaps) else {
            throw WireError("snapshots of a context are out of order")
        }
        self = context
    }

    /// The context as bytes: one byte when there are no snapshots.
    @inlinable
    public func encode(into writer: inout ByteWriter) {
        writer.writeBool(!isNone)
        if !isNone { encodePresent(into: &writer) }
    }

    @usableFromInline
    func encodePresent(into writer: inout ByteWriter) {
        writer.writeU64(sequence.rawValue)
        writer.writeArray(snaps) { $0.writeU64($1.rawValue) }
    }
}

/// An object with all its versions, as `listSnaps` answers.
public struct ObjectSnapshots: Hashable, Sendable {
    /// A version that is kept for snapshots.
    public struct Clone: Hashable, Sendable {
        /// Its number: that of the context of the write that made it.
        public var id: SnapID
        /// The snapshots that it stands for, newest first.
        public var snaps: [SnapID]
        /// Its bytes.
        public var size: UInt64
        /// Ranges in which it is known to be the same as the next newer version.
        public var overlap: [Range<UInt64>]

        /// A version with these values.
        public init(id: SnapID, snaps: [SnapID], size: UInt64, overlap: [Range<UInt64>]) {
            self.id = id
            self.snaps = snaps
            self.size = size
            self.overlap = overlap
        }
    }

    /// The newest snapshot that a write to the object knew of.
    public var sequence: SnapID
    /// The versions kept, oldest first.
    public var clones: [Clone]
    /// The bytes of the head; nil when there is none now.
    public var headSize: UInt64?

    /// An object with these versions.
    public init(sequence: SnapID, clones: [Clone], headSize: UInt64?) {
        self.sequence = sequence
        self.clones = clones
        self.headSize = headSize
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        sequence = SnapID(try reader.readU64())
        clones = try reader.readArray(atMost: SnapLimits.clones) { r throws(WireError) in
            let id = SnapID(try r.readU64())
            let snaps = try r.readArray(atMost: SnapLimits.contextSnaps) { r throws(WireError) in
                SnapID(try r.readU64())
            }
            let size = try r.readU64()
            let overlap = try r.readArray(atMost: SnapLimits.overlapRanges) { r throws(WireError) in
                let (from, to) = (try r.readU64(), try r.readU64())
                guard from < to else { throw WireError("an empty overlap at \(from)") }
                return from..<to
            }
            return Clone(id: id, snaps: snaps, size: size, overlap: overlap)
        }
        headSize = try reader.readOptional { r throws(WireError) in try r.readU64() }
    }

    /// The versions as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(sequence.rawValue)
        writer.writeArray(clones) { writer, clone in
            writer.writeU64(clone.id.rawValue)
            writer.writeArray(clone.snaps) { $0.writeU64($1.rawValue) }
            writer.writeU64(clone.size)
            writer.writeArray(clone.overlap) { writer, range in
                writer.writeU64(range.lowerBound)
                writer.writeU64(range.upperBound)
            }
        }
        writer.writeOptional(headSize) { $0.writeU64($1) }
    }
}

/// The limits of snapshots, in one place.
public enum SnapLimits {
    /// Snapshots of one context: those of an image.
    public static let contextSnaps = 1024
    /// Clones of one object, those included that are to be trimmed. A write that would make more waits for that.
    public static let clones = 4096
    /// Bytes of omap keys and values of an object that a clone is made of: they go into one journal record. A write that would
    /// have more kept is refused with EFBIG.
    public static let clonedOmap = 8 << 20
    /// Bytes of one step in which versions of an object are compared.
    public static let overlapBlock: UInt64 = 4096
    /// Ranges of one overlap: every other block of the largest object.
    public static let overlapRanges = Int(StorageLimits.objectSize / overlapBlock / 2) + 1
    /// Clones that a group trims at a time.
    public static let trimsInFlight = 2
}
