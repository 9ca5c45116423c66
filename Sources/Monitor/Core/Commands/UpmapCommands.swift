import CRUSH
import ClusterMap
import Glibc
import Wire

/// `osd pg-upmap-items`, `osd rm-pg-upmap-items` and `osd balance`: groups that are not only where CRUSH puts them.
enum UpmapCommands {
    /// Replaces OSDs of a group. What would not take effect, or break the rule, is refused.
    static func set(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let (group, pool) = try group(arguments, draft.map)
        let osds = try arguments.osdPairs()
        for (from, to) in osds {
            for osd in [from, to] { _ = try draft.map.existing(osd) }
        }
        let items = osds.map { UpmapItem(from: $0.0, to: $0.1) }
        do throws(BalanceError) { try draft.map.check(items, of: group, in: pool) } catch {
            throw CommandFailure(EINVAL, error.description)
        }
        if draft.map.exceptions.upmapItems[group] != items {
            var changes = GroupExceptions()
            changes.upmapItems[group] = items
            draft.set(changes)
        }
        let text = items.map(\.description).joined(separator: ",")
        return CommandResult("set \(group) pg_upmap_items mapping to [\(text)]")
    }

    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let (group, _) = try group(arguments, draft.map)
        if draft.map.exceptions.upmapItems[group] != nil {
            var changes = GroupExceptions()
            changes.upmapItems[group] = []
            draft.set(changes)
        }
        return CommandResult("clear \(group) pg_upmap_items mapping")
    }

    private static func group(_ arguments: CommandArguments, _ map: OSDMap) throws(CommandFailure) -> (PGID, Pool) {
        let text = try arguments.required("pgid")
        guard let group = PGID(text) else {
            throw CommandFailure(EINVAL, "'\(Text.short(text))' is no group: give POOL.NUMBER, such as 1.2f")
        }
        guard let pool = map.pools[group.pool] else {
            throw CommandFailure(ENOENT, "pool \(group.pool) does not exist: `osd pool ls detail` shows those that do")
        }
        guard group.seed < pool.groupCount else {
            throw CommandFailure(
                ENOENT, "group \(group) does not exist: pool '\(pool.name)' has \(pool.groupCount) groups")
        }
        return (group, pool)
    }

    // MARK: Balance

    /// Replaces OSDs of groups until every OSD has its share, or shows what would be replaced.
    static func balance(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let isDryRun = arguments.flag("dry-run")
        let limit = try arguments.number("max-moves", in: 1...1_000_000) ?? MonitorBounds.balanceMoves
        var pools: [PoolID]?
        if let names = arguments.optional("pools"), !names.isEmpty {
            pools = []
            for name in names.split(separator: " ") {
                pools?.append(try draft.map.existingPool(String(name)).id)
            }
        }
        let plan = Balancer.plan(for: draft.map, pools: pools, limit: limit)
        let report = BalanceReport(plan, draft.map, pools: pools, epoch: view.map.epoch, isDryRun: isDryRun)
        if !isDryRun, !plan.changes.isEmpty { draft.set(plan.changes) }
        return CommandResult(report)
    }
}

extension CommandArguments {
    /// The OSDs of the argument `ids` two by two.
    func osdPairs() throws(CommandFailure) -> [(OSDID, OSDID)] {
        let words = try required("ids").split(separator: " ").map(String.init)
        guard words.count.isMultiple(of: 2), words.count / 2 <= Int(MapLimits.poolSize) else {
            throw CommandFailure(
                EINVAL, "give pairs of OSDs, FROM TO, at most \(MapLimits.poolSize): these are \(words.count) OSDs")
        }
        var pairs: [(OSDID, OSDID)] = []
        for index in stride(from: 0, to: words.count, by: 2) {
            pairs.append((try Self.osd(words[index]), try Self.osd(words[index + 1])))
        }
        return pairs
    }
}

extension BalanceReport {
    /// What a plan says of the pools that were asked for, or of all.
    public init(_ plan: BalancePlan, _ map: OSDMap, pools: [PoolID]?, epoch: Epoch, isDryRun: Bool) {
        func spread(_ spread: BalancePlan.Spread) -> Spread {
            Spread(lowest: (spread.lowest * 100).rounded() / 100, highest: (spread.highest * 100).rounded() / 100)
        }
        self.init(
            epoch: epoch.rawValue, dryRun: isDryRun,
            pools: map.poolsInOrder.filter { pools?.contains($0.id) ?? true }.map { pool in
                Pool(
                    pool: pool.id.rawValue, poolName: pool.name, before: plan.before[pool.id].map(spread),
                    after: plan.after[pool.id].map(spread), reason: plan.skipped[pool.id]?.description)
            },
            before: spread(plan.totalBefore), after: spread(plan.totalAfter), moves: plan.moves.count,
            leastMoves: plan.leastMoves, cut: plan.isCut, bound: plan.bindings.map(\.reason),
            changes: plan.changes.upmapItems.sorted { $0.key < $1.key }.map { group, items in
                Change(
                    pgid: group.description,
                    mappings: items.map { .init(from: $0.from.rawValue, to: $0.to.rawValue) })
            })
    }
}
