import CRUSH
import Wire

/// One pool while it is balanced: where the copies of its groups are, and how many each OSD should have.
///
/// Judged as if every OSD that is in were up, since one that is down for a while keeps its place. An OSD that is down neither
/// gives nor gets.
struct PoolBalance {
    let pool: Pool
    let shape: RuleShape
    /// What CRUSH chooses for each group.
    private(set) var raw: [[OSDID]] = []
    /// The replacements of each group.
    private(set) var items: [[UpmapItem]] = []
    /// Where each group is with them.
    private(set) var current: [[OSDID]] = []
    /// Where each group was at the beginning.
    private(set) var start: [[OSDID]] = []
    /// The groups that an OSD holds a copy of, by number of the OSD.
    private(set) var holders: [[UInt32]]
    /// How many copies more than its ideal each OSD has; 0 for those that do not take part.
    private(set) var surplus: [Double]
    /// The ideal number of copies of each OSD.
    private(set) var ideals: [Double]
    /// Whether the OSD can give and get copies of this pool.
    private(set) var takesPart: [Bool]
    /// Domains that cannot hold what their weight asks for.
    private(set) var bindings: [BalancePlan.Binding] = []

    init(_ pool: Pool, in map: OSDMap) throws(BalanceError) {
        if let lowering = pool.lowering {
            throw BalanceError("it is on its way to \(lowering.target) groups: balance it when it has come there")
        }
        self.pool = pool
        shape = try RuleShape(of: pool, in: map.crush)
        let count = map.osds.reweights.count
        holders = Array(repeating: [], count: count)
        surplus = Array(repeating: 0, count: count)
        ideals = Array(repeating: 0, count: count)
        takesPart = Array(repeating: false, count: count)
        for (osd, record) in map.osds { takesPart[Int(osd.rawValue)] = record.isUp && record.isIn }
        place(map)
        for part in shape.parts.indices { share(part, map) }
        for osd in surplus.indices where takesPart[osd] { surplus[osd] = Double(holders[osd].count) - ideals[osd] }
    }

    private mutating func place(_ map: OSDMap) {
        var bare = map
        bare.exceptions = GroupExceptions()
        var buffer = OSDMap.PlacementBuffer()
        for seed in 0..<pool.groupCount {
            let group = PGID(pool: pool.id, seed: seed)
            bare.place(seed, in: pool, into: &buffer)
            var base = buffer.raw
            if let list = map.exceptions.upmaps[group], !list.contains(where: { $0 != .none && map.osds.isOut($0) }) {
                base = list
            }
            // Only what counts is kept; what is ignored is no part of the balance and goes with the next change.
            let (kept, set) = map.effective(map.exceptions.upmapItems[group] ?? [], on: base, shape)
            raw.append(base)
            items.append(Self.joined(kept))
            current.append(set)
            start.append(map.placedAsIfUp(base, group))
            for osd in set where osd != .none { holders[Int(osd.rawValue)].append(seed) }
        }
    }

    /// `a->b` and `b->c` as `a->c`.
    private static func joined(_ items: [UpmapItem]) -> [UpmapItem] {
        var joined: [UpmapItem] = []
        for item in items {
            if let index = joined.firstIndex(where: { $0.to == item.from }) {
                joined[index].to = item.to
            } else {
                joined.append(item)
            }
        }
        return joined.filter { $0.from != $0.to }
    }

    // MARK: Ideals

    /// Deals the copies that a part of the rule has on OSDs that take part to these by weight and reweight, no domain more
    /// than it can hold: a copy on an OSD that does not take part keeps its place in the domains above.
    private mutating func share(_ number: Int, _ map: OSDMap) {
        let part = shape.parts[number]
        var weights: [Double] = Array(repeating: 0, count: part.domains.count)
        var below: [[OSDID]] = Array(repeating: [], count: part.domains.count)
        var top: [OSDID] = []
        var copies = 0.0
        var kept = [Int](repeating: 0, count: part.domains.count)
        for osd in part.osds where takesPart.indices.contains(Int(osd.rawValue)) {
            guard let place = shape.place(of: osd) else { continue }
            let held = holders[Int(osd.rawValue)].count
            guard takesPart[Int(osd.rawValue)] else {
                var domain = place.domain
                while domain >= 0 {
                    kept[domain] += held
                    domain = part.domains[domain].parent
                }
                continue
            }
            copies += Double(held)
            if place.domain < 0 { top.append(osd) } else { below[place.domain].append(osd) }
            var domain = place.domain
            while domain >= 0 {
                weights[domain] += weight(osd, map)
                domain = part.domains[domain].parent
            }
        }
        var shares: [Double] = Array(repeating: 0, count: part.domains.count)
        for level in part.levels.indices {
            let limit = part.levels[level].capacity * Int(pool.groupCount)
            let parents = level == 0 ? [-1] : part.domains.indices.filter { part.domains[$0].level == level - 1 }
            for parent in parents {
                let children = part.domains.indices.filter {
                    part.domains[$0].level == level && part.domains[$0].parent == parent
                }
                let amount = parent < 0 ? copies : shares[parent]
                let limits = children.map { Double(max(0, limit - kept[$0])) }
                let dealt = Self.deal(amount, children.map { weights[$0] }, limits)
                for (child, share) in zip(children, dealt.shares) { shares[child] = share }
                for index in dealt.bound {
                    let bucket = part.domains[children[index]].bucket
                    let (wants, capacity) = (dealt.wants[index], part.levels[level].capacity)
                    bind(bucket, wants: wants, holds: limit, kept: kept[children[index]], capacity: capacity, map)
                }
            }
        }
        deal(copies, to: top, map)
        for domain in part.domains.indices { deal(shares[domain], to: below[domain], map) }
    }

