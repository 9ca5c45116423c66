import ClusterMap
import Commands
import Gateway
import Glibc
import Logging
import Monitor
import NBD
import NIOPosix
import OSD
import RADOS
import Wire

/// A daemon that serves in this process.
public struct RunningDaemon: Sendable {
    /// What it is and where it serves, as the line that says so has it: `mon 127.0.0.1:6789`.
    public let ready: String
    /// Returns when it has ended by itself, with the reason.
    let failed: @Sendable () async -> CommandError?
    /// Stops it cleanly.
    let stop: @Sendable () async -> Void
}

/// What every daemon of this process writes to its log: standard error.
public enum DaemonLog {
    /// To be called once, before the first daemon.
    public static func begin() {
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
    }

    static func logger(_ name: String) -> Logger {
        var logger = Logger(label: name)
        logger.logLevel = .notice
        return logger
    }
}

/// What the environment of this process asks for.
private enum Environment {
    /// Set to 1 it makes OSDs leave out every flush. It exists for the power-cut test, which must fail with it.
    static let noFlushVariable = "NACRE_UNSAFE_NO_FLUSH"

    /// Set to 1 it makes OSDs do without io_uring, as they do where the system forbids it.
    static let noRingVariable = "NACRE_NO_IO_URING"

    static var leavesOutFlushes: Bool { isSet(noFlushVariable) }
    static var goesWithoutRing: Bool { isSet(noRingVariable) }

    private static func isSet(_ name: String) -> Bool { getenv(name).map { String(cString: $0) == "1" } ?? false }
}

extension RunningDaemon {
    /// Starts a monitor, creating a cluster in an empty directory.
    public static func monitor(_ configuration: MonitorConfiguration) async throws(CommandError) -> RunningDaemon {
        try await monitorServing(configuration).daemon
    }

    /// Starts a monitor; also where it listens, when the system chose the port.
    static func monitorServing(
        _ configuration: MonitorConfiguration
    ) async throws(CommandError) -> (daemon: RunningDaemon, endpoint: Endpoint) {
        var configuration = configuration
        configuration.logger = DaemonLog.logger("mon.\(configuration.name)")
        let monitor = MonitorDaemon(configuration)
        do {
            let serving = try await monitor.start()
            let daemon = RunningDaemon(
                ready: "mon \(serving.endpoint)",
                failed: { await monitor.ended().map { CommandError(errno: $0.errno, $0.description) } },
                stop: { await monitor.stop() })
            return (daemon, serving.endpoint)
        } catch let error as MonitorError {
            throw CommandError(errno: error.errno, error.description)
        } catch {
            throw CommandError(error)
        }
    }

    /// Starts an OSD, registering it when its directory is empty. Returns when the map shows it up.
    public static func osd(_ configuration: OSDConfiguration) async throws(CommandError) -> RunningDaemon {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var configuration = configuration
        if Environment.leavesOutFlushes {
            configuration.unsafeNoFlush = true
            DaemonLog.logger("osd").warning("\(Environment.noFlushVariable) is set: a power cut will lose data")
        }
        configuration.withoutRing = Environment.goesWithoutRing
        do {
            let osd = try await OSDDaemon.start(configuration, on: group.next(), logger: DaemonLog.logger("osd"))
            return RunningDaemon(
                ready: "\(osd.id) \(osd.endpoint)",
                failed: { (try? await osd.whenFailed()).map { CommandError(errno: EIO, "\(osd.id): \($0)") } },
                stop: {
                    try? await osd.stop()
                    try? await group.shutdownGracefully()
                })
        } catch let error as OSDError {
            try? await group.shutdownGracefully()
            throw CommandError(errno: error.status, error.description)
        } catch {
            try? await group.shutdownGracefully()
            throw CommandError(error)
        }
    }

    /// How long a stopping NBD server waits for operations in flight.
    static let farewell: Duration = .seconds(10)

    /// Starts an NBD server for the images of a cluster. Refuses addresses that other hosts reach unless `allowRemote`,
    /// as exports are not authenticated yet.
    public static func nbd(
        monitors: [Endpoint], listen: [ListenAddress], allowRemote: Bool
    ) async throws(CommandError) -> RunningDaemon {
        let logger = DaemonLog.logger("nbd")
        for address in listen where !address.isLocal {
            guard allowRemote else {
                throw CommandError(
                    errno: EPERM,
                    "cannot listen on \(address): exports are not authenticated yet, and other hosts would reach them: "
                        + "listen on 127.0.0.1, or add --allow-remote")
            }
            logger.warning("listening on \(address): whoever reaches it reads and writes every image")
        }
        do {
            let name = "nbd@\(HostName.current):\(getpid())"
            let cluster = try await Cluster.connect(monitors: monitors, name: name, logger: logger)
            let server = await NBDServer(directory: ImageDirectory(cluster: cluster), on: cluster.loop)
            let stop: @Sendable () async -> Void = {
                await server.stop(within: farewell)
                await cluster.shutdown()
            }
            do {
                var bound: [String] = []
                for address in listen { bound.append(try await server.listen(on: address).uri(export: "")) }
                return RunningDaemon(ready: "nbd " + bound.joined(separator: " "), failed: { nil }, stop: stop)
            } catch {
                await stop()
                throw error
            }
        } catch let error as ListenFailure {
            throw CommandError(errno: EADDRINUSE, error.description)
        } catch {
            throw CommandError(error)
        }
    }
}
