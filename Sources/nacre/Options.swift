import ArgumentParser
import ClusterMap
import Commands
@preconcurrency import Glibc
import RBD
import Wire

/// How a command finds the cluster.
struct ClusterOptions: ParsableArguments {
    /// Where a monitor is when nothing is said.
    static let defaultMonitor = "127.0.0.1:6789"
    static let defaultPort: UInt16 = 6789

    @Option(
        name: [.short, .customLong("mon")],
        help: ArgumentHelp(
            "The monitor's address. Default: the environment variable NACRE_MON, or \(defaultMonitor).",
            valueName: "host:port"))
    var mon: String?

    var monitors: [Endpoint] {
        get throws(CommandError) {
            let text = mon ?? getenv("NACRE_MON").map { String(cString: $0) } ?? Self.defaultMonitor
            var endpoints: [Endpoint] = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                endpoints.append(try Self.endpoint(String(part), defaultPort: Self.defaultPort))
            }
            return endpoints
        }
    }

    static func endpoint(_ text: String, defaultPort: UInt16) throws(CommandError) -> Endpoint {
        guard let endpoint = Endpoint(text, defaultPort: defaultPort) else {
            throw CommandError(errno: EINVAL, "'\(text)' is no address: give HOST:PORT")
        }
        return endpoint
    }
}

/// How a command that asks the cluster connects and shows its result.
struct AskingOptions: ParsableArguments {
    @OptionGroup var cluster: ClusterOptions

    @Option(help: ArgumentHelp("Give up when no monitor answers for so long.", valueName: "seconds"))
    var connectTimeout = 10.0

    @Option(help: "The form of the result.")
    var format = Output.Format.plain

    @Flag(help: "Lay JSON out over lines.")
    var prettyFormat = false

    var output: Output {
        Output(format: format, isPretty: prettyFormat, write: Terminal.show)
    }

    /// Connects, does it, and ends the connection.
    func withCluster(_ body: (ClusterConnection) async throws -> Void) async throws {
        guard connectTimeout > 0, connectTimeout <= 86_400 else {
            throw CommandError(
                errno: EINVAL, "--connect-timeout is \(connectTimeout): give seconds from 0.001 to 86400")
        }
        let connection = try await ClusterConnection.open(
            monitors: try cluster.monitors, timeoutSeconds: connectTimeout)
        do {
            try await body(connection)
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
    }

    /// Asks the monitors.
    func administrate(_ body: (Administration) async throws -> Void) async throws {
        let output = output
        try await withCluster { try await body(Administration(monitor: $0, output: output)) }
    }
}

extension Output.Format: ExpressibleByArgument {}

/// How large a new OSD is.
struct CapacityOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Bytes that a new OSD may hold, with suffix K, M, G or T. Default: what the file system has.",
            valueName: "size"))
    var capacity: String?

    var bytes: ByteCount? {
        get throws(CommandError) {
            guard let capacity else { return nil }
            do throws(RBDError) { return try SizeText.parse(capacity, unit: 1, what: "capacity") } catch {
                throw CommandError(error)
            }
        }
    }
}
