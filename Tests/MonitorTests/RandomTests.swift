import ClusterMap
import Glibc
import Monitor
import Protocol
import Testing
import Wire

/// Any order of what OSDs, clients, time and power cuts do. The seed makes the run; `NACRE_SEED` gives another.
@Suite struct RandomTests {
    static let seeds: [UInt64] = getenv("NACRE_SEED").flatMap { UInt64(String(cString: $0)) }.map { [$0] } ?? Array(1...4)

    @Test(arguments: seeds)
    func whateverHappensTheMapIsOneLog(seed: UInt64) throws {
        let run = try RandomRun(seed: seed)
        for step in 0..<400 {
            try run.step()
            try run.check("seed \(seed), step \(step)")
        }
        try run.settle()
        try run.check("seed \(seed), at the end")
        // Every kind of step has done something.
        #expect(run.restarts > 3 && run.lostProposals > 0 && run.storedProposals > 0, "seed \(seed)")
        #expect(run.world.map.epoch > Epoch(50), "seed \(seed)")
    }
}

/// A monitor, OSDs that come and go, and subscribers that apply what they are told.
private final class RandomRun {
    let world: World
    var restarts = 0
    var lostProposals = 0
    var storedProposals = 0
    private var random: SplitMix
    private var osds: [TestOSD] = []
    private var subscribers: [Subscriber] = []
    private var clients: [PeerSession] = []
    private var commands: UInt64 = 0

    private final class Subscriber {
        var session: PeerSession
        let osd: OSDID?
        var map: OSDMap?

        init(session: PeerSession, osd: OSDID?) {
            self.session = session
            self.osd = osd
        }
    }

    init(seed: UInt64) throws {
        random = SplitMix(state: seed)
        world = try World()
        world.commitsAtOnce = false
        world.onSend = { [unowned self] in hear($0, $1) }
        try connectClients()
    }

    private func connectClients() throws {
        clients = [world.open(.client, incarnation: 1), world.open(.client, incarnation: 2)]
    }

    /// A subscriber applies what it gets; nothing in it may be newer than what is stored, and no epoch may be left out.
    private func hear(_ message: MonitorMessage, _ session: PeerSession) {
        guard case .maps(let update) = message, let subscriber = subscribers.first(where: { $0.session == session })
        else { return }
        do {
            if let full = update.full {
                let map = try OSDMap(decoding: full)
                #expect(map.epoch <= world.log.last)
                if map.epoch >= subscriber.map?.epoch ?? .none { subscriber.map = map }
            }
            for bytes in update.increments {
                let increment = try OSDMap.Increment(decoding: bytes)
                #expect(increment.epoch <= world.log.last, "epoch \(increment.epoch) is told before it is stored")
                let map = try #require(subscriber.map)
                if increment.epoch > map.epoch { subscriber.map = try map.applying(increment) }
            }
        } catch {
            Issue.record(error)
        }
    }

    func step() throws {
        switch random.next() % 20 {
        case 0..<4: try world.commit()
        case 4:
            commands += 1
            let uuid = UniqueID(high: 0x4000, low: 2 << 62 | UInt64.random(in: 0..<6, using: &random))
            execute(["osd", "new"], ["uuid": uuid.description, "host": "pearl", "weight": "0.01"])
        case 5..<9: boot()
        case 9: if let osd = osds.randomElement(using: &random), let other = osds.randomElement(using: &random) {
            world.receive(osd.failure(of: other), from: osd.session)
        }
        case 10: if let osd = osds.randomElement(using: &random) {
            world.receive(.leaving(osd.id, incarnation: osd.incarnation), from: osd.session)
        }
        case 11: if let osd = osds.randomElement(using: &random) {
            random.next() % 2 == 0 ? world.core.sessionInterrupted(osd.session) : world.core.sessionResumed(osd.session)
        }
        case 12: if let osd = osds.randomElement(using: &random) { world.receive(osd.statistics(world.map), from: osd.session) }
        case 13: world.advance(UInt64.random(in: 1...3000, using: &random))
        case 14: execute(["osd", random.next() % 2 == 0 ? "out" : "in"], ["ids": "\(random.next() % 6)"])
        case 15: execute(["osd", random.next() % 2 == 0 ? "down" : "rm"], ["ids": "\(random.next() % 6)"])
        case 16: execute(["pool", "create"], ["pool": "p\(random.next() % 3)", "pg_num": "4"])
        case 17:
            let name = "p\(random.next() % 3)"
            let sure = ["pool": name, "pool2": name, "yes-i-really-really-mean-it": "true"]
            execute(["pool", "delete"], sure)
        case 18: subscribe()
        default: if random.next() % 3 == 0 { try restart() }
        }
    }

