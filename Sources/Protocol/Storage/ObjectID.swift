import Wire

/// An object in the cluster: which pool, which name, which snapshot of it, with the hash that places it.
///
/// `hash` is a function of the name (the string hash of the field); it is carried along because it is needed at every
/// lookup. Equality and order are those of storage: pool, bit-reversed hash, name, snapshot. In that order the objects of a
/// placement group are one range, and splitting a group moves none of them.
public struct ObjectID: Sendable {
    public let pool: PoolID
    public let hash: UInt32
    public let name: ObjectName
    public let snap: SnapID

    @inlinable
    public init(pool: PoolID, hash: UInt32, name: ObjectName, snap: SnapID = .head) {
        self.pool = pool
        self.hash = hash
        self.name = name
        self.snap = snap
    }

    /// The same object as it is now.
    @inlinable
    public var head: ObjectID { at(.head) }

    /// The same object in another version: the head, or one of its clones.
    @inlinable
    public func at(_ snap: SnapID) -> ObjectID { ObjectID(pool: pool, hash: hash, name: name, snap: snap) }

    /// True when both are versions of one object: the head and its clones, which stand side by side in storage order.
    @inlinable
    public func isSameObject(as other: ObjectID) -> Bool {
        hash == other.hash && pool == other.pool && name == other.name
    }

    /// The hash with its bits in reverse order: the major sort key within a pool.
    @inlinable
    public var reversedHash: UInt32 { hash.bitReversed }

    @inlinable
    public init(from reader: inout ByteReader) throws(WireError) {
        pool = PoolID(try reader.readI64())
        hash = try reader.readU32()
        name = try ObjectName(from: &reader)
        snap = SnapID(try reader.readU64())
    }

    @inlinable
    public func encode(into writer: inout ByteWriter) {
        writer.writeI64(pool.rawValue)
        writer.writeU32(hash)
        name.encode(into: &writer)
        writer.writeU64(snap.rawValue)
    }
}

extension ObjectID: Hashable {
    @inlinable
    public static func == (left: ObjectID, right: ObjectID) -> Bool {
        left.hash == right.hash && left.pool == right.pool && left.snap == right.snap && left.name == right.name
    }

    /// The placement hash is already well mixed, so it alone goes into the hasher.
    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(hash)
    }
}

extension ObjectID: Comparable {
    public static func < (left: ObjectID, right: ObjectID) -> Bool {
        if left.pool != right.pool { return left.pool < right.pool }
        if left.hash != right.hash { return left.reversedHash < right.reversedHash }
        if left.name != right.name { return left.name < right.name }
        return left.snap < right.snap
    }
}

extension ObjectID: CustomStringConvertible {
    public var description: String { snap == .head ? "\(pool):\(name)" : "\(pool):\(name)@\(snap)" }
}

extension UInt32 {
    /// The bits in reverse order.
    @inlinable
    public var bitReversed: UInt32 {
        var v = self
        v = ((v >> 1) & 0x5555_5555) | ((v & 0x5555_5555) << 1)
        v = ((v >> 2) & 0x3333_3333) | ((v & 0x3333_3333) << 2)
        v = ((v >> 4) & 0x0f0f_0f0f) | ((v & 0x0f0f_0f0f) << 4)
        return v.byteSwapped
    }
}

/// The objects of one placement group: those of `pool` whose hash has `seed` in its lowest `bits` bits. In bit-reversed
/// order that is one contiguous range.
public struct ObjectRange: Hashable, Sendable {
    public let pool: PoolID
    public let seed: UInt32
    public let bits: Int

    public init(pool: PoolID, seed: UInt32, bits: Int) {
        precondition(
            bits >= 0 && bits <= 32 && (bits == 32 || seed >> UInt32(bits) == 0), "seed \(seed) in \(bits) bits")
        self.pool = pool
        self.seed = seed
        self.bits = bits
    }

    /// The least reversed hash in the range.
    public var firstReversedHash: UInt32 { seed.bitReversed }
    /// The greatest reversed hash in the range.
    public var lastReversedHash: UInt32 {
        bits == 0 ? .max : seed.bitReversed | (bits == 32 ? 0 : UInt32.max >> UInt32(bits))
    }

    public func contains(_ object: ObjectID) -> Bool {
        object.pool == pool && object.reversedHash >= firstReversedHash && object.reversedHash <= lastReversedHash
    }
}
