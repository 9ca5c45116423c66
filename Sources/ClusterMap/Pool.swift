import CRUSH
import Wire

/// A pool: a name space of objects with its own replication.
public struct Pool: Hashable, Sendable {
    /// How a pool keeps its objects. The numbers are those of the kinds of CRUSH rules.
    public enum Kind: UInt8, Sendable {
        /// Whole copies: any OSD of a group can take the place of any other.
        case replicated = 1
        /// Shards that differ by their place in the set.
        case erasure = 3
    }

    /// The hash that deals the objects of a pool to its groups. The numbers are those of the field.
    public enum ObjectHash: UInt8, Sendable {
        /// The hash of file names in old Linux kernels, which only old pools have.
        case linux = 1
        /// Bob Jenkins' hash: the default.
        case rjenkins = 2
    }

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
    /// How the pool keeps its objects.
    public var kind: Kind = .replicated
    /// How objects are dealt to groups.
    public var objectHash: ObjectHash = .rjenkins
    /// Whether the pool's number is hashed into what CRUSH is asked, so that pools do not lie on top of each other (the flag
    /// `hashpspool`); only very old pools do without.
    public var hashesPoolNumber = true
    /// The pool's self-managed snapshots; nil when it never had one.
    public var snapshots: PoolSnapshots?
    /// A smaller `pg_num` that is wanted; nil when none is.
    public var lowering: Lowering?
    /// The newest merge of groups; nil when there was none.
    public var merge: Merge?

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

    /// True when the OSDs behind one that is down move up in a group's sets; false when it leaves a hole, because the places
    /// mean something.
    @inlinable public var canShift: Bool { kind == .replicated }

    /// The hash of an object's name in this pool.
    public func hash(of name: ObjectName) -> UInt32 {
        switch objectHash {
        case .rjenkins: StringHash.rjenkins(name.bytes)
        case .linux:
            name.bytes.reduce(UInt32(0)) { hash, byte in (hash &+ UInt32(byte) << 4 &+ UInt32(byte) >> 4) &* 11 }
        }
    }

    /// What CRUSH is asked for a group: its seed folded into the groups that placement knows, with the pool's number.
    func placementInput(ofGroup seed: UInt32) -> UInt32 {
        let folded = Self.stableModulo(seed, placementGroupCount)
        let number = UInt32(truncatingIfNeeded: id.rawValue)
        return hashesPoolNumber ? CRUSHHash.hash(folded, number) : folded &+ number
    }

    /// True when the pool's rule exists in `crush` and is for this kind and size of pool: one that is not chooses nothing.
    public func ruleFits(in crush: CRUSHMap) -> Bool {
        guard let rule = crush.rule(RuleID(rule)) else { return false }
        return rule.kind.rawValue == kind.rawValue && rule.minSize <= size && size <= rule.maxSize
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
    public func bits(ofGroup seed: UInt32) -> Int { Self.bits(ofGroup: seed, of: groupCount) }

    /// The same for one of `count` groups.
    public static func bits(ofGroup seed: UInt32, of count: UInt32) -> Int {
        let bits = UInt32.bitWidth - (count - 1).leadingZeroBitCount
        guard count > 1 else { return 0 }
        let half = UInt32(1) << UInt32(bits - 1)
        return seed < half && seed + half >= count ? bits - 1 : bits
    }

    /// `value` modulo `count` such that raising `count` by one moves only values of a single group: the modulo by the next
    /// power of two, halved where that is too large.
    @inlinable
    public static func stableModulo(_ value: UInt32, _ count: UInt32) -> UInt32 {
        let mask = count <= 1 ? 0 : UInt32.max >> UInt32((count - 1).leadingZeroBitCount)
        let low = value & mask
        return low < count ? low : value & (mask >> 1)
    }

    /// Version 2 appends kind, object hash and whether the pool's number is hashed, version 3 snapshots,
    /// version 4 how fewer groups are come to, of which version 5 leaves out how many there were.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("pool", supported: 5) { r, version throws(WireError) in
            var pool = Pool(
                id: PoolID(try r.readI64()), name: try r.readString(atMost: MapLimits.name), size: try r.readU8(),
                minSize: try r.readU8(), groupCount: try r.readU32(), rule: 0, created: .none)
            pool.placementGroupCount = try r.readU32()
            pool.rule = try r.readI32()
            pool.created = Epoch(try r.readU32())
            pool.application = try r.readString(atMost: MapLimits.name)
            if version >= 2 {
                let (kind, hash) = (try r.readU8(), try r.readU8())
                guard let kind = Kind(rawValue: kind), let hash = ObjectHash(rawValue: hash) else {
                    throw WireError("pool \(pool.id): kind \(kind) or object hash \(hash) is unknown")
                }
                (pool.kind, pool.objectHash) = (kind, hash)
                pool.hashesPoolNumber = try r.readBool()
                if version >= 3 {
                    pool.snapshots = try r.readOptional { r throws(WireError) in try PoolSnapshots(from: &r) }
                }
            }
            guard (1...MapLimits.groupsPerPool).contains(pool.groupCount),
                (1...pool.groupCount).contains(pool.placementGroupCount),
                (1...MapLimits.poolSize).contains(pool.size), (1...pool.size).contains(pool.minSize)
            else { throw WireError("pool \(pool.id): size, min_size or pg_num out of range") }
            if version >= 4 { try pool.readLowering(&r, version) }
            return pool
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(5, compatible: 5) { w in
            w.writeI64(id.rawValue)
            w.writeString(name)
            w.writeU8(size)
            w.writeU8(minSize)
            w.writeU32(groupCount)
            w.writeU32(placementGroupCount)
            w.writeI32(rule)
            w.writeU32(created.rawValue)
            w.writeString(application)
            w.writeU8(kind.rawValue)
            w.writeU8(objectHash.rawValue)
            w.writeBool(hashesPoolNumber)
            w.writeOptional(snapshots) { $1.encode(into: &$0) }
            encodeLowering(into: &w)
        }
    }
}
