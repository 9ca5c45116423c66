import ClusterMap
import Glibc
import Logging
import Messenger
import NIOCore
import NIOPosix
import Protocol
import Wire

/// What a monitor is started with.
public struct MonitorConfiguration: Sendable {
    /// Where its maps are; made when it does not exist.
    public var directory: String
    /// Its name among the monitors.
    public var name: String
    /// Where it listens; port 0 lets the system choose.
    public var listen: Endpoint
    /// Across what a new cluster spreads copies; an existing one keeps its own.
    public var failureDomain: NewCluster.FailureDomain
    /// The times after which it acts.
    public var times: MonitorTimes
    /// Where its log lines go.
    public var logger: Logger

    /// A monitor `a` in `directory`.
    public init(
        directory: String, name: String = "a", listen: Endpoint,
        failureDomain: NewCluster.FailureDomain = .osd, times: MonitorTimes = MonitorTimes(),
        logger: Logger = Logger(label: "mon")
    ) {
        self.directory = directory
        self.name = name
        self.listen = listen
        self.failureDomain = failureDomain
        self.times = times
        self.logger = logger
    }
}

/// A monitor as a daemon: its directory, its loop and its sessions. Started once and stopped once.
public final class MonitorDaemon: Sendable {
    private let configuration: MonitorConfiguration
    private let group: MultiThreadedEventLoopGroup
    private let running: NIOLoopBoundBox<Running?>
    private let failure: EventLoopPromise<MonitorError?>

    /// What a running monitor holds; the directory's lock among it.
    private struct Running {
        let directory: MonitorDirectory
        let shell: MonitorShell
        let cluster: UniqueID
    }

    /// What is known of a monitor that serves.
    public struct Serving: Hashable, Sendable {
        /// Where it listens.
        public var endpoint: Endpoint
        /// The cluster.
        public var cluster: UniqueID
    }

    /// A monitor that does nothing yet.
    public init(_ configuration: MonitorConfiguration) {
        self.configuration = configuration
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        running = NIOLoopBoundBox.makeEmptyBox(valueType: Running.self, eventLoop: loop)
        // Not on the monitor's own loop, which is gone when somebody may still ask.
        failure = MultiThreadedEventLoopGroup.singleton.next().makePromise()
    }

    /// Opens the directory, creating a cluster in one that is empty, and serves. Throws `MonitorError` when the directory is
    /// in use or not a monitor's, when the stored maps are damaged, and when it cannot listen.
    public func start() async throws -> Serving {
        let configuration = configuration
        let running = running
        let failure = failure
        let loop = group.next()
        do {
            return try await loop.flatSubmit { () -> EventLoopFuture<Serving> in
                do {
                    let directory = try MonitorDirectory(configuration.directory)
                    var random = SystemRandomNumberGenerator()
                    let log = try directory.openLog(name: configuration.name) {
                        NewCluster(cluster: UniqueID(using: &random), failureDomain: configuration.failureDomain)
                    }
                    let map = try log.newestMap()
                    let shell = MonitorShell(loop: loop, log: log, logger: configuration.logger) { error in
                        failure.succeed(error)
                    }
                    running.value = Running(directory: directory, shell: shell, cluster: log.cluster)
                    return shell.start(
                        listen: configuration.listen, incarnation: random.next(), map: map, times: configuration.times
                    ).map { Serving(endpoint: $0, cluster: running.value?.cluster ?? map.cluster) }
                } catch {
                    return loop.makeFailedFuture(error)
                }
            }.get()
        } catch let error as MonitorError {
            await stop()
            throw error
        } catch let error as MapLogError {
            await stop()
            throw MonitorError(errno: EIO, error.description)
        } catch {
            await stop()
            throw MonitorError(errno: EADDRINUSE, "\(error)")
        }
    }

    /// Waits until the monitor cannot go on, and says why; nil when it was stopped.
    public func ended() async -> MonitorError? {
        do { return try await failure.futureResult.get() } catch {
            preconditionFailure("the end of a monitor failed: \(error)")
        }
    }

    /// Ends every session and gives the directory back.
    public func stop() async {
        let running = running
        let loop = group.next()
        let stopped = loop.flatSubmit { () -> EventLoopFuture<Void> in
            running.value?.shell.stop() ?? loop.makeSucceededVoidFuture()
        }
        try? await stopped.get()
        try? await group.next().submit { running.value = nil }.get()
        failure.succeed(nil)
        try? await group.shutdownGracefully()
    }
}
