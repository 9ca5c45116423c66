import CRUSH
import Wire

extension OSDMap {
    /// Which OSDs hold a placement group under one map.
    public struct Placement: Hashable, Sendable {
        /// Who is to hold it: what CRUSH chose, with the map's exceptions, without those that are down. In a pool that cannot
        /// shift (`Pool.canShift`) the place of one that is down is `OSDID.none`.
        public var up: [OSDID]
        /// The leader of the up set: the first of it unless primary affinity or a hole says otherwise.
        public var upPrimary: OSDID?
        /// Who serves; the same as `up` unless the map has a temporary set for the group.
        public var acting: [OSDID]
        /// Who orders the group's operations. The first of the acting set, but for a temporary primary and for pools that
        /// cannot shift.
        public var primary: OSDID?

        /// A placement led by the first of each set.
        public init(up: [OSDID], acting: [OSDID]) {
            self.init(
                up: up, upPrimary: up.first { $0 != .none }, acting: acting, primary: acting.first { $0 != .none })
        }

        /// A placement with these values.
        public init(up: [OSDID], upPrimary: OSDID?, acting: [OSDID], primary: OSDID?) {
            self.up = up
            self.upPrimary = upPrimary
            self.acting = acting
            self.primary = primary
        }
    }

    /// Room for the placement of one group, used again for the next: nothing is allocated once it has grown to the size of
    /// the pools asked for.
    public struct PlacementBuffer: Sendable {
        /// What CRUSH chose, without OSDs that do not exist.
        public internal(set) var raw: [OSDID] = []
        /// As `Placement.up`.
        public internal(set) var up: [OSDID] = []
        /// As `Placement.upPrimary`, `OSDID.none` for nobody.
        public internal(set) var upPrimary = OSDID.none
        /// As `Placement.acting`.
        public internal(set) var acting: [OSDID] = []
        /// As `Placement.primary`, `OSDID.none` for nobody.
        public internal(set) var primary = OSDID.none
        var chosen: [ItemID] = []

        /// Room for nothing yet.
        public init() {}

        /// The placement as a value of its own.
        public var placement: Placement {
            Placement(
                up: up, upPrimary: upPrimary == .none ? nil : upPrimary, acting: acting,
                primary: primary == .none ? nil : primary)
        }

        mutating func clear() {
            raw.removeAll(keepingCapacity: true)
            up.removeAll(keepingCapacity: true)
            acting.removeAll(keepingCapacity: true)
            (upPrimary, primary) = (.none, .none)
        }
    }
}

extension OSDMap {
    /// The OSDs of a group. Empty when the pool or the group does not exist, or its rule chooses none.
    public func placement(of group: PGID) -> Placement {
        var buffer = PlacementBuffer()
        if let pool = pools[group.pool] { place(group.seed, in: pool, into: &buffer) }
        return buffer.placement
    }

    /// The OSDs of every group of a pool, by seed: cheaper than one at a time.
    public func placements(of pool: Pool) -> [Placement] {
        var buffer = PlacementBuffer()
        return (0..<pool.groupCount).map { seed in
            place(seed, in: pool, into: &buffer)
            return buffer.placement
        }
    }

    /// Puts the OSDs of the group with this seed into `buffer`; empty sets when the pool has no such group. Bit for bit what
    /// `osdmaptool --test-map-pgs-dump-all` shows for the same map.
    ///
    /// In order: CRUSH chooses, what does not exist is left out (the raw set); upmaps replace; what is down is left out (the
    /// up set); primary affinity chooses who leads; a temporary set or primary stands for that in the acting set. Where
    /// a pool cannot shift, left out means a hole.
    public func place(_ seed: UInt32, in pool: Pool, into buffer: inout PlacementBuffer) {
        buffer.clear()
        guard seed < pool.groupCount else { return }
        let group = PGID(pool: pool.id, seed: seed)
        let input = pool.placementInput(ofGroup: seed)
        choose(input, pool, into: &buffer)
        // The up set is made of the raw one in place.
        buffer.up.append(contentsOf: buffer.raw)
        if !exceptions.upmaps.isEmpty || !exceptions.upmapItems.isEmpty { applyUpmaps(group, to: &buffer.up) }
        leaveOut(pool, &buffer.up) { $0.isUp }
        buffer.upPrimary = buffer.up.first { $0 != .none } ?? .none
        if osds.reluctant > 0 { applyAffinity(input, pool, &buffer) }
        applyTemporary(group, pool, &buffer)
    }

