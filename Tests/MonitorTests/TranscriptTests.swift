import ClusterMap
import Monitor
import Protocol
import Testing
import Wire

/// What a monitor does for what it hears, line by line.
@Suite struct TranscriptTests {
    @Test func nothingIsToldBeforeItIsStored() throws {
        let world = try World()
        world.commitsAtOnce = false
        let client = world.open(.client)
        world.receive(.subscribe(have: .none), from: client)
        let uuid = UniqueID(high: 0x4000, low: 2 << 62).description
        let new = CommandRequest(
            number: 1, words: ["osd", "new"], arguments: ["uuid": uuid, "host": "pearl", "weight": "0.5"])
        world.receive(.command(new), from: client)
        let pool = CommandRequest(number: 2, words: ["pool", "create"], arguments: ["pool": "images"])
        world.receive(.command(pool), from: client)
        let again = CommandRequest(number: 3, words: ["pool", "create"], arguments: ["pool": "images"])
        world.receive(.command(again), from: client)
        #expect(world.transcript() == ["to 1: maps full 1", "propose 2: osd.0 down crush"])
        try world.commit()
        #expect(
            world.transcript() == [
                "to 1: maps increment 2",
                "to 1: reply 1: ok osd.0 is registered on host pearl",
                "propose 3: pool images",
            ])
        try world.commit()
        #expect(
            world.transcript() == [
                "to 1: maps increment 3",
                "to 1: reply 2: ok pool 'images' created",
                "to 1: reply 3: ok pool 'images' already exists",
            ])
    }

    @Test func threeOSDsComeUp() throws {
        let world = try World()
        let osds = [try world.newOSD(), try world.newOSD(), try world.newOSD()]
        world.clear()
        world.commitsAtOnce = false
        for osd in osds { world.receive(.boot(osd.boot), from: osd.session) }
        for osd in osds { world.receive(.boot(osd.boot), from: osd.session) }
        try world.commit()
        try world.commit()
        #expect(
            world.transcript() == ["propose 5: osd.0 up run 100", "propose 6: osd.1 up run 101 osd.2 up run 102"])
        #expect(world.pending == nil)
        #expect(world.map.osds[OSDID(1)]?.upFrom == Epoch(6))
        #expect(world.map.osds[OSDID(1)]?.endpoint == Endpoint(host: "127.0.0.1", port: 6801))
    }

    /// An interval must end where a run ends, even when the new run is there before anyone noticed.
    @Test func anotherRunGoesDownFirstAndUpInTheNextEpoch() throws {
        let world = try World()
        var osd = try world.threeUp()[1]
        world.clear()
        let epoch = world.map.epoch
        osd.incarnation = 999
        osd.session = world.open(.osd(osd.id))
        world.receive(.boot(osd.boot), from: osd.session)
        #expect(
            world.transcript() == [
                "propose \(epoch.next): osd.1 down", "propose \(epoch.next.next): osd.1 up run 999",
            ])
        let record = try #require(world.map.osds[osd.id])
        #expect(record.downAt == epoch.next && record.upFrom == epoch.next.next)
    }

    /// What comes for an OSD that changed in the epoch being made waits for the next.
    @Test func upAndDownAreNeverOneEpoch() throws {
        let world = try World()
        var osds = try world.threeUp()
        world.commitsAtOnce = false
        world.clear()
        let epoch = world.map.epoch
        // Something else is being stored, so that all of this gathers.
        let client = world.open(.client)
        world.receive(
            .command(CommandRequest(number: 1, words: ["osd", "out"], arguments: ["ids": "0"])), from: client)
        let old = osds[1]
        osds[1].incarnation = 500
        osds[1].session = world.open(.osd(osds[1].id))
        world.receive(.boot(osds[1].boot), from: osds[1].session)
        world.receive(osds[0].failure(of: old), from: osds[0].session)
        world.receive(osds[0].failure(of: osds[1]), from: osds[0].session)
        for _ in 0..<4 { try world.commit() }
        #expect(
            world.transcript().filter { $0.hasPrefix("propose") } == [
                "propose \(epoch.rawValue + 1): osd.0 up run 100 out",
                "propose \(epoch.rawValue + 2): osd.1 down",
                "propose \(epoch.rawValue + 3): osd.1 up run 500",
                "propose \(epoch.rawValue + 4): osd.1 down",
            ])
        #expect(world.pending == nil)
    }

    @Test func bootsOfStrangersAreRefused() throws {
        let world = try World()
        var osd = try world.newOSD()
        world.clear()
        let stranger = world.open(.osd(OSDID(9)))
        var boot = osd.boot
        boot.id = OSDID(9)
        world.receive(.boot(boot), from: stranger)
        osd.uuid = UniqueID(high: 1, low: 2)
        world.receive(.boot(osd.boot), from: osd.session)
        // A session may speak for itself only.
        world.receive(.boot(osd.boot), from: stranger)
        let answers = world.transcript()
        #expect(answers.count == 2 && answers.allSatisfy { $0.contains("bootRefused") })
        #expect(answers[0].contains("to 3") && answers[0].contains("osd new") && answers[1].contains("to 2"))
        #expect(world.notes.count == 3)
        #expect(world.notes[0].contains("osd.9") && world.notes[0].contains("osd new"))
        #expect(world.notes[1].contains("disk"))
    }

    @Test func aReportedFailureMarksThatRunDownAtOnce() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.clear()
        var older = osds[2]
        older.incarnation -= 1
        world.receive(osds[0].failure(of: older), from: osds[0].session)
        #expect(world.transcript() == [])
        world.receive(osds[0].failure(of: osds[2]), from: osds[0].session)
        #expect(world.transcript() == ["propose 8: osd.2 down"])
        #expect(world.map.osds[OSDID(2)]?.downAt == Epoch(8))
        // Who is down itself is not believed.
        world.receive(osds[2].failure(of: osds[1]), from: osds[2].session)
        #expect(world.transcript() == [])
        world.receive(.leaving(osds[1].id, incarnation: osds[1].incarnation), from: osds[1].session)
        #expect(world.transcript() == ["propose 9: osd.1 down"])
    }

    @Test func aBrokenSessionIsWaitedForASecond() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.clear()
        world.core.sessionInterrupted(osds[0].session)
        world.core.sessionInterrupted(osds[1].session)
        world.core.sessionClosed(osds[2].session)
        world.advance(999)
        world.core.sessionResumed(osds[0].session)
        // It came back in a session of its own and went on in the same run.
        let again = world.open(.osd(osds[2].id))
        world.receive(
            .boot(TestOSD(id: osds[2].id, uuid: osds[2].uuid, incarnation: 102, session: again).boot), from: again)
        world.advance(1)
        #expect(world.transcript() == ["propose 8: osd.1 down"])
        world.advance(5000)
        #expect(world.transcript() == [])
    }

    @Test func silenceLongerThanTheGraceIsDown() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.clear()
        world.advance(19_000)
        for osd in osds.dropFirst() { world.receive(osd.statistics(world.map), from: osd.session) }
        world.advance(999)
        #expect(world.transcript() == [])
        world.advance(1)
        #expect(world.transcript() == ["propose 8: osd.0 down"])
        // A monitor that was away cannot know who was silent.
        try world.restart()
        world.advance(19_999)
        #expect(world.transcript() == [])
        world.advance(1)
        #expect(world.transcript() == ["propose 9: osd.1 down osd.2 down"])
    }

    @Test func aMonitorThatWasHeldUpTakesNobodyForSilent() throws {
        let world = try World()
        let osds = try world.threeUp()
        world.clear()
        world.core.sessionInterrupted(osds[0].session)
        world.advance(500)
        world.holdUp(60_000)
        #expect(world.transcript() == [])
        world.core.sessionResumed(osds[0].session)
        world.advance(19_999)
        #expect(world.transcript() == [])
        world.advance(1)
        #expect(world.transcript() == ["propose 8: osd.0 down osd.1 down osd.2 down"])
    }
}
