import CRUSH
import Wire

extension OSDMap {
    /// Throws, naming the first thing that is wrong, unless these replacements of a group take effect, one after the other,
    /// and keep to the rule of its pool.
    public func check(_ items: [UpmapItem], of group: PGID, in pool: Pool) throws(BalanceError) {
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
            guard shape.allows(set, replacing: item.from, by: item.to) else {
                throw refuse("its failure domain has a copy of the group already")
            }
            set[place] = item.to
        }
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
            guard let pool = pools[group.pool], group.seed < pool.groupCount else {
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
            var set = bareSet(of: group, in: pool)
            let kept = items.filter { item in
                guard let place = set.firstIndex(of: item.from), !osds.isOut(item.to),
                    shape.allows(set, replacing: item.from, by: item.to)
                else { return false }
                set[place] = item.to
                return true
            }
            if kept != items { changes.upmapItems[group] = kept }
        }
        return changes
    }
}
