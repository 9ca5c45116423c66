import ClusterMap
import Messenger
import MonitorClient
import OSD
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// One run of an OSD: the production core and store over a simulated device, until it is killed.
final class SimulatedOSD: OSDEnvironment, MonitorClientEnvironment, NetworkProcess {
    let identity: Identity
    let store: ObjectStore<SimulatedDevice, SimulatedKeys>
    private let disk: SimulatedDisk
    private let clock: SimulatedClock
    private unowned let cluster: SimulatedCluster
    private(set) var isAlive = true
    private(set) var messenger: SimulatedMessenger!
    private(set) var core: OSDCore<SimulatedOSD>!
    private var monitor: MonitorClient<SimulatedOSD>!
    private var isDiskBusy = false

    init(disk: SimulatedDisk, incarnation: UInt64, clock: SimulatedClock, cluster: SimulatedCluster) throws {
        let id = disk.identity.osd
        self.disk = disk
        self.clock = clock
        self.cluster = cluster
        store = try ObjectStore.open(disk.device, disk.keys, options: disk.options)
        identity = Identity(cluster: cluster.id, entity: .osd(id), incarnation: incarnation)
        let endpoint = SimulatedCluster.endpoint(of: id)
        core = OSDCore(
            id: id, uuid: disk.identity.store, incarnation: incarnation, endpoint: endpoint, environment: self)
        messenger = SimulatedMessenger(identity, of: self, in: cluster.network)
        cluster.network.listen(messenger, at: endpoint)
        monitor = MonitorClient(monitors: [SimulatedCluster.monitorEndpoint], cluster: cluster.id, environment: self)
        monitor.start()
        tick()
    }

    /// The machine loses power.
    func kill() {
        isAlive = false
        messenger.kill()
        disk.device.crash(using: &cluster.random)
        disk.keys.crash(using: &cluster.random)
    }

    private func tick() {
        guard isAlive else { return }
        core.tick()
        messenger.core.requestTurnEnd()
        cluster.events.after(200_000) { [weak self] in self?.tick() }
    }

    func turnEnded() {
        guard isAlive else { return }
        core.endOfTurn()
    }

    func turnSent() {
        guard isAlive else { return }
        core.turnSent()
        startDisk()
    }

    private func startDisk() {
        guard !isDiskBusy, disk.device.pendingOperations > 0 || disk.keys.isFlushing else { return }
        isDiskBusy = true
        cluster.events.after(UInt64.random(in: 50...300, using: &cluster.random)) { [weak self] in self?.diskTurn() }
    }

    private func diskTurn() {
        isDiskBusy = false
        guard isAlive else { return }
        disk.device.step(using: &cluster.random)
        if disk.keys.isFlushing { disk.keys.step() }
        store.collect()
        core.storeCompleted()
        messenger.core.requestTurnEnd()
    }

    // MARK: OSDEnvironment

