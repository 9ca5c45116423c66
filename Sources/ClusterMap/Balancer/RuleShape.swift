import CRUSH
import Wire

/// What a rule demands of the OSDs of a group, laid out so that replacing one of them can be judged without asking CRUSH.
///
/// A rule is one or more parts of take, choose steps and emit. Each choose step before the OSDs is a level: the group's OSDs
/// are in so many different domains of a type, and each domain holds so many of them.
struct RuleShape {
    /// A choose step above the OSDs.
    struct Level {
        /// The most domains that a group's OSDs may be in, within one domain of the level above.
        var domains: Int
        /// The most OSDs of a group in one domain.
        var capacity: Int
    }

    /// A domain of a level, or the whole part.
    struct Domain {
        var bucket: ItemID
        /// The domain of the level above; -1 below the whole.
        var parent: Int
        var level: Int
    }

    /// From take to emit.
    struct Part {
        /// How many OSDs of a group it chooses.
        var copies: Int
        var levels: [Level] = []
        var take: ItemID
        var domains: [Domain] = []
        /// The OSDs that it can choose.
        var osds: [OSDID] = []
    }

    /// Where an OSD stands in the rule.
    struct Place {
        /// The part that can choose it; -1 when none can.
        var part = -1
        /// The number of its domain in the part on the lowest level; -1 when there is no level.
        var domain = -1
        var weight: UInt32 = 0
    }

    private(set) var parts: [Part] = []
    /// By number of the OSD.
    private var places: [Place] = []

    /// The shape of a pool's rule. Throws when replacements in it cannot be judged, with the reason.
    init(of pool: Pool, in crush: CRUSHMap) throws(BalanceError) {
        guard let rule = crush.rule(RuleID(pool.rule)), pool.ruleFits(in: crush) else {
            throw BalanceError("pool '\(pool.name)': its rule \(pool.rule) does not exist or is not for such a pool")
        }
        var open: (take: ItemID, steps: [(count: Int, type: TypeID, leaf: Bool)])?
        var left = Int(pool.size)
        for step in rule.steps {
            if case .take(let item) = step {
                open = (item, [])
            } else if let choice = Self.choice(step) {
                open?.steps.append((choice.count > 0 ? choice.count : choice.count + left, choice.type, choice.leaf))
            } else if case .emit = step {
                guard let (take, steps) = open, left > 0 else { continue }
                try add(take, steps, left: &left, pool, crush)
                open = nil
            }
        }
        guard parts.contains(where: { !$0.osds.isEmpty }) else {
            throw BalanceError("pool '\(pool.name)': its rule '\(rule.name)' chooses no OSDs")
        }
    }

    private static func choice(_ step: Rule.Step) -> (count: Int, type: TypeID, leaf: Bool)? {
        switch step {
        case .chooseFirstN(let count, let type), .chooseIndep(let count, let type): (Int(count), type, false)
        case .chooseLeafFirstN(let count, let type), .chooseLeafIndep(let count, let type): (Int(count), type, true)
        case .take, .emit, .setChooseTries, .setChooseLeafTries, .setChooseLocalTries, .setChooseLocalFallbackTries,
            .setChooseLeafVaryR, .setChooseLeafStable:
            nil
        }
    }

    private mutating func add(
        _ take: ItemID, _ steps: [(count: Int, type: TypeID, leaf: Bool)], left: inout Int, _ pool: Pool,
        _ crush: CRUSHMap
    ) throws(BalanceError) {
        let all = steps.reduce(1) { $0 * max($1.count, 0) }
        guard let last = steps.last, last.leaf || last.type == .osd, all > 0 else { return }
        var part = Part(copies: min(all, left), take: take)
        left -= part.copies
        var below = all
        var types: [TypeID] = []
        for step in steps where step.type != .osd {
            below /= step.count
            part.levels.append(Level(domains: step.count, capacity: below))
            types.append(step.type)
        }
        guard let root = crush.bucket(take) else { return }
        var seen: Set<ItemID> = []
        do throws(TwoWays) {
            try walk(root, level: 0, parent: -1, types, crush, &part, &seen)
        } catch {
            let name = crush.name(of: error.item) ?? "\(error.item)"
            throw BalanceError(
                "pool '\(pool.name)': its rule can reach '\(name)' in two ways, so its groups cannot be balanced")
        }
        parts.append(part)
    }

    /// A bucket or an OSD stands twice below what a rule takes.
    private struct TwoWays: Error { var item: ItemID }

