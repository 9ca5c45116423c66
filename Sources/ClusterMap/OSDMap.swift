import CRUSH
import Wire

/// The state of the cluster that everyone must agree on: which OSDs there are, which pools, and how objects are placed.
///
/// A value; one epoch of it never changes. The monitors make the next epoch as an `Increment`, and applying the same
/// increment to the same map gives the same bytes everywhere, which the checksum in the increment verifies.
public struct OSDMap: Sendable {
    public var cluster: UniqueID
    public var epoch: Epoch
    public var pools: [PoolID: Pool]
    /// The number the next pool gets; numbers are never used twice.
    public var nextPool: PoolID
    public var osds: OSDTable
    public var crush: CRUSHMap
    /// Groups that are not, or not only, where CRUSH puts them.
    public var exceptions: GroupExceptions
    /// Runs of clients that nothing is done for, with the second of the monitors' clock in which that ends.
    public var blocklist: [UInt64: UInt64] = [:]

    /// The map before the first epoch: no OSDs, no pools.
    public init(cluster: UniqueID, crush: CRUSHMap) {
        self.cluster = cluster
        self.crush = crush
        epoch = .none
        pools = [:]
        nextPool = PoolID(1)
        osds = OSDTable()
        exceptions = GroupExceptions()
    }

    public func pool(named name: String) -> Pool? { pools.values.first { $0.name == name } }

    /// The pools by number.
    public var poolsInOrder: [Pool] { pools.values.sorted { $0.id < $1.id } }

    /// The OSDs by number.
    public var osdsInOrder: [(id: OSDID, record: OSDRecord)] {
        osds.map { ($0.key, $0.value) }
    }

    /// True when the OSD exists and is up.
    public func isUp(_ osd: OSDID) -> Bool { osds.traits(of: osd).isUp }

    // MARK: Encoding

    /// Version 2 appends the exceptions of groups, version 3 the blocklist.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("OSD map", supported: 3) { r, version throws(WireError) in
            let cluster = try UniqueID(from: &r)
            let epoch = Epoch(try r.readU32())
            let nextPool = PoolID(try r.readI64())
            let pools = try r.readArray(atMost: MapLimits.pools) { r throws(WireError) in try Pool(from: &r) }
            let osds = try r.readArray(atMost: MapLimits.osds) { r throws(WireError) in
                (try Self.osdNumber(from: &r), try OSDRecord(from: &r))
            }
            var map = OSDMap(cluster: cluster, crush: try CRUSHMap(from: &r))
            map.epoch = epoch
            map.nextPool = nextPool
            for pool in pools where map.pools.updateValue(pool, forKey: pool.id) != nil {
                throw WireError("pool \(pool.id) stands twice in the map")
            }
            for (id, record) in osds {
                guard map.osds[id] == nil else { throw WireError("\(id) stands twice in the map") }
                map.osds[id] = record
            }
            if version >= 2 { map.exceptions = try GroupExceptions(from: &r) }
            if version >= 3 { map.blocklist = try Self.blocklist(from: &r) }
            return map
        }
    }

    /// The number of an OSD, in range.
    static func osdNumber(from reader: inout ByteReader) throws(WireError) -> OSDID {
        let id = OSDID(try reader.readI32())
        guard OSDID.valid.contains(id.rawValue) else {
            throw WireError("OSD number \(id.rawValue) is not from 0 to \(MapLimits.osds - 1)")
        }
        return id
    }

    static func blocklist(from reader: inout ByteReader) throws(WireError) -> [UInt64: UInt64] {
        let entries = try reader.readArray(atMost: MapLimits.blocklist) { r throws(WireError) in
            (client: try r.readU64(), end: try r.readU64())
        }
        return Dictionary(entries.map { ($0.client, $0.end) }) { $1 }
    }

    static func encode(blocklist: [UInt64: UInt64], into writer: inout ByteWriter) {
        writer.writeArray(blocklist.sorted { $0.key < $1.key }) { w, entry in
            w.writeU64(entry.key)
            w.writeU64(entry.value)
        }
    }

    public init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.expectEnd()
    }

    /// Deterministic: equal maps give equal bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.versioned(3, compatible: 3) { w in
            cluster.encode(into: &w)
            w.writeU32(epoch.rawValue)
            w.writeI64(nextPool.rawValue)
            w.writeArray(poolsInOrder) { $1.encode(into: &$0) }
            w.writeArray(osdsInOrder) { w, osd in
                w.writeI32(osd.id.rawValue)
                osd.record.encode(into: &w)
            }
            crush.encode(into: &w)
            exceptions.encode(into: &w)
            Self.encode(blocklist: blocklist, into: &w)
        }
    }

    public var encoded: Bytes { Bytes.encoding(capacity: 4096) { encode(into: &$0) } }
}