    var nowMilliseconds: UInt64 { clock.milliseconds }
    var wallNanoseconds: UInt64 { 1_000_000_000_000_000_000 + cluster.events.now * 1000 }
    func requestTurn() {
        cluster.events.after(20) { [weak self] in
            guard let self, self.isAlive else { return }
            self.messenger.core.requestTurnEnd()
        }
    }
    func send(_ payload: Bytes, to session: PeerSession) {
        messenger.core.send(payload, to: SessionID(rawValue: session.number))
    }
    func connect(to endpoint: Endpoint, osd: OSDID, incarnation: UInt64) -> PeerSession {
        PeerSession(number: messenger.connect(to: endpoint, expecting: .osd(osd)).rawValue)
    }
    func close(_ session: PeerSession) { messenger.core.close(SessionID(rawValue: session.number)) }
    func tellMonitor(_ message: MonitorMessage) { monitor.send(message) }
    func stop(because reason: String) {
        cluster.stops.append("\(identity.entity) stopped: \(reason)")
        isAlive = false
        messenger.kill()
    }
    var times: OSDTimes { OSDTimes() }
    var tuning: GroupTuning {
        var tuning = GroupTuning()
        // Clients are cut off for up to 15 s: what is forgotten by then is done a second time when they send it again.
        (tuning.logCut, tuning.logKept, tuning.requestsKept, tuning.scan) = (120, 60, 2000, 1)
        tuning.part = 16384
        (tuning.scrubObjects, tuning.scrubInterval, tuning.deepScrubInterval) = (2, 4, 12)
        return tuning
    }
    func resumePush(_ number: UInt32, for group: GroupSlot, afterMilliseconds milliseconds: UInt64) {
        cluster.events.after(milliseconds * 1000) { [weak self] in
            guard let self, self.isAlive else { return }
            self.core.pushMayGoOn(number, for: group)
            self.messenger.core.requestTurnEnd()
        }
    }
    func occurred(_ branch: RareBranch) { cluster.branches[branch, default: 0] += 1 }
    func note(_ text: String) { cluster.trace("\(identity.entity): \(text)") }
    func warn(_ text: String) { note(text) }

    // MARK: NetworkProcess

    func received(_ message: Message, from session: SessionID) {
        if case .monitor(let message) = message, monitor.owns(session) {
            monitor.received(message, from: session)
        } else {
            core.received(message, from: PeerSession(number: session.rawValue))
        }
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if monitor.owns(session) { return monitor.opened(session, peer: peer, resumed: resumed) }
        let name: PeerName =
            if case .osd(let id) = peer.entity {
                .osd(id, incarnation: peer.incarnation)
            } else {
                .client("\(peer.entity)")
            }
        core.opened(PeerSession(number: session.rawValue), by: name)
    }
    func interrupted(_ session: SessionID, why: Interruption) {
        if monitor.owns(session) { return monitor.interrupted(session, why: why) }
        if why == .connectionRefused { core.refused(PeerSession(number: session.rawValue)) }
    }
    func reset(_ session: SessionID) {
        if monitor.owns(session) { return monitor.reset(session) }
        core.reset(PeerSession(number: session.rawValue))
    }
    func closed(_ session: SessionID) { core.closed(PeerSession(number: session.rawValue)) }

    // MARK: MonitorClientEnvironment

    func connect(toMonitor endpoint: Endpoint) -> SessionID { messenger.connect(to: endpoint) }
    func close(_ session: SessionID) { messenger.core.close(session) }
    func send(_ message: MonitorMessage, to session: SessionID) {
        messenger.send(.monitor(message), to: session)
    }
    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        cluster.events.after(UInt64(milliseconds) * 1000) { [weak self] in
            guard let self, self.isAlive else { return }
            self.monitor.timerFired(timer)
            self.messenger.core.requestTurnEnd()
        }
    }
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) { core.mapsReceived(map, increments: increments) }
    func monitorReachable(_ isReachable: Bool) { if isReachable { core.monitorFound() } }
    func bootRefused(_ reason: String) { stop(because: reason) }

    func mapHasParted(_ reason: String) -> Bool {
        stop(because: "\(reason): start it again, to go through every epoch anew")
        return true
    }

    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {}
    func report(_ line: String) { cluster.trace("\(identity.entity): \(line)") }
}

/// What survives an OSD's process: its device, its keys, and who it is.
final class SimulatedDisk {
    let device: SimulatedDevice
    let keys = SimulatedKeys()
    let identity: StoreIdentity
    var options = StoreOptions()

    /// A new disk with an empty store.
    init(_ identity: StoreIdentity) throws {
        self.identity = identity
        device = SimulatedDevice(capacity: 64 << 20)
        options.journalSize = 1 << 20
        options.capacity = ByteCount(32 << 20)
        options.growth = 1 << 20
        options.dirtyBlocks = 64
        try ObjectStore<SimulatedDevice, SimulatedKeys>.format(device, identity: identity, options: options)
    }
}
