import CRUSH
import Wire

extension OSDMap {
    /// Throws, naming the first thing that is wrong, unless these replacements of a group take effect, one after the other,
    /// and keep to the rule of its pool.
    public func check(_ items: [UpmapItem], of group: PGID, in pool: Pool) throws(BalanceError) {
        guard !pool.isToBeMerged(group.seed) else {
            throw BalanceError("group \(group) is to be merged: its place is that of the groups it is merged with")
        }
        let shape = try RuleShape(of: pool, in: crush)
        var set = bareSet(of: group, in: pool)
        for item in items {
            func refuse(_ why: String) -> BalanceError {
                BalanceError("\(item.to) cannot take the place of \(item.from) in group \(group): \(why)")
            }
            let shown = "[" + set.map { $0 == .none ? "NONE" : "\($0.rawValue)" }.joined(separator: ",") + "]"
            guard let place = set.firstIndex(of: item.from) else { throw refuse("\(item.from) is not in \(shown)") }
            guard !set.contains(item.to) else { throw refuse("it is in \(shown) already") }
            guard !osds.isOut(item.to) else { throw refuse("it is out") }
            guard shape.place(of: item.to) != nil else {
                throw refuse("the rule of pool '\(pool.name)' does not choose it")
            }
            set[place] = item.to
        }
        // Judged at the end: replacements may make room for each other.
        for item in items where set.contains(item.to) {
            var bare = set
            if let place = bare.firstIndex(of: item.to) { bare[place] = item.from }
            guard shape.allows(bare, replacing: item.from, by: item.to) || shape.accepts(set) else {
                throw BalanceError(
                    "\(item.to) cannot take the place of \(item.from) in group \(group): its failure domain has a copy of "
                        + "the group already")
            }
        }
    }

    /// The replacements of those given that take effect on `base` and keep to the rule, and the set that they make.
    /// Replacements may make room for each other; when all together break the rule, each is judged after those before it.
    func effective(_ items: [UpmapItem], on base: [OSDID], _ shape: RuleShape) -> (items: [UpmapItem], set: [OSDID]) {
        func apply(_ allows: ([OSDID], UpmapItem) -> Bool) -> (items: [UpmapItem], set: [OSDID]) {
            var set = base
            let kept = items.filter { item in
                guard !osds.isOut(item.to), !set.contains(item.to), let place = set.firstIndex(of: item.from),
                    allows(set, item)
                else { return false }
                set[place] = item.to
                return true
            }
            return (kept, set)
        }
        let all = apply { _, _ in true }
        if all.items.isEmpty || shape.accepts(all.set) { return all }
        return apply { shape.allows($0, replacing: $1.from, by: $1.to) }
    }

    /// What CRUSH, or the group's upmap, chooses.
    private func bareSet(of group: PGID, in pool: Pool) -> [OSDID] {
        var bare = self
        bare.exceptions = GroupExceptions()
        var buffer = PlacementBuffer()
        bare.place(group.seed, in: pool, into: &buffer)
        if let list = exceptions.upmaps[group], !list.contains(where: { $0 != .none && osds.isOut($0) }) { return list }
        return buffer.raw
    }

    /// The changes that take out upmaps that no longer take effect or no longer keep to the rule, for when OSDs went out or
    /// away or the hierarchy changed. What remains of a group's items stays.
    public var staleUpmaps: GroupExceptions {
        var changes = GroupExceptions()
        var shapes: [PoolID: RuleShape] = [:]
        for group in Set(exceptions.upmaps.keys).union(exceptions.upmapItems.keys) {
            guard let pool = pools[group.pool], group.seed < pool.groupCount, !pool.isToBeMerged(group.seed) else {
                if exceptions.upmaps[group] != nil { changes.upmaps[group] = [] }
                if exceptions.upmapItems[group] != nil { changes.upmapItems[group] = [] }
                continue
            }
            if shapes[pool.id] == nil { shapes[pool.id] = try? RuleShape(of: pool, in: crush) }
            // A rule whose groups cannot be judged is the administrator's business.
            guard let shape = shapes[pool.id] else { continue }
            if let list = exceptions.upmaps[group],
                list.contains(where: { $0 != .none && (osds.isOut($0) || shape.place(of: $0) == nil) })
            {
                changes.upmaps[group] = []
            }
            guard let items = exceptions.upmapItems[group] else { continue }
            let kept = effective(items, on: bareSet(of: group, in: pool), shape).items
            if kept != items { changes.upmapItems[group] = kept }
        }
        return changes
    }
}
