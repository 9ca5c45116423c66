import CRUSH
import Wire

/// Computes upmap items that give every OSD its share of every pool's groups, to within one copy of the ideal, and of all
/// pools together, moving as little as possible.
///
/// The ideal of an OSD follows from its weight and reweight among those that the pool's rule can choose, no failure domain
/// more than the rule lets it hold. A copy goes straight from an OSD that has too many to one that has too few when the rule
/// lets it; otherwise along the shortest way over other OSDs. Every step keeps to the rule. The same map gives the same plan.
public struct Balancer {
    private var pools: [PoolBalance] = []
    /// Over all pools, by number of the OSD.
    private var total: [Double]
    private let limit: Int
    private var steps = 0
    /// Bounds the search, so that a monitor is not held up: tries to place a copy.
    private var patience = 30_000_000
    private var plan = BalancePlan()

    /// A plan for these pools, or for all.
    ///
    /// - Parameters:
    ///   - map: the map as it is.
    ///   - ids: the pools to balance; those that do not exist are left out.
    ///   - limit: the most steps to take; the plan is cut there and is good as far as it goes.
    public static func plan(for map: OSDMap, pools ids: [PoolID]? = nil, limit: Int = .max) -> BalancePlan {
        var balancer = Balancer(map, ids, limit: limit)
        balancer.run()
        return balancer.finish(map)
    }

    /// The ideal number of copies of each OSD over all pools; one that is down keeps what it has.
    public static func ideals(of map: OSDMap) -> [OSDID: Double] {
        var ideals: [OSDID: Double] = [:]
        for pool in map.poolsInOrder {
            guard let balance = try? PoolBalance(pool, in: map) else { continue }
            for (osd, _) in map.osds {
                let index = Int(osd.rawValue)
                let share = balance.takesPart[index] ? balance.ideals[index] : Double(balance.holders[index].count)
                ideals[osd, default: 0] += share
            }
        }
        return ideals
    }

    private init(_ map: OSDMap, _ ids: [PoolID]?, limit: Int) {
        self.limit = limit
        total = Array(repeating: 0, count: map.osds.reweights.count)
        for pool in map.poolsInOrder where ids?.contains(pool.id) ?? true {
            do throws(BalanceError) {
                let balance = try PoolBalance(pool, in: map)
                for osd in total.indices { total[osd] += balance.surplus[osd] }
                plan.before[pool.id] = BalancePlan.Spread(balance.surplus)
                plan.leastMoves += Self.leastMoves(balance.surplus)
                plan.bindings += balance.bindings
                pools.append(balance)
            } catch {
                plan.skipped[pool.id] = error
            }
        }
        plan.totalBefore = BalancePlan.Spread(total)
    }

    private static func leastMoves(_ surplus: [Double]) -> Int {
        let slack = BalancePlan.Spread.slack
        var give = 0
        var get = 0
        for value in surplus {
            if value > 1 + slack { give += Int((value - 1 - slack).rounded(.up)) }
            if value < -1 - slack { get += Int((-1 - slack - value).rounded(.up)) }
        }
        return max(give, get)
    }

    // MARK: Rounds

    private mutating func run() {
        for pool in pools.indices { level(.pool(pool)) }
        if pools.count > 1 { level(.all) }
    }

    /// What is being levelled.
    private enum Scope {
        case pool(Int)
        case all
    }

    private func load(_ scope: Scope) -> [Double] {
        switch scope {
        case .pool(let pool): pools[pool].surplus
        case .all: total
        }
    }

    private func members(_ scope: Scope) -> [Int] {
        total.indices.filter { osd in
            switch scope {
            case .pool(let pool):
                pools[pool].takesPart[osd] && pools[pool].shape.place(of: OSDID(Int32(osd))) != nil
            case .all: pools.contains { $0.takesPart[osd] }
            }
        }
    }

