import Wire

/// What an administrator asks of a placement group's primary; see `ObjectOperation.administer`.
public enum GroupCommand: Hashable, Sendable {
    /// Compare the copies' objects and metadata, as soon as may be.
    case scrub
    /// Compare their data, too.
    case deepScrub
    /// Compare their data, too, and replace bad copies from good ones.
    case repair
    /// Tell how the group is. Output: a `GroupReport`.
    case query
    /// List inconsistent objects after `after` in storage order. Output: an `InconsistencyListing`.
    case listInconsistent(after: ObjectID?)

    init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.readU8() {
        case 1: self = .scrub
        case 2: self = .deepScrub
        case 3: self = .repair
        case 4: self = .query
        case 5:
            self = .listInconsistent(
                after: try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) })
        case let other: throw WireError("unknown command to a placement group \(other)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        switch self {
        case .scrub: writer.writeU8(1)
        case .deepScrub: writer.writeU8(2)
        case .repair: writer.writeU8(3)
        case .query: writer.writeU8(4)
        case .listInconsistent(let after):
            writer.writeU8(5)
            writer.writeOptional(after) { $1.encode(into: &$0) }
        }
    }
}

/// A part of the list of a group's inconsistent objects.
public struct InconsistencyListing: Sendable {
    /// The objects, in storage order.
    public var objects: [InconsistentObject]
    /// True when there are more after the last.
    public var hasMore: Bool

    /// A part of the list.
    public init(objects: [InconsistentObject], hasMore: Bool) {
        self.objects = objects
        self.hasMore = hasMore
    }

    /// Decodes what `encoded` gave.
    public init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        objects = try reader.readArray(atMost: ScrubLimits.inconsistent) { r throws(WireError) in
            try InconsistentObject(from: &r)
        }
        hasMore = try reader.readBool()
        try reader.expectEnd()
    }

    /// The listing as bytes.
    public var encoded: Bytes {
        .encoding(capacity: 512 * objects.count + 16) { writer in
            writer.writeArray(objects) { $1.encode(into: &$0) }
            writer.writeBool(hasMore)
        }
    }
}

/// How a group is, as its primary knows.
public struct GroupReport: Sendable {
    /// A member of the group.
    public struct Member: Hashable, Sendable {
        /// Whose.
        public var osd: OSDID
        /// Everything up to here is on its disk.
        public var committed: Version
        /// How much of its copy counts.
        public var position: BackfillPosition
        /// Objects that it lacks by its log.
        public var missing: UInt32

        /// A member with these values.
        public init(osd: OSDID, committed: Version, position: BackfillPosition, missing: UInt32) {
            self.osd = osd
            self.committed = committed
            self.position = position
            self.missing = missing
        }
    }

    /// What the monitor is told.
    public var statistics: GroupStatistics
    /// The primary's own info.
    public var info: GroupInfo
    /// The current interval, by its first epoch.
    public var interval: Epoch
    /// What CRUSH chose of those that are up.
    public var up: [OSDID]
    /// Who serves, the primary first.
    public var acting: [OSDID]
    /// What the primary is doing, for people.
    public var phase: String
    /// Those who take part in writes.
    public var members: [Member]
    /// Entries in the log.
    public var logEntries: UInt32
    /// When it was scrubbed.
    public var scrub: ScrubRecord

    /// A report with these values.
    public init(
        statistics: GroupStatistics, info: GroupInfo, interval: Epoch, up: [OSDID], acting: [OSDID], phase: String,
        members: [Member], logEntries: UInt32, scrub: ScrubRecord
    ) {
        self.statistics = statistics
        self.info = info
        self.interval = interval
        self.up = up
        self.acting = acting
        self.phase = phase
        self.members = members
        self.logEntries = logEntries
        self.scrub = scrub
    }

    /// Decodes what `encoded` gave.
    public init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        func osds(_ reader: inout ByteReader) throws(WireError) -> [OSDID] {
            try reader.readArray(atMost: ScrubLimits.shards) { r throws(WireError) in OSDID(try r.readI32()) }
        }
        statistics = try GroupStatistics(from: &reader)
        info = try GroupInfo(from: &reader)
        interval = Epoch(try reader.readU32())
        up = try osds(&reader)
        acting = try osds(&reader)
        phase = try reader.readString(atMost: OperationLimits.clientName)
        members = try reader.readArray(atMost: 2 * ScrubLimits.shards) { r throws(WireError) in
            Member(
                osd: OSDID(try r.readI32()), committed: try Version(from: &r),
                position: try BackfillPosition(from: &r), missing: try r.readU32())
        }
        logEntries = try reader.readU32()
        scrub = try ScrubRecord(from: &reader)
        try reader.expectEnd()
    }

    /// The report as bytes.
    public var encoded: Bytes {
        .encoding(capacity: 1024) { writer in
            statistics.encode(into: &writer)
            info.encode(into: &writer)
            writer.writeU32(interval.rawValue)
            for osds in [up, acting] { writer.writeArray(osds) { $0.writeI32($1.rawValue) } }
            writer.writeString(String(phase.prefix(64)))
            writer.writeArray(members) { w, member in
                w.writeI32(member.osd.rawValue)
                member.committed.encode(into: &w)
                member.position.encode(into: &w)
                w.writeU32(member.missing)
            }
            writer.writeU32(logEntries)
            scrub.encode(into: &writer)
        }
    }
}
