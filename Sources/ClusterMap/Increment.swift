import CRUSH
import Wire

extension OSDMap {
    /// What changes from one epoch to the next. Whole records replace whole records, so an increment means the same
    /// whoever applies it.
    public struct Increment: Sendable {
        /// The epoch that this increment makes.
        public var epoch: Epoch
        public var pools: [Pool] = []
        public var removedPools: [PoolID] = []
        public var nextPool: PoolID?
        public var osds: [OSDID: OSDRecord] = [:]
        public var removedOSDs: [OSDID] = []
        public var crush: CRUSHMap?
        /// Groups whose exceptions change: an empty list, or `OSDID.none` for a primary, takes the entry out.
        public var exceptions = GroupExceptions()
        /// Runs of clients that are blocklisted, with the second in which that ends; 0 takes the entry out.
        public var blocklist: [UInt64: UInt64] = [:]
        /// CRC-32C of the full encoding of the map it makes; a map that differs is dropped and fetched whole.
        public var resultChecksum: UInt32 = 0

        public init(epoch: Epoch) {
            self.epoch = epoch
        }

        /// True when nothing changes.
        public var isEmpty: Bool {
            pools.isEmpty && removedPools.isEmpty && nextPool == nil && osds.isEmpty && removedOSDs.isEmpty
                && crush == nil && exceptions.isEmpty && blocklist.isEmpty
        }

        /// Version 2 puts the exceptions of groups before the checksum, version 3 the blocklist after them.
        public init(from reader: inout ByteReader) throws(WireError) {
            self = try reader.versioned("map increment", supported: 3) { r, version throws(WireError) in
                var increment = Increment(epoch: Epoch(try r.readU32()))
                increment.pools = try r.readArray(atMost: MapLimits.pools) { r throws(WireError) in try Pool(from: &r) }
                increment.removedPools = try r.readArray(atMost: MapLimits.pools) { r throws(WireError) in
                    PoolID(try r.readI64())
                }
                increment.nextPool = try r.readOptional { r throws(WireError) in PoolID(try r.readI64()) }
                let osds = try r.readArray(atMost: MapLimits.osds) { r throws(WireError) in
                    (try OSDMap.osdNumber(from: &r), try OSDRecord(from: &r))
                }
                for (id, record) in osds { increment.osds[id] = record }
                increment.removedOSDs = try r.readArray(atMost: MapLimits.osds) { r throws(WireError) in
                    try OSDMap.osdNumber(from: &r)
                }
                increment.crush = try r.readOptional { r throws(WireError) in try CRUSHMap(from: &r) }
                if version >= 2 { increment.exceptions = try GroupExceptions(from: &r) }
                if version >= 3 { increment.blocklist = try OSDMap.blocklist(from: &r) }
                increment.resultChecksum = try r.readU32()
                return increment
            }
        }

        public init(decoding bytes: Bytes) throws(WireError) {
            var reader = ByteReader(bytes)
            try self.init(from: &reader)
            try reader.expectEnd()
        }

        public func encode(into writer: inout ByteWriter) {
            writer.versioned(3, compatible: 3) { w in
                w.writeU32(epoch.rawValue)
                w.writeArray(pools) { $1.encode(into: &$0) }
                w.writeArray(removedPools) { $0.writeI64($1.rawValue) }
                w.writeOptional(nextPool) { $0.writeI64($1.rawValue) }
                w.writeArray(osds.sorted { $0.key < $1.key }) { w, osd in
                    w.writeI32(osd.key.rawValue)
                    osd.value.encode(into: &w)
                }
                w.writeArray(removedOSDs) { $0.writeI32($1.rawValue) }
                w.writeOptional(crush) { $1.encode(into: &$0) }
                exceptions.encode(into: &w)
                OSDMap.encode(blocklist: blocklist, into: &w)
                w.writeU32(resultChecksum)
            }
        }

        public var encoded: Bytes { Bytes.encoding { encode(into: &$0) } }
    }

    /// Why an increment does not make the next map; the answer to either is to fetch the full map.
    public enum IncrementError: Error, Hashable, Sendable {
        case wrongEpoch(have: Epoch, increment: Epoch)
        case wrongResult(Epoch)
    }

    /// The map with `increment` applied, in the order of its fields; not yet checked against its checksum.
    public func changed(by increment: Increment) -> OSDMap {
        var map = self
        map.epoch = increment.epoch
        for pool in increment.pools { map.pools[pool.id] = pool }
        for pool in increment.removedPools {
            map.pools[pool] = nil
            map.exceptions.removeAll(of: pool)
        }
        if let next = increment.nextPool { map.nextPool = next }
        for (id, record) in increment.osds { map.osds[id] = record }
        for id in increment.removedOSDs { map.osds[id] = nil }
        if let crush = increment.crush { map.crush = crush }
        map.exceptions.apply(increment.exceptions)
        for (client, end) in increment.blocklist { map.blocklist[client] = end == 0 ? nil : end }
        return map
    }

    /// The next map, verified.
    public func applying(_ increment: Increment) throws(IncrementError) -> OSDMap {
        guard increment.epoch == epoch.next else { throw .wrongEpoch(have: epoch, increment: increment.epoch) }
        let map = changed(by: increment)
        guard Checksum.crc32c(map.encoded) == increment.resultChecksum else { throw .wrongResult(increment.epoch) }
        return map
    }
}
