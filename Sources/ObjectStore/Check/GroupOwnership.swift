import Protocol
import Wire

/// Which of the groups in a store each object belongs to.
///
/// The store is not told a pool's pg_num, and need not be: a group takes the hashes whose lowest bits are its seed, and when two
/// groups of the store fit, the one that fits in more bits is the object's, since the other one was split into it.
struct GroupOwnership {
    private var seeds: Set<PGID>
    private let widest: Int

    init(_ groups: [PGID]) {
        seeds = Set(groups)
        widest = groups.map { UInt32.bitWidth - $0.seed.leadingZeroBitCount }.max() ?? 0
    }

    /// The object's group; nil when no group of the store takes it.
    func group(of object: ObjectID) -> PGID? {
        for bits in (0...widest).reversed() {
            let mask = bits == 32 ? UInt32.max : (1 << UInt32(bits)) - 1
            let candidate = PGID(pool: object.pool, seed: object.hash & mask)
            if seeds.contains(candidate) { return candidate }
        }
        return nil
    }

    /// True when an object may be the group's, whatever the pool's pg_num is.
    static func mayHold(_ group: PGID, _ object: ObjectID) -> Bool {
        let bits = UInt32.bitWidth - group.seed.leadingZeroBitCount
        let mask = bits == 32 ? UInt32.max : (1 << UInt32(bits)) - 1
        return object.pool == group.pool && object.hash & mask == group.seed
    }

    /// The widest range of objects that may be the group's, in storage order.
    static func range(of group: PGID) -> ObjectRange {
        ObjectRange(pool: group.pool, seed: group.seed, bits: UInt32.bitWidth - group.seed.leadingZeroBitCount)
    }
}
