import ClusterMap
import Messenger
import MonitorClient
import Protocol
import RADOS
import Wire

/// A client that keeps registers in objects: runs of bytes of one value, written and read with one operation at a time on
/// each, so that every read has exactly one right answer.
final class SimulatedClient: ObjecterEnvironment, MonitorClientEnvironment, NetworkProcess {
    typealias Map = OSDMap

    /// A run of bytes in an object.
    struct Register {
        var object: ObjectName
        var offset: UInt64
        var length: Int
        /// The value that was last acknowledged, or read; nil for never written.
        var value: UInt64?
        var isBusy = false
        var writing: UInt64?
    }

    let identity: Identity
    let isAlive = true
    private unowned let cluster: SimulatedCluster
    private var objecter: Objecter<SimulatedClient>!
    private var monitor: MonitorClient<SimulatedClient>!
    private var slot: PoolSlot?
    private var sessions: [OSDID: (session: SessionID, incarnation: UInt64)] = [:]
    private(set) var registers: [Register] = []
    private var nextValue: UInt64 = 1
    /// Operations that have ended.
    private(set) var completed = 0
    /// What was answered that cannot be.
    private(set) var failures: [String] = []
    /// False when no new operations are to begin.
    var isWorking = true

    init(cluster: SimulatedCluster) {
        self.cluster = cluster
        identity = Identity(cluster: cluster.id, entity: .client("work"), incarnation: 77)
        for index in 0..<20 {
            let object = ObjectName("rbd_data.1.\(index)")
            // Sectors, blocks and large runs: the three ways that data takes through a store.
            let length = [512, 4096, 128 << 10][index % 3]
            for run in 0..<2 {
                registers.append(Register(object: object, offset: UInt64(run * length), length: length))
            }
        }
        objecter = Objecter(client: 42, environment: self)
        monitor = MonitorClient(monitors: [SimulatedCluster.monitorEndpoint], cluster: cluster.id, environment: self)
        monitor.start()
        work()
    }

    /// What has not been answered, for a failing run.
    var pendingOperations: [String] {
        registers.filter(\.isBusy).map { "\($0.writing == nil ? "read" : "write") of \($0.object) at \($0.offset)" }
    }

    /// An administrator's command; sent again until it is answered.
    func command(_ words: [String], _ arguments: [String: String]) {
        _ = monitor.command(words: words, arguments: arguments)
    }

    var isIdle: Bool { registers.allSatisfy { !$0.isBusy } }

    private func work() {
        if isWorking, let slot,
            let index = registers.indices.filter({ !registers[$0].isBusy }).randomElement(
                using: &cluster.random)
        {
            start(index, in: slot, write: Int.random(in: 0..<100, using: &cluster.random) < 60)
        }
        cluster.events.after(UInt64.random(in: 100...3000, using: &cluster.random)) { [weak self] in self?.work() }
    }

    /// Reads every register once.
    func readAll() {
        guard let slot else { return failures.append("the client never had a map") }
        for index in registers.indices { start(index, in: slot, write: false) }
    }

    private func start(_ index: Int, in slot: PoolSlot, write: Bool) {
        precondition(!registers[index].isBusy, "register \(index) is in use")
        registers[index].isBusy = true
        let register = registers[index]
        let token = RequestToken(owner: 0, value: UInt64(index))
        if write {
            registers[index].writing = nextValue
            let data = Self.content(nextValue, register.length)
            nextValue += 1
            objecter.submit([.write(offset: register.offset, data: data)], on: register.object, in: slot, token: token)
        } else {
            let step = ObjectOperation.read(offset: register.offset, length: UInt32(register.length))
            objecter.submit([step], on: register.object, in: slot, token: token)
        }
    }

    static func content(_ value: UInt64, _ length: Int) -> Bytes {
        Bytes.encoding(capacity: length) { writer in
            for index in 0..<(length / 8) { writer.writeU64(value &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(index)) }
        }
    }

    // MARK: ObjecterEnvironment

    func send(_ request: OperationRequest, to osd: OSDID) {
        guard let session = session(to: osd) else { return }
        cluster.network.send(Message.operation(request).encoded, from: self, on: session)
    }

    private func session(to osd: OSDID) -> SessionID? {
        guard let record = objecter.map?.osds[osd], let endpoint = record.endpoint else { return nil }
        if let entry = sessions[osd], entry.incarnation == record.incarnation { return entry.session }
        if let entry = sessions[osd] { cluster.network.close(entry.session, by: self) }
        let session = cluster.network.connect(self, to: endpoint)
        sessions[osd] = (session, record.incarnation)
        return session
    }

    func wantMap(atLeast epoch: Epoch) {}

    func wantRetry() {
        cluster.events.after(100_000) { [weak self] in self?.objecter.retry() }
    }

    func completed(_ token: RequestToken, _ reply: OperationReply) {
        let index = Int(token.value)
        let register = registers[index]
        registers[index].isBusy = false
        completed += 1
        if let written = register.writing {
            registers[index].writing = nil
            registers[index].value = written
            if reply.outcome != .done(errno: 0) { failures.append("write of \(register): \(reply.outcome)") }
        } else {
            check(reply, register)
        }
    }

    private func check(_ reply: OperationReply, _ register: Register) {
        let data: Bytes
        switch reply.outcome {
        case .done(errno: 0): data = reply.outputs.first ?? .empty
        case .done(errno: 2): data = .empty
        default: return failures.append("read of \(register): \(reply.outcome)")
        }
        let expected = register.value.map { Self.content($0, register.length) }
        let isRight = expected.map { $0 == data } ?? data.isAllZero
        if !isRight { failures.append("read of \(register) at \(cluster.events.now) µs gave something else") }
    }

    // MARK: NetworkProcess

    func received(_ message: Message, from session: SessionID) {
        switch message {
        case .monitor(let message): monitor.received(message, from: session)
        case .operationReply(let reply):
            guard let osd = sessions.first(where: { $0.value.session == session })?.key else { return }
            objecter.received(reply, from: osd)
        default: preconditionFailure("a client was sent \(message)")
        }
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if monitor.owns(session) { monitor.opened(session, peer: peer, resumed: resumed) }
    }
    func interrupted(_ session: SessionID, why: Interruption) {
        if monitor.owns(session) { monitor.interrupted(session, why: why) }
    }
    func reset(_ session: SessionID) {
        if monitor.owns(session) { return monitor.reset(session) }
        guard let osd = sessions.first(where: { $0.value.session == session })?.key else { return }
        objecter.sessionReset(with: osd)
    }
    func closed(_ session: SessionID) {}
    func turnEnded() {}

    // MARK: MonitorClientEnvironment

    func connect(toMonitor endpoint: Endpoint) -> SessionID { cluster.network.connect(self, to: endpoint) }
    func close(_ session: SessionID) { cluster.network.close(session, by: self) }
    func send(_ message: MonitorMessage, to session: SessionID) {
        cluster.network.send(Message.monitor(message).encoded, from: self, on: session)
    }
    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        cluster.events.after(UInt64(milliseconds) * 1000) { [weak self] in self?.monitor.timerFired(timer) }
    }
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) {
        objecter.mapChanged(to: map)
        if slot == nil { slot = objecter.open(SimulatedCluster.pool) }
    }
    func monitorReachable(_ isReachable: Bool) {}
    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {}
    func report(_ line: String) { cluster.trace("client: \(line)") }
}
