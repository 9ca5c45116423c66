import CRUSH
import ClusterMap
import Messenger
import Monitor
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// A whole cluster under a seed: a monitor, OSDs and a client of production code over virtual time, network and disks, with
/// processes killed, power cut and connections broken at random.
public final class SimulatedCluster {
    static let monitorEndpoint = Endpoint(host: "127.0.0.1", port: 6789)
    static let pool = PoolID(1)
    static func endpoint(of osd: OSDID) -> Endpoint {
        Endpoint(host: "127.0.0.1", port: 6800 + UInt16(osd.rawValue))
    }

    let id = UniqueID(high: 0xacce, low: 1)
    let events = EventQueue()
    let network: SimulatedNetwork
    var random: SeededGenerator
    let monitorKeys = SimulatedKeys()
    private var monitor: SimulatedMonitor?
    private let disks: [SimulatedDisk]
    private var osds: [SimulatedOSD?]
    private var client: SimulatedClient!
    private var nextIncarnation: UInt64 = 1
    private let seed: UInt64
    /// Lines of what happened, kept when asked for.
    public private(set) var lines: [String] = []
    private let keepsTrace: Bool
    /// How often each rare way was taken.
    public internal(set) var branches: [RareBranch: Int] = [:]
    /// How often each kind of fault has happened.
    public private(set) var faults: [String: Int] = [:]

    /// OSDs that could not go on, with their reasons: a finding, where disks are honest.
    var stops: [String] = []

    /// `ignoresFlushes` makes the OSDs' disks lie about flushes: a run that must lose data, to show that losing is noticed.
    public init(seed: UInt64, osds count: Int = 3, trace: Bool = false, ignoresFlushes: Bool = false) throws {
        self.seed = seed
        keepsTrace = trace
        random = SeededGenerator(seed: seed)
        network = SimulatedNetwork(events: events, seed: seed ^ 0x5bd1_e995)
        let cluster = id
        disks = try (0..<count).map { try SimulatedDisk(cluster: cluster, osd: OSDID(Int32($0))) }
        osds = Array(repeating: nil, count: count)
        for disk in disks { disk.device.ignoresFlushes = ignoresFlushes }
        _ = try MapLog.create(in: monitorKeys, name: "a", firstMap: try firstMap())
        try startMonitor()
        for index in 0..<count { try startOSD(index) }
        client = SimulatedClient(cluster: self)
    }

    /// The map of a cluster whose OSDs are registered, with a pool of a few groups.
    private func firstMap() throws -> OSDMap {
        var map = NewCluster(cluster: id, failureDomain: .osd).firstMap
        for (index, disk) in disks.enumerated() {
            let osd = OSDID(Int32(index))
            try map.crush.add(osd, weight: .one, host: "host\(index)")
            map.osds[osd] = OSDRecord(uuid: disk.identity.store)
        }
        map.pools = [:]
        let rule = map.crush.rules.first?.id.rawValue ?? 0
        map.pools[Self.pool] = Pool(
            id: Self.pool, name: "rbd", size: 3, minSize: 2, groupCount: 4, rule: rule, created: map.epoch,
            application: "rbd")
        map.nextPool = PoolID(2)
        return map
    }

    func trace(_ line: String) {
        if keepsTrace { lines.append("\(events.now) \(line)") }
    }

    private func count(_ fault: String) {
        faults[fault, default: 0] += 1
        trace("-- \(fault)")
    }

    private func incarnation() -> UInt64 {
        nextIncarnation += 1
        return nextIncarnation
    }

    private func startMonitor() throws {
        guard let log = try MapLog.open(monitorKeys) else { preconditionFailure("the map log is gone") }
        monitor = try SimulatedMonitor(log: log, incarnation: incarnation(), cluster: self)
    }

    private func startOSD(_ index: Int) throws {
        osds[index] = try SimulatedOSD(
            id: OSDID(Int32(index)), disk: disks[index], incarnation: incarnation(), cluster: self)
    }

    private func killOSD(_ index: Int) {
        osds[index]?.kill()
        osds[index] = nil
    }

    // MARK: Running

    private func run(milliseconds: UInt64) {
        let end = events.now + milliseconds * 1000
        while events.now < end, events.step() {}
    }

