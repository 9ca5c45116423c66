import Wire

/// Sums over an object's attributes and over its omap. Every change of the object carries them along in its info, so that
/// each copy can tell by itself whether its metadata is what was written.
public struct MetadataDigests: Hashable, Sendable {
    /// Over the attributes, without the object's info itself.
    public var attributes: UInt32
    /// Over the omap.
    public var omap: UInt32

    /// What an object without attributes and omap has.
    public static let empty = MetadataDigests(attributes: 0, omap: 0)

    /// Digests with these values.
    public init(attributes: UInt32, omap: UInt32) {
        self.attributes = attributes
        self.omap = omap
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        attributes = try reader.readU32()
        omap = try reader.readU32()
    }

    /// The digests as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.writeU32(attributes)
        writer.writeU32(omap)
    }
}

/// What one copy has of an object.
public struct ScrubEntry: Hashable, Sendable {
    /// What the copy's own info of the object says.
    public enum Info: Hashable, Sendable {
        /// There is none: a part of an object that was on its way, or something nobody wrote.
        case none
        /// It cannot be read.
        case corrupt
        /// The object's version, and the digests of its metadata.
        case known(Version, MetadataDigests)
    }

    /// Which object.
    public var object: ObjectID
    /// Its size in bytes.
    public var size: UInt64
    /// What its info says.
    public var info: Info
    /// The digests of what is there.
    public var found: MetadataDigests
    /// The CRC-32C of its data; nil when the data was not to be read.
    public var data: UInt32?
    /// True when the store could not vouch for the data.
    public var isUnreadable: Bool

    /// An entry with these values.
    public init(
        object: ObjectID, size: UInt64, info: Info, found: MetadataDigests, data: UInt32? = nil,
        isUnreadable: Bool = false
    ) {
        self.object = object
        self.size = size
        self.info = info
        self.found = found
        self.data = data
        self.isUnreadable = isUnreadable
    }

    /// The version that the copy claims; nil when its info says none.
    public var version: Version? {
        if case .known(let version, _) = info { version } else { nil }
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        object = try ObjectID(from: &reader)
        size = try reader.readU64()
        switch try reader.readU8() {
        case 0: info = .none
        case 1: info = .corrupt
        case 2: info = .known(try Version(from: &reader), try MetadataDigests(from: &reader))
        case let other: throw WireError("unknown kind of object info \(other)")
        }
        found = try MetadataDigests(from: &reader)
        data = try reader.readOptional { r throws(WireError) in try r.readU32() }
        isUnreadable = try reader.readBool()
    }

    /// The entry as bytes.
    public func encode(into writer: inout ByteWriter) {
        object.encode(into: &writer)
        writer.writeU64(size)
        switch info {
        case .none: writer.writeU8(0)
        case .corrupt: writer.writeU8(1)
        case .known(let version, let digests):
            writer.writeU8(2)
            version.encode(into: &writer)
            digests.encode(into: &writer)
        }
        found.encode(into: &writer)
        writer.writeOptional(data) { $0.writeU32($1) }
        writer.writeBool(isUnreadable)
    }
}

/// Which objects are compared at a time.
public enum ScrubWindow: Hashable, Sendable {
    /// Those after `after` up to and including `through`, in storage order; nil for the ends of the group.
    case range(after: ObjectID?, through: ObjectID?)
    /// One object.
    case object(ObjectID)

    /// True when the object is compared, or one of the same name: a write to one may change its snapshots.
    public func touches(_ object: ObjectID) -> Bool {
        switch self {
        case .range: contains(object.last)
        case .object(let one): one.hash == object.hash && one.pool == object.pool && one.name == object.name
        }
    }