    /// Moves copies until everybody is within one of the ideal, or nothing can be moved any more.
    private mutating func level(_ scope: Scope) {
        let members = members(scope)
        let one = 1 + BalancePlan.Spread.slack
        while steps < limit, patience > 0 {
            let load = load(scope)
            let high = members.filter { load[$0] > one }.sorted { isBefore($1, $0, load) }
            let low = members.filter { load[$0] < -one }.sorted { isBefore($0, $1, load) }
            if high.isEmpty, low.isEmpty { return }
            let getters = members.filter { load[$0] <= BalancePlan.Spread.slack }.sorted { isBefore($0, $1, load) }
            let givers = members.filter { load[$0] >= -BalancePlan.Spread.slack }.sorted { isBefore($1, $0, load) }
            let hasMoved =
                high.isEmpty
                ? exchange(low, with: givers, isGiving: false, scope)
                : exchange(high, with: getters, isGiving: true, scope)
            if hasMoved { continue }
            let isRelieved =
                high.contains { walk(from: [$0], to: getters, scope) }
                || low.contains { walk(from: givers, to: [$0], scope) }
            if !isRelieved { return }
        }
        // What took steps is worth going on with; what took all the patience for none is not.
        plan.isCut = steps > 0
    }

    /// By load, then by the load of all pools, then by number.
    private func isBefore(_ left: Int, _ right: Int, _ load: [Double]) -> Bool {
        if load[left] != load[right] { return load[left] < load[right] }
        return total[left] == total[right] ? left < right : total[left] < total[right]
    }

    /// Each of `wanting` gives one copy to, or gets one from, the first of `partners` with which the rule lets it and that had
    /// no part in this round.
    private mutating func exchange(
        _ wanting: [Int], with partners: [Int], isGiving: Bool, _ scope: Scope
    ) -> Bool {
        var served = Set<Int>()
        for one in wanting where steps < limit && patience > 0 {
            for other in partners where !served.contains(other) {
                let (source, target) = isGiving ? (one, other) : (other, one)
                guard let (pool, seed) = copy(from: source, to: target, scope) else { continue }
                step(pool, seed, source, target)
                served.insert(other)
                break
            }
        }
        return !served.isEmpty
    }

    /// The best copy to move from one OSD to another; nil when the rule lets none.
    private mutating func copy(from source: Int, to target: Int, _ scope: Scope) -> (pool: Int, seed: UInt32)? {
        guard source != target else { return nil }
        let (from, to) = (OSDID(Int32(source)), OSDID(Int32(target)))
        var best: (pool: Int, seed: UInt32)?
        var liking = -1
        for pool in candidates(scope) where mayMove(pool, source, target, scope) {
            for seed in pools[pool].holders[source] {
                patience -= 1
                let preference = pools[pool].preference(seed, from: from, to: to)
                guard preference > liking, pools[pool].allows(seed, from: from, to: to) else { continue }
                best = (pool, seed)
                liking = preference
                if preference >= 2 { return best }
            }
        }
        return best
    }

    private func candidates(_ scope: Scope) -> Range<Int> {
        switch scope {
        case .pool(let pool): pool..<pool + 1
        case .all: pools.indices
        }
    }

    /// Levelling all pools together must not undo what is level in one.
    private func mayMove(_ pool: Int, _ source: Int, _ target: Int, _ scope: Scope) -> Bool {
        guard pools[pool].takesPart[source], pools[pool].takesPart[target] else { return false }
        guard case .all = scope else { return true }
        let slack = BalancePlan.Spread.slack
        return pools[pool].surplus[source] >= -slack && pools[pool].surplus[target] <= slack
    }

    private mutating func step(_ pool: Int, _ seed: UInt32, _ source: Int, _ target: Int) {
        pools[pool].move(seed, from: OSDID(Int32(source)), to: OSDID(Int32(target)))
        total[source] -= 1
        total[target] += 1
        steps += 1
    }

    // MARK: Ways

