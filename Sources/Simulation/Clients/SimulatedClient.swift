import ClusterMap
import Messenger
import MonitorClient
import Protocol
import RADOS
import Wire

/// One run of a client of the cluster: reads and writes the objects of the workload, several at a time, also on one object,
/// until it is killed. What it was not told by then may have been done or not.
final class SimulatedClient: ObjecterEnvironment, MonitorClientEnvironment, NetworkProcess {
    typealias Map = OSDMap

    /// Requests under way on one object.
    private static let atOnce = 2

    let identity: Identity
    private(set) var isAlive = true
    private unowned let cluster: SimulatedCluster
    private var messenger: SimulatedMessenger!
    private var objecter: Objecter<SimulatedClient>!
    private var monitor: MonitorClient<SimulatedClient>!
    private var slot: PoolSlot?
    private var sessions: [OSDID: (session: SessionID, incarnation: UInt64)] = [:]
    private struct Pending {
        var object: Int
        var number: Int
        var steps: [ObjectModel.Step]
    }
    /// By token.
    private var pending: [UInt64: Pending] = [:]
    private var nextToken: UInt64 = 0
    /// Number of this run in histories.
    private let run: Int
    /// True of a client that changes nothing. One that writes soon has nothing but writes under way with a primary that is cut
    /// off, so it is these that would be told by such a primary what is not true any more. For that they must not be held up
    /// by requests that wait for a newer map: there may be some under way on every object.
    let isReader: Bool
    /// Requests under way on all objects.
    private let mostRequests: Int
    /// What it knows of snapshots.
    private var book = SnapshotBook()
    /// Its command that is about snapshots, while it is not answered.
    private var snapshotCommand: UInt64?

    init(name: String, incarnation: UInt64, cluster: SimulatedCluster) {
        self.cluster = cluster
        run = Int(incarnation)
        let isReader = Int.random(in: 0..<5, using: &cluster.random) < 2
        self.isReader = isReader
        mostRequests = isReader ? .max : 4
        identity = Identity(cluster: cluster.id, entity: .client(name), incarnation: incarnation)
        messenger = SimulatedMessenger(identity, of: self, in: cluster.network)
        objecter = Objecter(client: incarnation, environment: self)
        monitor = MonitorClient(monitors: [SimulatedCluster.monitorEndpoint], cluster: cluster.id, environment: self)
        monitor.start()
        work()
    }

    /// The process ends.
    func kill() {
        isAlive = false
        messenger.kill()
    }

    /// What has not been answered, for a failing run.
    var pendingOperations: [String] {
        pending.values.map { "\($0.steps) on \(cluster.workload.objects[$0.object].name)" }.sorted()
    }

    var isIdle: Bool { pending.isEmpty }

    private func work() {
        guard isAlive else { return }
        // Others' snapshots are heard of late.
        if Int.random(in: 0..<20, using: &cluster.random) == 0 { book = cluster.workload.snapshots }
        if Int.random(in: 0..<100, using: &cluster.random) == 0 { changeSnapshots() }
        for _ in 0..<Int.random(in: 1...4, using: &cluster.random) { startSomething() }
        cluster.events.after(UInt64.random(in: 500...40_000, using: &cluster.random)) { [weak self] in self?.work() }
    }

    private func startSomething() {
        guard cluster.isWorking, let slot, pending.count < mostRequests else { return }
        let object = Int.random(in: 0..<cluster.workload.objects.count, using: &cluster.random)
        guard pending.values.count(where: { $0.object == object }) < Self.atOnce else { return }
        let request =
            isReader
            ? Workload.Request(steps: Workload.readAll)
            : cluster.workload.request(on: object, knowing: book, using: &cluster.random)
        start(request, on: object, in: slot)
    }

    /// Takes a snapshot, or removes one: the newest, the oldest, or one between.
    private func changeSnapshots() {
        guard cluster.isWorking, !isReader, snapshotCommand == nil else { return }
        let living = cluster.workload.snapshots.living
        let words = ["osd", "pool", "selfmanaged-snap"]
        if living.count < SnapshotBook.limit, Int.random(in: 0..<5, using: &cluster.random) > living.count {
            snapshotCommand = monitor.command(words: words + ["create"], arguments: ["pool": "rbd"])
        } else if let snap = living.randomElement(using: &cluster.random) {
            cluster.count("snapshot removed", "\(snap)")
            cluster.workload.remove(snap: snap)
            book = cluster.workload.snapshots
            snapshotCommand = monitor.command(
                words: words + ["rm"], arguments: ["pool": "rbd", "snapid": "\(snap)"])
        }
    }

