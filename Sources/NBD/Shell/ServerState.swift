import NIOCore

/// The connections and listeners of one server, confined to its event loop.
final class ServerState<Directory: ExportDirectory> {
    let directory: Directory
    let dataPath: DataPath<Directory.Disk>
    let budget = ByteBudget()
    private let loop: any EventLoop
    private let options: ServerOptions
    private var connections: [ConnectionID: ConnectionHandler<Directory>] = [:]
    private var lastConnection: UInt64 = 0
    private var listeners: [(channel: any Channel, address: ListenAddress)] = []
    private(set) var isStopping = false
    /// Exports being closed.
    private var closes = 0
    private var isStopped = false
    private var whenStopped: EventLoopPromise<Void>?

    init(directory: Directory, dataPath: DataPath<Directory.Disk>, loop: any EventLoop, options: ServerOptions) {
        self.directory = directory
        self.dataPath = dataPath
        self.loop = loop
        self.options = options
    }

    /// Takes in a connection that was accepted; throws when there are too many, which closes it.
    func accept(_ channel: any Channel) throws {
        guard !isStopping, connections.count < options.connections else {
            report(.turnedAway(peer: channel.remoteAddress.map { "\($0)" } ?? "unix socket"))
            throw TurnedAway()
        }
        lastConnection += 1
        let connection = ConnectionID(lastConnection)
        let handler = ConnectionHandler(connection: connection, server: self)
        connections[connection] = handler
        do {
            try channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            connections[connection] = nil
            throw error
        }
    }

    func report(_ event: ServerEvent) {
        options.onEvent?(event)
    }

    /// A connection is closed and none of its operations is pending.
    func ended(_ connection: ConnectionID) {
        connections[connection] = nil
        checkEmpty()
    }

    /// Lets go of an export that a connection had opened.
    func close(_ disk: Directory.Disk) {
        closes += 1
        let directory = directory
        loop.makeFutureWithTask { await directory.close(disk) }.assumeIsolated().whenComplete { [self] _ in
            closes -= 1
            checkEmpty()
        }
    }

    func add(_ listener: any Channel, at address: ListenAddress) -> Bool {
        guard !isStopping else { return false }
        listeners.append((listener, address))
        return true
    }

    /// Stops accepting and lets the connections finish. The future succeeds when all exports are closed, at the latest
    /// `bound` after connections that are still there have been cut off.
    func stop(within bound: TimeAmount) -> EventLoopFuture<Void> {
        if let whenStopped { return whenStopped.futureResult }
        isStopping = true
        let promise = loop.makePromise(of: Void.self)
        whenStopped = promise
        for listener in listeners {
            // First the file: once the socket is closed, it may belong to the next server.
            if case .unix(let path) = listener.address { UnixSocketFile(path: path).remove() }
            listener.channel.close(promise: nil)
        }
        listeners = []
        for handler in connections.values { handler.stop() }
        let cutOff = loop.assumeIsolated().scheduleTask(in: bound) { [self] in
            for handler in connections.values { handler.abandon() }
            finishStopping()
        }
        promise.futureResult.assumeIsolated().whenComplete { _ in cutOff.cancel() }
        checkEmpty()
        return promise.futureResult
    }

    private func checkEmpty() {
        if isStopping, connections.isEmpty, closes == 0 { finishStopping() }
    }

    private func finishStopping() {
        guard !isStopped else { return }
        isStopped = true
        whenStopped?.succeed()
    }
}

/// Why an accepted connection is closed at once.
private struct TurnedAway: Error {}