    /// The raw set. A rule that is for another kind or size of pool chooses nothing, as in Ceph 16.
    private func choose(_ input: UInt32, _ pool: Pool, into buffer: inout PlacementBuffer) {
        guard pool.ruleFits(in: crush) else { return }
        crush.map(
            rule: RuleID(pool.rule), input: input, count: Int(pool.size), weights: osds.reweights,
            pool: pool.id.rawValue, into: &buffer.chosen)
        for item in buffer.chosen { buffer.raw.append(item.osd ?? .none) }
        leaveOut(pool, &buffer.raw) { $0.exists }
    }

    /// Takes away, or makes holes of, what `keep` refuses.
    @inline(__always)
    private func leaveOut(_ pool: Pool, _ set: inout [OSDID], _ keep: (OSDTable.Traits) -> Bool) {
        if pool.canShift {
            var kept = 0
            for index in set.indices where keep(osds.traits(of: set[index])) {
                set[kept] = set[index]
                kept += 1
            }
            set.removeLast(set.count - kept)
        } else {
            for index in set.indices where !keep(osds.traits(of: set[index])) { set[index] = .none }
        }
    }

    /// An upmap with an OSD that is out is ignored as a whole, and then the group's items too, as in Ceph 16. An item is
    /// ignored when its target is out or in the set already, or when its source is not in the set. Items apply one after
    /// the other, so two OSDs cannot be exchanged.
    func applyUpmaps(_ group: PGID, to set: inout [OSDID]) {
        if let osds = exceptions.upmaps[group] {
            if osds.contains(where: { $0 != .none && self.osds.isOut($0) }) { return }
            set.removeAll(keepingCapacity: true)
            set.append(contentsOf: osds)
        }
        guard let items = exceptions.upmapItems[group] else { return }
        for item in items where item.to == .none || !osds.isOut(item.to) {
            guard !set.contains(item.to), let place = set.firstIndex(of: item.from) else { continue }
            set[place] = item.to
        }
    }

    /// Lets the first OSD lead that does not pass for this group: each passes for the share of groups that its affinity
    /// leaves, by a hash. When all pass, the first leads.
    private func applyAffinity(_ input: UInt32, _ pool: Pool, _ buffer: inout PlacementBuffer) {
        var leader = -1
        for (index, osd) in buffer.up.enumerated() where osd != .none {
            let affinity = osds.traits(of: osd).primaryAffinity
            let passes =
                affinity < OSDRecord.fullAffinity
                && CRUSHHash.hash(input, UInt32(bitPattern: osd.rawValue)) >> 16 >= affinity
            if !passes {
                leader = index
                break
            }
            if leader < 0 { leader = index }
        }
        guard leader >= 0 else { return }
        let osd = buffer.up[leader]
        buffer.upPrimary = osd
        guard pool.canShift, leader > 0 else { return }
        for index in stride(from: leader, to: 0, by: -1) { buffer.up[index] = buffer.up[index - 1] }
        buffer.up[0] = osd
    }

    /// A temporary set of which nobody is up does not count, and in a pool that can shift those that are down do not.
    private func applyTemporary(_ group: PGID, _ pool: Pool, _ buffer: inout PlacementBuffer) {
        if !exceptions.temporary.isEmpty, let temporary = exceptions.temporary[group] {
            buffer.acting.append(contentsOf: temporary)
            leaveOut(pool, &buffer.acting) { $0.isUp }
            buffer.primary = buffer.acting.first { $0 != .none } ?? .none
        }
        if !exceptions.temporaryPrimaries.isEmpty, let primary = exceptions.temporaryPrimaries[group] {
            buffer.primary = primary
        }
        guard buffer.acting.isEmpty else { return }
        buffer.acting.append(contentsOf: buffer.up)
        if buffer.primary == .none { buffer.primary = buffer.upPrimary }
    }
}
