import Wire

/// What is wrong with an object or with one copy of it.
public struct ScrubErrors: OptionSet, Hashable, Sendable {
    /// The bits, as on the wire and on disk.
    public let rawValue: UInt32
    /// The errors with these bits; bits without a name are kept and not shown.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The copy does not have it.
    public static let missing = ScrubErrors(rawValue: 1 << 0)
    /// The copy has it, and by the log it does not exist.
    public static let unexpected = ScrubErrors(rawValue: 1 << 1)
    /// The store could not vouch for the data.
    public static let readError = ScrubErrors(rawValue: 1 << 2)
    /// The copy has no info of it.
    public static let infoMissing = ScrubErrors(rawValue: 1 << 3)
    /// The copy's info cannot be read.
    public static let infoCorrupted = ScrubErrors(rawValue: 1 << 4)
    /// The copy has another version than the log, or than a newer copy that verifies.
    public static let versionMismatch = ScrubErrors(rawValue: 1 << 5)
    /// The attributes are not those that the copy's own info vouches for.
    public static let attributesMismatchInfo = ScrubErrors(rawValue: 1 << 6)
    /// The omap is not what the copy's own info vouches for.
    public static let omapMismatchInfo = ScrubErrors(rawValue: 1 << 7)
    /// Copies differ in size though each vouches for itself.
    public static let sizeMismatch = ScrubErrors(rawValue: 1 << 8)
    /// Copies differ in data though each vouches for itself.
    public static let dataMismatch = ScrubErrors(rawValue: 1 << 9)
    /// Copies differ in their omap.
    public static let omapMismatch = ScrubErrors(rawValue: 1 << 10)
    /// Copies differ in attributes.
    public static let attributesMismatch = ScrubErrors(rawValue: 1 << 11)

    /// What only a deep scrub finds.
    public static let deep: ScrubErrors = [.readError, .dataMismatch]

    private static let names: [(ScrubErrors, String)] = [
        (.missing, "missing"), (.unexpected, "unexpected"), (.readError, "read_error"), (.infoMissing, "info_missing"),
        (.infoCorrupted, "info_corrupted"), (.versionMismatch, "version_mismatch"),
        (.attributesMismatchInfo, "attr_digest_mismatch_info"), (.omapMismatchInfo, "omap_digest_mismatch_info"),
        (.sizeMismatch, "size_mismatch"), (.dataMismatch, "data_digest_mismatch"),
        (.omapMismatch, "omap_digest_mismatch"), (.attributesMismatch, "attr_value_mismatch"),
    ]

    /// The errors by the names that administrators know.
    public var words: [String] { Self.names.filter { contains($0.0) }.map(\.1) }
}

/// An object whose copies are not what they should be, as scrub or a read found it.
public struct InconsistentObject: Hashable, Sendable {
    /// One copy.
    public struct Shard: Hashable, Sendable {
        /// Whose.
        public var osd: OSDID
        /// What is wrong with it; nothing for a copy that verifies.
        public var errors: ScrubErrors
        /// What it has; nil when it does not have the object.
        public var entry: ScrubEntry?

        /// A copy with these values.
        public init(osd: OSDID, errors: ScrubErrors, entry: ScrubEntry?) {
            self.osd = osd
            self.errors = errors
            self.entry = entry
        }
    }

    /// Which object.
    public var object: ObjectID
    /// The version that it should have; nil when nothing says, or when it should not exist.
    public var version: Version?
    /// In what the copies differ that each vouch for themselves.
    public var errors: ScrubErrors
    /// The copies, the primary's first.
    public var shards: [Shard]
    /// Whose copy verifies and is the one to repair from; nil when there is none.
    public var good: OSDID?
    /// True when it should not exist, so that repair removes it.
    public var isUnexpected: Bool

    /// An inconsistent object with these values.
    public init(
        object: ObjectID, version: Version?, errors: ScrubErrors, shards: [Shard], good: OSDID?,
        isUnexpected: Bool = false
    ) {
        self.object = object
        self.version = version
        self.errors = errors
        self.shards = shards
        self.good = good
        self.isUnexpected = isUnexpected
    }

