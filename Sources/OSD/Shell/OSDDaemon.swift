import ClusterMap
import Glibc
import Logging
import Messenger
import MonitorClient
import NIOCore
import NIOPosix
import ObjectStore
import Protocol
import Synchronization
import Wire

/// What an OSD is started with.
public struct OSDConfiguration: Sendable {
    /// The directory of its store; made, and registered as a new OSD, when it is empty or does not exist.
    public var directory: String
    public var monitors: [Endpoint]
    /// Where it listens; port 0 lets the system choose.
    public var listen: Endpoint
    /// Bytes the store may hold; nil for what the file system has. Only for a new store.
    public var capacity: ByteCount?
    /// The name of its host in the CRUSH map; only for a new OSD.
    public var host: String
    /// Leaves out every flush: for the test that must lose data.
    public var unsafeNoFlush = false
    /// Does not try io_uring, as if the system forbade it.
    public var withoutRing = false

    public init(directory: String, monitors: [Endpoint], listen: Endpoint, host: String) {
        self.directory = directory
        self.monitors = monitors
        self.listen = listen
        self.host = host
    }
}

/// Why an OSD could not be started, or had to stop: one line, with the exit status that goes with it.
public struct OSDError: Error, CustomStringConvertible {
    public let description: String
    /// An errno.
    public let status: Int32

    public init(_ description: String, status: Int32 = EIO) {
        self.description = description
        self.status = status
    }
}

/// An OSD as a process runs it: one store, one event loop.
public final class OSDDaemon: Sendable {
    /// The OSD's number.
    public let id: OSDID
    /// Where it serves.
    public let endpoint: Endpoint
    private let shell: NIOLoopBound<OSDShell>
    private let loop: any EventLoop
    private let directory: StoreDirectory
    private let events: any Channel
    private let failure: EventLoopFuture<String>

    /// Starts an OSD on `loop`, which from then on is its own: opens its store, or registers and makes it, and joins the
    /// cluster. Returns when the cluster's map shows it up.
    public static func start(
        _ configuration: OSDConfiguration, on loop: any EventLoop, logger: Logger
    ) async throws -> OSDDaemon {
        do {
            return try await open(configuration, on: loop, logger: logger)
        } catch let error as StoreError {
            throw OSDError(error.description, status: error.status)
        }
    }

    private static func open(
        _ configuration: OSDConfiguration, on loop: any EventLoop, logger: Logger
    ) async throws -> OSDDaemon {
        if mkdir(configuration.directory, 0o755) != 0, errno != EEXIST {
            throw OSDError(
                "cannot make the directory \(configuration.directory): \(String(cString: strerror(errno)))",
                status: errno)
        }
        let directory = try StoreDirectory(configuration.directory)
        var options = StoreOptions()
        options.capacity = configuration.capacity
        options.unsafeNoFlush = configuration.unsafeNoFlush
        options.withoutRing = configuration.withoutRing
        if try !directory.isFormatted() {
            let identity = try await register(configuration, on: loop, logger: logger)
            try directory.format(identity, options: options)
        }
        let bound = try await loop.submit { [options] in
            // The ring belongs to the thread that submits to it first, so the store is opened on its loop.
            let store = try directory.openStore(options: options)
            if let remark = store.deviceRemark { logger.warning("\(remark)") }
            return NIOLoopBound(OSDShell(loop: loop, store: store, logger: logger), eventLoop: loop)
        }.get()
        return try await join(bound, configuration, directory, loop, logger)
    }

