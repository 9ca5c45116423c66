import ClusterMap
import Messenger
import ObjectStore
import Protocol
import Wire

/// What goes wrong, or is done to the cluster while it works.
extension SimulatedCluster {
    /// The OSDs that there are.
    private var existing: [Int] { disks.indices.filter { disks[$0] != nil } }

    private func anyOSD() -> Int {
        existing.randomElement(using: &random) ?? 0
    }

    func breakSomething() throws {
        if options.isBeyondLeases, Int.random(in: 0..<100, using: &random) < 60 { return deceive() }
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: killRunning(anyOSD())
        case 20..<25:
            count("power cut of all")
            for index in osds.indices { killOSD(index) }
            killMonitor()
        case 25..<31:
            count("monitor killed")
            killMonitor()
        case 31..<45:
            count("connection broken")
            network.cutSomething()
        case 45..<50:
            if network.damageSomething() { count("message damaged") }
        case 50..<59: partition()
        case 59..<67: changeWeight()
        case 67..<71:
            count("client killed")
            let index = Int.random(in: 0..<clients.count, using: &random)
            clients[index]?.kill()
            clients[index] = nil
        case 71..<74: try fillDisk()
        case 74..<77: try replaceDisk()
        case 77..<79: try addOSD()
        case 79..<81: try removeOSD()
        case 81..<86: try changeGroupCount()
        case 86..<88: try rotSomething()
        default: try startEverything(likely: true)
        }
    }

    private func killRunning(_ index: Int) {
        guard osds[index] != nil else { return }
        count("osd killed", "osd.\(index)")
        killOSD(index)
    }

    /// Cuts an OSD off from the monitor and the other OSDs, in one direction or both, and some clients from the monitor with
    /// it: a primary that does not know it is one no more, and clients that still ask it. Sometimes it is marked down at once.
    private func partition() {
        let index = anyOSD()
        let osd = Entity.osd(OSDID(Int32(index)))
        let ways = Int.random(in: 0..<4, using: &random)
        count(ways == 0 || ways == 3 ? "partition" : "partition one way", "\(osd)")
        var cut = links(of: osd, out: ways != 1, back: ways != 2)
        // Writes that cannot end keep reads waiting: what a primary says that is none any more is seen by readers alone.
        let ofReaders = Bool.random(using: &random)
        for client in clients.indices where ofReaders ? clients[client]?.isReader == true : Bool.random(using: &random)
        {
            cut.append((.monitor("a"), .client("client\(client)")))
        }
        let isMarkedDown = Bool.random(using: &random)
        cutOff(cut, markingDown: isMarkedDown ? index : nil)
        run(milliseconds: UInt64.random(in: 0...9000, using: &random))
    }

    /// What goes between an OSD and the others and the monitor, by sender and receiver.
    private func links(of osd: Entity, out: Bool, back: Bool) -> [(Entity, Entity)] {
        let others = existing.map { Entity.osd(OSDID(Int32($0))) } + [.monitor("a")]
        return others.filter { $0 != osd }.flatMap { other in
            (out ? [(osd, other)] : []) + (back ? [(other, osd)] : [])
        }
    }

    /// Cuts pairs off from one another for a while, and may have an OSD marked down at once.
    private func cutOff(_ cut: [(Entity, Entity)], markingDown index: Int?) {
        for (from, to) in cut { network.block(from: from, to: to) }
        if let index {
            count("osd marked down")
            administrator.command("osd down", ["ids": "\(index)"])
        }
        events.after(UInt64.random(in: 1_000_000...15_000_000, using: &random)) { [network] in
            for (from, to) in cut { network.unblock(from: from, to: to) }
        }
    }

    /// The partition by which most is read from a primary that is none any more: of an OSD alone, with all readers on its side.
    private func deceive() {
        let index = anyOSD()
        let osd = Entity.osd(OSDID(Int32(index)))
        count("partition", "\(osd)")
        var cut = links(of: osd, out: true, back: true)
        for client in clients.indices where clients[client]?.isReader == true {
            cut.append((.monitor("a"), .client("client\(client)")))
        }
        cutOff(cut, markingDown: index)
        run(milliseconds: UInt64.random(in: 6000...12_000, using: &random))
    }

    private func changeWeight() {
        let osd = anyOSD()
        switch Int.random(in: 0..<7, using: &random) {
        case 0, 1:
            count("osd out", "osd.\(osd)")
            administrator.command("osd out", ["ids": "\(osd)"])
        case 2:
            count("osd in", "osd.\(osd)")
            administrator.command("osd in", ["ids": "\(osd)"])
        case 3:
            count("osd marked down", "osd.\(osd)")
            administrator.command("osd down", ["ids": "\(osd)"])
        case 4:
            count("min_size changed")
            let size = [rottingDisk == nil ? "1" : "3", "2", "2", "3"].randomElement(using: &random) ?? "2"
            if size == "1" { mayServeAlone = true }
            administrator.command("osd pool set", ["pool": "rbd", "var": "min_size", "val": size])
        case 5:
            count("osd reweighted", "osd.\(osd)")
            let weight = ["0.3", "0.6", "0.9", "1"].randomElement(using: &random) ?? "1"
            administrator.command("osd reweight", ["ids": "\(osd)", "weight": weight])
        default:
            count("crush weight changed", "osd.\(osd)")
            let weight = ["0.5", "1", "2", "4"].randomElement(using: &random) ?? "1"
            administrator.command("osd crush reweight", ["name": "osd.\(osd)", "weight": weight])
        }
        run(milliseconds: UInt64.random(in: 0...2000, using: &random))
    }

    /// Raises `pg_num`: every group is split, or some are; the monitor lets `pgp_num` follow when all are clean. Or lowers it:
    /// groups are put together, made quiet and merged as soon as all are clean.
    private func changeGroupCount() throws {
        guard let now = administrator.map?.pools[Self.pool]?.groupCount else { return }
        var next = UInt32.random(in: 1...max(1, now - 1), using: &random)
        if now < Self.mostGroups, Bool.random(using: &random) {
            next = now + UInt32.random(in: 1...now, using: &random)
        }
        if next > now, Bool.random(using: &random) {
            // While an OSD that was away is given what it missed.
            killRunning(anyOSD())
            run(milliseconds: UInt64.random(in: 500...3000, using: &random))
            try startEverything(likely: false)
            run(milliseconds: UInt64.random(in: 5...300, using: &random))
        }
        count(next > now ? "pg_num raised" : "pg_num lowered", "to \(next)")
        administrator.command("osd pool set", ["pool": "rbd", "var": "pg_num", "val": "\(next)"])
        run(milliseconds: UInt64.random(in: 0...2000, using: &random))
    }

    /// A disk loses bits of data, at a time when the others have all of it.
    private func rotSomething() throws {
        guard !mayServeAlone, try waitUntilClean() else { return }
        let index = rottingDisk ?? anyOSD()
        guard let disk = disks[index] else { return }
        rottingDisk = index
        for _ in 0..<20 where disk.device.rot(behind: disk.options.dataStart, using: &random) {
            count("bit rot", "osd.\(index)")
        }
    }

    /// Others take all the space of a disk's file system, for a while.
    private func fillDisk() throws {
        guard let disk = disks[anyOSD()] else { return }
        count("disk full", "\(disk.identity.osd)")
        disk.device.isTaken = true
        events.after(UInt64.random(in: 1_000_000...10_000_000, using: &random)) { disk.device.isTaken = false }
    }

    // MARK: OSDs come and go

    /// Asks a command until it is done; nil when it is refused for good.
    private func ask(_ words: String, _ arguments: [String: String]) -> CommandReply? {
        var refusal = "no answer"
        defer { lastRefusal = refusal }
        for _ in 0..<40 {
            let number = administrator.command(words, arguments)
            var reply: CommandReply?
            let isAnswered = run(seconds: 30) {
                reply = reply ?? administrator.takeAnswer(number)
                return reply != nil
            }
            guard isAnswered, let reply else { return nil }
            if reply.errno == 0 { return reply }
            refusal = reply.message
            run(milliseconds: 500)
        }
        return nil
    }

    /// Faults stop until every group is clean: only then may a copy be taken away for good. False when they do not become so.
    private func waitUntilClean() throws -> Bool {
        try startEverything(likely: false)
        network.unblockAll()
        for disk in disks { disk?.device.isTaken = false }
        return run(seconds: 8) { isClean }
    }

    /// Registers a new disk and starts its OSD.
    private func register(host: String) throws {
        let store = newStoreID()
        guard
            let reply = ask("osd new", ["uuid": "\(store)", "host": host, "weight": "1"]),
            let number = Int(String(decoding: reply.output.array, as: UTF8.self)), number < Self.limit
        else { return }
        precondition(disks[number] == nil, "osd.\(number) is given twice")
        disks[number] = try newDisk(OSDID(Int32(number)), store)
        try startOSD(number)
    }

    /// A disk is gone, and a new one comes in its place.
    private func replaceDisk() throws {
        guard try waitUntilClean() else { return }
        let index = anyOSD()
        count("disk replaced", "osd.\(index)")
        killOSD(index)
        disks[index] = nil
        if rottingDisk == index { rottingDisk = nil }
        run(milliseconds: UInt64.random(in: 0...4000, using: &random))
        try purge(index)
        run(milliseconds: UInt64.random(in: 0...4000, using: &random))
        try register(host: "host\(index)")
    }

    private func purge(_ index: Int) throws {
        guard ask("osd purge", ["ids": "\(index)", "yes-i-really-mean-it": "true"]) != nil else {
            throw SimulationError(description: "osd.\(index) cannot be purged: \(lastRefusal)")
        }
    }

    private func addOSD() throws {
        guard monitor != nil, disks.contains(where: { $0 == nil }) else { return }
        count("osd added")
        try register(host: "host\(existing.count + 10)")
    }

    /// An OSD is emptied and taken away.
    private func removeOSD() throws {
        guard existing.count > 3, try waitUntilClean() else { return }
        let index = anyOSD()
        let osd = OSDID(Int32(index))
        guard ask("osd out", ["ids": "\(index)"]) != nil else { return }
        let isEmpty = run(seconds: 10) {
            isClean && administrator.map?.osds[osd]?.isIn == false && !serves(osd)
        }
        guard isEmpty else { return }
        count("osd removed", "osd.\(index)")
        killOSD(index)
        disks[index] = nil
        if rottingDisk == index { rottingDisk = nil }
        try purge(index)
    }

    private func serves(_ osd: OSDID) -> Bool {
        guard let map = administrator.map, let pool = map.pools[Self.pool] else { return true }
        return map.placements(of: pool).contains { $0.acting.contains(osd) || $0.up.contains(osd) }
    }
}

/// A run that cannot go on.
struct SimulationError: Error, CustomStringConvertible {
    let description: String
}
