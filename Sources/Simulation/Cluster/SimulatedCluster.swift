import CRUSH
import ClusterMap
import Messenger
import Monitor
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// What a simulation is made of, beside its seed.
public struct SimulationOptions: Sendable {
    /// Faults before the cluster is healed.
    public var faults = 30
    /// Keep a line of everything that happens.
    public var keepsTrace = false
    /// The OSDs' disks lie about flushes: a run that must lose data, to show that losing is noticed.
    public var ignoresFlushes = false
    /// By how many thousandths a clock may be fast or slow. Leases assume that two clocks differ by less than 50.
    public var drift = 20
    /// True when clocks differ by more: the run is to show that stale reads are noticed.
    public var isBeyondLeases: Bool { drift >= 25 }

    /// The ones of the suite.
    public init() {}
}

/// A whole cluster under a seed: a monitor, three to nine OSDs and several clients of production code over virtual time,
/// network and disks. Processes are killed, power is cut, connections break, clocks drift, OSDs come and go; the histories of
/// all objects must have an order that explains every answer, and when the faults end all copies must be whole and equal.
public final class SimulatedCluster {
    static let monitorEndpoint = Endpoint(host: "127.0.0.1", port: 6789)
    static let pool = PoolID(1)
    /// Groups beyond which they are not split any more.
    static let mostGroups: UInt32 = 40
    static func endpoint(of osd: OSDID) -> Endpoint {
        Endpoint(host: "127.0.0.1", port: 6800 + UInt16(osd.rawValue))
    }
    /// OSDs at most.
    static let limit = 9

    let id = UniqueID(high: 0xacce, low: 1)
    let events = EventQueue()
    let network: SimulatedNetwork
    var random: SeededGenerator
    let options: SimulationOptions
    let monitorKeys = SimulatedKeys()
    var monitor: SimulatedMonitor?
    /// By OSD number; nil where there is none.
    var disks: [SimulatedDisk?]
    /// By OSD number; nil where none runs.
    var osds: [SimulatedOSD?]
    var clients: [SimulatedClient?] = []
    private(set) var administrator: SimulatedAdministrator!
    var workload = Workload(objects: 16)
    /// False when clients are not to begin anything new.
    var isWorking = true
    private var nextIncarnation: UInt64 = 1
    private var nextDisk: UInt64 = 0
    let seed: UInt64
    /// Lines of what happened, kept when asked for.
    public private(set) var lines: [String] = []
    /// How often each rare way was taken.
    public internal(set) var branches: [RareBranch: Int] = [:]
    /// How often each kind of fault has happened.
    public private(set) var faults: [String: Int] = [:]
    /// Operations of clients that have ended.
    public private(set) var operations = 0
    /// Those that were refused for want of room.
    public private(set) var refusals = 0
    /// What the monitor said to a command that it refused last.
    var lastRefusal = ""
    /// The disk that loses bits, once one does: the others have what it loses.
    var rottingDisk: Int?
    /// True when a single copy may have been written to: then no disk may lose bits any more.
    var mayServeAlone = false
    /// OSDs that could not go on, with their reasons: a finding, where disks are honest.
    var stops: [String] = []

    /// A cluster that has just been started.
    public init(seed: UInt64, options: SimulationOptions = SimulationOptions()) throws {
        self.seed = seed
        self.options = options
        random = SeededGenerator(seed: seed)
        network = SimulatedNetwork(events: events, seed: seed ^ 0x5bd1_e995)
        let count = 3 + Int(seed % 5)
        disks = Array(repeating: nil, count: Self.limit)
        osds = Array(repeating: nil, count: Self.limit)
        for index in 0..<count { disks[index] = try newDisk(OSDID(Int32(index)), newStoreID()) }
        _ = try MapLog.create(in: monitorKeys, name: "a", firstMap: try firstMap())
        try startMonitor()
        for index in 0..<count { try startOSD(index) }
        administrator = SimulatedAdministrator(cluster: self)
        clients = Array(repeating: nil, count: 2 + Int(seed / 4 % 3))
        for index in clients.indices { startClient(index) }
    }

    /// The name of a new disk.
    func newStoreID() -> UniqueID {
        nextDisk += 1
        return UniqueID(high: 1, low: nextDisk)
    }

    func newDisk(_ osd: OSDID, _ store: UniqueID) throws -> SimulatedDisk {
        let disk = try SimulatedDisk(StoreIdentity(cluster: id, osd: osd, store: store))
        // Its superblocks it keeps: without them there is no store any more, which is noticed too easily.
        if options.ignoresFlushes { disk.device.liesFrom = StoreLimits.journalStart }
        return disk
    }

