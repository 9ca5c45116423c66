import CRUSH
import ClusterMap
import Foundation
import Testing
import Wire

/// Plans that level groups, on random maps and on ones where something binds.
@Suite struct BalancerTests {
    /// A generator whose whole output follows from its seed (splitmix64).
    struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    /// `NACRE_SEED` if set, else a new one; printed, so that a failure can be repeated.
    static let seed: UInt64 = {
        let given = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) }
        let seed = given ?? UInt64.random(in: .min ... .max)
        print("BalancerTests: NACRE_SEED=\(seed)")
        return seed
    }()

    /// Racks of hosts of OSDs.
    struct Shape {
        var racks = 1
        var hosts = 6
        var osds = 3
        var weights: [Double] = [1]
        var failureDomain = "host"
        var size: UInt8 = 3
        var groups: [UInt32] = [128]
        var kind = Pool.Kind.replicated
    }

    func map(_ shape: Shape, using generator: inout Seeded) throws -> OSDMap {
        var crush = CRUSHMap.newCluster(failureDomain: .osd)
        let (host, rack) = (TypeID.host, try #require(crush.type(named: "rack")))
        var map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: crush)
        var number: Int32 = 0
        for rackNumber in 0..<shape.racks {
            for hostNumber in 0..<shape.hosts {
                for _ in 0..<shape.osds {
                    let id = OSDID(number)
                    let weight = shape.weights.randomElement(using: &generator) ?? 1
                    try crush.add(
                        id, named: "osd.\(number)", weight: CRUSHWeight(UInt32(weight * 65536)),
                        at: [host: "host\(rackNumber)-\(hostNumber)", rack: "rack\(rackNumber)", .root: "default"])
                    var record = OSDRecord(uuid: UniqueID(high: 3, low: UInt64(number)))
                    record.isUp = true
                    record.endpoint = Endpoint(host: "127.0.0.1", port: 6800)
                    map.osds[id] = record
                    number += 1
                }
            }
        }
        let type = try #require(crush.type(named: shape.failureDomain))
        let rule =
            shape.kind == .replicated
            ? try crush.addReplicatedRule(named: "r", failureDomain: type)
            : try crush.addErasureRule(named: "r", failureDomain: type)
        map.crush = crush
        map.epoch = Epoch(1)
        for (index, groups) in shape.groups.enumerated() {
            let id = PoolID(Int64(index + 1))
            var pool = Pool(
                id: id, name: "p\(id)", size: shape.size, minSize: 1, groupCount: groups, rule: rule.rawValue,
                created: Epoch(1))
            pool.kind = shape.kind
            map.pools[id] = pool
        }
        return map
    }

    // MARK: Judging without the balancer

    /// The bucket of a type above an OSD, found from below by name alone.
    func ancestor(_ osd: OSDID, _ type: String, _ crush: CRUSHMap) -> ItemID? {
        var item = ItemID(osd)
        if type == "osd" { return item }
        while let parent = crush.parents(of: item).first {
            if crush.types[parent.type] == type { return parent.id }
            item = parent.id
        }
        return nil
    }

    /// Every group has all its copies, each in its own failure domain.
    func checkValid(_ map: OSDMap, _ domain: String, _ seed: UInt64) {
        var above: [OSDID: ItemID] = [:]
        for osd in map.osds.keys { above[osd] = ancestor(osd, domain, map.crush) }
        for pool in map.poolsInOrder {
            for (group, placement) in zip(pool.groups, map.placements(of: pool)) {
                let osds = placement.up.filter { $0 != .none }
                let domains = Set(osds.map { above[$0] })
                #expect(
                    domains.count == osds.count && !domains.contains(nil),
                    "seed \(seed): \(group) is on \(osds), which are in \(domains.count) of \(domain)")
                #expect(osds.count == Int(pool.size), "seed \(seed): \(group) has \(osds)")
            }
        }
    }

    /// The copies on every OSD of a pool.
    func counts(_ map: OSDMap, _ pool: Pool) -> [OSDID: Int] {
        var counts: [OSDID: Int] = [:]
        for placement in map.placements(of: pool) {
            for osd in placement.up where osd != .none { counts[osd, default: 0] += 1 }
        }
        return counts
    }

    /// The largest distance of an OSD, of a class if one is named, from the share that its weight alone asks for.
    func distance(_ map: OSDMap, _ pool: Pool, deviceClass: String? = nil) -> Double {
        let counts = counts(map, pool)
        let total = counts.values.reduce(0, +)
        var weights: [OSDID: Double] = [:]
        for bucket in map.crush.buckets {
            for item in bucket.items {
                guard let osd = item.id.osd, let record = map.osds[osd] else { continue }
                guard deviceClass == nil || map.crush.device(osd)?.deviceClass == deviceClass else { continue }
                weights[osd] = Double(item.weight.rawValue) * Double(record.reweight)
            }
        }
        let sum = weights.values.reduce(0, +)
        return weights.map { abs(Double(counts[$0.key, default: 0]) - $0.value / sum * Double(total)) }.max() ?? 0
    }

    /// Copies that are elsewhere than before.
    func moved(_ before: OSDMap, _ after: OSDMap) -> Int {
        var moved = 0
        for pool in before.poolsInOrder {
            for (old, new) in zip(before.placements(of: pool), after.placements(of: pool)) {
                moved += new.up.filter { !old.up.contains($0) }.count
            }
        }
        return moved
    }

    func applied(_ plan: BalancePlan, to map: OSDMap) -> OSDMap {
        var map = map
        map.exceptions.apply(plan.changes)
        return map
    }

    // MARK: Properties

    @Test(arguments: 0..<40) func randomMapsBecomeLevel(_ round: Int) throws {
        var generator = Seeded(state: Self.seed &+ UInt64(round))
        let seed = Self.seed
        var shape = Shape()
        shape.failureDomain = ["osd", "host", "host", "rack"].randomElement(using: &generator)!
        shape.racks = Int.random(in: shape.failureDomain == "rack" ? 5...8 : 1...4, using: &generator)
        shape.hosts = Int.random(in: 1...5, using: &generator)
        shape.osds = Int.random(in: 1...6, using: &generator)
        shape.size = UInt8.random(in: 2...4, using: &generator)
        // Enough domains, of weights near enough to each other, that no domain binds.
        while shape.failureDomain != "rack", shape.racks * shape.hosts < 3 * Int(shape.size) { shape.hosts += 1 }
        shape.weights = [[1], [1, 1.5], [1, 1.2, 0.9]].randomElement(using: &generator)!
        if shape.failureDomain == "rack" { (shape.weights, shape.size) = ([1], 3) }
        shape.groups = (0..<Int.random(in: 1...3, using: &generator)).map { _ in
            UInt32.random(in: 1...300, using: &generator)
        }
        shape.kind = round % 3 == 2 ? .erasure : .replicated
        if shape.kind == .erasure { shape.size = max(shape.size, 3) }
        let map = try map(shape, using: &generator)
        checkValid(map, shape.failureDomain, seed)
        let plan = Balancer.plan(for: map)
        let next = applied(plan, to: map)
        checkValid(next, shape.failureDomain, seed)
        let note = "seed \(seed) round \(round): \(shape), \(plan.bindings.map(\.reason))"
        for pool in next.poolsInOrder {
            #expect(distance(next, pool) <= 1.0001, "\(distance(next, pool)) in \(pool.name), \(note)")
            #expect(plan.after[pool.id]?.isWithinOne == true, "\(note)")
        }
        #expect(plan.totalAfter.isWithinOne, "\(plan.totalAfter) \(note)")
        #expect(plan.bindings.isEmpty && plan.skipped.isEmpty && !plan.isCut, "\(note)")
        #expect(moved(map, next) == plan.moves.count, "\(note)")
        #expect(plan.moves.count >= plan.leastMoves)
        // One pool moves hardly more than it must.
        if shape.groups.count == 1 {
            #expect(
                plan.moves.count <= plan.leastMoves + plan.leastMoves / 5 + 2,
                "\(plan.moves.count) of \(plan.leastMoves) \(note)")
        }
        // Level is level.
        #expect(Balancer.plan(for: next).moves.isEmpty, "\(note)")
        #expect(next.staleUpmaps.isEmpty, "\(note)")
    }

    @Test(arguments: 0..<20) func whatChangesIsLevelledWithFewMoves(_ round: Int) throws {
        var generator = Seeded(state: Self.seed &+ 1000 &+ UInt64(round))
        var shape = Shape(racks: 2, hosts: 6, osds: 4, groups: [512])
        shape.kind = round % 2 == 0 ? .replicated : .erasure
        let map = try map(shape, using: &generator)
        var level = applied(Balancer.plan(for: map), to: map)
        // An OSD goes out, another is reweighted.
        level.osds[OSDID(Int32.random(in: 0..<24, using: &generator))]?.reweight = 0
        level.osds[OSDID(Int32.random(in: 24..<48, using: &generator))]?.reweight = 0xc000
        level.exceptions.apply(level.staleUpmaps)
        let plan = Balancer.plan(for: level)
        let next = applied(plan, to: level)
        checkValid(next, "host", Self.seed)
        let pool = try #require(next.poolsInOrder.first)
        #expect(distance(next, pool) <= 1.0001, "seed \(Self.seed) round \(round)")
        #expect(
            plan.moves.count <= plan.leastMoves + plan.leastMoves / 5 + 2, "\(plan.moves.count) of \(plan.leastMoves)")
    }

    /// Weights of any size, OSDs that are out, half in or down: what cannot be level is named, and the rest is level.
    @Test(arguments: 0..<60) func whateverTheWeightsWhatIsNotLevelIsNamed(_ round: Int) throws {
        var generator = Seeded(state: Self.seed &+ 5000 &+ UInt64(round))
        var shape = Shape()
        shape.failureDomain = ["osd", "host", "rack"].randomElement(using: &generator)!
        shape.racks = Int.random(in: 3...5, using: &generator)
        shape.hosts = Int.random(in: 1...4, using: &generator)
        shape.osds = Int.random(in: 1...5, using: &generator)
        shape.weights = [1, 2, 4, 8, 0.5]
        shape.size = UInt8.random(in: 2...3, using: &generator)
        shape.groups = (0..<Int.random(in: 1...3, using: &generator)).map { _ in
            UInt32.random(in: 8...200, using: &generator)
        }
        if round % 3 == 2 { (shape.kind, shape.size) = (.erasure, 3) }
        var map = try map(shape, using: &generator)
        for osd in map.osds.keys {
            switch Int.random(in: 0..<20, using: &generator) {
            case 0: map.osds[osd]?.reweight = 0
            case 1: map.osds[osd]?.reweight = 0x8000
            case 2: map.osds[osd]?.isUp = false
            default: break
            }
        }
        let plan = Balancer.plan(for: map)
        let next = applied(plan, to: map)
        let note = "seed \(Self.seed) round \(round): \(shape), \(plan.bindings.map(\.reason))"
        var above: [OSDID: ItemID] = [:]
        for osd in map.osds.keys { above[osd] = ancestor(osd, shape.failureDomain, map.crush) }
        for pool in next.poolsInOrder {
            for (old, new) in zip(map.placements(of: pool), next.placements(of: pool)) {
                let (before, after) = (old.up.filter { $0 != .none }, new.up.filter { $0 != .none })
                #expect(Set(after.map { above[$0] }).count == after.count, "\(note)")
                #expect(after.count == before.count, "\(note)")
            }
            let spread = try #require(plan.after[pool.id])
            #expect(spread.isWithinOne || plan.bindings.contains { $0.pool == pool.id }, "\(spread) \(note)")
            let first = try #require(plan.before[pool.id])
            #expect(
                spread.highest <= max(first.highest, 1.0001) && spread.lowest >= min(first.lowest, -1.0001), "\(note)")
        }
        if plan.after.values.contains(where: { !$0.isWithinOne }) { print("not level: \(note)") }
        #expect(next.staleUpmaps.isEmpty, "\(note)")
    }

    @Test func aDomainThatBindsIsNamed() throws {
        var generator = Seeded(state: 1)
        var map = try map(Shape(hosts: 3, osds: 2, size: 2, groups: [64]), using: &generator)
        // One host has far more than half of the weight, and can hold only one of the two copies.
        for osd in [OSDID(0), OSDID(1)] { try map.crush.reweight(osd, to: CRUSHWeight(8 << 16)) }
        let plan = Balancer.plan(for: map)
        #expect(plan.bindings.map(\.domain) == ["host0-0"], "\(plan.bindings)")
        #expect(plan.bindings[0].reason.contains("'host0-0'") && plan.bindings[0].reason.contains("'p1'"))
        let next = applied(plan, to: map)
        checkValid(next, "host", 1)
        let pool = try #require(next.poolsInOrder.first)
        let counts = counts(next, pool)
        #expect((counts[OSDID(0)] ?? 0) + (counts[OSDID(1)] ?? 0) >= 62)
        #expect(plan.after[pool.id]?.isWithinOne == true)
        // The others share the rest evenly.
        for osd in 2..<6 { #expect(abs(Double(counts[OSDID(Int32(osd))] ?? 0) - 16) <= 1) }
    }

    @Test func downOSDsNeitherGiveNorGet() throws {
        var generator = Seeded(state: 2)
        var map = try map(Shape(), using: &generator)
        map.osds[OSDID(4)]?.isUp = false
        let plan = Balancer.plan(for: map)
        #expect(!plan.moves.isEmpty)
        #expect(!plan.moves.contains { $0.from == OSDID(4) || $0.to == OSDID(4) })
    }

    @Test func theLimitCutsThePlan() throws {
        var generator = Seeded(state: 3)
        let map = try map(Shape(), using: &generator)
        let whole = Balancer.plan(for: map)
        let part = Balancer.plan(for: map, limit: 3)
        #expect(whole.moves.count > 3 && !whole.isCut)
        #expect(part.moves.count == 3 && part.isCut)
        #expect(Balancer.plan(for: map, pools: []).moves.isEmpty)
    }

    @Test func aRuleThatReachesAnOSDInTwoWaysIsLeftAlone() throws {
        var generator = Seeded(state: 4)
        var map = try map(Shape(), using: &generator)
        let text = Rule(
            id: RuleID(7), name: "twice",
            steps: [
                .take(ItemID(-1)), .chooseFirstN(count: 1, type: .osd), .emit, .take(ItemID(-1)),
                .chooseFirstN(count: 2, type: .osd), .emit,
            ])
        map.crush = try CRUSHMap(
            tunables: map.crush.tunables, types: map.crush.types, devices: map.crush.devices,
            buckets: map.crush.buckets, rules: map.crush.rules + [text])
        map.pools[PoolID(1)]?.rule = 7
        let plan = Balancer.plan(for: map)
        #expect(plan.skipped[PoolID(1)]?.description.contains("'p1'") == true)
        #expect(plan.moves.isEmpty && plan.changes.isEmpty)
    }

    /// Buckets that stand in two others on every level: found out before the ways down multiply.
    @Test(arguments: [CRUSHWeight.one, .zero]) func aHierarchyOfManyWaysIsLeftAlone(_ weight: CRUSHWeight) throws {
        var generator = Seeded(state: 6)
        var map = try map(Shape(), using: &generator)
        var buckets: [Bucket] = []
        for level in Int32(0)..<40 {
            let items =
                level == 0
                ? [Bucket.Item(id: ItemID(0), weight: weight)]
                : [Bucket.Item(id: ItemID(1 - 2 * level), weight: .one), .init(id: ItemID(-2 * level), weight: .one)]
            for side in Int32(1)...2 {
                let id = ItemID(-2 * level - side)
                buckets.append(Bucket(id: id, name: "b\(-id.rawValue)", type: .host, items: items))
            }
        }
        let rule = Rule(
            id: RuleID(0), name: "r", steps: [.take(ItemID(-80)), .chooseFirstN(count: 0, type: .osd), .emit])
        map.crush = try CRUSHMap(
            tunables: .jewel, types: map.crush.types, devices: map.crush.devices, buckets: buckets, rules: [rule])
        map.pools[PoolID(1)]?.rule = 0
        let plan = Balancer.plan(for: map)
        #expect(plan.skipped[PoolID(1)]?.description.contains("in two ways") == true)
        #expect(plan.moves.isEmpty && Balancer.ideals(of: map).isEmpty)
    }

    /// Two hosts in each of two racks: what a rule of two steps demands is kept.
    @Test func rulesOfTwoStepsAreKept() throws {
        var generator = Seeded(state: 5)
        var map = try map(Shape(racks: 3, hosts: 4, osds: 3, size: 4, groups: [256]), using: &generator)
        let rack = try #require(map.crush.type(named: "rack"))
        let rule = Rule(
            id: RuleID(7), name: "twobytwo",
            steps: [
                .take(ItemID(-1)), .chooseFirstN(count: 2, type: rack), .chooseLeafFirstN(count: 2, type: .host), .emit,
            ])
        map.crush = try CRUSHMap(
            tunables: map.crush.tunables, types: map.crush.types, devices: map.crush.devices,
            buckets: map.crush.buckets, rules: map.crush.rules + [rule])
        map.pools[PoolID(1)]?.rule = 7
        let plan = Balancer.plan(for: map)
        let next = applied(plan, to: map)
        checkValid(next, "host", 5)
        let pool = try #require(next.poolsInOrder.first)
        for placement in next.placements(of: pool) {
            let racks = Dictionary(grouping: placement.up) { ancestor($0, "rack", next.crush) }
            #expect(racks.count == 2 && racks.values.allSatisfy { $0.count == 2 }, "\(placement.up)")
        }
        #expect(distance(next, pool) < distance(map, pool))
        // Copies cannot leave their rack alone: either that is level, or it is named.
        #expect(plan.after[pool.id]?.isWithinOne == true || !plan.bindings.isEmpty)
    }

    /// Pools of a real map levelled by `osdmaptool --upmap`: ours are at least as level.
    @Test(arguments: [("spread", nil), ("legacy", nil), ("odd", nil), ("flash", "ssd")] as [(String, String?)])
    func cephsBalancerIsNoBetter(_ name: String, _ deviceClass: String?) throws {
        let tool = try Tool("osdmaptool")
        let file = OracleTests.path("healthy")
        let commands = tool.file("commands")
        let options = ["--upmap", commands, "--upmap-max", "1000", "--upmap-deviation", "1", "--upmap-pool", name]
        try tool.run([file] + options)
        let map = try CephMap.read(file, with: tool)
        let pool = try #require(map.pool(named: name))
        var theirs = map
        for line in try String(contentsOfFile: commands, encoding: .utf8).split(separator: "\n")
        where line.hasPrefix("ceph osd pg-upmap-items") {
            let words = line.split(separator: " ")
            let osds = words[4...].compactMap { Int32($0) }
            let group = try #require(PGID(String(words[3])))
            theirs.exceptions.upmapItems[group] = stride(from: 0, to: osds.count, by: 2).map {
                UpmapItem(from: OSDID(osds[$0]), to: OSDID(osds[$0 + 1]))
            }
        }
        #expect(!theirs.exceptions.upmapItems.isEmpty)
        let plan = Balancer.plan(for: map, pools: [pool.id])
        let ours = applied(plan, to: map)
        let off = [map, ours, theirs].map { distance($0, pool, deviceClass: deviceClass) }
        print(
            "pool \(name): \(pool.groupCount) groups of size \(pool.size), \(off[0]) copies off the ideal; \(off[1]) after "
                + "\(plan.moves.count) moves (least \(plan.leastMoves)); osdmaptool \(off[2]) after \(moved(map, theirs))"
        )
        #expect(off[1] <= off[2] + 0.0001 || off[1] <= 1.0001)
        #expect(off[1] <= 1.0001 || !plan.bindings.isEmpty)
    }
}
