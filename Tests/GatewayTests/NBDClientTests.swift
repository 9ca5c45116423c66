import Foundation
import NBD
import NIOPosix
import RADOS
import RBD
import Testing
import Wire

import Gateway

/// Other people's NBD clients on images, over sockets all the way to a daemon with objects in memory.
@Suite(.timeLimit(.minutes(2))) struct NBDClientTests {
    @Test func whatQemuCopiesInComesOutAgain() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nacre-gateway-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let socket = directory.appending(path: "nbd.sock").path
        let (source, copy) = (directory.appending(path: "source").path, directory.appending(path: "copy").path)
        // Data, a hole, data, and an end that is no multiple of an object.
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<(5 << 20)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        bytes += [UInt8](repeating: 0, count: 9 << 20) + bytes.prefix(70_000) + [UInt8](repeating: 1, count: 4464)
        bytes += [UInt8](repeating: 2, count: 512 - bytes.count % 512)
        try Data(bytes).write(to: URL(fileURLWithPath: source))

        let group = MultiThreadedEventLoopGroup.singleton
        let (daemon, monitor) = try await OneDaemonCluster.start(on: group.next())
        let cluster = try await Cluster.connect(monitors: [monitor], name: "nbd@host:1", on: group.next())
        let images = Images(pool: try await cluster.pool(named: "rbd"))
        try await images.create("demo", size: ByteCount(UInt64(bytes.count)))
        let server = await NBDServer(directory: ImageDirectory(cluster: cluster), on: cluster.loop)
        try await server.listen(on: .unix(path: socket))
        let uri = "nbd+unix:///rbd/demo?socket=\(socket)"

        try await succeed("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, uri])
        try await succeed("qemu-img", ["convert", "-f", "raw", "-O", "raw", uri, copy])
        #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == Data(bytes), "qemu-img")
        try await succeed(
            "qemu-io",
            [
                "-f", "raw", "-c", "discard 0 4M", "-c", "read -P 0 0 4M", "-c", "write -P 7 6M 1M", "-c",
                "read -P 7 6M 1M", uri,
            ])
        let before = try await daemon.withOSD { $0.objects.names }
        #expect(!before.contains { $0.hasSuffix(".0000000000000000") }, "a discarded object is gone")
        try await succeed("nbdcopy", ["--flush", source, uri])
        try await succeed("nbdcopy", [uri, copy])
        #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) == Data(bytes), "nbdcopy")

        await server.stop(within: .seconds(5))
        try await images.remove("demo")
        #expect(try await daemon.withOSD { $0.objects.names } == ["rbd_directory"])
        await cluster.shutdown()
        try await daemon.stop()
    }

    private func succeed(_ tool: String, _ arguments: [String]) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/\(tool)")
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in ended.resume() }
            do { try process.run() } catch {
                process.terminationHandler = nil
                ended.resume(throwing: error)
            }
        }
        #expect(process.terminationStatus == 0, "\(tool) \(arguments)")
    }
}