    /// What is wrong with any copy.
    public var allErrors: ScrubErrors { shards.reduce(errors) { $0.union($1.errors) } }
    /// How many copies are bad, at least one.
    public var errorCount: Int { max(1, shards.count { !$0.errors.isEmpty }) }
    /// True when repair can heal it.
    public var isRepairable: Bool { good != nil || isUnexpected }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("inconsistent object", supported: 1) { r, _ throws(WireError) in
            let object = try ObjectID(from: &r)
            let version = try r.readOptional { r throws(WireError) in try Version(from: &r) }
            let errors = ScrubErrors(rawValue: try r.readU32())
            let shards = try r.readArray(atMost: ScrubLimits.shards) { r throws(WireError) in
                Shard(
                    osd: OSDID(try r.readI32()), errors: ScrubErrors(rawValue: try r.readU32()),
                    entry: try r.readOptional { r throws(WireError) in try ScrubEntry(from: &r) })
            }
            let good = try r.readOptional { r throws(WireError) in OSDID(try r.readI32()) }
            return InconsistentObject(
                object: object, version: version, errors: errors, shards: shards, good: good,
                isUnexpected: try r.readBool())
        }
    }

    /// The object as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            object.encode(into: &w)
            w.writeOptional(version) { $1.encode(into: &$0) }
            w.writeU32(errors.rawValue)
            w.writeArray(shards.prefix(ScrubLimits.shards).map { $0 }) { w, shard in
                w.writeI32(shard.osd.rawValue)
                w.writeU32(shard.errors.rawValue)
                w.writeOptional(shard.entry) { $1.encode(into: &$0) }
            }
            w.writeOptional(good) { $0.writeI32($1.rawValue) }
            w.writeBool(isUnexpected)
        }
    }
}

/// When a group was scrubbed, kept durably with the group by all its members.
public struct ScrubRecord: Hashable, Sendable {
    /// A scrub that went through the whole group.
    public struct Stamp: Hashable, Sendable {
        /// The group's newest write when it began.
        public var version: Version
        /// When it ended, in seconds since 1970; 0 for never.
        public var seconds: UInt64

        /// A scrub that ended then.
        public init(version: Version, seconds: UInt64) {
            self.version = version
            self.seconds = seconds
        }
    }

    /// Grows with every change of the record and of what is listed: the greatest one counts.
    public var serial: UInt64 = 0
    /// The newest scrub, shallow or deep.
    public var last = Stamp(version: .zero, seconds: 0)
    /// The newest deep scrub.
    public var lastDeep = Stamp(version: .zero, seconds: 0)
    /// Copies of objects that were repaired since the group was made.
    public var repaired: UInt64 = 0
    /// Inconsistent objects that were found beyond the limit of what is listed.
    public var unlisted: UInt32 = 0

    /// The record of a group that was never scrubbed.
    public init() {}

    /// The record of a group into which the groups of both were merged: it was scrubbed when the last of them was.
    public func joined(with other: ScrubRecord) -> ScrubRecord {
        var joined = ScrubRecord()
        joined.serial = max(serial, other.serial)
        joined.last = last.seconds <= other.last.seconds ? last : other.last
        joined.lastDeep = lastDeep.seconds <= other.lastDeep.seconds ? lastDeep : other.lastDeep
        joined.repaired = min(repaired + other.repaired, 1 << 61)
        joined.unlisted = min(unlisted + other.unlisted, 1 << 29)
        return joined
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("scrub record", supported: 1) { r, _ throws(WireError) in
            var record = ScrubRecord()
            record.serial = try r.readU64()
            record.last = Stamp(version: try Version(from: &r), seconds: try r.readU64())
            record.lastDeep = Stamp(version: try Version(from: &r), seconds: try r.readU64())
            record.repaired = try r.readU64()
            record.unlisted = try r.readU32()
            guard record.serial < 1 << 62, record.repaired < 1 << 62, record.unlisted < 1 << 30,
                record.last.seconds < 1 << 40, record.lastDeep.seconds < 1 << 40
            else { throw WireError("a scrub record with impossible numbers: \(record)") }
            return record
        }
    }

    /// The record as bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeU64(serial)
            for stamp in [last, lastDeep] {
                stamp.version.encode(into: &w)
                w.writeU64(stamp.seconds)
            }
            w.writeU64(repaired)
            w.writeU32(unlisted)
        }
    }
}