    private struct Hop {
        var pool: Int
        var seed: UInt32
        var source: Int
        var target: Int
    }

    /// Moves a copy from one of `sources` to one of `targets` along the shortest way over other OSDs: each on the way gives one
    /// and gets one. False when there is no way.
    private mutating func walk(from sources: [Int], to targets: [Int], _ scope: Scope) -> Bool {
        let goals = Set(targets)
        let members = members(scope)
        var unseen = Set(members).subtracting(sources)
        var hops: [Int: Hop] = [:]
        var queue = sources
        var next = 0
        while next < queue.count, patience > 0 {
            let source = queue[next]
            next += 1
            for target in members where unseen.contains(target) {
                guard let (pool, seed) = copy(from: source, to: target, scope) else { continue }
                unseen.remove(target)
                hops[target] = Hop(pool: pool, seed: seed, source: source, target: target)
                if goals.contains(target) {
                    if follow(hops, to: target) { return true }
                    continue
                }
                queue.append(target)
            }
        }
        return false
    }

    /// Takes the way that ends at `target`. Hops of one group may stand in each other's way: then nothing is moved.
    private mutating func follow(_ hops: [Int: Hop], to target: Int) -> Bool {
        var way: [Hop] = []
        var place = target
        while let hop = hops[place] {
            way.append(hop)
            place = hop.source
        }
        let before = (pools, total, steps)
        for hop in way {
            let (from, to) = (OSDID(Int32(hop.source)), OSDID(Int32(hop.target)))
            guard pools[hop.pool].holders[hop.source].contains(hop.seed),
                pools[hop.pool].allows(hop.seed, from: from, to: to)
            else {
                (pools, total, steps) = before
                return false
            }
            step(hop.pool, hop.seed, hop.source, hop.target)
        }
        return true
    }

    // MARK: Result

    private consuming func finish(_ map: OSDMap) -> BalancePlan {
        for balance in pools {
            let pool = balance.pool
            plan.after[pool.id] = BalancePlan.Spread(balance.surplus)
            for seed in 0..<pool.groupCount {
                let group = PGID(pool: pool.id, seed: seed)
                let items = balance.items[Int(seed)]
                let (before, after) = (balance.start[Int(seed)], balance.current[Int(seed)])
                let gone = before.filter { !after.contains($0) }
                let come = after.filter { !before.contains($0) }
                for (from, to) in zip(gone, come) { plan.moves.append(.init(group: group, from: from, to: to)) }
                if before != after, (map.exceptions.upmapItems[group] ?? []) != items {
                    plan.changes.upmapItems[group] = items
                }
            }
            if let after = plan.after[pool.id], !after.isWithinOne, !plan.isCut { explain(balance, map) }
        }
        plan.totalAfter = BalancePlan.Spread(total)
        return plan
    }

    /// Names the OSDs that stay more than one copy off, by the failure domain that they are in.
    private mutating func explain(_ balance: PoolBalance, _ map: OSDMap) {
        var named = Set<String>()
        for (osd, surplus) in balance.surplus.enumerated() where abs(surplus) > 1 + BalancePlan.Spread.slack {
            let id = OSDID(Int32(osd))
            guard let place = balance.shape.place(of: id) else { continue }
            let bucket = place.domain < 0 ? nil : balance.shape.parts[place.part].domains[place.domain].bucket
            let name = bucket.flatMap { map.crush.bucket($0)?.name } ?? id.description
            guard named.insert(name).inserted else { continue }
            let amount = surplus > 0 ? "more" : "less"
            plan.bindings.append(
                .init(
                    pool: balance.pool.id, domain: name,
                    reason:
                        "pool '\(balance.pool.name)': \(id) in '\(name)' keeps \(rounded(abs(surplus))) copies \(amount) "
                        + "than its weight asks for, since "
                        + (patience > 0 ? "the rule lets none of its groups move" : "no way for it was found in time")))
        }
    }

    private func rounded(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