    /// True when the object is compared.
    public func contains(_ object: ObjectID) -> Bool {
        switch self {
        case .range(let after, let through):
            (after.map { object > $0 } ?? true) && (through.map { object <= $0 } ?? true)
        case .object(let one): object == one
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.readU8() {
        case 0:
            let after = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
            let through = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
            self = .range(after: after, through: through)
        case 1: self = .object(try ObjectID(from: &reader))
        case let other: throw WireError("unknown kind of scrub window \(other)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        switch self {
        case .range(let after, let through):
            writer.writeU8(0)
            writer.writeOptional(after) { $1.encode(into: &$0) }
            writer.writeOptional(through) { $1.encode(into: &$0) }
        case .object(let object):
            writer.writeU8(1)
            object.encode(into: &writer)
        }
    }
}

extension ObjectID {
    /// The place behind the object and all its snapshots: a window that ends here has all of them or none.
    public var last: ObjectID { ObjectID(pool: pool, hash: hash, name: name, snap: SnapID(UInt64.max)) }
}

/// What members say to each other to compare their copies.
public enum ScrubMessage: Sendable {
    /// Primary → member: may the group be compared now? Answered when it is the group's turn; asked again means the same.
    case reserve
    /// Member → primary: it is.
    case reserved
    /// Primary → member: that is over.
    case release
    /// Primary → member: what have you in this window? Answered by `examined` with the same serial.
    case examine(serial: UInt32, ScrubWindow, isDeep: Bool)
    /// Member → primary: this, as far as `through` of the window; nil for all of it.
    case examined(serial: UInt32, [ScrubEntry], through: ObjectID?)
    /// Primary → member: your copy of this object is not what it should be; you lack it.
    case spoiled(MissingObject)
    /// What is known of the group's scrubs. Whoever knows of a later one answers with that.
    case state(ScrubRecord, [InconsistentObject])

    private enum Tag: UInt8 { case reserve = 1, reserved, release, examine, examined, spoiled, state }

    init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.readU8()
        guard let tag = Tag(rawValue: raw) else { throw WireError("unknown scrub message \(raw)") }
        switch tag {
        case .reserve: self = .reserve
        case .reserved: self = .reserved
        case .release: self = .release
        case .examine:
            let serial = try reader.readU32()
            self = .examine(serial: serial, try ScrubWindow(from: &reader), isDeep: try reader.readBool())
        case .examined:
            let serial = try reader.readU32()
            let entries = try reader.readArray(atMost: ScrubLimits.entries) { r throws(WireError) in
                try ScrubEntry(from: &r)
            }
            let through = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
            self = .examined(serial: serial, entries, through: through)
        case .spoiled: self = .spoiled(try MissingObject(from: &reader))
        case .state:
            let record = try ScrubRecord(from: &reader)
            self = .state(
                record,
                try reader.readArray(atMost: ScrubLimits.inconsistent) { r throws(WireError) in
                    try InconsistentObject(from: &r)
                })
        }
    }

    func encode(into writer: inout ByteWriter) {
        func tag(_ tag: Tag, _ writer: inout ByteWriter) { writer.writeU8(tag.rawValue) }
        switch self {
        case .reserve: tag(.reserve, &writer)
        case .reserved: tag(.reserved, &writer)
        case .release: tag(.release, &writer)
        case .examine(let serial, let window, let isDeep):
            tag(.examine, &writer)
            writer.writeU32(serial)
            window.encode(into: &writer)
            writer.writeBool(isDeep)
        case .examined(let serial, let entries, let through):
            tag(.examined, &writer)
            writer.writeU32(serial)
            writer.writeArray(entries) { $1.encode(into: &$0) }
            writer.writeOptional(through) { $1.encode(into: &$0) }
        case .spoiled(let missing):
            tag(.spoiled, &writer)
            missing.encode(into: &writer)
        case .state(let record, let inconsistent):
            tag(.state, &writer)
            record.encode(into: &writer)
            writer.writeArray(inconsistent) { $1.encode(into: &$0) }
        }
    }
}

/// The limits of scrub, in one place.
public enum ScrubLimits {
    /// Objects that one member tells of in one answer. More than the primary puts into a window, since another member may
    /// have objects that it has not.
    public static let entries = 256
    /// Objects of a window as the primary has them; writes to them wait while they are compared.
    public static let objects = 32
    /// Bytes of a window's data that a deep scrub reads, beyond its first object: writes wait for so long.
    public static let bytes: UInt64 = 8 << 20
    /// Bytes that are read at a time.
    public static let readSize = 1 << 20
    /// Omap entries that are read in one turn of the OSD's loop.
    public static let omapEntries = 1024
    /// Windows that a member compiles at a time, and objects that are looked at for a reader at a time.
    public static let windows = 4
    /// Objects that a group lists as inconsistent; further ones are counted.
    public static let inconsistent = 256
    /// Objects of a group that are counted in one turn of the OSD's loop.
    public static let counted = 256
    /// Inconsistent objects in one answer to an administrator.
    public static let listing = 128
    /// Copies of an object that are told of.
    public static let shards = 32
}
