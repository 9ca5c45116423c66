import ClusterMap
import Dispatch
import Glibc
import Logging
import Messenger
import NIOCore
import Protocol
import Wire

/// The monitor's core in production: turns the messenger's events and the loop's timer into calls of the core, and its
/// effects into sends and durable commits. Confined to one event loop; decides nothing.
final class MonitorShell {
    private let loop: any EventLoop
    private let log: MapLog
    private let logger: Logger
    /// Called once, when the monitor cannot go on.
    private let onFailure: (MonitorError) -> Void
    private var messenger: Messenger<MonitorShell>?
    private var core: MonitorCore<MonitorShell>?
    private var ticks: Scheduled<Void>?
    private var proposed: MapLogEntry?
    private var isStopped = false

    init(loop: any EventLoop, log: MapLog, logger: Logger, onFailure: @escaping (MonitorError) -> Void) {
        self.loop = loop
        self.log = log
        self.logger = logger
        self.onFailure = onFailure
    }

    /// Listens, and serves from then on. The result is where.
    func start(listen endpoint: Endpoint, incarnation: UInt64, map: OSDMap, times: MonitorTimes)
        -> EventLoopFuture<Endpoint>
    {
        let identity = Identity(cluster: log.cluster, entity: .monitor(log.name), incarnation: incarnation)
        let messenger = Messenger(identity: identity, handler: self, on: loop, logger: logger)
        self.messenger = messenger
        return messenger.listen(on: endpoint).assumeIsolated().map { [self] bound in
            core = MonitorCore(
                identity: MonitorIdentity(name: log.name, endpoint: bound), map: map, times: times, environment: self)
            tick(every: .milliseconds(Int64(times.tick)))
            return bound
        }.nonisolated()
    }

    /// Ends every session. What is proposed and not stored was told to nobody.
    func stop() -> EventLoopFuture<Void> {
        guard !isStopped else { return loop.makeSucceededVoidFuture() }
        isStopped = true
        ticks?.cancel()
        return messenger?.shutdown() ?? loop.makeSucceededVoidFuture()
    }

    private func tick(every period: TimeAmount) {
        guard !isStopped else { return }
        core?.tick()
        messenger?.requestTurnEnd()
        ticks = loop.assumeIsolated().scheduleTask(in: period) { [weak self] in self?.tick(every: period) }
    }

    /// Stores what is proposed. Waits for the disk: until it is done there is nothing that the monitor could say.
    private func store() {
        guard !isStopped, let entry = proposed else { return }
        do {
            try log.append(entry)
        } catch {
            return fail("epoch \(entry.epoch) cannot be stored: \(error)")
        }
        proposed = nil
        core?.committed(entry.epoch)
        messenger?.requestTurnEnd()
    }

    /// A failed write is never tried again and trusted: the monitor stops, and a restart reads what is there.
    private func fail(_ reason: String) {
        guard !isStopped else { return }
        logger.critical("\(reason)")
        stop().assumeIsolated().whenComplete { [onFailure] _ in onFailure(MonitorError(errno: 5, reason)) }
    }

    private static func session(_ id: SessionID) -> PeerSession { PeerSession(id.rawValue) }
}

extension MonitorShell: MonitorEnvironment {
    var nowMilliseconds: UInt64 { DispatchTime.now().uptimeNanoseconds / 1_000_000 }

    var wallSeconds: UInt64 { UInt64(max(0, time(nil))) }

    func send(_ message: MonitorMessage, to session: PeerSession) {
        messenger?.send(.monitor(message), to: SessionID(rawValue: session.rawValue))
    }

    func propose(_ entry: MapLogEntry) {
        precondition(
            proposed == nil, "epoch \(entry.epoch) is proposed while \(proposed?.epoch ?? .none) is being stored")
        proposed = entry
        // Not in the middle of an event; what else this turn brings goes into the epoch after.
        loop.assumeIsolated().execute { [self] in store() }
    }

    func increments(after epoch: Epoch) -> [Bytes] {
        do { return try log.increments(after: epoch) } catch {
            fail("\(error)")
            return []
        }
    }

    func firstMap() -> Bytes {
        do { return try log.fullMap(Epoch(1)) } catch {
            fail("\(error)")
            return .empty
        }
    }

    func note(_ line: String) { logger.notice("\(line)") }
}

extension MonitorShell: MessengerHandler {
    func received(_ message: Message, from session: SessionID) {
        guard case .monitor(let message) = message else {
            return logger.debug("\(session) sent what is not for a monitor")
        }
        core?.receive(message, from: Self.session(session))
    }

    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if resumed {
            core?.sessionResumed(Self.session(session))
        } else {
            core?.sessionOpened(Self.session(session), peer: MonitorPeer(peer))
        }
    }

    func interrupted(_ session: SessionID, why: Interruption) { core?.sessionInterrupted(Self.session(session)) }

    // A monitor opens no sessions, and one that is given up is closed next.
    func reset(_ session: SessionID) {}

    func closed(_ session: SessionID) { core?.sessionClosed(Self.session(session)) }

    func turnEnded() {}
}

extension MonitorPeer {
    /// The peer of a messenger's session.
    init(_ peer: PeerIdentity) {
        let role: Role =
            switch peer.entity {
            case .monitor: .monitor
            case .osd(let id): .osd(id)
            case .client: .client
            }
        self.init(role: role, name: peer.entity.description, incarnation: peer.incarnation)
    }
}
