import NIOCore
import NIOPosix
import Glibc

/// Serves the exports of a directory to NBD clients over TCP and unix sockets. Not encrypted and not authenticated: bind it
/// to what `ListenAddress.isLocal` allows unless the user insists.
///
/// Everything of one server runs on one event loop: its connections, and the exports they share.
public final class NBDServer<Directory: ExportDirectory>: Sendable {
    private let loop: any EventLoop
    private let state: NIOLoopBound<ServerState<Directory>>

    /// A server that listens nowhere yet.
    public init(directory: Directory, on loop: any EventLoop, options: ServerOptions = ServerOptions()) async {
        Limits.check()
        self.loop = loop
        // Made by whoever makes the server: there the type of the exports is known to the compiler.
        let dataPath = DataPath<Directory.Disk>()
        let made = loop.submit {
            NIOLoopBound(
                ServerState(directory: directory, dataPath: dataPath, loop: loop, options: options), eventLoop: loop)
        }
        do { state = try await made.get() } catch { preconditionFailure("the event loop is shut down: \(error)") }
    }

    /// Begins to accept connections at `address`, besides any others. Returns it with the port that the system chose.
    ///
    /// A socket file left by a dead server is replaced. Throws `ListenFailure` naming the address when it is in use, not
    /// permitted or not an address of this machine.
    @discardableResult
    public func listen(on address: ListenAddress) async throws(ListenFailure) -> ListenAddress {
        if case .unix(let path) = address { try UnixSocketFile(path: path).prepare() }
        let channel: any Channel
        do {
            switch address {
            case .tcp(let host, let port):
                channel = try await bootstrap(for: address).bind(host: host, port: Int(port)).get()
            case .unix(let path): channel = try await bootstrap(for: address).bind(unixDomainSocketPath: path).get()
            }
        } catch {
            throw ListenFailure(address, Self.reason(error, address))
        }
        var bound = address
        if case .tcp(let host, 0) = address { bound = .tcp(host: host, port: UInt16(channel.localAddress?.port ?? 0)) }
        let listener = bound
        let state = state
        guard let isAdded = try? await loop.submit({ state.value.add(channel, at: listener) }).get(), isAdded else {
            try? await channel.close().get()
            throw ListenFailure(address, "the server is stopping")
        }
        return bound
    }

    /// Stops accepting, finishes the operations in flight, sends their replies and closes the connections; requests that
    /// were not taken are left for the client to ask again of the next server. Returns when every export is closed, or
    /// after `bound`, when connections still there have been cut off.
    public func stop(within bound: Duration) async {
        let state = state
        let stopped = loop.flatSubmit { state.value.stop(within: TimeAmount(bound)) }
        try? await stopped.get()
    }

    private func bootstrap(for address: ListenAddress) -> ServerBootstrap {
        let state = state
        let receive = AdaptiveRecvByteBufferAllocator(
            minimum: Limits.receiveBytes.least, initial: Limits.receiveBytes.first,
            maximum: Limits.receiveBytes.greatest)
        let marks = ChannelOptions.Types.WriteBufferWaterMark(
            low: Limits.unsentBytes.low, high: Limits.unsentBytes.high)
        let common = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: Limits.receivesPerTurn)
            .childChannelOption(.recvAllocator, value: receive)
            .childChannelOption(.writeBufferWaterMark, value: marks)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try state.value.accept(channel) }
            }
        guard case .tcp = address else { return common }
        return
            common
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
    }

    private static func reason(_ error: any Error, _ address: ListenAddress) -> String {
        guard let system = error as? IOError else { return "\(error)" }
        switch system.errnoCode {
        case EADDRINUSE: return "another program listens there: stop it or choose another port"
        case EADDRNOTAVAIL: return "not an address of this machine"
        case EACCES: return "permission denied: choose a port above 1023 or a directory you may write to"
        case ENOENT: return "the directory does not exist"
        default: return String(cString: strerror(system.errnoCode))
        }
    }
}

/// Settings of a server.
public struct ServerOptions: Sendable {
    /// Connections served at a time; one more is closed at once.
    public var connections: Int
    /// Told what happens to connections, on the event loop; for logs.
    public var onEvent: (@Sendable (ServerEvent) -> Void)?

    /// Settings with the limits of this build.
    public init(connections: Int = Limits.connections, onEvent: (@Sendable (ServerEvent) -> Void)? = nil) {
        self.connections = connections
        self.onEvent = onEvent
    }
}

/// What happens to connections, for logs.
public enum ServerEvent: Hashable, Sendable {
    /// A client is there.
    case connected(ConnectionID, peer: String)
    /// It uses an export.
    case opened(ConnectionID, export: String)
    /// It is being closed for this reason; not reported when the client just leaves.
    case ended(ConnectionID, reason: String)
    /// There were too many connections, or the server was stopping.
    case turnedAway(peer: String)
}
