import ClusterMap
import Logging
import Messenger
import NIOCore
import Protocol
import Wire

/// A monitor client with a messenger of its own, for programs that ask a few commands and end.
public final class MonitorConnection: Sendable {
    private let loop: any EventLoop
    private let owner: NIOLoopBound<Owner>

    /// Begins to look for a monitor among `monitors` (at least one).
    public init(monitors: [Endpoint], identity: Identity, on loop: any EventLoop, logger: Logger) async throws {
        self.loop = loop
        owner = try await loop.submit {
            NIOLoopBound(Owner(monitors, identity, loop, logger), eventLoop: loop)
        }.get()
    }

    /// Asks the monitors, and waits for the answer. Throws `MonitorClientError` when there is none in time.
    public func command(
        words: [String], arguments: [String: String] = [:], timeout: Duration = .seconds(30)
    ) async throws -> CommandReply {
        let owner = owner
        let loop = loop
        return try await loop.flatSubmit {
            let promise = loop.makePromise(of: CommandReply.self)
            let milliseconds = Int(TimeAmount(timeout).nanoseconds / 1_000_000)
            let number = owner.value.client.command(
                words: words, arguments: arguments, timeoutMilliseconds: milliseconds)
            owner.value.waiting[number] = promise
            return promise.futureResult
        }.get()
    }

    /// The newest map, as soon as there is one. Throws `MonitorClientError` when no monitor tells it in time.
    public func map(timeout: Duration = .seconds(30)) async throws -> OSDMap {
        let owner = owner
        let loop = loop
        return try await loop.flatSubmit {
            if let map = owner.value.client.map { return loop.makeSucceededFuture(map) }
            let promise = loop.makePromise(of: OSDMap.self)
            owner.value.waitingForMap.append(promise)
            loop.assumeIsolated().scheduleTask(in: TimeAmount(timeout)) {
                guard owner.value.client.map == nil else { return }
                promise.fail(MonitorClientError("no monitor told a map in time: check that they run"))
            }
            return promise.futureResult
        }.get()
    }

    /// Closes everything; what waits fails.
    public func shutdown() async throws {
        let owner = owner
        try await loop.flatSubmit { owner.value.shutdown() }.get()
    }
}

/// What lives on the loop.
private final class Owner: MessengerHandler, MonitorClientEnvironment {
    private(set) var client: MonitorClient<Owner>!
    private var messenger: Messenger<Owner>!
    private let logger: Logger
    var waiting: [UInt64: EventLoopPromise<CommandReply>] = [:]
    var waitingForMap: [EventLoopPromise<OSDMap>] = []

    init(_ monitors: [Endpoint], _ identity: Identity, _ loop: any EventLoop, _ logger: Logger) {
        self.logger = logger
        messenger = Messenger(identity: identity, handler: self, on: loop, logger: logger)
        client = MonitorClient(monitors: monitors, cluster: identity.cluster, environment: self)
        client.start()
    }

    func shutdown() -> EventLoopFuture<Void> {
        client.stop()
        for promise in waitingForMap { promise.fail(MonitorClientError("stopped")) }
        waitingForMap = []
        return messenger.shutdown()
    }

    // MARK: From the messenger

    func received(_ message: Message, from session: SessionID) {
        if case .monitor(let message) = message { client.received(message, from: session) }
    }

    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        client.opened(session, peer: peer, resumed: resumed)
    }

    func interrupted(_ session: SessionID, why: Interruption) { client.interrupted(session, why: why) }
    func reset(_ session: SessionID) { client.reset(session) }
    func closed(_ session: SessionID) {}
    func turnEnded() {}

    // MARK: From the client

    func connect(toMonitor endpoint: Endpoint) -> SessionID { messenger.connect(to: endpoint) }
    func close(_ session: SessionID) { messenger.close(session) }
    func send(_ message: MonitorMessage, to session: SessionID) { messenger.send(.monitor(message), to: session) }

    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) {
        messenger.loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
            self?.client.timerFired(timer)
        }
    }

    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) {
        for promise in waitingForMap { promise.succeed(map) }
        waitingForMap = []
    }

    func monitorReachable(_ isReachable: Bool) {}

    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {
        waiting.removeValue(forKey: number)?.completeWith(result.mapError { $0 as any Error })
    }

    func report(_ line: String) { logger.notice("\(line)") }
}
