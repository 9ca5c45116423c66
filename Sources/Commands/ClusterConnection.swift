import ClusterMap
import Glibc
import Logging
import NIOPosix
import Protocol
import RADOS
import Wire

/// A cluster as commands use it.
public struct ClusterConnection: CommandAnswering {
    /// The connected cluster.
    public let cluster: Cluster

    /// How long a command may take that a monitor has received.
    static let commandTime: Duration = .seconds(60)

    /// Connects through one of the monitors. Throws ETIMEDOUT when none answers in this time, naming them.
    public static func open(monitors: [Endpoint], timeoutSeconds: Double) async throws(CommandError)
        -> ClusterConnection
    {
        // Whichever comes first completes the promise; the other finds it completed.
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let first = loop.makePromise(of: Cluster.self)
        let milliseconds = Int64(min(max(timeoutSeconds, 0.001), 86_400) * 1000)
        let limit = loop.scheduleTask(in: .milliseconds(milliseconds)) {
            let names = monitors.map(\.description).joined(separator: ", ")
            first.fail(
                CommandError(
                    errno: ETIMEDOUT,
                    "no monitor answers at \(names): start one with `nacre up` or `nacre mon`, or name it with -m"))
        }
        Task {
            do {
                var logger = Logger(label: "nacre")
                logger.logLevel = .critical
                let cluster = try await Cluster.connect(
                    monitors: monitors, name: "admin@\(HostName.current):\(getpid())", logger: logger)
                first.succeed(cluster)
            } catch {
                first.fail(error)
            }
        }
        defer { limit.cancel() }
        do {
            return ClusterConnection(cluster: try await first.futureResult.get())
        } catch {
            throw CommandError(error)
        }
    }

    public func ask(
        _ words: [String], _ arguments: [String: String], _ input: Bytes
    ) async throws(CommandError) -> CommandReply {
        do throws(RADOSError) {
            return try await cluster.command(words, arguments: arguments, input: input, timeout: Self.commandTime)
        } catch {
            throw CommandError(error)
        }
    }

    /// Ends the connection.
    public func close() async { await cluster.shutdown() }
}

/// The name of this host, fit for the CRUSH map.
public enum HostName {
    /// The host's name up to its first dot; what the CRUSH map does not take becomes a hyphen.
    public static var current: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, 255) == 0 else { return "localhost" }
        return clean(String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    static func clean(_ name: String) -> String {
        let first = name.prefix { $0 != "." }
        let text = String(first.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") ? $0 : "-" })
        return text.isEmpty ? "localhost" : text
    }
}