    /// Finds the domains and the OSDs below a bucket. Throws at the first item that it comes to a second time, or buckets that
    /// stand in several places would multiply from level to level. Recursion is bounded by `CRUSHLimits.depth`.
    private mutating func walk(
        _ bucket: Bucket, level: Int, parent: Int, _ types: [TypeID], _ crush: CRUSHMap, _ part: inout Part,
        _ seen: inout Set<ItemID>
    ) throws(TwoWays) {
        for item in bucket.items where item.weight > .zero {
            if let osd = item.id.osd {
                // Without a domain of every level above it, CRUSH never reaches it.
                guard level == types.count else { continue }
                let place = Place(part: parts.count, domain: parent, weight: item.weight.rawValue)
                guard note(place, of: osd) else { throw TwoWays(item: item.id) }
                part.osds.append(osd)
            } else if let below = crush.bucket(item.id) {
                guard seen.insert(item.id).inserted else { throw TwoWays(item: item.id) }
                if level < types.count, below.type == types[level] {
                    part.domains.append(Domain(bucket: item.id, parent: parent, level: level))
                    try walk(below, level: level + 1, parent: part.domains.count - 1, types, crush, &part, &seen)
                } else {
                    try walk(below, level: level, parent: parent, types, crush, &part, &seen)
                }
            }
        }
    }

    /// False when the OSD has a place already.
    private mutating func note(_ place: Place, of osd: OSDID) -> Bool {
        let index = Int(osd.rawValue)
        if index >= places.count {
            places.append(contentsOf: repeatElement(Place(), count: index + 1 - places.count))
        }
        guard places[index].part < 0 else { return false }
        places[index] = place
        return true
    }

    /// Where the OSD stands; nil when the rule cannot choose it.
    @inline(__always)
    func place(of osd: OSDID) -> Place? {
        let index = Int(osd.rawValue)
        guard index >= 0, index < places.count, places[index].part >= 0 else { return nil }
        return places[index]
    }

    /// True when `replacement` can stand for `replaced` in `set`: the rule can choose it there, it does not stand in the set,
    /// and no domain that it is in holds more than it may.
    func allows(_ set: [OSDID], replacing replaced: OSDID, by replacement: OSDID) -> Bool {
        guard let place = place(of: replacement), let old = self.place(of: replaced), place.part == old.part else {
            return false
        }
        return !set.contains(replacement) && fits(place, in: set, without: replaced)
    }

    /// True when `set` keeps to the rule as it is.
    func accepts(_ set: [OSDID]) -> Bool {
        set.allSatisfy { osd in osd == .none || place(of: osd).map { fits($0, in: set, without: osd) } ?? false }
    }

    /// True when the domains above a place hold no more than they may with one more OSD there.
    private func fits(_ place: Place, in set: [OSDID], without replaced: OSDID) -> Bool {
        let part = parts[place.part]
        var domain = place.domain
        var level = part.levels.count - 1
        // In each domain of the new one, from the lowest up: how many are there, and in how many domains of the next level.
        while level >= 0 {
            let parent = part.domains[domain].parent
            var here = 1
            var isNew = true
            for osd in set where osd != replaced && osd != .none {
                if self.domain(of: osd, level: level, in: place.part) == domain {
                    here += 1
                    isNew = false
                }
            }
            guard here <= part.levels[level].capacity else { return false }
            if isNew {
                let others = siblings(below: parent, level, set, without: replaced, in: place.part)
                guard others < part.levels[level].domains else { return false }
            }
            domain = parent
            level -= 1
        }
        return true
    }

    /// How many domains of a level below `parent` the set is in.
    private func siblings(
        below parent: Int, _ level: Int, _ set: [OSDID], without replaced: OSDID, in part: Int
    ) -> Int {
        var count = 0
        for (index, osd) in set.enumerated() where osd != replaced && osd != .none {
            let its = self.domain(of: osd, level: level, in: part)
            guard its >= 0, parts[part].domains[its].parent == parent else { continue }
            let isFirst = !set[..<index].contains { other in
                other != replaced && self.domain(of: other, level: level, in: part) == its
            }
            if isFirst { count += 1 }
        }
        return count
    }

    /// The domain of a level that an OSD is in; -1 when the part cannot choose it.
    @inline(__always)
    func domain(of osd: OSDID, level: Int, in part: Int) -> Int {
        guard let place = place(of: osd), place.part == part else { return -1 }
        let part = parts[part]
        var domain = place.domain
        while domain >= 0, part.domains[domain].level > level { domain = part.domains[domain].parent }
        return domain
    }
}
