import ClusterMap
import Messenger
import Protocol
import Wire

/// A process on the simulated network. What it is told is what a `MessengerHandler` is told.
protocol NetworkProcess: AnyObject {
    func received(_ message: Message, from session: SessionID)
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool)
    func interrupted(_ session: SessionID, why: Interruption)
    func reset(_ session: SessionID)
    func closed(_ session: SessionID)
    func turnEnded()
    func turnSent()
    /// A line for the trace.
    func report(_ line: String)
}

/// The messenger of one process: the production core over simulated streams.
final class SimulatedMessenger: MessengerEnvironment {
    private(set) var core: MessengerCore<SimulatedMessenger>!
    let entity: Entity
    /// False once the process was killed: nothing reaches it any more, and it may be gone.
    private(set) var isAlive = true
    private unowned let process: any NetworkProcess
    private unowned let network: SimulatedNetwork
    private var outgoing: [ConnectionID: SimulatedNetwork.Pipe] = [:]
    private var incoming: [ConnectionID: SimulatedNetwork.Pipe] = [:]

    init(_ identity: Identity, of process: any NetworkProcess, in network: SimulatedNetwork) {
        self.process = process
        self.network = network
        entity = identity.entity
        core = MessengerCore(identity: identity, environment: self)
    }

    /// The process ends.
    func kill() {
        isAlive = false
        network.crashed(self)
        outgoing = [:]
        incoming = [:]
    }

    func connect(to endpoint: Endpoint, expecting entity: Entity? = nil) -> SessionID {
        core.connect(to: endpoint, expecting: entity)
    }

    func send(_ message: Message, to session: SessionID) { core.send(message.encoded, to: session) }

    // MARK: Streams

    func opened(_ connection: ConnectionID, out: SimulatedNetwork.Pipe, back: SimulatedNetwork.Pipe) {
        outgoing[connection] = out
        incoming[connection] = back
    }

    func dial(_ connection: ConnectionID, to endpoint: Endpoint) { network.dial(self, connection, to: endpoint) }

    func close(_ connection: ConnectionID) {
        if let pipe = outgoing.removeValue(forKey: connection) { network.end(pipe) }
        if let pipe = incoming.removeValue(forKey: connection) { network.close(pipe) }
    }

    func write(_ frame: OutgoingFrame, on connection: ConnectionID) {
        guard let pipe = outgoing[connection], pipe.isOpen else { return }
        let bytes = [UInt8](unsafeUninitializedCapacity: frame.byteCount) { buffer, count in
            frame.encode(into: UnsafeMutableRawBufferPointer(buffer))
            count = frame.byteCount
        }
        if pipe.unflushed.isEmpty { pipe.unflushed = bytes } else { pipe.unflushed += bytes }
    }

    func isWritable(_ connection: ConnectionID) -> Bool { true }

    func flush(_ connection: ConnectionID) {
        if let pipe = outgoing[connection] { network.flush(pipe) }
    }

    func setReading(_ isReading: Bool, _ connection: ConnectionID) { incoming[connection]?.isPaused = !isReading }

    func setTimer(_ timer: MessengerTimer, milliseconds: Int) {
        network.events.after(UInt64(milliseconds) * 1000) { [self] in
            if isAlive { core.timerFired(timer) }
        }
    }

    func scheduleTurnEnd() {
        network.events.after(1) { [self] in
            if isAlive { core.endTurn() }
        }
    }

    func random() -> UInt64 { network.random.next() }

    // MARK: The process

    func report(_ line: String) { process.report(line) }
    func received(_ message: Message, from session: SessionID) { process.received(message, from: session) }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        process.opened(session, peer: peer, resumed: resumed)
    }
    func interrupted(_ session: SessionID, why: Interruption) { process.interrupted(session, why: why) }
    func reset(_ session: SessionID) { process.reset(session) }
    func closed(_ session: SessionID) { process.closed(session) }
    func pressureChanged(_ session: SessionID, isHigh: Bool) {}
    func turnEnded() { process.turnEnded() }
    func turnSent() {
        if isAlive { process.turnSent() }
    }
}

extension NetworkProcess {
    func turnSent() {}
}
