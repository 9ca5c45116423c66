import ClusterMap
import Messenger
import MonitorClient
import Protocol
import Wire

/// Who gives the cluster its commands.
final class SimulatedAdministrator: MonitorClientEnvironment, NetworkProcess {
    let identity: Identity
    private unowned let cluster: SimulatedCluster
    private var messenger: SimulatedMessenger!
    private var monitor: MonitorClient<SimulatedAdministrator>!
    private var answers: [UInt64: CommandReply] = [:]

    init(cluster: SimulatedCluster) {
        self.cluster = cluster
        identity = Identity(cluster: cluster.id, entity: .client("admin"), incarnation: 1)
        messenger = SimulatedMessenger(identity, of: self, in: cluster.network)
        monitor = MonitorClient(monitors: [SimulatedCluster.monitorEndpoint], cluster: cluster.id, environment: self)
        monitor.start()
    }

    /// The newest map it was told.
    var map: OSDMap? { monitor.map }

    /// Asks a command, which is sent again until it is answered; its number.
    @discardableResult
    func command(_ words: String, _ arguments: [String: String] = [:]) -> UInt64 {
        monitor.command(words: words.split(separator: " ").map(String.init), arguments: arguments)
    }

    /// The answer to a command, once.
    func takeAnswer(_ number: UInt64) -> CommandReply? { answers.removeValue(forKey: number) }

    func received(_ message: Message, from session: SessionID) {
        if case .monitor(let message) = message { monitor.received(message, from: session) }
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        monitor.opened(session, peer: peer, resumed: resumed)
    }
    func interrupted(_ session: SessionID, why: Interruption) { monitor.interrupted(session, why: why) }
    func reset(_ session: SessionID) { monitor.reset(session) }
    func closed(_ session: SessionID) {}
    func turnEnded() {}

    func connect(toMonitor endpoint: Endpoint) -> SessionID { messenger.connect(to: endpoint) }
    func close(_ session: SessionID) { messenger.core.close(session) }
    func send(_ message: MonitorMessage, to session: SessionID) {
        messenger.send(.monitor(message), to: session)
    }
    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        cluster.events.after(UInt64(milliseconds) * 1000) { [weak self] in self?.monitor.timerFired(timer) }
    }
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) {}
    func monitorReachable(_ isReachable: Bool) {}
    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {
        if case .success(let reply) = result {
            answers[number] = reply
            if reply.errno != 0 { cluster.trace("admin: errno \(reply.errno): \(reply.message)") }
        }
    }
    func report(_ line: String) { cluster.trace("admin: \(line)") }
}
