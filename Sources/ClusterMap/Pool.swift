import Wire

/// A pool: a name space of objects with its own replication.
public struct Pool: Hashable, Sendable {
    public var id: PoolID
    public var name: String
    /// Copies of every object.
    public var size: UInt8
    /// Copies that must be there before a group serves.
    public var minSize: UInt8
    /// Placement groups; objects are dealt to them by hash.
    public var groupCount: UInt32
    /// Placement groups as far as placement is concerned; follows `groupCount` when groups are split.
    public var placementGroupCount: UInt32
    /// The CRUSH rule, by its id.
    public var rule: Int32
    /// The epoch that brought the pool: no interval of its groups is older.
    public var created: Epoch
    /// What the pool is for, as `rbd` sets it with `pool init`; empty for none.
    public var application: String

    public init(
        id: PoolID, name: String, size: UInt8, minSize: UInt8, groupCount: UInt32, rule: Int32, created: Epoch,
        application: String = ""
    ) {
        self.id = id
        self.name = name
        self.size = size
        self.minSize = minSize
        self.groupCount = groupCount
        placementGroupCount = groupCount
        self.rule = rule
        self.created = created
        self.application = application
    }

    /// The group that holds objects of this hash.
    @inlinable
    public func group(ofHash hash: UInt32) -> PGID {
        PGID(pool: id, seed: Self.stableModulo(hash, groupCount))
    }

    /// All groups of the pool in order.
    public var groups: some Sequence<PGID> { (0..<groupCount).lazy.map { PGID(pool: id, seed: $0) } }

    /// The lowest bits of the hash that all objects of a group share: with a count that is no power of two, the groups
    /// that were not split yet have one bit less.
    public func bits(ofGroup seed: UInt32) -> Int {
        let bits = UInt32.bitWidth - (groupCount - 1).leadingZeroBitCount
        guard groupCount > 1 else { return 0 }
        let half = UInt32(1) << UInt32(bits - 1)
        return seed < half && seed + half >= groupCount ? bits - 1 : bits
    }

    /// `value` modulo `count` such that raising `count` by one moves only values of a single group: the modulo by the next
    /// power of two, halved where that is too large.
    @inlinable
    public static func stableModulo(_ value: UInt32, _ count: UInt32) -> UInt32 {
        let mask = count <= 1 ? 0 : UInt32.max >> UInt32((count - 1).leadingZeroBitCount)
        let low = value & mask
        return low < count ? low : value & (mask >> 1)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("pool", supported: 1) { r, _ throws(WireError) in
            var pool = Pool(
                id: PoolID(try r.readI64()), name: try r.readString(atMost: MapLimits.name), size: try r.readU8(),
                minSize: try r.readU8(), groupCount: try r.readU32(), rule: 0, created: .none)
            pool.placementGroupCount = try r.readU32()
            pool.rule = try r.readI32()
            pool.created = Epoch(try r.readU32())
            pool.application = try r.readString(atMost: MapLimits.name)
            guard (1...MapLimits.groupsPerPool).contains(pool.groupCount),
                (1...pool.groupCount).contains(pool.placementGroupCount),
                (1...MapLimits.poolSize).contains(pool.size), (1...pool.size).contains(pool.minSize)
            else { throw WireError("pool \(pool.id): size, min_size or pg_num out of range") }
            return pool
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeI64(id.rawValue)
            w.writeString(name)
            w.writeU8(size)
            w.writeU8(minSize)
            w.writeU32(groupCount)
            w.writeU32(placementGroupCount)
            w.writeI32(rule)
            w.writeU32(created.rawValue)
            w.writeString(application)
        }
    }
}
