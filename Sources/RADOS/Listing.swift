import ClusterMap
import Protocol
import Wire

/// Where a listing of a pool is: pools are gone through in the order of storage, whatever groups there are meanwhile. So a group
/// that is split or merged on the way leaves nothing out.
public struct ListingPosition: Hashable, Sendable {
    /// The objects of this reversed hash and of greater ones are to come.
    public var reversedHash: UInt32
    /// Of these, the objects after this one.
    public var after: ObjectID?

    /// The first object of a reversed hash.
    public init(_ reversedHash: UInt32) { self.reversedHash = reversedHash }

    /// What comes after an object.
    public init(after object: ObjectID) {
        reversedHash = object.reversedHash
        after = object
    }

    /// The group that has the objects of the position, of so many.
    public func seed(of count: UInt32) -> UInt32 { Pool.stableModulo(reversedHash.bitReversed, count) }

    /// The request to that group for what comes next.
    public func step(_ seed: UInt32, of count: UInt32, in pool: PoolID, prefix: Bytes, limit: UInt32) -> ObjectOperation
    {
        var after = after
        let range = ObjectRange(pool: pool, seed: seed, bits: Pool.bits(ofGroup: seed, of: count))
        if after == nil, range.firstReversedHash != reversedHash {
            // Before every object of the hash: no object has this snapshot.
            after = ObjectID(pool: pool, hash: reversedHash.bitReversed, name: ObjectName("\0"), snap: .none)
        }
        return .listObjects(after: after, prefix: prefix, limit: limit)
    }
}

/// A part of a pool's objects.
public struct ObjectListing: Sendable {
    /// The names found.
    public var names: [ObjectName]
    /// Where to go on; nil at the end of the pool.
    public var next: ListingPosition?

    /// What a group has answered to `ListingPosition.step`. Nil when the position is another group's by now.
    public init?(decoding output: Bytes, of seed: UInt32, in pool: PoolID, from position: ListingPosition)
        throws(WireError)
    {
        var reader = ByteReader(output)
        names = try reader.readArray(atMost: Int(OperationLimits.listing)) { r throws(WireError) in
            try ObjectName(from: &r)
        }
        let last = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
        let bits = Int(try reader.readU8())
        try reader.expectEnd()
        guard bits <= 32, bits == 32 || seed >> UInt32(bits) == 0 else {
            throw WireError("group \(seed) has \(bits) bits")
        }
        let range = ObjectRange(pool: pool, seed: seed, bits: bits)
        guard (range.firstReversedHash...range.lastReversedHash).contains(position.reversedHash) else { return nil }
        if let last {
            guard last.reversedHash >= position.reversedHash else { throw WireError("a listing goes back to \(last)") }
            next = ListingPosition(after: last)
        } else {
            next = range.lastReversedHash == .max ? nil : ListingPosition(range.lastReversedHash + 1)
        }
    }
}

extension ObjectPool {
    /// The reversed hashes of the objects of each group that there is now, in order: parts of a pool that can be gone through
    /// side by side.
    public func parts() async throws(RADOSError) -> [ClosedRange<UInt32>] {
        let count = try await groupCount()
        return (0..<count).map { seed in
            let range = ObjectRange(pool: PoolID(0), seed: seed, bits: Pool.bits(ofGroup: seed, of: count))
            return range.firstReversedHash...range.lastReversedHash
        }.sorted { $0.lowerBound < $1.lowerBound }
    }
}
