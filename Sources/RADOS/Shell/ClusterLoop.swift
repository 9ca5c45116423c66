import ClusterMap
import Logging
import Messenger
import MonitorClient
import NIOCore
import Protocol
import Wire

/// Hears how the requests of a channel end, and when the cluster may have forgotten what it was told to remember.
public protocol ReplyReceiver: AnyObject {
    /// A request submitted through the receiver's channel has ended. On the client's event loop.
    func received(_ reply: OperationReply, token: UInt64)
    /// A new map came or a session was lost: watches should be renewed. On the client's event loop.
    func clusterChanged()
}

/// The client's end of everything on its event loop: turns messages into events of the objecter and the monitor client, and
/// their effects into messages. No policy of its own but which sessions there are.
final class ClusterLoop: MessengerHandler, MonitorClientEnvironment, ObjecterEnvironment {
    typealias Map = OSDMap

    private struct OSDSession {
        var id: SessionID
        var endpoint: Endpoint
        var incarnation: UInt64
    }

    let loop: any EventLoop
    private let logger: Logger
    private var messenger: Messenger<ClusterLoop>!
    private var monitors: MonitorClient<ClusterLoop>!
    private(set) var objecter: Objecter<ClusterLoop>!

    /// By number of the OSD.
    private var sessions: ContiguousArray<OSDSession?> = []
    /// The OSD behind a session, by the session's place.
    private var osds: ContiguousArray<OSDID?> = []
    /// By owner of requests; the owner 0 is `promises`.
    private var receivers: ContiguousArray<(any ReplyReceiver)?> = [nil]
    private var promises: [UInt64: EventLoopPromise<OperationReply>] = [:]
    /// Who hears of a watch, by its cookie.
    private var listeners: [UInt64: (WatchEvent) -> Void] = [:]
    private var nextPromise: UInt64 = 1
    private var commands: [UInt64: EventLoopPromise<CommandReply>] = [:]
    private var firstMap: EventLoopPromise<Void>?
    private var isRetryScheduled = false
    private var isStopped = false
    /// What the monitor client reported last, for the message when no monitor was found.
    private(set) var lastReport: String?

    init(monitors endpoints: [Endpoint], name: String, on loop: any EventLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
        let client = UInt64.random(in: 1...UInt64.max)
        objecter = Objecter(client: client, environment: self)
        messenger = Messenger(
            identity: Identity(cluster: nil, entity: .client(name), incarnation: client), handler: self, on: loop,
            logger: logger)
        monitors = MonitorClient(monitors: endpoints, cluster: nil, environment: self)
    }

