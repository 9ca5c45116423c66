import NBD
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A server over memory disks, on a TCP port and a unix socket of its own.
struct RunningServer {
    let directory: MemoryDirectory
    let server: NBDServer<MemoryDirectory>
    let loop: any EventLoop
    let tcp: ListenAddress
    let unix: ListenAddress
    let scratch: TemporaryDirectory
    let events: NIOLockedValueBox<[ServerEvent]>

    /// Runs `body` with a server of the disks that `disks` makes, stops it and expects every export to be closed.
    static func with(
        connections: Int = Limits.connections, _ disks: (any EventLoop) -> [MemoryExport],
        _ body: (RunningServer) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let scratch = try TemporaryDirectory()
        let directory = MemoryDirectory(disks(loop), on: loop)
        let events = NIOLockedValueBox<[ServerEvent]>([])
        let options = ServerOptions(connections: connections) { event in events.withLockedValue { $0.append(event) } }
        let server = await NBDServer(directory: directory, on: loop, options: options)
        let tcp = try await server.listen(on: .tcp(host: "127.0.0.1", port: 0))
        let unix = try await server.listen(on: .unix(path: scratch.path("nbd.sock")))
        let running = RunningServer(
            directory: directory, server: server, loop: loop, tcp: tcp, unix: unix, scratch: scratch, events: events)
        do {
            try await body(running)
        } catch {
            await server.stop(within: .zero)
            try? await group.shutdownGracefully()
            throw error
        }
        await server.stop(within: .seconds(10))
        let open = try await loop.submit { directory.open }.get()
        precondition(open.isEmpty, "exports left open: \(open)")
        try await group.shutdownGracefully()
    }

    /// The URIs of `export` over both transports.
    func uris(_ export: String = "memory") -> [String] {
        [tcp.uri(export: export), unix.uri(export: export)]
    }
}
