import Wire

/// How much of a copy there is: all of it, or the objects up to some point in storage order.
public enum BackfillPosition: Hashable, Sendable {
    /// Nothing is known to be right: what is there is compared with a complete copy.
    case nothing
    /// Objects up to this one are as the log says, but for what is missing; those beyond say nothing.
    case upTo(ObjectID)
    /// The whole copy.
    case complete

    /// True when the copy vouches for the object.
    public func covers(_ object: ObjectID) -> Bool {
        switch self {
        case .nothing: false
        case .upTo(let last): object <= last
        case .complete: true
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.readU8() {
        case 0: self = .nothing
        case 1: self = .complete
        case 2: self = .upTo(try ObjectID(from: &reader))
        case let other: throw WireError("unknown backfill position \(other)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        switch self {
        case .nothing: writer.writeU8(0)
        case .complete: writer.writeU8(1)
        case .upTo(let object):
            writer.writeU8(2)
            object.encode(into: &writer)
        }
    }
}

/// What a member knows of its copy of a placement group, kept durably with the group and compared in peering.
public struct GroupInfo: Hashable, Sendable {
    public var group: PGID
    /// Version of the newest entry in the log.
    public var lastUpdate: Version
    /// Version of the newest operation that is no longer in the log; the log holds what is after it.
    public var logTail: Version
    /// How far backfill has filled the copy.
    public var lastBackfill: BackfillPosition
    /// The newest interval, by its activation epoch, whose activation this member has stored.
    public var lastEpochStarted: Epoch
    /// The newest activation that **all** members of an acting set are known to have stored.
    public var historyLastEpochStarted: Epoch
    /// The newest interval in which every copy was complete and where it should be: older ones hold nothing more.
    public var historyLastEpochClean: Epoch
    /// Objects the copy does not have at the version that its log says it should.
    public var missingCount: UInt32
    /// The copy has the extent that its group had in this epoch: splits and merges of newer ones have not been done with it.
    public var cutAt: Epoch

    /// A member that has nothing yet.
    public init(group: PGID, cutAt: Epoch) {
        self.group = group
        self.cutAt = cutAt
        lastUpdate = .zero
        logTail = .zero
        lastBackfill = .complete
        lastEpochStarted = .none
        historyLastEpochStarted = .none
        historyLastEpochClean = .none
        missingCount = 0
    }

    /// False while the copy is being filled by backfill: it then has only some of the objects.
    public var isComplete: Bool {
        get { lastBackfill == .complete }
        set { lastBackfill = newValue ? .complete : .nothing }
    }

    /// True of a member that never had anything of the group.
    public var isEmpty: Bool { lastUpdate == .zero && isComplete && lastEpochStarted == .none }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("group info", supported: 4) { r, _ throws(WireError) in
            var info = GroupInfo(group: try PGID(from: &r), cutAt: Epoch(try r.readU32()))
            info.lastUpdate = try Version(from: &r)
            info.logTail = try Version(from: &r)
            info.lastBackfill = try BackfillPosition(from: &r)
            info.lastEpochStarted = Epoch(try r.readU32())
            info.historyLastEpochStarted = Epoch(try r.readU32())
            info.missingCount = try r.readU32()
            info.historyLastEpochClean = Epoch(try r.readU32())
            guard info.logTail <= info.lastUpdate else {
                throw WireError("group \(info.group): log tail \(info.logTail) after last update \(info.lastUpdate)")
            }
            return info
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(4, compatible: 4) { w in
            group.encode(into: &w)
            w.writeU32(cutAt.rawValue)
            lastUpdate.encode(into: &w)
            logTail.encode(into: &w)
            lastBackfill.encode(into: &w)
            w.writeU32(lastEpochStarted.rawValue)
            w.writeU32(historyLastEpochStarted.rawValue)
            w.writeU32(missingCount)
            w.writeU32(historyLastEpochClean.rawValue)
        }
    }
}

/// An object that a copy lacks: which version it should have, and which it has (zero for none).
public struct MissingObject: Hashable, Sendable {
    public var object: ObjectID
    public var need: Version
    public var have: Version

    public init(object: ObjectID, need: Version, have: Version) {
        self.object = object
        self.need = need
        self.have = have
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        object = try ObjectID(from: &reader)
        need = try Version(from: &reader)
        have = try Version(from: &reader)
    }

    public func encode(into writer: inout ByteWriter) {
        object.encode(into: &writer)
        need.encode(into: &writer)
        have.encode(into: &writer)
    }
}

/// A client's request that left the log: what is kept of it so that a late resend is not done again.
public struct RecordedRequest: Hashable, Sendable {
    /// Which request.
    public var request: RequestID
    /// The version it made.
    public var version: Version
    /// What the client was told; 0 for success.
    public var errno: Int32

    /// A record with these values.
    public init(request: RequestID, version: Version, errno: Int32) {
        self.request = request
        self.version = version
        self.errno = errno
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        request = try RequestID(from: &reader)
        version = try Version(from: &reader)
        errno = try reader.readI32()
    }

    /// The record as bytes.
    public func encode(into writer: inout ByteWriter) {
        request.encode(into: &writer)
        version.encode(into: &writer)
        writer.writeI32(errno)
    }
}