    /// Looks for a monitor; completes when the first map has come.
    func start() -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        firstMap = promise
        monitors.start()
        return promise.futureResult
    }

    /// Ends everything; what is still asked fails.
    func stop() -> EventLoopFuture<Void> {
        guard !isStopped else { return loop.makeSucceededVoidFuture() }
        isStopped = true
        monitors.stop()
        let error = RADOSError(errno: Errno.timedOut, "the connection to the cluster was closed")
        for promise in promises.values { promise.fail(error) }
        for promise in commands.values { promise.fail(error) }
        promises = [:]
        commands = [:]
        firstMap?.fail(error)
        firstMap = nil
        receivers = [nil]
        listeners = [:]
        return messenger.shutdown()
    }

    var map: OSDMap? { objecter.map }

    // MARK: Requests

    func addReceiver(_ receiver: any ReplyReceiver) -> UInt32 {
        receivers.append(receiver)
        return UInt32(receivers.count - 1)
    }

    func removeReceiver(_ owner: UInt32) {
        if Int(owner) < receivers.count { receivers[Int(owner)] = nil }
    }

    /// A request whose answer is awaited; fails with `RADOSError` when none comes within the time for administration.
    func perform(
        seconds: Int64 = ClientLimits.administrativeSeconds, _ submit: (RequestToken) -> Void
    ) -> EventLoopFuture<OperationReply> {
        guard !isStopped else {
            return loop.makeFailedFuture(
                RADOSError(errno: Errno.timedOut, "the connection to the cluster was closed"))
        }
        let promise = loop.makePromise(of: OperationReply.self)
        let number = nextPromise
        nextPromise += 1
        promises[number] = promise
        let limit = loop.assumeIsolated().scheduleTask(in: .seconds(seconds)) {
            [weak self] in
            self?.promises.removeValue(forKey: number)?.fail(
                RADOSError(
                    errno: Errno.timedOut,
                    "no answer for \(seconds) seconds: see why in 'nacre status'"))
        }
        promise.futureResult.whenComplete { _ in limit.cancel() }
        submit(RequestToken(owner: 0, value: number))
        return promise.futureResult
    }

    func command(
        words: [String], arguments: [String: String], input: Bytes, timeoutMilliseconds: Int?
    ) -> EventLoopFuture<CommandReply> {
        let promise = loop.makePromise(of: CommandReply.self)
        let number = monitors.command(
            words: words, arguments: arguments, input: input, timeoutMilliseconds: timeoutMilliseconds)
        commands[number] = promise
        return promise.futureResult
    }

    // MARK: Effects of the objecter

    func send(_ request: OperationRequest, to osd: OSDID) {
        guard let session = session(with: osd) else { return }
        messenger.send(.operation(request), to: session)
    }

    func wantMap(atLeast epoch: Epoch) {
        // The subscription brings it; asking again costs little and helps when the monitor is behind the OSD.
        monitors.send(.subscribe(have: map?.epoch ?? .none))
    }

    func wantRetry() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(ClientLimits.retryMilliseconds))) { [weak self] in
            self?.isRetryScheduled = false
            self?.objecter.retry()
        }
    }

    func completed(_ token: RequestToken, _ reply: OperationReply) {
        if token.owner == 0 {
            promises.removeValue(forKey: token.value)?.succeed(reply)
        } else if Int(token.owner) < receivers.count {
            receivers[Int(token.owner)]?.received(reply, token: token.value)
        }
    }

    // MARK: Sessions with OSDs

    /// The session with an OSD of the current map, opened when there is none. Nil when the map has no address for it; it
    /// cannot be a primary then.
    private func session(with osd: OSDID) -> SessionID? {
        let index = Int(osd.rawValue)
        guard index >= 0, let record = map?.osds[osd], let endpoint = record.endpoint else { return nil }
        while sessions.count <= index { sessions.append(nil) }
        if let session = sessions[index] { return session.id }
        let id = messenger.connect(to: endpoint, expecting: .osd(osd))
        sessions[index] = OSDSession(id: id, endpoint: endpoint, incarnation: record.incarnation)
        while osds.count <= id.index { osds.append(nil) }
        osds[id.index] = osd
        return id
    }

    /// Ends sessions with runs of daemons that the new map no longer has. What was on its way there is sent again by the
    /// objecter, since the groups of such an OSD are in a new interval.
    private func endSessions(notIn map: OSDMap) {
        for index in sessions.indices {
            guard let session = sessions[index] else { continue }
            if let record = map.osds[OSDID(Int32(index))], record.isUp, record.endpoint == session.endpoint,
                record.incarnation == session.incarnation
            {
                continue
            }
            messenger.close(session.id)
            osds[session.id.index] = nil
            sessions[index] = nil
        }
    }

    private func osd(of session: SessionID) -> OSDID? {
        guard session.index < osds.count, let osd = osds[session.index],
            sessions[Int(osd.rawValue)]?.id == session
        else { return nil }
        return osd
    }

    // MARK: Events of the messenger

    func received(_ message: Message, from session: SessionID) {
        switch message {
        case .operationReply(let reply):
            if let osd = osd(of: session) { objecter.received(reply, from: osd) }
        case .watchEvent(let event):
            if osd(of: session) != nil { take(event) }
        case .monitor(let message):
            if monitors.owns(session) { monitors.received(message, from: session) }
        case .operation, .group, .heartbeat:
            logger.warning("a client was sent what only OSDs take, from \(session)")
        }
    }

    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        if monitors.owns(session) { monitors.opened(session, peer: peer, resumed: resumed) }
    }

    func interrupted(_ session: SessionID, why: Interruption) {
        if monitors.owns(session) { return monitors.interrupted(session, why: why) }
        if let osd = osd(of: session) { logger.debug("\(osd): \(why)") }
    }

    func reset(_ session: SessionID) {
        if monitors.owns(session) { return monitors.reset(session) }
        guard let osd = osd(of: session) else { return }
        objecter.sessionReset(with: osd)
        tellReceivers()
    }

    /// Only sessions that a peer opened end so, and nobody opens one to a client.
    func closed(_ session: SessionID) {}

    func turnEnded() {}

    // MARK: Watches

    func listen(cookie: UInt64, _ handler: ((WatchEvent) -> Void)?) { listeners[cookie] = handler }

    private func take(_ event: WatchEvent) {
        if let listener = listeners[event.cookie] { return listener(event) }
        guard case .notification(let number, _, _) = event.kind, let slot = objecter.open(event.object.pool) else {
            return
        }
        objecter.submit(
            [.acknowledge(notification: number, cookie: event.cookie, payload: .empty)], on: event.object.name,
            in: slot, token: RequestToken(owner: 0, value: 0))
    }

    // MARK: Effects of the monitor client

    func connect(toMonitor endpoint: Endpoint) -> SessionID { messenger.connect(to: endpoint) }

    func close(_ session: SessionID) { messenger.close(session) }

    func send(_ message: MonitorMessage, to session: SessionID) { messenger.send(.monitor(message), to: session) }

    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
            guard let self, !isStopped else { return }
            monitors.timerFired(timer)
        }
    }

    func newMap(_ newMap: OSDMap, increments: [OSDMap.Increment]) {
        messenger.identity.cluster = newMap.cluster
        let old = map
        // Sessions end before the objecter looks at the map, so that it never sends on one that is about to end.
        endSessions(notIn: newMap)
        objecter.mapChanged(to: newMap)
        firstMap?.succeed(())
        firstMap = nil
        if old != nil { tellReceivers() }
    }

    func monitorReachable(_ isReachable: Bool) {}

    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {
        guard let promise = commands.removeValue(forKey: number) else { return }
        switch result {
        case .success(let reply): promise.succeed(reply)
        case .failure(let error): promise.fail(RADOSError(errno: Errno.timedOut, error.description))
        }
    }

    func report(_ line: String) {
        lastReport = line
        logger.info("\(line)")
    }

    private func tellReceivers() {
        for receiver in receivers { receiver?.clusterChanged() }
    }
}