    /// The map of a cluster whose OSDs are registered, with a pool of a few groups.
    private func firstMap() throws -> OSDMap {
        var map = NewCluster(cluster: id, failureDomain: .osd).firstMap
        for disk in disks.compactMap({ $0 }) {
            try map.crush.add(disk.identity.osd, weight: .one, host: "host\(disk.identity.osd.rawValue)")
            map.osds[disk.identity.osd] = OSDRecord(uuid: disk.identity.store)
        }
        map.pools = [:]
        let rule = map.crush.rules.first?.id.rawValue ?? 0
        map.pools[Self.pool] = Pool(
            id: Self.pool, name: "rbd", size: 3, minSize: 2, groupCount: 4, rule: rule, created: map.epoch,
            application: "rbd")
        map.nextPool = PoolID(2)
        return map
    }

    // MARK: What happens

    func trace(_ line: @autoclosure () -> String) {
        if options.keepsTrace { lines.append("\(events.now) \(line())") }
    }

    func count(_ fault: String, _ detail: String = "") {
        faults[fault, default: 0] += 1
        trace("-- \(fault) \(detail)")
    }

    func operationEnded(_ outcome: ObjectModel.Outcome) {
        operations += 1
        if outcome.errno == ObjectModel.noSpace { refusals += 1 }
    }

    /// Changes with everything that happened: two runs of a seed give the same.
    public var digest: UInt64 { events.digest ^ network.digest }

    // MARK: Processes

    private func incarnation() -> UInt64 {
        nextIncarnation += 1
        return nextIncarnation
    }

    /// A clock that is fast or slow.
    private func clock() -> SimulatedClock {
        SimulatedClock(
            events: events, drift: Int.random(in: -options.drift...options.drift, using: &random),
            offset: UInt64.random(in: 0...1_000_000, using: &random))
    }

    func startMonitor() throws {
        guard let log = try MapLog.open(monitorKeys) else { preconditionFailure("the map log is gone") }
        monitor = try SimulatedMonitor(log: log, incarnation: incarnation(), clock: clock(), cluster: self)
    }

    func killMonitor() {
        monitor?.kill()
        monitor = nil
    }

    func startOSD(_ index: Int) throws {
        guard let disk = disks[index] else { preconditionFailure("osd.\(index) has no disk") }
        osds[index] = try SimulatedOSD(disk: disk, incarnation: incarnation(), clock: clock(), cluster: self)
    }

    func killOSD(_ index: Int) {
        osds[index]?.kill()
        osds[index] = nil
    }

    func startClient(_ index: Int) {
        clients[index] = SimulatedClient(name: "client\(index)", incarnation: incarnation(), cluster: self)
    }

    func startEverything(likely: Bool) throws {
        if monitor == nil { try startMonitor() }
        for index in disks.indices where disks[index] != nil && osds[index] == nil {
            if !likely || Bool.random(using: &random) { try startOSD(index) }
        }
        for index in clients.indices where clients[index] == nil { startClient(index) }
    }

    // MARK: Time

    func run(milliseconds: UInt64) {
        let end = events.now + milliseconds * 1000
        while events.now < end, events.step() {}
    }

    /// Runs until something is so, for some time at most. True when it is.
    func run(seconds: UInt64, until isDone: () -> Bool) -> Bool {
        let end = events.now + seconds * 1_000_000
        while !isDone() {
            guard events.now < end else { return false }
            run(milliseconds: 100)
        }
        return true
    }

    /// True when every group is active and clean, on OSDs that run.
    var isClean: Bool {
        guard let pool = administrator.map?.pools[Self.pool], pool.placementGroupCount == pool.groupCount,
            pool.lowering == nil
        else {
            return false
        }
        let groups = ledGroups
        return groups.count == pool.groupCount
            && groups.allSatisfy { $0.state.subtracting(.inconsistent).isActiveClean }
    }

    /// What the OSDs that run say of the groups that they lead.
    var ledGroups: [GroupStatistics] {
        osds.compactMap { $0?.core }.flatMap { $0.isServing ? $0.statistics.groups : [] }
    }

    /// How the groups are, for a run that does not come to rest.
    var states: String { osds.compactMap { $0?.core }.flatMap { $0.groupSummaries }.joined(separator: "; ") }
}

/// A process's monotonic clock: it began anywhere, and is a little fast or slow.
struct SimulatedClock {
    let events: EventQueue
    /// Thousandths.
    let drift: Int
    /// Milliseconds.
    let offset: UInt64

    var milliseconds: UInt64 { offset + events.now / 1000 * UInt64(1000 + drift) / 1000 }
}
