import ClusterMap
import Monitor
import Protocol
import Testing
import Wire

/// What status says, and why.
@Suite struct HealthTests {
    private func status(_ world: World) throws -> ClusterStatus {
        let client = world.open(.client, incarnation: 9000 + UInt64(world.sent.count))
        return try ClusterStatus(json: try world.command(client, 1, "status").output)
    }

    private func states(_ status: ClusterStatus) -> [String] {
        status.pgmap.pgsByState.map { "\($0.count) \($0.stateName)" }
    }

    @Test func anEmptyClusterSaysWhatItNeeds() throws {
        let world = try World()
        let status = try status(world)
        #expect(status.fsid == "11112222-3333-4444-5555-666677778888")
        #expect(status.health.status == .warning)
        #expect(status.health.checks.keys.sorted() == ["AUTH_NONE", "PG_AVAILABILITY", "TOO_FEW_OSDS"])
        #expect(status.health.checks["AUTH_NONE"]?.severity == .ok)
        #expect(states(status) == ["64 unknown"])
        #expect(status.pgmap.waiting.map(\.reason) == ["has 0 of 3 OSDs: add OSDs, or lower the size of pool 'rbd'"])
        #expect(status.monmap.mons.map { "\($0.name) \($0.addr)" } == ["a 127.0.0.1:6789"])
    }

    @Test func groupsAreUnknownUntilTheirPrimaryReportsThem() throws {
        let world = try World()
        let osds = try world.threeUp()
        #expect(try states(status(world)) == ["64 unknown"])
        #expect(try status(world).pgmap.waiting.allSatisfy { $0.reason.hasPrefix("waits for the report of osd.") })
        for osd in osds { world.receive(osd.leading(world.map, .activeClean), from: osd.session) }
        let healthy = try status(world)
        #expect(states(healthy) == ["64 active+clean"])
        #expect(healthy.health.status == .ok)
        #expect(healthy.pgmap.waiting.isEmpty)
        #expect(healthy.pgmap.bytesTotal == 30 << 30 && healthy.pgmap.bytesUsed == 3 << 30)
    }