    private static func join(
        _ shell: NIOLoopBound<OSDShell>, _ configuration: OSDConfiguration, _ directory: StoreDirectory,
        _ loop: any EventLoop, _ logger: Logger
    ) async throws -> OSDDaemon {
        var random = SystemRandomNumberGenerator()
        let incarnation = random.next()
        let serving = loop.makePromise(of: Void.self)
        let failure = loop.makePromise(of: String.self)
        let endpoint = try await loop.flatSubmit {
            shell.value.whenServing = { serving.succeed() }
            shell.value.whenStopped = { reason in
                serving.fail(OSDError(reason))
                failure.succeed(reason)
            }
            return shell.value.start(
                incarnation: incarnation, listen: configuration.listen, monitors: configuration.monitors)
        }.get()
        let events = try await watch(shell, on: loop)
        let id = try await loop.submit { shell.value.store.identity.osd }.get()
        try await serving.futureResult.get()
        return OSDDaemon(
            id: id, endpoint: endpoint, shell: shell, loop: loop, directory: directory, events: events,
            failure: failure.futureResult)
    }

    private init(
        id: OSDID, endpoint: Endpoint, shell: NIOLoopBound<OSDShell>, loop: any EventLoop, directory: StoreDirectory,
        events: any Channel, failure: EventLoopFuture<String>
    ) {
        self.id = id
        self.endpoint = endpoint
        self.shell = shell
        self.loop = loop
        self.directory = directory
        self.events = events
        self.failure = failure
    }

    /// The completions of the device arrive on the same loop as the network.
    private static func watch(_ shell: NIOLoopBound<OSDShell>, on loop: any EventLoop) async throws -> any Channel {
        let descriptor = try await loop.submit { dup(shell.value.store.eventDescriptor) }.get()
        return try await NIOPipeBootstrap(group: loop)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DeviceEvents(shell: shell.value))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor).get()
    }

    /// A new OSD: the monitor gives it a number, and its weight is its capacity.
    private static func register(
        _ configuration: OSDConfiguration, on loop: any EventLoop, logger: Logger
    ) async throws -> StoreIdentity {
        var random = SystemRandomNumberGenerator()
        let uuid = UniqueID(using: &random)
        let identity = Identity(
            cluster: nil, entity: .client("osd-registration@\(configuration.host)"), incarnation: random.next())
        let connection = try await MonitorConnection(
            monitors: configuration.monitors, identity: identity, on: loop, logger: logger)
        do {
            let map = try await connection.map(timeout: .seconds(OSDLimits.registrationSeconds))
            let reply = try await connection.command(
                words: ["osd", "new"],
                arguments: [
                    "uuid": "\(uuid)", "host": configuration.host,
                    "weight": weight(configuration.capacity ?? freeSpace(configuration.directory)),
                ])
            try await connection.shutdown()
            guard reply.errno == 0, let id = Int32(String(reply.output).filter(\.isNumber)) else {
                throw OSDError("the monitor refused a new OSD: \(reply.message)", status: reply.errno)
            }
            return StoreIdentity(cluster: map.cluster, osd: OSDID(id), store: uuid)
        } catch {
            try? await connection.shutdown()
            throw error
        }
    }

    private static func freeSpace(_ directory: String) -> ByteCount {
        var info = statvfs()
        guard statvfs(directory, &info) == 0 else { return .zero }
        return ByteCount(UInt64(info.f_bavail) * UInt64(info.f_frsize))
    }

    /// The field's weight: TiB, with enough digits for small disks.
    private static func weight(_ capacity: ByteCount) -> String {
        let millionths = max(1, capacity.rawValue / ((1 << 40) / 1_000_000))
        let fraction = String(millionths % 1_000_000)
        return "\(millionths / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
    }

    /// Returns with the reason when the OSD cannot go on.
    public func whenFailed() async throws -> String { try await failure.get() }

    /// Tells the cluster and ends every session. The store needs no farewell: what was acknowledged is in its journal.
    public func stop() async throws {
        let shell = shell
        try await loop.flatSubmit { shell.value.stop() }.get()
        try? await events.close()
    }
}

/// Reads the device's descriptor empty and lets the store look.
private final class DeviceEvents: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let shell: OSDShell

    init(shell: OSDShell) { self.shell = shell }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { shell.deviceReady() }
}
