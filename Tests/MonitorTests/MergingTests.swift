import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// How the monitor leads a pool to a smaller `pg_num`: what it waits for, and what it lets go.
@Suite struct MergingTests {
    private let pool = PoolID(1)

    /// Three OSDs that are up, with all groups of the pool active and clean, and a smaller number of groups asked for.
    private func lowered(to count: UInt32) throws -> (World, [TestOSD]) {
        let world = try World()
        let osds = try world.threeUp()
        let reply = try world.command(
            world.open(.client), 1, "osd pool set", ["pool": "rbd", "var": "pg_num", "val": "\(count)"])
        #expect(reply.errno == 0)
        return (world, osds)
    }

    private func sayAll(_ world: World, _ osds: [TestOSD], _ change: (inout GroupStatistics) -> Void = { _ in }) {
        let map = world.map
        for osd in osds {
            guard case .statistics(var statistics) = osd.leading(map, .activeClean) else { continue }
            for index in statistics.groups.indices {
                let group = statistics.groups[index].group
                statistics.groups[index].lastUpdate = Version(epoch: Epoch(2), counter: UInt64(group.seed))
                if map.pools[pool]?.isQuiet(group.seed) == true { statistics.groups[index].state.insert(.premerge) }
                change(&statistics.groups[index])
            }
            world.receive(.statistics(statistics), from: osd.session)
        }
    }

    private func settings(_ world: World) -> Pool { world.map.pools[pool]! }

    @Test func groupsAreMergedInStepsWhenAllStandStill() throws {
        let (world, osds) = try lowered(to: 20)
        #expect(settings(world).groupCount == 64 && settings(world).placementGroupCount == 20)
        #expect(settings(world).lowering == Pool.Lowering(target: 20))
        // Nothing is known of the groups where they are now.
        world.advance(200)
        #expect(settings(world).lowering?.pending == nil)
        sayAll(world, osds)
        world.advance(200)
        #expect(settings(world).lowering?.pending == 32)
        // All but one stand still.
        sayAll(world, osds) { if $0.group.seed == 63 { $0.state = [.peering] } }
        world.advance(200)
        #expect(settings(world).groupCount == 64)
        sayAll(world, osds)
        #expect(settings(world).groupCount == 32 && settings(world).merge?.epoch == world.map.epoch)
        #expect(settings(world).merge?.versions.count == 64)
        #expect(settings(world).merge?.versions[63] == Version(epoch: Epoch(2), counter: 63))
        #expect(settings(world).lowering?.pending == nil)
        sayAll(world, osds)
        world.advance(200)
        #expect(settings(world).lowering?.pending == 20)
        sayAll(world, osds)
        #expect(settings(world).groupCount == 20 && settings(world).lowering == nil)
        #expect(settings(world).merge?.versions.count == 24, "twelve groups went into twelve others")
        sayAll(world, osds)
        world.advance(1000)
        #expect(settings(world).groupCount == 20 && settings(world).placementGroupCount == 20)
    }

    /// What was said before the groups were quiet, or of an older interval in which they were, says nothing of where they stand.
    @Test func olderWordsDoNotCount() throws {
        let (world, osds) = try lowered(to: 32)
        sayAll(world, osds)
        world.advance(200)
        let epoch = world.map.epoch
        #expect(settings(world).lowering?.pending == 32)
        sayAll(world, osds) { $0.interval = Epoch(epoch.rawValue - 1) }
        world.advance(200)
        #expect(settings(world).groupCount == 64)
    }

    @Test func whatIsNotReadyServesAgainAndIsTriedLater() throws {
        let (world, osds) = try lowered(to: 32)
        sayAll(world, osds)
        world.advance(200)
        #expect(settings(world).lowering?.pending == 32)
        world.advance(4500)
        #expect(settings(world).lowering == Pool.Lowering(target: 32))
        #expect(world.notes.contains { $0.contains("serve again") })
        for _ in 0..<10 {
            sayAll(world, osds)
            world.advance(1000)
            #expect(settings(world).lowering?.pending == nil)
        }
        for _ in 0..<12 {
            sayAll(world, osds)
            world.advance(1000)
        }
        #expect(settings(world).groupCount == 32)
    }

    @Test func groupsThatAreNotCleanAreLeftAlone() throws {
        let (world, osds) = try lowered(to: 32)
        sayAll(world, osds) { if $0.group.seed == 5 { $0.state = [.active, .degraded] } }
        world.advance(1000)
        #expect(settings(world).lowering?.pending == nil)
    }

    @Test func anOSDThatGoesDownMeanwhileStopsTheMerge() throws {
        let (world, osds) = try lowered(to: 32)
        sayAll(world, osds)
        world.advance(200)
        world.receive(.leaving(osds[0].id, incarnation: osds[0].incarnation), from: osds[0].session)
        sayAll(world, Array(osds[1...])) { $0.state = [.active, .undersized, .degraded] }
        world.advance(4000)
        #expect(settings(world).groupCount == 64 && settings(world).lowering?.pending == nil)
    }

    @Test func theWishMayChangeOnTheWay() throws {
        let (world, osds) = try lowered(to: 16)
        sayAll(world, osds)
        world.advance(200)
        #expect(settings(world).lowering?.pending == 32)
        let client = world.open(.client, incarnation: 99)
        try world.command(client, 1, "osd pool set", ["pool": "rbd", "var": "pg_num", "val": "40"])
        // 32 is too few now.
        #expect(settings(world).lowering == Pool.Lowering(target: 40) && settings(world).groupCount == 64)
        try world.command(client, 2, "osd pool set", ["pool": "rbd", "var": "pg_num", "val": "64"])
        #expect(settings(world).lowering == nil && settings(world).groupCount == 64)
        #expect(settings(world).placementGroupCount == 16)
        sayAll(world, osds)
        world.advance(200)
        #expect(settings(world).placementGroupCount == 64, "placement follows")
    }

    /// Groups that come together have no places of their own: replacements of their OSDs go, and new ones are refused.
    @Test func replacementsOfTheirOSDsGo() throws {
        let world = try World()
        _ = try world.threeUp()
        let client = world.open(.client)
        let fourth = try world.newOSD()
        world.receive(.boot(fourth.boot), from: fourth.session)
        let group = try #require(settings(world).groups.first { !world.map.placement(of: $0).up.contains(fourth.id) })
        let taken = world.map.placement(of: group).up[0].rawValue
        let items = ["pgid": "\(group)", "ids": "\(taken) \(fourth.id.rawValue)"]
        #expect(try world.command(client, 2, "osd pg-upmap-items", items).errno == 0)
        try world.command(client, 3, "osd pool set", ["pool": "rbd", "var": "pg_num", "val": "1"])
        #expect(world.map.exceptions.upmapItems.isEmpty)
        let reply = try world.command(client, 4, "osd pg-upmap-items", items)
        #expect(reply.errno == EINVAL && reply.message.contains("merged"), "\(reply.message)")
    }
}
