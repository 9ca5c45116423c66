import CRUSH
import ClientTestSupport
import ClusterMap
import Logging
import Messenger
import NIOCore
import NIOPosix
import Protocol
import RADOS
import Wire

/// A monitor and an OSD in one daemon over real sockets, with objects in memory: what a client needs to be tried as it is.
/// Confined to its loop; `@unchecked Sendable` relies on that.
final class OneDaemonCluster: MessengerHandler, @unchecked Sendable {
    private let loop: any EventLoop
    private var monitor: Messenger<OneDaemonCluster>!
    private var osd: Messenger<OSDSide>!
    private var side: OSDSide!
    private var map: OSDMap
    private var subscribers: [SessionID] = []

    /// The OSD's end; a handler of its own, since its sessions are numbered like the monitor's.
    final class OSDSide: MessengerHandler {
        weak var messenger: Messenger<OSDSide>?
        var objects = MemoryObjects()
        var results: [RequestID: Int32] = [:]
        var groups: UInt32 = 0
        /// Requests that are taken and never answered.
        var isMute = false

        func received(_ message: Message, from session: SessionID) {
            guard case .operation(let request) = message, !isMute else { return }
            var reply = OperationReply(number: request.id.number, outcome: .done(errno: results[request.id] ?? 0))
            if results[request.id] == nil {
                let (errno, outputs) = objects.execute(
                    request.steps, on: request.object, group: (request.group.seed, groups),
                    client: request.id.client, name: "test")
                if request.isWrite { results[request.id] = errno }
                reply.outcome = .done(errno: errno)
                reply.outputs = outputs
            }
            messenger?.send(.operationReply(reply), to: session)
        }

        func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {}
        func interrupted(_ session: SessionID, why: Interruption) {}
        func reset(_ session: SessionID) {}
        func closed(_ session: SessionID) {}
        func turnEnded() {}
    }

    private init(on loop: any EventLoop) throws {
        self.loop = loop
        map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: .newCluster(failureDomain: .osd))
        try map.crush.add(OSDID(0), weight: .one, host: "host")
        map.epoch = Epoch(1)
        map.pools[PoolID(1)] = Pool(
            id: PoolID(1), name: "rbd", size: 1, minSize: 1, groupCount: 8, rule: 0, created: Epoch(1),
            application: "rbd")
    }

    /// Starts the daemon on loopback; the endpoint is the monitor's.
    static func start(on loop: any EventLoop) async throws -> (cluster: OneDaemonCluster, monitor: Endpoint) {
        let cluster = try OneDaemonCluster(on: loop)
        let monitor = try await loop.flatSubmit { cluster.listen() }.get()
        return (cluster, monitor)
    }

    private func listen() -> EventLoopFuture<Endpoint> {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        monitor = Messenger(
            identity: Identity(cluster: map.cluster, entity: .monitor("a"), incarnation: 1), handler: self, on: loop,
            logger: logger)
        side = OSDSide()
        side.groups = 8
        osd = Messenger(
            identity: Identity(cluster: map.cluster, entity: .osd(OSDID(0)), incarnation: 5), handler: side, on: loop,
            logger: logger)
        side.messenger = osd
        let any = Endpoint(host: "127.0.0.1", port: 0)
        return osd.listen(on: any).flatMap { [self] endpoint in
            var record = OSDRecord(uuid: UniqueID(high: 3, low: 4))
            record.endpoint = endpoint
            record.isUp = true
            record.incarnation = 5
            record.upFrom = Epoch(1)
            map.osds[OSDID(0)] = record
            return monitor.listen(on: any)
        }
    }

    /// Gives everybody a new epoch in which `change` was made.
    func changeMap(_ change: @escaping @Sendable (inout OSDMap) -> Void) async throws {
        try await loop.submit { [self] in
            map.epoch = map.epoch.next
            change(&map)
            for session in subscribers { tell(session) }
        }.get()
    }

    /// Looks at the OSD.
    func withOSD<Result: Sendable>(_ body: @escaping @Sendable (OSDSide) -> Result) async throws -> Result {
        try await loop.submit { [self] in body(side) }.get()
    }

    func stop() async throws {
        try await loop.flatSubmit { [self] in monitor.shutdown().and(osd.shutdown()).map { _ in } }.get()
    }

    private func tell(_ session: SessionID) {
        monitor.send(
            .monitor(.maps(MapUpdate(cluster: map.cluster, full: map.encoded, increments: []))), to: session)
    }

    func received(_ message: Message, from session: SessionID) {
        guard case .monitor(let message) = message else { return }
        switch message {
        case .subscribe:
            if !subscribers.contains(session) { subscribers.append(session) }
            tell(session)
        case .command(let request):
            let reply = CommandReply(number: request.number, errno: 0, message: request.words.joined(separator: " "))
            monitor.send(.monitor(.commandReply(reply)), to: session)
        default: break
        }
    }

    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {}
    func interrupted(_ session: SessionID, why: Interruption) {}
    func reset(_ session: SessionID) {}
    func closed(_ session: SessionID) { subscribers.removeAll { $0 == session } }
    func turnEnded() {}
}
