import ClusterMap
import Dispatch
import Glibc
import KeyValueStore
import Logging
import Messenger
import MonitorClient
import NIOCore
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// The OSD's core in production: turns the messenger's events, the device's completions and the loop's timers into calls of
/// the core, and its effects into sends and submissions. Confined to one event loop; decides nothing.
final class OSDShell {
    let loop: any EventLoop
    let store: DiskStore
    let logger: Logger
    private(set) var messenger: Messenger<OSDShell>!
    private(set) var monitor: MonitorClient<OSDShell>!
    private(set) var core: OSDCore<OSDShell>!
    /// Called once, when a map has shown this OSD up.
    var whenServing: (() -> Void)?
    /// Called when the OSD cannot go on.
    var whenStopped: ((String) -> Void)?
    private var isStopped = false

    init(loop: any EventLoop, store: DiskStore, logger: Logger) {
        self.loop = loop
        self.store = store
        self.logger = logger
    }

    /// Listens, then begins to look for the monitor. The result is where it listens.
    func start(incarnation: UInt64, listen endpoint: Endpoint, monitors: [Endpoint]) -> EventLoopFuture<Endpoint> {
        let identity = store.identity
        messenger = Messenger(
            identity: Identity(cluster: identity.cluster, entity: .osd(identity.osd), incarnation: incarnation),
            handler: self, on: loop, logger: logger)
        monitor = MonitorClient(monitors: monitors, cluster: identity.cluster, environment: self)
        return messenger.listen(on: endpoint).assumeIsolated().map { [self] bound in
            core = OSDCore(
                id: identity.osd, uuid: identity.store, incarnation: incarnation, endpoint: bound, environment: self)
            monitor.start()
            tick()
            return bound
        }.nonisolated()
    }

    private func tick() {
        guard !isStopped else { return }
        core.tick()
        if core.isServing, let whenServing {
            self.whenServing = nil
            whenServing()
        }
        messenger.requestTurnEnd()
        loop.assumeIsolated().scheduleTask(in: .milliseconds(200)) { [weak self] in self?.tick() }
    }

    /// The device has finished something.
    func deviceReady() {
        guard !isStopped else { return }
        store.collect()
        core.storeCompleted()
        messenger.requestTurnEnd()
    }

    /// Tells the monitor, then ends every session.
    func stop() -> EventLoopFuture<Void> {
        guard !isStopped else { return loop.makeSucceededVoidFuture() }
        core.leave()
        // A turn of the loop lets the farewell out before the sessions end.
        let ended = loop.makePromise(of: Void.self)
        loop.assumeIsolated().scheduleTask(in: .milliseconds(50)) { [self] in
            isStopped = true
            monitor.stop()
            messenger.shutdown().cascade(to: ended)
        }
        return ended.futureResult
    }
}

extension OSDShell: OSDEnvironment {
    var nowMilliseconds: UInt64 { DispatchTime.now().uptimeNanoseconds / 1_000_000 }

    var wallNanoseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(max(0, time.tv_sec)) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func send(_ payload: Bytes, to session: PeerSession) {
        messenger.send(payload, to: SessionID(rawValue: session.number))
    }

    func connect(to endpoint: Endpoint, osd: OSDID, incarnation: UInt64) -> PeerSession {
        PeerSession(number: messenger.connect(to: endpoint, expecting: .osd(osd)).rawValue)
    }

    func close(_ session: PeerSession) { messenger.close(SessionID(rawValue: session.number)) }

    func requestTurn() {
        loop.assumeIsolated().execute { [weak self] in
            guard let self, !self.isStopped else { return }
            self.messenger.requestTurnEnd()
        }
    }

    func tellMonitor(_ message: MonitorMessage) { monitor.send(message) }

    func stop(because reason: String) {
        guard !isStopped else { return }
        isStopped = true
        whenStopped?(reason)
    }

    var tuning: GroupTuning { GroupTuning() }

    var times: OSDTimes { OSDTimes() }

    func resumePush(_ number: UInt32, for group: GroupSlot, afterMilliseconds milliseconds: UInt64) {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.core.pushMayGoOn(number, for: group)
            self.messenger.requestTurnEnd()
        }
    }

    func occurred(_ branch: RareBranch) {}

    func note(_ text: String) { logger.info("\(text)") }

    func warn(_ text: String) { logger.warning("\(text)") }
}

extension OSDShell: MessengerHandler {
    func received(_ message: Message, from session: SessionID) {
        guard !isStopped else { return }
        if case .monitor(let message) = message, monitor.owns(session) {
            monitor.received(message, from: session)
        } else {
            core.received(message, from: PeerSession(number: session.rawValue))
        }
    }

    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if monitor.owns(session) { return monitor.opened(session, peer: peer, resumed: resumed) }
        let name: PeerName =
            switch peer.entity {
            case .osd(let id): .osd(id, incarnation: peer.incarnation)
            case .client(let name): .client(name)
            case .monitor(let name): .client("mon.\(name)")
            }
        core.opened(PeerSession(number: session.rawValue), by: name)
    }

    func interrupted(_ session: SessionID, why: Interruption) {
        if monitor.owns(session) {
            // A monitor of another cluster, or one that takes this OSD for an impostor, will not change its mind.
            if case .handshakeRefused(let reason) = why, !core.isServing {
                return stop(because: "the monitor refuses \(store.identity.osd): \(reason)")
            }
            return monitor.interrupted(session, why: why)
        }
        if why == .connectionRefused { core.refused(PeerSession(number: session.rawValue)) }
    }

    func reset(_ session: SessionID) {
        if monitor.owns(session) { return monitor.reset(session) }
        core.reset(PeerSession(number: session.rawValue))
    }

    func closed(_ session: SessionID) { core.closed(PeerSession(number: session.rawValue)) }

    func turnEnded() {
        if !isStopped { core.endOfTurn() }
    }

    func turnSent() {
        if !isStopped { core.turnSent() }
    }
}

extension OSDShell: MonitorClientEnvironment {
    func connect(toMonitor endpoint: Endpoint) -> SessionID { messenger.connect(to: endpoint) }

    func close(_ session: SessionID) { messenger.close(session) }

    func send(_ message: MonitorMessage, to session: SessionID) { messenger.send(.monitor(message), to: session) }

    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.monitor.timerFired(timer)
            self.messenger.requestTurnEnd()
        }
    }

    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) { core.mapsReceived(map, increments: increments) }

    func monitorReachable(_ isReachable: Bool) {
        if isReachable { core.monitorFound() }
    }

    func bootRefused(_ reason: String) { stop(because: reason) }

    func mapHasParted(_ reason: String) -> Bool {
        stop(because: "\(reason): start it again, to go through every epoch anew")
        return true
    }

    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {}

    func report(_ line: String) { logger.warning("\(line)") }
}
