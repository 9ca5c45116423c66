import ClusterMap
import Monitor
import Protocol
import Testing
import Wire

/// What status and health say of objects: how many copies are not there, which are bad, how fast they come back.
@Suite struct DataHealthTests {
    private func status(_ world: World) throws -> ClusterStatus {
        let client = world.open(.client, incarnation: 9000 + UInt64(world.sent.count))
        return try ClusterStatus(json: try world.command(client, 1, "status").output)
    }

    /// What the OSD says of the groups that it leads, changed for the first of them.
    private func said(
        _ osd: TestOSD, _ world: World, _ state: GroupStatistics.State = .activeClean,
        first change: (inout GroupStatistics) -> Void = { _ in }
    ) -> OSDStatistics {
        guard case .statistics(var statistics) = osd.leading(world.map, state) else {
            preconditionFailure("an OSD says statistics")
        }
        for index in statistics.groups.indices {
            statistics.groups[index].counts.objects = 10
            statistics.groups[index].counts.bytes = 40 << 20
            statistics.groups[index].counts.copies = 30
        }
        change(&statistics.groups[0])
        return statistics
    }

    @Test func copiesThatAreNotThereAreCounted() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds.dropFirst() { world.receive(.statistics(said(osd, world)), from: osd.session) }
        let degraded = said(osds[0], world) { group in
            group.state = [.active, .degraded, .recovering]
            group.counts.degraded = 5
            group.counts.misplaced = 3
        }
        world.receive(.statistics(degraded), from: osds[0].session)
        let status = try status(world)
        #expect(status.pgmap.data.numObjects == 640 && status.pgmap.data.dataBytes == 640 << 22)
        #expect(status.pgmap.data.degradedObjects == 5 && status.pgmap.data.degradedTotal == 64 * 30)
        #expect(status.pgmap.data.misplacedObjects == 3)
        #expect(
            status.health.checks["PG_DEGRADED"]?.summary.message
                == "Degraded data redundancy: 5/1920 objects degraded (0.260 %), 1 pgs degraded")
    }

    @Test func theRateIsThatOfTheLastSecondsAndTheTimeLeftFollows() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds { world.receive(.statistics(said(osd, world)), from: osd.session) }
        #expect(try status(world).pgmap.data.recoverySecondsLeft == nil)
        for second in 1...30 {
            world.nowMilliseconds += 1000
            var report = said(osds[0], world) { $0.counts.degraded = 300 }
            // Slow at first, then two objects of 4 MiB a second.
            report.recoveredObjects = UInt64(second < 10 ? 0 : 2 * (second - 10))
            report.recoveredBytes = report.recoveredObjects << 22
            world.receive(.statistics(report), from: osds[0].session)
        }
        let data = try status(world).pgmap.data
        #expect(data.recoveringObjectsPerSec == 2 && data.recoveringBytesPerSec == Double(8 << 20))
        #expect(data.recoverySecondsLeft == 150)
    }

    @Test func damagedGroupsAreNamedUntilTheyAreHealed() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds { world.receive(.statistics(said(osd, world)), from: osd.session) }
        #expect(try status(world).health.status == .ok)
        var damaged = said(osds[0], world) { group in
            group.state = [.active, .clean, .inconsistent]
            (group.scrubErrors, group.inconsistent) = (3, 2)
            group.counts.unfound = 1
        }
        let name = "\(damaged.groups[0].group)"
        // Only what has changed is said.
        damaged.isWhole = false
        damaged.groups.removeLast(damaged.groups.count - 1)
        world.receive(.statistics(damaged), from: osds[0].session)
        let health = try status(world).health
        #expect(health.status == .error)
        #expect(health.checks["OSD_SCRUB_ERRORS"]?.summary.message == "3 scrub errors")
        #expect(health.checks["PG_DAMAGED"]?.summary.message == "Possible data damage: 1 pg inconsistent")
        #expect(
            health.checks["PG_DAMAGED"]?.detail.first?.message.hasPrefix(
                "pg \(name) is active+clean+inconsistent, acting ") == true)
        #expect(health.checks["OBJECT_UNFOUND"]?.summary.message == "1 object unfound")
        #expect(try status(world).pgmap.pgsByState.map(\.count).reduce(0, +) == 64)
        let dump = try GroupDump(
            json: try world.command(world.open(.client, incarnation: 1), 1, "pg dump").output)
        #expect(dump.pgStats.first { $0.pgid == name }?.statSum?.numScrubErrors == 3)
        var healed = said(osds[0], world)
        healed.isWhole = false
        healed.groups.removeLast(healed.groups.count - 1)
        world.receive(.statistics(healed), from: osds[0].session)
        #expect(try status(world).health.status == .ok)
    }

    /// An OSD that says nonsense breaks nothing.
    @Test func hugeNumbersAreShownAndNothingElse() throws {
        let world = try World()
        let osds = try world.threeUp()
        for osd in osds {
            var report = said(osd, world) { group in
                group.counts.objects = .max
                group.counts.bytes = .max
                group.counts.copies = 1
                group.counts.degraded = .max
                group.counts.misplaced = .max
                group.counts.unfound = .max
                (group.scrubErrors, group.inconsistent) = (.max, .max)
                (group.lastScrub, group.lastDeepScrub) = (.max, .max)
            }
            (report.recoveredObjects, report.recoveredBytes) = (.max, .max)
            world.receive(.statistics(report), from: osd.session)
            world.nowMilliseconds += 1000
            (report.recoveredObjects, report.recoveredBytes) = (0, 0)
            world.receive(.statistics(report), from: osd.session)
        }
        #expect(try status(world).health.status == .error)
    }
}