    private mutating func deal(_ amount: Double, to osds: [OSDID], _ map: OSDMap) {
        guard !osds.isEmpty else { return }
        let limits = osds.map { _ in Double(pool.groupCount) }
        let dealt = Self.deal(amount, osds.map { weight($0, map) }, limits)
        for (osd, share) in zip(osds, dealt.shares) { ideals[Int(osd.rawValue)] = share }
        for index in dealt.bound {
            let (item, wants) = (ItemID(osds[index]), dealt.wants[index])
            bind(item, wants: wants, holds: Int(pool.groupCount), kept: 0, capacity: 1, map)
        }
    }

    private func weight(_ osd: OSDID, _ map: OSDMap) -> Double {
        Double(shape.place(of: osd)?.weight ?? 0) * Double(map.osds.reweights[Int(osd.rawValue)].rawValue) / 65536
    }

    private mutating func bind(
        _ item: ItemID, wants: Double, holds: Int, kept: Int, capacity: Int, _ map: OSDMap
    ) {
        guard wants > Double(holds - kept) + 1 else { return }
        let bucket = map.crush.bucket(item)
        let type = bucket.flatMap { map.crush.types[$0.type] } ?? "osd"
        let name = bucket?.name ?? item.osd?.description ?? "\(item)"
        bindings.append(
            BalancePlan.Binding(
                pool: pool.id, domain: name,
                reason: "pool '\(pool.name)': the weight of \(type) '\(name)' asks for \(Int(wants.rounded())) copies, "
                    + "but a group may have \(capacity) of its \(pool.size) there, which makes \(holds)"
                    + (kept == 0 ? "" : ", \(kept) of them on OSDs that are down")))
    }

    /// Deals an amount by weight, nobody more than their limit; what those at the limit cannot hold goes to the others.
    private static func deal(
        _ amount: Double, _ weights: [Double], _ limits: [Double]
    ) -> (shares: [Double], bound: [Int], wants: [Double]) {
        let total = weights.reduce(0, +)
        guard total > 0 else { return (weights.map { _ in 0 }, [], weights.map { _ in 0 }) }
        let wants = weights.map { amount * $0 / total }
        var shares = wants
        var bound: Set<Int> = []
        while true {
            let free = weights.indices.filter { !bound.contains($0) }
            let weight = free.reduce(0) { $0 + weights[$1] }
            let rest = amount - bound.reduce(0) { $0 + limits[$1] }
            var isDone = true
            for index in free where weight > 0 {
                shares[index] = max(0, rest) * weights[index] / weight
                if shares[index] > limits[index] {
                    bound.insert(index)
                    isDone = false
                }
            }
            for index in bound { shares[index] = limits[index] }
            if isDone { return (shares, bound.sorted(), wants) }
        }
    }

    // MARK: Moves

    /// True when the copy of a group on `source` can go to `target`.
    func allows(_ seed: UInt32, from source: OSDID, to target: OSDID) -> Bool {
        let group = Int(seed)
        guard shape.allows(current[group], replacing: source, by: target) else { return false }
        guard raw[group].contains(target), !isHome(group, source, target) else { return true }
        // The target's own copy was moved away. In a pool of shards the places mean something, and an exchange would move
        // both.
        return pool.canShift
    }

    /// True when the target's place in CRUSH's choice is the one that the source has now.
    private func isHome(_ group: Int, _ source: OSDID, _ target: OSDID) -> Bool {
        items[group].contains { $0.from == target && $0.to == source }
    }

    /// Moves the copy of a group.
    mutating func move(_ seed: UInt32, from source: OSDID, to target: OSDID) {
        let group = Int(seed)
        guard let place = current[group].firstIndex(of: source) else {
            preconditionFailure("\(pool.id).\(seed) has no copy on \(source)")
        }
        current[group][place] = target
        let index = items[group].firstIndex { $0.to == source }
        let other = items[group].firstIndex { $0.from == target }
        switch (index, other) {
        case (let index?, let other?) where index == other: items[group].remove(at: index)
        case (let index?, let other?):
            items[group][index].to = items[group][other].to
            items[group].remove(at: other)
        case (let index?, nil): items[group][index].to = target
        case (nil, let other?): items[group][other].from = source
        case (nil, nil): items[group].append(UpmapItem(from: source, to: target))
        }
        if let index = holders[Int(source.rawValue)].firstIndex(of: seed) {
            holders[Int(source.rawValue)].swapAt(index, holders[Int(source.rawValue)].count - 1)
            holders[Int(source.rawValue)].removeLast()
        }
        holders[Int(target.rawValue)].append(seed)
        if takesPart[Int(source.rawValue)] { surplus[Int(source.rawValue)] -= 1 }
        if takesPart[Int(target.rawValue)] { surplus[Int(target.rawValue)] += 1 }
    }

    /// How little is lost by moving this copy: the more the better. A copy that was moved before moves only once in the
    /// end; one that goes home needs no exception any more.
    func preference(_ seed: UInt32, from source: OSDID, to target: OSDID) -> Int {
        let group = Int(seed)
        if !start[group].contains(source) { return start[group].contains(target) ? 3 : 2 }
        return isHome(group, source, target) ? 1 : 0
    }
}

extension OSDMap {
    /// A raw set with the group's replacements, all OSDs taken for up.
    func placedAsIfUp(_ raw: [OSDID], _ group: PGID) -> [OSDID] {
        var set = raw
        applyUpmaps(group, to: &set)
        return set
    }
}
