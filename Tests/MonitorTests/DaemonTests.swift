import ClusterMap
import Foundation
import Glibc
import Logging
import Messenger
import Monitor
import MonitorClient
import NIOPosix
import Testing
import Wire

/// The monitor as a process runs it: its directory, its port, and a client over TCP.
@Suite struct DaemonTests {
    private func configuration(_ directory: Scratch, port: UInt16 = 0) -> MonitorConfiguration {
        MonitorConfiguration(directory: directory.path + "/mon", listen: Endpoint(host: "127.0.0.1", port: port))
    }

    /// Asks a command as a client of its own.
    private func ask(
        _ endpoint: Endpoint, _ words: String, _ arguments: [String: String] = [:]
    ) async throws -> (errno: Int32, message: String) {
        var random = SystemRandomNumberGenerator()
        let identity = Identity(cluster: nil, entity: .client("test"), incarnation: random.next())
        let connection = try await MonitorConnection(
            monitors: [endpoint], identity: identity, on: MultiThreadedEventLoopGroup.singleton.next(),
            logger: Logger(label: "test"))
        let reply = try await connection.command(
            words: words.split(separator: " ").map(String.init), arguments: arguments)
        try await connection.shutdown()
        return (reply.errno, reply.message)
    }

    @Test func whatWasAnsweredIsThereAfterARestart() async throws {
        let scratch = try Scratch()
        let first = MonitorDaemon(configuration(scratch))
        let serving = try await first.start()
        #expect(try await ask(serving.endpoint, "pool create", ["pool": "images"]).message == "pool 'images' created")
        await first.stop()
        let second = MonitorDaemon(configuration(scratch))
        let again = try await second.start()
        #expect(again.cluster == serving.cluster)
        #expect(try await ask(again.endpoint, "pool get", ["pool": "images"]).errno == 0)
        #expect(try await ask(again.endpoint, "pool get", ["pool": "other"]).errno == ENOENT)
        await second.stop()
        #expect(await second.ended() == nil)
    }

    @Test func aDirectoryInUseIsNamedWithItsProcess() async throws {
        let scratch = try Scratch()
        let first = MonitorDaemon(configuration(scratch))
        _ = try await first.start()
        let error = await #expect(throws: MonitorError.self) {
            try await MonitorDaemon(configuration(scratch)).start()
        }
        #expect(error?.errno == EBUSY)
        #expect(error?.description.contains("process \(getpid())") == true)
        await first.stop()
    }

    @Test func aPortInUseIsNamed() async throws {
        let scratch = try Scratch()
        let other = try Scratch()
        let first = MonitorDaemon(configuration(scratch))
        let serving = try await first.start()
        let error = await #expect(throws: MonitorError.self) {
            try await MonitorDaemon(configuration(other, port: serving.endpoint.port)).start()
        }
        #expect(error?.errno == EADDRINUSE)
        #expect(error?.description.contains("\(serving.endpoint)") == true)
        await first.stop()
        // The directory that could not be served is free again.
        let again = MonitorDaemon(configuration(other))
        _ = try await again.start()
        await again.stop()
    }

    @Test func foreignDirectoriesAreRefused() async throws {
        let scratch = try Scratch()
        #expect(mkdir(scratch.path + "/mon", 0o755) == 0)
        let file = open(scratch.path + "/mon/block", O_CREAT | O_WRONLY, 0o600)
        close(file)
        let error = await #expect(throws: MonitorError.self) {
            try await MonitorDaemon(configuration(scratch)).start()
        }
        #expect(error?.errno == ENOTEMPTY)
        #expect(error?.description.contains("'block'") == true)
        let missing = await #expect(throws: MonitorError.self) {
            let nowhere = MonitorConfiguration(
                directory: scratch.path + "/a/b", listen: Endpoint(host: "127.0.0.1", port: 0))
            return try await MonitorDaemon(nowhere).start()
        }
        #expect(missing?.errno == ENOENT)
    }

    /// A creation that was cut off told nobody anything, so it begins anew.
    @Test func anInterruptedCreationBeginsAnew() async throws {
        let scratch = try Scratch()
        #expect(mkdir(scratch.path + "/mon", 0o755) == 0)
        #expect(mkdir(scratch.path + "/mon/maps", 0o755) == 0)
        close(open(scratch.path + "/mon/creating", O_CREAT | O_WRONLY, 0o600))
        let monitor = MonitorDaemon(configuration(scratch))
        let serving = try await monitor.start()
        #expect(try await ask(serving.endpoint, "health").errno == 0)
        await monitor.stop()
        #expect(access(scratch.path + "/mon/creating", F_OK) != 0)
    }

    @Test func addressesOfOthersAreRefused() async throws {
        let scratch = try Scratch()
        var wide = configuration(scratch)
        wide.listen = Endpoint(host: "0.0.0.0", port: 0)
        let error = await #expect(throws: MonitorError.self) { try await MonitorDaemon(wide).start() }
        #expect(error?.description.contains("0.0.0.0") == true)
    }
}

/// A directory that is gone with the test.
final class Scratch {
    let path: String

    init() throws {
        var template = Array("/tmp/nacre-monitor-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw WireError("no scratch directory: \(errno)") }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