    /// Reads every object once, as it is and at every snapshot. False when it never had a map.
    func readAll() -> Bool {
        guard let slot else { return false }
        for object in cluster.workload.objects.indices {
            start(Workload.Request(steps: Workload.readAll), on: object, in: slot)
            for snap in cluster.workload.snapshots.living {
                let scope = VersionedObject.Scope(snap: snap)
                start(Workload.Request(steps: Workload.readAll, scope: scope), on: object, in: slot)
            }
        }
        return true
    }

    /// Has every group repaired; whether that was done is seen by the groups.
    func repairAll() {
        guard let slot, let count = objecter.pool(slot)?.groupCount else { return }
        for seed in 0..<count {
            objecter.submit(
                .administer(.repair), onGroup: seed, in: slot, token: RequestToken(owner: 0, value: Self.orders))
        }
    }

    /// The token of what is ordered without an answer being looked at.
    private static let orders = UInt64.max

    private func start(_ request: Workload.Request, on object: Int, in slot: PoolSlot) {
        let (steps, scope) = (request.steps, request.scope)
        let number = cluster.workload.begin(object, client: run, request)
        let name = cluster.workload.objects[object].name
        cluster.trace("\(identity.entity) #\(number) on \(name): \(steps) \(scope)")
        nextToken += 1
        pending[nextToken] = Pending(object: object, number: number, steps: steps)
        objecter.submit(
            cluster.workload.operations(steps, on: object), on: name, in: slot,
            scope: SnapshotScope(snap: scope.snap.map { SnapID($0) } ?? .head, context: scope.context),
            token: RequestToken(owner: 0, value: nextToken))
    }

    // MARK: ObjecterEnvironment

    func send(_ request: OperationRequest, to osd: OSDID) {
        guard let session = session(to: osd) else { return }
        messenger.send(.operation(request), to: session)
    }

    private func session(to osd: OSDID) -> SessionID? {
        guard let record = objecter.map?.osds[osd], let endpoint = record.endpoint else { return nil }
        if let entry = sessions[osd], entry.incarnation == record.incarnation { return entry.session }
        if let entry = sessions[osd] { messenger.core.close(entry.session) }
        let session = messenger.connect(to: endpoint, expecting: .osd(osd))
        sessions[osd] = (session, record.incarnation)
        return session
    }

    func wantMap(atLeast epoch: Epoch) {}

    func wantRetry() {
        cluster.events.after(100_000) { [weak self] in
            guard let self, self.isAlive else { return }
            self.objecter.retry()
        }
    }

    func completed(_ token: RequestToken, _ reply: OperationReply) {
        if token.value == Self.orders { return }
        guard let request = pending.removeValue(forKey: token.value) else {
            preconditionFailure("\(identity.entity) is told twice of \(token)")
        }
        let outcome = cluster.workload.outcome(of: reply, to: request.steps, on: request.object)
        cluster.operationEnded(outcome)
        cluster.trace(
            "\(identity.entity) #\(request.number) on \(cluster.workload.objects[request.object].name): \(outcome)")
        cluster.workload.end(request.object, request.number, outcome)
    }

    // MARK: NetworkProcess

    func received(_ message: Message, from session: SessionID) {
        switch message {
        case .monitor(let message): monitor.received(message, from: session)
        case .operationReply(let reply):
            guard let osd = osd(at: session) else { return }
            objecter.received(reply, from: osd)
        default: preconditionFailure("a client was sent \(message)")
        }
    }
    private func osd(at session: SessionID) -> OSDID? { sessions.first { $0.value.session == session }?.key }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if monitor.owns(session) { monitor.opened(session, peer: peer, resumed: resumed) }
    }
    func interrupted(_ session: SessionID, why: Interruption) {
        if monitor.owns(session) { monitor.interrupted(session, why: why) }
    }
    func reset(_ session: SessionID) {
        if monitor.owns(session) { return monitor.reset(session) }
        if let osd = osd(at: session) { objecter.sessionReset(with: osd) }
    }
    func closed(_ session: SessionID) {}
    func turnEnded() {}

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
        }
    }
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) {
        objecter.mapChanged(to: map)
        if slot == nil { slot = objecter.open(SimulatedCluster.pool) }
    }
    func monitorReachable(_ isReachable: Bool) {}
    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {
        guard number == snapshotCommand else { return }
        snapshotCommand = nil
        guard case .success(let reply) = result, reply.errno == 0, let snap = UInt64(String(reply.output)) else {
            return
        }
        cluster.count("snapshot taken", "\(snap)")
        cluster.workload.take(snap: snap)
        book = cluster.workload.snapshots
    }
    func report(_ line: String) { cluster.trace("\(identity.entity): \(line)") }
}
