import Wire

/// What the map says of one OSD.
public struct OSDRecord: Hashable, Sendable {
    /// Tells this OSD's disk from another that once had the number.
    public var uuid: UniqueID
    /// Tells this run of the daemon from the one before; set at boot.
    public var incarnation: UInt64
    /// Where it serves clients and peers; nil before its first boot.
    public var endpoint: Endpoint?
    public var isUp: Bool
    /// Share of its CRUSH weight that is used, 16.16: 0x10000 is in, 0 is out.
    public var reweight: UInt32
    /// Share of the groups that would have it as primary and do, 16.16: 0x10000 for all, 0 for none where others can.
    public var primaryAffinity: UInt32
    /// The epoch that marked it up last.
    public var upFrom: Epoch
    /// The newest epoch by which it is known to have been alive (see `up_thru` in the replication rules).
    public var upThru: Epoch
    /// The epoch that marked it down last.
    public var downAt: Epoch
    /// The newest epoch that marked it down with proof that its process had ended.
    public var deadAt: Epoch
    /// The epoch in which an administrator declared that what only it has is lost.
    public var lostAt: Epoch
    /// True when it was marked out because it was down for long, and not by an administrator: it comes in again when it
    /// comes up.
    public var isAutomaticallyOut: Bool

    /// A reweight of 1.
    public static let fullReweight: UInt32 = 0x10000
    /// A primary affinity of 1.
    public static let fullAffinity: UInt32 = 0x10000

    /// A new OSD: in, not up yet.
    public init(uuid: UniqueID) {
        self.uuid = uuid
        incarnation = 0
        endpoint = nil
        isUp = false
        reweight = Self.fullReweight
        primaryAffinity = Self.fullAffinity
        upFrom = .none
        upThru = .none
        downAt = .none
        deadAt = .none
        lostAt = .none
        isAutomaticallyOut = false
    }

    public var isIn: Bool { reweight > 0 }

    /// True when its last run is known to have ended, so that nothing of it is still to be waited out.
    public var isKnownDead: Bool { !isUp && downAt != .none && deadAt == downAt }

    /// True when it is up in a run before which every other is known to have ended.
    public var isRestarted: Bool { isUp && downAt != .none && deadAt == downAt }

    /// Marks it up in a run of its daemon. Another run than the last is proof that the last has ended, since its disk can be
    /// opened by one process at a time; the same one again is proof that it has not.
    public mutating func markUp(in epoch: Epoch, incarnation: UInt64, endpoint: Endpoint) {
        deadAt = incarnation == self.incarnation ? .none : downAt
        isUp = true
        upFrom = epoch
        self.incarnation = incarnation
        self.endpoint = endpoint
    }

    /// Marks it down in `epoch`; `isDead` when its process is proven to have ended.
    public mutating func markDown(in epoch: Epoch, isDead: Bool) {
        isUp = false
        downAt = epoch
        if isDead { deadAt = epoch }
    }

    /// True when it is not to lead every group that it could.
    var isReluctant: Bool { primaryAffinity < Self.fullAffinity }

    /// Version 2 appends the primary affinity; version 3 proof of death, loss, and who marked it out.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("OSD record", supported: 3) { r, version throws(WireError) in
            var record = OSDRecord(uuid: try UniqueID(from: &r))
            record.incarnation = try r.readU64()
            record.endpoint = try r.readOptional { r throws(WireError) in try Endpoint(from: &r) }
            record.isUp = try r.readBool()
            record.reweight = try r.readU32()
            record.upFrom = Epoch(try r.readU32())
            record.upThru = Epoch(try r.readU32())
            record.downAt = Epoch(try r.readU32())
            if version >= 2 { record.primaryAffinity = try r.readU32() }
            if version >= 3 {
                record.deadAt = Epoch(try r.readU32())
                record.lostAt = Epoch(try r.readU32())
                record.isAutomaticallyOut = try r.readBool()
            }
            guard record.reweight <= Self.fullReweight else { throw WireError("reweight \(record.reweight) above 1") }
            guard record.primaryAffinity <= Self.fullAffinity else {
                throw WireError("primary affinity \(record.primaryAffinity) above 1")
            }
            guard !record.isUp || record.endpoint != nil else { throw WireError("an OSD is up without an address") }
            return record
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(3, compatible: 3) { w in
            uuid.encode(into: &w)
            w.writeU64(incarnation)
            w.writeOptional(endpoint) { $1.encode(into: &$0) }
            w.writeBool(isUp)
            w.writeU32(reweight)
            w.writeU32(upFrom.rawValue)
            w.writeU32(upThru.rawValue)
            w.writeU32(downAt.rawValue)
            w.writeU32(primaryAffinity)
            w.writeU32(deadAt.rawValue)
            w.writeU32(lostAt.rawValue)
            w.writeBool(isAutomaticallyOut)
        }
    }
}