    private func breakSomething() throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<25: killOrStart(Int.random(in: 0..<osds.count, using: &random))
        case 25..<32:
            count("power cut of all")
            for index in osds.indices { killOSD(index) }
            monitor?.kill()
            monitor = nil
        case 32..<40:
            count("monitor killed")
            monitor?.kill()
            monitor = nil
        case 40..<70:
            count("connection broken")
            network.cutSomething()
        case 70..<76: partition()
        case 76..<82: changeWeight()
        default:
            try startEverything(likely: true)
        }
    }

    /// Cuts an OSD off from the monitor and the other OSDs, in one direction or both, and the client from the monitor with
    /// it or not: a primary that does not know it is one no more, and a client that still asks it.
    private func partition() {
        let osd = Entity.osd(OSDID(Int32.random(in: 0..<Int32(osds.count), using: &random)))
        let ways = Int.random(in: 0..<3, using: &random)
        count(ways == 0 ? "partition" : "partition one way")
        var cut: [(Entity, Entity)] = []
        for other in osds.indices.map({ Entity.osd(OSDID(Int32($0))) }) + [.monitor("a")] where other != osd {
            if ways != 1 { cut.append((osd, other)) }
            if ways != 2 { cut.append((other, osd)) }
        }
        if Bool.random(using: &random) { cut.append((.monitor("a"), .client("work"))) }
        for (from, to) in cut { network.block(from: from, to: to) }
        events.after(UInt64.random(in: 1_000_000...15_000_000, using: &random)) { [network] in
            for (from, to) in cut { network.unblock(from: from, to: to) }
        }
        run(milliseconds: UInt64.random(in: 0...9000, using: &random))
    }

    private func changeWeight() {
        let osd = Int.random(in: 0..<osds.count, using: &random)
        let goesOut = Bool.random(using: &random)
        count(goesOut ? "osd out" : "osd in")
        client.command(["osd", goesOut ? "out" : "in"], ["ids": "\(osd)"])
        run(milliseconds: UInt64.random(in: 0...2000, using: &random))
    }

    private func killOrStart(_ index: Int) {
        guard osds[index] != nil else { return }
        count("osd killed")
        killOSD(index)
    }

    private func startEverything(likely: Bool) throws {
        if monitor == nil { try startMonitor() }
        for index in osds.indices where osds[index] == nil && (!likely || Bool.random(using: &random)) {
            try startOSD(index)
        }
    }

    /// Runs for `steps` faults, heals, and returns what was wrong: nothing when every acknowledged write is there on all
    /// copies.
    public func check(steps: Int) throws -> [String] {
        run(milliseconds: 3000)
        for _ in 0..<steps {
            try breakSomething()
            run(milliseconds: UInt64.random(in: 1...800, using: &random))
        }
        try startEverything(likely: false)
        network.unblockAll()
        client.isWorking = false
        var problems: [String] = []
        guard settle() else {
            return client.failures.map { "seed \(seed): \($0)" }
                + [
                    "seed \(seed): the cluster did not come to rest, the client has \(client.pendingOperations): \(states)"
                ]
        }
        client.readAll()
        if !settle() { problems.append("the last reads did not end: \(states)") }
        problems += client.failures + stops
        problems += try compareCopies()
        if client.completed < 20 { problems.append("only \(client.completed) operations ended") }
        return problems.map { "seed \(seed): \($0)" }
    }

    /// Operations of the client that have ended.
    public var operations: Int { client.completed }

    private var states: String {
        let groups = osds.compactMap { $0?.core }.flatMap { core in
            core.groupSummaries
        }
        return groups.joined(separator: "; ")
    }

    private func settle() -> Bool {
        for round in 0..<600 {
            // Said again: a command whose answer was lost with its monitor may have been done again since.
            if round % 50 == 0 {
                client.command(["osd", "in"], ["ids": osds.indices.map(String.init).joined(separator: " ")])
            }
            run(milliseconds: 100)
            let groups = osds.compactMap { $0?.core }.flatMap { $0.isServing ? $0.statistics.groups : [] }
            if client.isIdle, groups.count == 4, groups.allSatisfy(\.state.isActiveClean) { return true }
        }
        return false
    }

    /// After a last power cut the stores are opened alone, and the copies of every object compared.
    private func compareCopies() throws -> [String] {
        for index in osds.indices { killOSD(index) }
        let map = try MapLog.open(monitorKeys)?.newestMap()
        guard let map, let pool = map.pools[Self.pool] else { return ["the monitor's map has no pool"] }
        let readers = try disks.map { try StoreReader($0) }
        var problems: [String] = []
        for group in pool.groups {
            let range = ObjectRange(pool: pool.id, seed: group.seed, bits: pool.bits(ofGroup: group.seed))
            var placed = map
            for (osd, record) in map.osds {
                var record = record
                record.isUp = record.endpoint != nil
                placed.osds[osd] = record
            }
            let copies = try placed.placement(of: group).acting.map { try readers[Int($0.rawValue)].objects(in: range) }
            for copy in copies.dropFirst() where copy != copies[0] { problems.append("copies of \(group) differ") }
        }
        return problems
    }
}

/// Reads a store with nothing else around it.
private struct StoreReader {
    private let store: ObjectStore<SimulatedDevice, SimulatedKeys>
    private let device: SimulatedDevice

    init(_ disk: SimulatedDisk) throws {
        store = try ObjectStore.open(disk.device, disk.keys, options: disk.options)
        device = disk.device
    }

    func objects(in range: ObjectRange) throws -> [ObjectID: Bytes] {
        var result: [ObjectID: Bytes] = [:]
        var random = SeededGenerator(seed: 1)
        for object in try store.list(range, after: nil, limit: 10_000) {
            guard let size = try store.stat(object) else { continue }
            store.read(object, offset: 0, length: Int(size), token: 0)
            store.endOfTurn()
            while device.pendingOperations > 0 {
                device.step(using: &random)
                store.poll()
            }
            store.drainCompletions { completion in
                if case .read(_, .success(let data)) = completion { result[object] = data }
            }
        }
        return result
    }
}
