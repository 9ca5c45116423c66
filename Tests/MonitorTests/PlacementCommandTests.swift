import CRUSH
import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// Commands that change where groups are: the hierarchy, weights, upmaps, the balancer.
@Suite struct PlacementCommandTests {
    /// Eight OSDs on four hosts, all up.
    private func world(_ domain: NewCluster.FailureDomain = .host) throws -> World {
        let world = try World(failureDomain: domain)
        for number in 0..<8 {
            let osd = try world.newOSD(host: "host\(number / 2)", size: 1 << 40)
            world.receive(.boot(osd.boot), from: osd.session)
        }
        world.clear()
        return world
    }

    @Test func theHierarchyIsBuiltByName() throws {
        let world = try world()
        let client = world.open(.client)
        func say(_ number: UInt64, _ words: String, _ arguments: [String: String]) throws -> String {
            let reply = try world.command(client, number, words, arguments)
            return "\(reply.errno) \(reply.message)"
        }
        let rack = ["name": "rack0", "type": "rack", "args": "root=default"]
        #expect(try say(1, "osd crush add-bucket", rack) == "0 added bucket rack0 type rack at default to crush map")
        #expect(try say(2, "osd crush add-bucket", rack) == "0 bucket 'rack0' already exists")
        #expect(
            try say(3, "osd crush move", ["name": "host1", "args": "root=default rack=rack0"])
                == "0 moved item id -3 name 'host1' to location at rack0 in default in crush map")
        #expect(
            try say(4, "osd crush set", ["ids": "osd.7", "weight": "2.5", "args": "rack=rack0 host=host9"])
                == "0 set item id 7 name 'osd.7' weight 2.5 at host9 in rack0 in crush map")
        #expect(
            try say(5, "osd crush reweight", ["name": "osd.2", "weight": "0.5"])
                == "0 reweighted item id 2 name 'osd.2' to 0.5 in crush map")
        #expect(try say(6, "osd crush rm", ["name": "osd.6"]) == "0 removed item id 6 name 'osd.6' from crush map")
        #expect(try say(7, "osd crush rm", ["name": "osd.6"]) == "0 'osd.6' does not appear in the crush map")
        #expect(try say(8, "osd crush rm", ["name": "host3"]).hasPrefix("0 removed item id"))
        let tree = try OSDTree(json: try world.command(client, 9, "osd tree").output)
        #expect(
            tree.nodes.map { "\(String(repeating: " ", count: $0.depth))\($0.name) \($0.crushWeight)" } == [
                "default 8.0", " host0 2.0", "  osd.0 1.0", "  osd.1 1.0", " host2 2.0", "  osd.4 1.0", "  osd.5 1.0",
                " rack0 4.0", "  host1 1.5", "   osd.2 0.5", "   osd.3 1.0", "  host9 2.5", "   osd.7 2.5",
            ])
        #expect(tree.stray.map(\.name) == ["osd.6"])
        #expect(
            try say(10, "osd crush add", ["ids": "6", "weight": "1", "args": "host=host9"]).hasPrefix("0 set item"))
        #expect(world.map.crush.bucket(named: "host9")?.items.map(\.id.rawValue) == [7, 6])
        // Moving to where it is changes nothing of the order that mappings depend on.
        let before = world.map.crush
        _ = try say(11, "osd crush move", ["name": "osd.7", "args": "host=host9"])
        #expect(world.map.crush == before)
    }

    @Test func classesAndRules() throws {
        let world = try world()
        let client = world.open(.client)
        let set = try world.command(client, 1, "osd crush set-device-class", ["class": "ssd", "ids": "0 osd.2 4"])
        #expect(set.message == "set osd(s) 0,2,4 to class 'ssd'")
        try world.command(client, 2, "osd crush set-device-class", ["class": "hdd", "ids": "1 3 5 6 7"])
        let busy = try world.command(client, 3, "osd crush set-device-class", ["class": "hdd", "ids": "0"])
        #expect(busy.errno == EBUSY && busy.message.contains("rm-device-class"))
        #expect(String(try world.command(client, 4, "osd crush class ls").output) == #"["hdd","ssd"]"#)
        let members = try world.command(client, 5, "osd crush class ls-osd", ["class": "ssd"])
        #expect(String(members.output) == "[0,2,4]")
        let rule = ["name": "fast", "root": "default", "type": "host", "class": "ssd"]
        #expect(try world.command(client, 6, "osd crush rule create-replicated", rule).message == "rule 'fast' created")
        #expect(try world.command(client, 7, "osd crush rule create-replicated", rule).message.contains("already"))
        #expect(String(try world.command(client, 8, "osd crush rule ls").output) == #"["replicated_rule","fast"]"#)
        let dump = try RuleReport(json: try world.command(client, 9, "osd crush rule dump", ["name": "fast"]).output)
        #expect(dump.steps.map(\.op) == ["take", "chooseleaf_firstn", "emit"])
        #expect(dump.steps[0].itemName == "default~ssd" && dump.steps[1].type == "host" && dump.type == 1)
        let both = try [RuleReport](json: try world.command(client, 10, "osd crush rule dump").output)
        #expect(both.map(\.ruleName) == ["replicated_rule", "fast"])
        // The pool goes where its rule says.
        try world.command(client, 11, "pool set", ["pool": "rbd", "var": "crush_rule", "val": "fast"])
        let pool = try #require(world.map.pool(named: "rbd"))
        for placement in world.map.placements(of: pool) {
            #expect(placement.acting.map(\.rawValue).sorted() == [0, 2, 4])
        }
        #expect(try world.command(client, 12, "osd crush rule rm", ["name": "fast"]).errno == EBUSY)
        try world.command(client, 13, "pool set", ["pool": "rbd", "var": "crush_rule", "val": "replicated_rule"])
        #expect(try world.command(client, 14, "osd crush rule rm", ["name": "fast"]).message == "rule 'fast' removed")
        let none = try world.command(client, 15, "osd crush rm-device-class", ["ids": "0 1 2 3 4 5 6 7"])
        #expect(none.message == "done removing class of osd(s): 0,1,2,3,4,5,6,7")
        #expect(String(try world.command(client, 16, "osd crush class ls").output) == "[]")
    }

    @Test func reweightAndAffinityAreSixteenBits() throws {
        let world = try world()
        let client = world.open(.client)
        let reply = try world.command(client, 1, "osd reweight", ["ids": "1", "weight": "0.123"])
        #expect(reply.message == "reweighted osd.1 to 0.12299 (1f7c)")
        #expect(world.map.osds[OSDID(1)]?.reweight == 8060)
        let affinity = try world.command(client, 2, "osd primary-affinity", ["ids": "osd.2", "weight": "0"])
        #expect(affinity.message == "set osd.2 primary-affinity to 0.0 (0)")
        let pool = try #require(world.map.pool(named: "rbd"))
        for placement in world.map.placements(of: pool) { #expect(placement.primary != OSDID(2)) }
        let epoch = world.map.epoch
        try world.command(client, 3, "osd primary-affinity", ["ids": "osd.2", "weight": "0"])
        #expect(world.map.epoch == epoch, "what changes nothing makes no epoch")
        try world.command(client, 4, "osd reweight", ["ids": "1", "weight": "0"])
        #expect(world.map.osds[OSDID(1)]?.isIn == false)
        let dump = try MapDump(json: try world.command(client, 5, "osd dump").output)
        #expect(dump.osds[2].primaryAffinity == 0 && dump.osds[1].weight == 0)
    }

    /// Weights are cut to 16 binary places as Ceph's commands cut them, not rounded.
    @Test func crushWeightsAreCut() throws {
        let world = try world()
        let client = world.open(.client)
        try world.command(client, 1, "osd crush reweight", ["name": "osd.1", "weight": "1.3"])
        #expect(world.map.crush.bucket(named: "host0")?.items.map(\.weight.rawValue) == [65536, 85196])
        try world.command(client, 2, "osd crush set", ["ids": "1", "weight": "0.1", "args": "host=host0"])
        #expect(world.map.crush.bucket(named: "host0")?.items.map(\.weight.rawValue) == [65536, 6553])
    }

    @Test func tunablesFollowAProfile() throws {
        let world = try world()
        let client = world.open(.client)
        func shown(_ number: UInt64) throws -> TunablesReport {
            try TunablesReport(json: try world.command(client, number, "osd crush show-tunables").output)
        }
        #expect(try shown(1).profile == "jewel")
        let reply = try world.command(client, 2, "osd crush tunables", ["profile": "bobtail"])
        #expect(reply.message == "adjusted tunables profile to bobtail")
        let bobtail = try shown(3)
        #expect(bobtail.profile == "bobtail" && bobtail.chooseTotalTries == 50 && bobtail.chooseleafStable == 0)
        // Straws stay as they are computed.
        #expect(bobtail.strawCalcVersion == 1 && world.map.crush.tunables.chooseleafVaryR == 0)
        let epoch = world.map.epoch
        try world.command(client, 4, "osd crush tunables", ["profile": "bobtail"])
        #expect(world.map.epoch == epoch)
        let unknown = try world.command(client, 5, "osd crush tunables", ["profile": "kraken"])
        #expect(unknown.errno == EINVAL && unknown.message.contains("argonaut, bobtail, default"), "\(unknown.message)")
    }

    /// Buckets that stand in two others on every level: 2^30 ways down. The answer does not wait for them.
    @Test func aHierarchyOfManyWaysIsShownInPart() throws {
        let world = try world()
        let client = world.open(.client)
        var text = world.map.crush.text
        text += "host a0 { alg straw2 }\nhost b0 { alg straw2 }\n"
        for level in 1...30 {
            for name in ["a", "b"] {
                text +=
                    "host \(name)\(level) { alg straw2\n item a\(level - 1) weight 0\n item b\(level - 1) weight 0 }\n"
            }
        }
        let set = try world.command(client, 1, "osd setcrushmap", input: Bytes(text))
        #expect(set.errno == 0, "\(set.message)")
        let tree = try world.command(client, 2, "osd tree")
        #expect(tree.errno == 0 && tree.output.count > 1 << 20 && tree.output.count < 32 << 20)
        #expect(try world.command(client, 3, "osd df").errno == 0)
    }

    @Test func aGroupIsPutElsewhereAndBack() throws {
        let world = try world()
        let client = world.open(.client)
        let group = PGID(pool: PoolID(1), seed: 5)
        let up = world.map.placement(of: group).up
        let hosts = Set(up.map { $0.rawValue / 2 })
        let free = try #require((0..<4).first { !hosts.contains($0) }) * 2
        let neighbour = up[0].rawValue ^ 1
        let taken = up[1].rawValue ^ 1
        func put(_ number: UInt64, _ ids: String) throws -> CommandReply {
            try world.command(client, number, "osd pg-upmap-items", ["pgid": "1.5", "ids": ids])
        }
        let set = try put(1, "\(up[0].rawValue) \(free)")
        #expect(set.message == "set 1.5 pg_upmap_items mapping to [\(up[0].rawValue)->\(free)]")
        #expect(world.map.placement(of: group).up == [OSDID(free), up[1], up[2]])
        #expect(
            world.transcript().filter { $0.hasPrefix("propose") }.last?.contains("1.5 [\(up[0].rawValue)->\(free)]")
                == true)
        // Its own host can have it, another copy's host not.
        #expect(try put(2, "\(up[0].rawValue) \(neighbour)").errno == 0)
        let wrong = try put(3, "\(up[0].rawValue) \(taken)")
        #expect(wrong.errno == EINVAL && wrong.message.contains("failure domain"), "\(wrong.message)")
        let absent = try put(4, "\(free) \(neighbour)")
        #expect(absent.errno == EINVAL && absent.message.contains("is not in ["), "\(absent.message)")
        let mapping = try world.command(client, 5, "osd dump")
        #expect(try MapDump(json: mapping.output).pgUpmapItems.map(\.pgid) == ["1.5"])
        let clear = try world.command(client, 6, "osd rm-pg-upmap-items", ["pgid": "1.5"])
        #expect(clear.message == "clear 1.5 pg_upmap_items mapping")
        #expect(world.map.placement(of: group).up == up && world.map.exceptions.isEmpty)
    }

    /// What lost its sense leaves the map in the epoch in which it lost it.
    @Test func upmapsGoWithWhatTheyLeanOn() throws {
        let world = try world()
        let client = world.open(.client)
        let group = PGID(pool: PoolID(1), seed: 5)
        let up = world.map.placement(of: group).up
        let ids = "\(up[0].rawValue) \(up[0].rawValue ^ 1)"
        try world.command(client, 1, "osd pg-upmap-items", ["pgid": "1.5", "ids": ids])
        world.clear()
        try world.command(client, 2, "osd out", ["ids": "\(up[0].rawValue ^ 1)"])
        #expect(world.map.exceptions.isEmpty)
        #expect(world.transcript().contains { $0.hasPrefix("propose") && $0.hasSuffix("1.5 []") })
        try world.command(client, 3, "osd in", ["ids": "\(up[0].rawValue ^ 1)"])
        try world.command(client, 4, "osd pg-upmap-items", ["pgid": "1.5", "ids": ids])
        // A host of its own for the target does no harm, the host of another copy does.
        let target = up[0].rawValue ^ 1
        let move = ["ids": "\(target)", "weight": "1", "args": "root=default host=host\(up[1].rawValue / 2)"]
        try world.command(client, 5, "osd crush set", move)
        #expect(world.map.exceptions.isEmpty)
        try world.restart()
        #expect(world.map.exceptions.isEmpty)
    }

    @Test func theBalancerLevelsAndDFShowsIt() throws {
        let world = try world()
        let client = world.open(.client)
        func usage(_ number: UInt64) throws -> OSDUsage {
            try OSDUsage(json: try world.command(client, number, "osd df").output)
        }
        let before = try usage(1)
        #expect(before.nodes.allSatisfy { $0.idealPgs == 24 } && before.nodes.map(\.pgs).reduce(0, +) == 192)
        #expect(before.summary.lowestPgs < -1 && before.summary.highestPgs > 1)
        let epoch = world.map.epoch
        let dry = try BalanceReport(json: try world.command(client, 2, "osd balance", ["dry-run": "true"]).output)
        #expect(dry.dryRun && dry.moves > 0 && dry.moves >= dry.leastMoves && world.map.epoch == epoch)
        #expect(dry.changes.count == Set(dry.changes.map(\.pgid)).count)
        let done = try BalanceReport(json: try world.command(client, 3, "osd balance", ["pools": "rbd"]).output)
        #expect(done.moves == dry.moves && done.changes == dry.changes && !done.dryRun)
        #expect(world.map.epoch == epoch.next)
        let after = try usage(4)
        #expect(after.nodes.allSatisfy { abs(Double($0.pgs) - $0.idealPgs) <= 1 })
        #expect(after.summary.lowestPgs >= -1 && after.summary.highestPgs <= 1)
        let again = try BalanceReport(json: try world.command(client, 5, "osd balance").output)
        #expect(again.moves == 0 && again.changes.isEmpty && world.map.epoch == epoch.next)
        let tree = try OSDUsage(
            json: try world.command(client, 6, "osd df", ["output_method": "tree"]).output)
        #expect(tree.nodes.map(\.name).prefix(3) == ["default", "host0", "osd.0"])
        #expect(tree.nodes[0].pgs == 192 && tree.nodes[1].pgs == tree.nodes[2].pgs + tree.nodes[3].pgs)
        try world.restart()
        #expect(world.map.exceptions.upmapItems.count == done.changes.count)
    }

    @Test func theCrushMapGoesOutAndIn() throws {
        let world = try world()
        let client = world.open(.client)
        let out = try world.command(client, 1, "osd getcrushmap")
        #expect(out.output == world.map.crush.compiled)
        let epoch = world.map.epoch
        let same = try world.command(client, 2, "osd setcrushmap", input: out.output)
        #expect(same.errno == 0 && world.map.epoch == epoch)
        var crush = world.map.crush
        try crush.reweight(OSDID(3), to: CRUSHWeight(3 << 16))
        let set = try world.command(client, 3, "osd setcrushmap", input: crush.compiled)
        #expect(set.errno == 0 && world.map.crush == crush, "\(set.message)")
        // Text will do.
        try crush.reweight(OSDID(3), to: .one)
        let text = try world.command(client, 4, "osd setcrushmap", input: Bytes(crush.text))
        #expect(text.errno == 0, "\(text.message)")
        #expect(world.map.crush.text == crush.text)
        let map = try world.command(client, 5, "osd getmap")
        #expect(try OSDMap(decoding: map.output).epoch == world.map.epoch)
    }

    /// What a pool could not use is refused, with the reason, and changes nothing.
    @Test func aCrushMapThatAPoolCannotUseIsRefused() throws {
        let world = try world()
        let client = world.open(.client)
        let before = world.map.encoded
        func refused(_ number: UInt64, _ input: Bytes, _ part: String) throws {
            let reply = try world.command(client, number, "osd setcrushmap", input: input)
            #expect(reply.errno == EINVAL && reply.message.contains(part), "\(reply.message)")
            #expect(!reply.message.contains("\n") && world.map.encoded == before)
        }
        var crush = world.map.crush
        try crush.removeRule(RuleID(0))
        try refused(1, crush.compiled, "no rule 0, which pool 'rbd' uses")
        let parts = world.map.crush
        func rule(_ kind: Rule.Kind, _ sizes: ClosedRange<UInt8>, _ steps: [Rule.Step]) throws -> Bytes {
            let rule = Rule(
                id: RuleID(0), name: "r", kind: kind, minSize: sizes.lowerBound, maxSize: sizes.upperBound, steps: steps
            )
            return try CRUSHMap(
                tunables: parts.tunables, types: parts.types, devices: parts.devices, buckets: parts.buckets,
                rules: [rule]
            ).compiled
        }
        let steps = try #require(parts.rules.first).steps
        try refused(2, try rule(.replicated, 1...2, steps), "size 1 to 2")
        try refused(3, try rule(.erasure, 1...10, steps), "erasure")
        let rack = try #require(parts.type(named: "rack"))
        let nowhere: [Rule.Step] = [.take(ItemID(-1)), .chooseLeafFirstN(count: 0, type: rack), .emit]
        try refused(4, try rule(.replicated, 1...10, nowhere), "64 of the 64 groups of pool 'rbd' would have no OSD")
        crush = world.map.crush
        for osd in 0..<8 as Range<Int32> { try crush.remove(OSDID(osd)) }
        try refused(5, crush.compiled, "no OSD")
        try refused(6, Bytes("noise"), "not valid")
        try refused(7, Bytes([0, 0, 1, 0] + [UInt8](repeating: 0xff, count: 100)), "not valid")
        try refused(8, Bytes("# begin crush map\ntunable nonsense 1\n"), "line 2")
    }
}
