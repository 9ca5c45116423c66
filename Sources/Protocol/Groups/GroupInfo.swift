import Wire

/// What a member knows of its copy of a placement group, kept durably with the group and compared in peering.
public struct GroupInfo: Hashable, Sendable {
    public var group: PGID
    /// Version of the newest entry in the log.
    public var lastUpdate: Version
    /// Version of the newest operation that is no longer in the log; the log holds what is after it.
    public var logTail: Version
    /// False while the copy is being filled by backfill: it then has only some of the objects.
    public var isComplete: Bool
    /// The newest interval, by its activation epoch, whose activation this member has stored.
    public var lastEpochStarted: Epoch
    /// The newest activation that **all** members of an acting set are known to have stored.
    public var historyLastEpochStarted: Epoch
    /// Objects the copy does not have at the version that its log says it should.
    public var missingCount: UInt32

    /// A member that has nothing yet.
    public init(group: PGID) {
        self.group = group
        lastUpdate = .zero
        logTail = .zero
        isComplete = true
        lastEpochStarted = .none
        historyLastEpochStarted = .none
        missingCount = 0
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("group info", supported: 1) { r, _ throws(WireError) in
            var info = GroupInfo(group: try PGID(from: &r))
            info.lastUpdate = try Version(from: &r)
            info.logTail = try Version(from: &r)
            info.isComplete = try r.readBool()
            info.lastEpochStarted = Epoch(try r.readU32())
            info.historyLastEpochStarted = Epoch(try r.readU32())
            info.missingCount = try r.readU32()
            guard info.logTail <= info.lastUpdate else {
                throw WireError("group \(info.group): log tail \(info.logTail) after last update \(info.lastUpdate)")
            }
            return info
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            group.encode(into: &w)
            lastUpdate.encode(into: &w)
            logTail.encode(into: &w)
            w.writeBool(isComplete)
            w.writeU32(lastEpochStarted.rawValue)
            w.writeU32(historyLastEpochStarted.rawValue)
            w.writeU32(missingCount)
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
