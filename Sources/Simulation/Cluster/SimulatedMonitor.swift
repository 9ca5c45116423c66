import ClusterMap
import Messenger
import Monitor
import Protocol
import Wire

/// One run of the monitor: the production core over a log in simulated keys.
final class SimulatedMonitor: MonitorEnvironment, NetworkProcess {
    let identity: Identity
    private let log: MapLog
    private let clock: SimulatedClock
    private unowned let cluster: SimulatedCluster
    private(set) var isAlive = true
    private(set) var messenger: SimulatedMessenger!
    private(set) var core: MonitorCore<SimulatedMonitor>!

    init(log: MapLog, incarnation: UInt64, clock: SimulatedClock, cluster: SimulatedCluster) throws {
        self.log = log
        self.clock = clock
        self.cluster = cluster
        identity = Identity(cluster: cluster.id, entity: .monitor("a"), incarnation: incarnation)
        core = MonitorCore(
            identity: MonitorIdentity(name: "a", endpoint: SimulatedCluster.monitorEndpoint),
            map: try log.newestMap(), environment: self)
        messenger = SimulatedMessenger(identity, of: self, in: cluster.network)
        cluster.network.listen(messenger, at: SimulatedCluster.monitorEndpoint)
        tick()
    }

    func kill() {
        isAlive = false
        messenger.kill()
        cluster.monitorKeys.crash(using: &cluster.random)
    }

    private func tick() {
        guard isAlive else { return }
        core.tick()
        cluster.events.after(200_000) { [weak self] in self?.tick() }
    }

    func turnEnded() {}

    // MARK: MonitorEnvironment

    var nowMilliseconds: UInt64 { clock.milliseconds }
    var wallSeconds: UInt64 { 1_000_000_000 + cluster.events.now / 1_000_000 }
    func send(_ message: MonitorMessage, to session: PeerSession) {
        messenger.send(.monitor(message), to: SessionID(rawValue: session.rawValue))
    }
    func propose(_ entry: MapLogEntry) {
        cluster.events.after(UInt64.random(in: 100...2000, using: &cluster.random)) { [weak self] in
            guard let self, self.isAlive else { return }
            do { try self.log.append(entry) } catch { preconditionFailure("the map log: \(error)") }
            self.core.committed(entry.epoch)
        }
    }
    func increments(after epoch: Epoch) -> [Bytes] {
        do { return try log.increments(after: epoch) } catch { preconditionFailure("the map log: \(error)") }
    }
    func firstMap() -> Bytes {
        do { return try log.fullMap(Epoch(1)) } catch { preconditionFailure("the map log: \(error)") }
    }
    func note(_ line: String) { cluster.trace("mon.a: \(line)") }
    func report(_ line: String) { note(line) }

    // MARK: NetworkProcess

    private func own(_ session: SessionID) -> PeerSession { PeerSession(rawValue: session.rawValue) }
    func received(_ message: Message, from session: SessionID) {
        if case .monitor(let message) = message { core.receive(message, from: own(session)) }
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if resumed { return core.sessionResumed(own(session)) }
        let role: MonitorPeer.Role = if case .osd(let id) = peer.entity { .osd(id) } else { .client }
        core.sessionOpened(
            own(session), peer: MonitorPeer(role: role, name: "\(peer.entity)", incarnation: peer.incarnation))
    }
    func interrupted(_ session: SessionID, why: Interruption) { core.sessionInterrupted(own(session)) }
    func reset(_ session: SessionID) {}
    func closed(_ session: SessionID) { core.sessionClosed(own(session)) }
}
