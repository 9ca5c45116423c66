import ClusterMap
import Monitor
import Protocol
import Testing
import Wire

/// When an OSD is taken for dead or given up, and what is asked before.
@Suite struct SafetyTests {
    private func silence(_ reporter: TestOSD, _ target: TestOSD) -> OSDFailure {
        OSDFailure(
            reporter: reporter.id, target: target.id, incarnation: target.incarnation,
            evidence: .silent(milliseconds: 6000))
    }

    @Test func silenceNeedsTwoWitnessesAndProofOne() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.receive(.failure(silence(osds[0], osds[2])), from: osds[0].session)
        world.receive(.failure(silence(osds[0], osds[2])), from: osds[0].session)
        #expect(world.map.isUp(osds[2].id))
        world.receive(.failureWithdrawn(silence(osds[0], osds[2])), from: osds[0].session)
        world.receive(.failure(silence(osds[1], osds[2])), from: osds[1].session)
        #expect(world.map.isUp(osds[2].id), "what was withdrawn counts no more")
        world.receive(.failure(silence(osds[0], osds[2])), from: osds[0].session)
        let silent = try #require(world.map.osds[osds[2].id])
        #expect(!silent.isUp && !silent.isKnownDead)
        world.receive(osds[0].failure(of: osds[1]), from: osds[0].session)
        #expect(world.map.osds[osds[1].id]?.isKnownDead == true)
    }

    @Test func anotherRunProvesTheEndOfTheOneBefore() throws {
        let world = try World()
        var osds = try world.threeUp()
        func goSilent() {
            for other in osds.dropFirst() {
                world.receive(
                    .failure(
                        OSDFailure(
                            reporter: other.id, target: osds[0].id, incarnation: osds[0].incarnation,
                            evidence: .silent(milliseconds: 6000))), from: other.session)
            }
        }
        goSilent()
        #expect(!world.map.isUp(osds[0].id))
        world.receive(.boot(osds[0].boot), from: osds[0].session)
        #expect(world.map.isUp(osds[0].id) && world.map.osds[osds[0].id]?.isRestarted == false)
        goSilent()
        osds[0].incarnation += 1
        osds[0].session = world.open(.osd(osds[0].id))
        world.receive(.boot(osds[0].boot), from: osds[0].session)
        #expect(world.map.isUp(osds[0].id) && world.map.osds[osds[0].id]?.isRestarted == true)
    }

    @Test func whatIsDownForLongGoesOutAndComesInWhenItIsBack() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        for _ in 0..<61 {
            for osd in osds.prefix(2) { world.receive(osd.statistics(world.map), from: osd.session) }
            world.advance(10_000)
        }
        #expect(world.map.osds[osds[2].id]?.isIn == false && world.map.osds[osds[2].id]?.isAutomaticallyOut == true)
        var back = osds[2]
        back.incarnation += 1
        back.session = world.open(.osd(back.id))
        world.receive(.boot(back.boot), from: back.session)
        #expect(world.map.isUp(back.id) && world.map.osds[back.id]?.isIn == true)
    }

    @Test func whatIsAskedBeforeAnOSDIsTouched() throws {
        let world = try World()
        let osds = try world.threeUp()
        let client = world.open(.client)
        #expect(try world.command(client, 1, "osd ok-to-stop", ["ids": "0"]).errno == 11)
        for osd in osds { world.receive(osd.leading(world.map, .activeClean), from: osd.session) }
        #expect(try world.command(client, 2, "osd ok-to-stop", ["ids": "0"]).errno == 0)
        #expect(try world.command(client, 3, "osd ok-to-stop", ["ids": "0 1"]).errno == 16)
        for osd in osds { world.receive(osd.leading(world.map, [.active, .recovering]), from: osd.session) }
        #expect(try world.command(client, 4, "osd ok-to-stop", ["ids": "0"]).errno == 16)
        #expect(try world.command(client, 5, "osd safe-to-destroy", ["ids": "0"]).errno == 16)
        #expect(try world.command(client, 6, "osd safe-to-destroy", ["ids": "9"]).errno == 2)
        #expect(try world.command(client, 7, "osd lost", ["ids": "0"]).errno == 1)
        let sure = ["ids": "2", "yes-i-really-mean-it": "true"]
        #expect(try world.command(client, 8, "osd lost", sure).errno == 16)
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        #expect(try world.command(client, 9, "osd lost", sure).errno == 0)
        #expect(world.map.osds[osds[2].id]?.lostAt == world.map.epoch)
    }

    /// A group's primary says who is to serve; nobody else does.
    @Test func actingSetsAreAskedForByThePrimary() throws {
        let world = try World()
        let osds = try world.threeUp()
        let group = PGID(pool: PoolID(1), seed: 0)
        let placement = world.map.placement(of: group)
        let primary = try #require(osds.first { $0.id == placement.primary })
        let other = try #require(osds.first { $0.id != placement.primary })
        let wanted = Array(placement.acting.reversed())
        let request = ActingRequest(group: group, osds: wanted)
        world.receive(.acting(other.id, incarnation: other.incarnation, [request]), from: other.session)
        #expect(world.map.placement(of: group).acting == placement.acting)
        world.receive(.acting(primary.id, incarnation: primary.incarnation, [request]), from: primary.session)
        #expect(world.map.placement(of: group).acting == wanted && world.map.placement(of: group).up == placement.up)
        world.receive(.alive(other.id, incarnation: other.incarnation, epoch: world.map.epoch), from: other.session)
        #expect(world.map.osds[other.id]?.upThru == world.map.epoch.previous)
    }

    /// What cannot come up without an administrator is told so, instead of waiting for ever.
    @Test func aBootThatComesToNothingIsRefusedAloud() throws {
        let world = try World()
        let osds = try world.threeUp()
        var stranger = osds[0].boot
        stranger.uuid = osds[1].uuid
        stranger.incarnation = 999
        let session = world.open(.osd(osds[0].id), incarnation: 999)
        func refusals() -> [String] {
            world.sent.compactMap { to, message in
                if to == session, case .bootRefused(let reason) = message { reason } else { nil }
            }
        }
        world.receive(.boot(stranger), from: session)
        #expect(refusals().count == 1 && world.map.osds[osds[0].id]?.incarnation == osds[0].incarnation)
        stranger.id = OSDID(0)
        world.receive(osds[1].failure(of: osds[0]), from: osds[1].session)
        let admin = world.open(.client)
        try world.command(admin, 1, "osd purge", ["ids": "0", "yes-i-really-mean-it": "true"])
        world.receive(.boot(stranger), from: session)
        #expect(refusals().count == 2 && world.map.osds[OSDID(0)] == nil)
    }

    /// A run that was deposed accuses nobody: its word would count for the one that took its place.
    @Test func whoWasDeposedIsNoWitness() throws {
        let world = try World()
        let osds = try world.threeUp()
        var newer = osds[0]
        newer.incarnation = 999
        newer.session = world.open(.osd(osds[0].id), incarnation: 999)
        world.receive(.boot(newer.boot), from: newer.session)
        #expect(world.map.osds[osds[0].id]?.incarnation == 999 && world.map.isUp(osds[0].id))
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        #expect(world.map.isUp(osds[2].id))
        world.receive(newer.failure(of: osds[2]), from: newer.session)
        #expect(!world.map.isUp(osds[2].id))
    }
}
