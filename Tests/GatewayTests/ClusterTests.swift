import ClusterMap
import NBD
import NIOCore
import NIOPosix
import Protocol
import RADOS
import RBD
import Testing
import Wire

import Gateway

/// The client's shells over real sockets, against a daemon with objects in memory.
@Suite(.timeLimit(.minutes(1))) struct ClusterTests {
    private func withCluster(
        _ body: (OneDaemonCluster, Cluster) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let (daemon, monitor) = try await OneDaemonCluster.start(on: group.next())
        let cluster = try await Cluster.connect(monitors: [monitor], name: "test@host:1", on: group.next())
        do { try await body(daemon, cluster) } catch {
            Issue.record(error)
        }
        await cluster.shutdown()
        try await daemon.stop()
    }

    @Test func imagesAreAdministeredOverSockets() async throws {
        try await withCluster { _, cluster in
            let images = Images(pool: try await cluster.pool(named: "rbd"))
            try await images.create("demo", size: ByteCount(64 << 20))
            try await images.create("other", size: ByteCount(1))
            #expect(try await images.list() == ["demo", "other"])
            try await images.resize("demo", to: ByteCount(128 << 20))
            #expect(try await images.info("demo").header.size == ByteCount(128 << 20))
            try await images.remove("other")
            #expect(try await images.list() == ["demo"])
            #expect(try await cluster.command(["status"]).message == "status")
            let missing = await #expect(throws: RADOSError.self) { _ = try await cluster.pool(named: "nope") }
            #expect(missing?.errno == 2)
        }
    }

    @Test func anOpenImageIsWatchedSharedAndSurvivesMapChanges() async throws {
        try await withCluster { daemon, cluster in
            let images = Images(pool: try await cluster.pool(named: "rbd"))
            try await images.create("demo", size: ByteCount(64 << 20))
            let directory = ImageDirectory(cluster: cluster)
            #expect(try await directory.list() == ["rbd/demo"])
            let export = try await directory.open("demo")
            let again = try await directory.open("rbd/demo")
            #expect(export === again)
            let busy = await #expect(throws: RBDError.self) { try await images.remove("demo") }
            #expect(busy?.errno == 16)

            // Taken and forgotten by the OSD; the new interval has it sent again.
            try await daemon.withOSD { $0.isMute = true }
            let image = try await OpenImage<Promised>.open("demo", in: cluster.pool(named: "rbd"), muted: daemon)
            let write = cluster.loop.makePromise(of: ImageOutcome.self)
            try await cluster.loop.submit {
                image.write(offset: (4 << 20) - 2, data: Bytes([1, 2, 3, 4]), reply: Promised(promise: write))
            }.get()
            try await daemon.withOSD { $0.isMute = false }
            try await daemon.changeMap { $0.osds[OSDID(0)]?.upFrom = $0.epoch }
            #expect(try await write.futureResult.get() == .done)
            let read = cluster.loop.makePromise(of: ImageOutcome.self)
            try await cluster.loop.submit {
                image.read(offset: (4 << 20) - 3, length: 6, reply: Promised(promise: read))
            }.get()
            #expect(try await read.futureResult.get() == .data(Bytes([0, 1, 2, 3, 4, 0])))

            await image.close()
            await directory.close(export)
            await directory.close(again)
            try await images.remove("demo")
            #expect(try await daemon.withOSD { $0.objects.names } == ["rbd_directory"])
        }
    }

    @Test func aMissingImageIsAnExportNotFound() async throws {
        try await withCluster { _, cluster in
            let directory = ImageDirectory(cluster: cluster)
            for name in ["nope", "nopool/x"] {
                let failure = await #expect(throws: OpenFailure.self) { _ = try await directory.open(name) }
                #expect(failure?.kind == .notFound)
            }
        }
    }
}

private struct Promised: ImageReply {
    let promise: EventLoopPromise<ImageOutcome>
    func finish(_ outcome: ImageOutcome) { promise.succeed(outcome) }
}

extension OpenImage {
    /// Opens an image while the OSD answers, then has it go mute again.
    fileprivate static func open(
        _ name: String, in pool: RADOSPool, muted daemon: OneDaemonCluster
    ) async throws -> OpenImage {
        try await daemon.withOSD { $0.isMute = false }
        let image = try await open(name, in: pool)
        try await daemon.withOSD { $0.isMute = true }
        return image
    }
}