    private func execute(_ words: [String], _ arguments: [String: String]) {
        commands += 1
        let request = CommandRequest(number: commands, words: words, arguments: arguments)
        world.receive(.command(request), from: clients[Int(random.next() % 2)])
    }

    /// An OSD of the map boots: a daemon that runs, or another run of it.
    private func boot() {
        guard let (id, record) = world.map.osdsInOrder.randomElement(using: &random) else { return }
        var osd = osds.first { $0.id == id && $0.uuid == record.uuid }
            ?? TestOSD(id: id, uuid: record.uuid, incarnation: random.next(), session: world.open(.osd(id)))
        osds.removeAll { $0.id == id }
        if random.next() % 3 == 0 {
            world.core.sessionClosed(osd.session)
            osd = TestOSD(id: id, uuid: record.uuid, incarnation: random.next(), session: world.open(.osd(id)))
        }
        osds.append(osd)
        world.receive(.boot(osd.boot), from: osd.session)
    }

    private func subscribe() {
        if subscribers.count < 4 {
            let osd = osds.randomElement(using: &random)?.id
            let session = world.open(osd.map { .osd($0) } ?? .client, incarnation: random.next())
            subscribers.append(Subscriber(session: session, osd: osd))
        }
        guard let one = subscribers.randomElement(using: &random) else { return }
        world.receive(.subscribe(have: one.map?.epoch ?? .none), from: one.session)
    }

    private func restart() throws {
        restarts += 1
        let stored = random.next() % 2 == 0
        if world.pending != nil { if stored { storedProposals += 1 } else { lostProposals += 1 } }
        let before = stored ? world.pending?.result ?? world.map.encoded : world.map.encoded
        try world.restart(storingProposal: stored)
        #expect(world.map.encoded == before, "the map that is loaded is the one that was stored last")
        osds = osds.map { TestOSD(id: $0.id, uuid: $0.uuid, incarnation: $0.incarnation, session: world.open(.osd($0.id))) }
        try connectClients()
        for one in subscribers {
            one.session = world.open(one.osd.map { .osd($0) } ?? .client, incarnation: 3)
            world.receive(.subscribe(have: one.map?.epoch ?? .none), from: one.session)
        }
    }

    /// Stores what is wanted, and tells what is to tell.
    func settle() throws {
        while world.pending != nil { try world.commit() }
        world.advance(0)
        for one in subscribers {
            world.receive(.subscribe(have: one.map?.epoch ?? .none), from: one.session)
            #expect(one.map?.encoded == world.map.encoded)
        }
    }

    private var checked: (epoch: Epoch, map: OSDMap)?

    /// Replays what is new in the log: epochs go up by one, checksums are true, and no run of an OSD follows another
    /// without an epoch in which it is down.
    func check(_ context: String) throws {
        var map = try checked?.map ?? OSDMap(decoding: world.firstMap())
        while map.epoch < world.log.last {
            let next = try map.applying(try OSDMap.Increment(decoding: try world.log.increment(map.epoch.next)))
            for (id, record) in next.osds where record.isUp {
                if let before = map.osds[id], before.isUp {
                    #expect(before.incarnation == record.incarnation && before.upFrom == record.upFrom, "\(context)")
                } else {
                    #expect(record.upFrom == next.epoch, "\(context)")
                }
            }
            for (id, record) in next.osds where !record.isUp && map.isUp(id) {
                #expect(record.downAt == next.epoch, "\(context)")
            }
            map = next
        }
        checked = (map.epoch, map)
        #expect(map.encoded == world.map.encoded, "\(context)")
    }
}

/// A small generator with a seed (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