    @Test func aDownOSDIsNamedWithWhatWaitsForIt() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds { world.receive(osd.leading(world.map, .activeClean), from: osd.session) }
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        let status = try status(world)
        #expect(status.osdmap.numUpOsds == 2 && status.osdmap.numInOsds == 3)
        #expect(states(status) == ["64 undersized"])
        #expect(
            status.pgmap.waiting.map { "\($0.pgid) \($0.count) \($0.reason)" } == [
                "1.0 64 waits for osd.2 (down since epoch 8)"
            ])
        #expect(status.health.checks["OSD_DOWN"]?.detail.map(\.message) == ["osd.2 is down since epoch 8"])
        #expect(status.health.checks["PG_DEGRADED"]?.summary.count == 64)
        let inactive = try #require(status.health.checks["PG_AVAILABILITY"])
        #expect(inactive.summary.message == "Reduced data availability: 64 pgs inactive")
        #expect(inactive.detail.count == MonitorBounds.healthDetails)
        #expect(inactive.detail.first?.message == "pg 1.0 waits for osd.2 (down since epoch 8)")
        let client = world.open(.client, incarnation: 77)
        let dump = try GroupDump(json: try world.command(client, 1, "pg dump").output)
        #expect(dump.pgStats.count == 64)
        #expect(dump.pgStats.allSatisfy { $0.waitingFor == [2] && $0.acting.count == 2 })
    }

    @Test func whatAPrimarySaidOfAnOlderActingSetDoesNotCount() throws {
        let world = try World()
        let osds = try world.threeUp()
        let old = world.map
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        world.receive(.boot(osds[2].boot), from: osds[2].session)
        for osd in osds { world.receive(osd.leading(old, .activeClean), from: osd.session) }
        #expect(try states(status(world)) == ["64 unknown"])
        for osd in osds { world.receive(osd.leading(world.map, .peering), from: osd.session) }
        let peering = try status(world)
        #expect(states(peering) == ["64 peering"])
        #expect(peering.pgmap.waiting.allSatisfy { $0.reason.hasPrefix("is peering on osd.") })
    }

    @Test func statisticsOfAnotherRunDoNotCount() throws {
        let world = try World()
        var osds = try world.threeUp()
        osds[0].incarnation += 1
        world.receive(osds[0].leading(world.map, .activeClean), from: osds[0].session)
        #expect(try status(world).pgmap.bytesTotal == 0)
    }

    @Test(arguments: [(8, nil), (86, "OSD_NEARFULL"), (96, "OSD_FULL")] as [(UInt64, String?)])
    func fullOSDsAreNamed(_ percent: UInt64, _ check: String?) throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds { world.receive(osd.leading(world.map, .activeClean), from: osd.session) }
        let groups = Array(world.map.poolsInOrder.flatMap { Array($0.groups) })
            .filter { world.map.placement(of: $0).primary == OSDID(1) }
            .map { GroupStatistics(group: $0, state: .activeClean, waitingFor: [], lastUpdate: .zero) }
        world.receive(
            osds[1].statistics(world.map, capacity: 100, used: percent, groups: groups), from: osds[1].session)
        let health = try status(world).health
        #expect(health.checks.keys.filter { $0.hasPrefix("OSD") } == check.map { [$0] } ?? [])
        let worst: HealthReport.Severity = percent > 95 ? .error : percent > 85 ? .warning : .ok
        #expect(health.status == worst)
        if let check { #expect(health.checks[check]?.detail.first?.message == "osd.1 is \(percent) % full") }
    }

    /// Peers that answer late are named by those who wait for them, and so are writes that take long.
    @Test func slowPeersAndWritesAreNamed() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds { world.receive(osd.leading(world.map, .activeClean), from: osd.session) }
        func say(_ slow: [(Int, UInt32)], writes: UInt32, by index: Int) {
            guard case .statistics(var statistics) = osds[index].leading(world.map, .activeClean) else { return }
            statistics.slowPeers = slow.map { OSDStatistics.SlowPeer(osd: OSDID(Int32($0)), milliseconds: $1) }
            (statistics.slowWrites, statistics.oldestWrite) = (writes, writes == 0 ? 0 : 35)
            world.receive(.statistics(statistics), from: osds[index].session)
        }
        say([(2, 1200)], writes: 3, by: 0)
        say([(2, 3400)], writes: 0, by: 1)
        var health = try status(world).health
        #expect(health.status == .warning)
        let pings = try #require(health.checks["OSD_SLOW_PING_TIME_BACK"])
        #expect(pings.summary.message == "Slow OSD heartbeats on back (longest 3400 ms)" && pings.summary.count == 2)
        #expect(
            pings.detail.map(\.message) == ["osd.2 answers osd.1 after 3400 ms", "osd.2 answers osd.0 after 1200 ms"])
        let writes = try #require(health.checks["SLOW_OPS"])
        #expect(writes.summary.message == "3 slow ops, oldest one blocked for 35 sec" && writes.summary.count == 3)
        #expect(writes.detail.map(\.message) == ["osd.0 has 3 slow ops, oldest one blocked for 35 sec"])
        // Who is down is not slow, and who has become fast again is not either.
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        say([], writes: 0, by: 0)
        health = try status(world).health
        #expect(health.checks["OSD_SLOW_PING_TIME_BACK"] == nil && health.checks["SLOW_OPS"] == nil)
    }

    @Test func tooFewHostsAreSaid() throws {
        let world = try World(failureDomain: .host)
        let osds = try world.threeUp()
        for osd in osds { world.receive(osd.leading(world.map, .undersized), from: osd.session) }
        let waiting = try status(world).pgmap.waiting
        #expect(waiting.map(\.reason) == ["has 1 of 3 OSDs: add OSDs, or lower the size of pool 'rbd'"])
    }
}
