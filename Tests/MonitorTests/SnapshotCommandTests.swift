import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// Numbers of snapshots: given out once, removed for good, and forgotten when every group has trimmed them.
@Suite struct SnapshotCommandTests {
    private func create(_ world: World, _ client: PeerSession, _ number: UInt64) throws -> UInt64 {
        let reply = try world.command(client, number, "osd pool selfmanaged-snap create", ["pool": "rbd"])
        return try #require(UInt64(String(reply.output)))
    }

    private func snapshots(_ world: World) throws -> PoolSnapshots {
        try #require(world.map.pool(named: "rbd")?.snapshots)
    }

    @Test func numbersAreStoredBeforeTheyAreTold() throws {
        let world = try World()
        let client = world.open(.client)
        #expect(try create(world, client, 1) == 1)
        // The same request sent again is the same snapshot.
        #expect(try create(world, client, 1) == 1)
        world.commitsAtOnce = false
        #expect(throws: WireError.self) { try create(world, client, 2) }
        #expect(try snapshots(world).sequence == SnapID(1))
        try world.commit()
        #expect(try snapshots(world).sequence == SnapID(2))
        world.commitsAtOnce = true
        #expect(try create(world, client, 2) == 2)
        try world.restart()
        #expect(try create(world, world.open(.client), 3) == 3)
    }

    @Test(arguments: [
        ("rm", ["pool": "rbd"], EINVAL, "'snapid'"), ("rm", ["pool": "rbd", "snapid": "0"], EINVAL, "snapid"),
        ("rm", ["pool": "rbd", "snapid": "9"], ENOENT, "never had a snapshot 9"),
        ("rm", ["pool": "none", "snapid": "1"], ENOENT, "'none'"), ("create", ["pool": "none"], ENOENT, "'none'"),
        ("create", [:], EINVAL, "'pool'"),
    ])
    func whatMakesNoSenseIsRefused(_ word: String, _ arguments: [String: String], _ errno: Int32, _ text: String)
        throws
    {
        let world = try World()
        let client = world.open(.client)
        _ = try create(world, client, 1)
        let reply = try world.command(client, 2, "osd pool selfmanaged-snap \(word)", arguments)
        #expect(reply.errno == errno && reply.message.contains(text), "\(reply.message)")
    }

    @Test func aSnapshotIsForgottenWhenEveryGroupHasTrimmedIt() throws {
        let world = try World()
        let osds = try world.threeUp()
        let client = world.open(.client)
        for number in 1...3 { _ = try create(world, client, UInt64(number)) }
        for id in ["2", "3", "2"] {
            let reply = try world.command(
                client, 10 + world.nowMilliseconds, "osd pool selfmanaged-snap rm", ["pool": "rbd", "snapid": id])
            #expect(reply.errno == 0)
            world.nowMilliseconds += 1
        }
        #expect(try snapshots(world).trimming.description == "2-3")
        let placementsBefore = world.core.map.placement(of: PGID(pool: PoolID(1), seed: 0))

        func report(_ osd: TestOSD, _ trimmed: [UInt64], but exception: PGID? = nil) {
            let led = world.map.poolsInOrder.flatMap { Array($0.groups) }
                .filter { world.map.placement(of: $0).primary == osd.id }
            let groups = led.map { group in
                GroupStatistics(
                    group: group, state: .activeClean, waitingFor: [], lastUpdate: .zero,
                    trimmed: group == exception ? SnapIntervals() : SnapIntervals(trimmed.map { SnapID($0) }))
            }
            world.receive(osd.statistics(world.map, groups: groups), from: osd.session)
        }
        report(osds[0], [2, 3])
        report(osds[1], [2, 3])
        let last = try #require(
            world.map.poolsInOrder.flatMap { Array($0.groups) }.last {
                world.map.placement(of: $0).primary == osds[2].id
            })
        report(osds[2], [2, 3], but: last)
        #expect(try snapshots(world).trimming.description == "2-3", "one group has not spoken of them")
        report(osds[2], [3])
        #expect(try snapshots(world).trimming.description == "2")
        report(osds[2], [2])
        #expect(try snapshots(world).trimming.isEmpty)
        #expect(try snapshots(world).removed.description == "2-3", "removed for ever")
        #expect(world.core.map.placement(of: PGID(pool: PoolID(1), seed: 0)) == placementsBefore)
        // What is not being trimmed is not taken off twice.
        let epoch = world.map.epoch
        report(osds[2], [2, 3])
        #expect(world.map.epoch == epoch)
    }
}
