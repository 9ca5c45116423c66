import CRUSH
import Wire

extension OSDMap {
    /// Which OSDs hold a placement group under one map.
    public struct Placement: Hashable, Sendable {
        /// What CRUSH chose, without those that are down; primary first.
        public var up: [OSDID]
        /// Who serves; the same as `up` unless the map says otherwise.
        public var acting: [OSDID]
        /// The first of the acting set orders the group's operations.
        public var primary: OSDID? { acting.first }

        public init(up: [OSDID], acting: [OSDID]) {
            self.up = up
            self.acting = acting
        }
    }
}

extension OSDMap {
    /// Reweights by OSD number, as CRUSH takes them: what does not exist is out.
    var reweights: [CRUSHWeight] {
        let count = osds.keys.map { Int($0.rawValue) + 1 }.max() ?? 0
        var weights = [CRUSHWeight](repeating: .zero, count: count)
        for (id, record) in osds where id.rawValue >= 0 { weights[Int(id.rawValue)] = CRUSHWeight(record.reweight) }
        return weights
    }

    /// What CRUSH is asked for a group: the seed folded into the groups that placement knows, hashed with the pool's number so
    /// that pools do not lie on top of each other.
    static func placementSeed(_ pool: Pool, _ seed: UInt32) -> UInt32 {
        CRUSHHash.hash(
            Pool.stableModulo(seed, pool.placementGroupCount), UInt32(truncatingIfNeeded: pool.id.rawValue))
    }

    /// The OSDs of a group. Empty when the pool does not exist or its rule chooses none.
    public func placement(of group: PGID) -> Placement {
        placement(of: group, reweights: reweights)
    }

    private func placement(of group: PGID, reweights: [CRUSHWeight]) -> Placement {
        guard let pool = pools[group.pool] else { return Placement(up: [], acting: []) }
        var chosen: [ItemID] = []
        crush.map(
            rule: RuleID(pool.rule), input: Self.placementSeed(pool, group.seed), count: Int(pool.size),
            weights: reweights, into: &chosen)
        let up = chosen.compactMap(\.osd).filter { osds[$0]?.isUp == true }
        return Placement(up: up, acting: up)
    }

    /// The OSDs of every group of a pool, by seed: cheaper than one at a time.
    public func placements(of pool: Pool) -> [Placement] {
        let weights = reweights
        return pool.groups.map { placement(of: $0, reweights: weights) }
    }
}
