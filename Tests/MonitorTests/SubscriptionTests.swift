import ClusterMap
import Monitor
import Protocol
import Testing
import Wire

/// Who is sent which maps.
@Suite struct SubscriptionTests {
    /// Renames a pool until the map has reached `epoch`.
    private func grow(_ world: World, to epoch: UInt32) throws {
        let client = world.open(.client, incarnation: 4711)
        var number: UInt64 = 0
        while world.map.epoch < Epoch(epoch) {
            number += 1
            let names = ["srcpool": "rbd", "destpool": "images"]
            let back = ["srcpool": "images", "destpool": "rbd"]
            try world.command(client, number, "pool rename", number % 2 == 1 ? names : back)
        }
        world.clear()
    }

    @Test func aNewClientGetsTheNewestMapAndThenEveryIncrement() throws {
        let world = try World()
        _ = try world.newOSD()
        let client = world.open(.client)
        world.clear()
        world.receive(.subscribe(have: .none), from: client)
        #expect(world.transcript() == ["to \(client): maps full 2"])
        try world.command(client, 1, "osd out", ["ids": "osd.0"])
        #expect(
            world.transcript() == [
                "propose 3: osd.0 down out", "to \(client): maps increment 3", "to \(client): reply 1: ok marked out osd.0",
            ])
        world.core.sessionClosed(client)
        let other = world.open(.client, incarnation: 8)
        try world.command(other, 1, "osd in", ["ids": "osd.0"])
        #expect(world.transcript().allSatisfy { !$0.contains("to \(client):") })
    }

    /// It derives the past intervals of its groups from all epochs.
    @Test func aNewOSDGetsEveryEpochSinceTheFirst() throws {
        let world = try World()
        let osd = try world.newOSD()
        try grow(world, to: 600)
        world.receive(.subscribe(have: .none), from: osd.session)
        #expect(
            world.transcript() == [
                "to \(osd.session): maps full 1, increments 2-257",
                "to \(osd.session): maps increments 258-513",
                "to \(osd.session): maps increments 514-600",
            ])
        let map = try replay(world, to: osd.session)
        #expect(map.encoded == world.map.encoded)
    }

    @Test func whoIsBehindGetsWhatIsMissing() throws {
        let world = try World()
        let osd = try world.newOSD()
        try grow(world, to: 300)
        let client = world.open(.client)
        world.receive(.subscribe(have: Epoch(290)), from: client)
        world.receive(.subscribe(have: Epoch(20)), from: client)
        world.receive(.subscribe(have: Epoch(300)), from: client)
        world.receive(.subscribe(have: Epoch(20)), from: osd.session)
        #expect(
            world.transcript() == [
                "to \(client): maps increments 291-300", "to \(client): maps full 300",
                "to \(osd.session): maps increments 21-276", "to \(osd.session): maps increments 277-300",
            ])
        // Only another cluster's maps, or a monitor that lost its own, can be newer.
        world.receive(.subscribe(have: Epoch(400)), from: client)
        #expect(world.transcript() == ["to \(client): maps full 300"])
        #expect(world.notes.count == 1)
    }

    /// Far behind means many messages: a turn sends a bounded number, the next tick goes on.
    @Test func longHistoriesComeInTurns() throws {
        let world = try World()
        let osd = try world.newOSD()
        let messages = UInt32(MonitorBounds.updatesPerTurn + 1)
        try grow(world, to: 1 + (messages + 2) * UInt32(MonitorLimits.increments))
        world.receive(.subscribe(have: .none), from: osd.session)
        #expect(world.sent.count == Int(messages))
        world.advance(100)
        #expect(world.sent.count == Int(messages) + 2)
        #expect(try replay(world, to: osd.session).encoded == world.map.encoded)
    }

    /// Applies what was sent to a session.
    private func replay(_ world: World, to session: PeerSession) throws -> OSDMap {
        var map: OSDMap?
        for case (session, .maps(let update)) in world.sent {
            if let full = update.full { map = try OSDMap(decoding: full) }
            for bytes in update.increments { map = try map?.applying(try OSDMap.Increment(decoding: bytes)) }
        }
        return try #require(map)
    }
}
