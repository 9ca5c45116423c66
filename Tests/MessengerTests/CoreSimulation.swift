import ClusterMap
import Protocol
import Testing
import Wire

import Messenger

/// Time, byte pipes and timers for several cores, from a seed. Pipes delay, split and join what they carry, and are cut.
final class SimulatedNetwork {
    enum Event {
        case timer(Node, MessengerTimer)
        case dial(Node, ConnectionID, Endpoint)
        case deliver(Pipe)
        case hangUp(Pipe)
        case endTurn(Node)
    }

    /// One direction of a stream.
    final class Pipe {
        let to: Node
        let id: ConnectionID
        var bytes: [UInt8] = []
        var isOpen = true

        init(to: Node, id: ConnectionID) {
            self.to = to
            self.id = id
        }
    }

    var random: Seeded
    var now = 0
    private var events: [(time: Int, number: Int, event: Event)] = []
    private var count = 0
    var listening: [UInt16: Node] = [:]
    /// Transcript of what owners were told, in order.
    var transcript: [String] = []

    init(_ random: Seeded) { self.random = random }

    func schedule(_ event: Event, after delay: Int) {
        count += 1
        events.append((now + delay, count, event))
    }

    var isIdle: Bool { events.isEmpty }

    /// Handles the next event; false when there is none before `limit`.
    func step(until limit: Int) -> Bool {
        guard
            let index = events.indices.min(by: {
                (events[$0].time, events[$0].number) < (events[$1].time, events[$1].number)
            }),
            events[index].time <= limit
        else {
            now = max(now, limit)
            return false
        }
        let next = events.remove(at: index)
        now = next.time
        handle(next.event)
        return true
    }

    private func handle(_ event: Event) {
        switch event {
        case .timer(let node, let timer):
            if node.isAlive { node.core.timerFired(timer) }
        case .endTurn(let node):
            if node.isAlive { node.core.endTurn() }
        case .dial(let node, let id, let endpoint):
            guard node.isAlive else { return }
            guard let target = listening[endpoint.port], target.isAlive,
                let far = target.core.accepted(from: "127.0.0.1:1", isLocal: true)
            else { return node.core.disconnected(id, why: .connectionRefused) }
            let there = Pipe(to: target, id: far), back = Pipe(to: node, id: id)
            node.pipes[id] = there
            target.pipes[far] = back
            node.incoming[id] = back
            target.incoming[far] = there
            node.core.dialed(id)
        case .deliver(let pipe):
            guard pipe.isOpen, pipe.to.isAlive, !pipe.bytes.isEmpty else { return }
            if pipe.to.unread.contains(pipe.id) { return schedule(.deliver(pipe), after: 10) }
            let piece = Int.random(in: 1...pipe.bytes.count, using: &random)
            let bytes = Array(pipe.bytes[..<piece])
            pipe.bytes.removeFirst(piece)
            if !pipe.bytes.isEmpty { schedule(.deliver(pipe), after: Int.random(in: 0...2, using: &random)) }
            bytes.withUnsafeBytes { pipe.to.core.receive($0, on: pipe.id) }
        case .hangUp(let pipe):
            guard pipe.isOpen else { return }
            if !pipe.bytes.isEmpty { return schedule(.hangUp(pipe), after: 1) }
            pipe.isOpen = false
            if pipe.to.isAlive { pipe.to.core.disconnected(pipe.id, why: .closedByPeer) }
        }
    }

    /// Cuts a random connection of `node`: what is under way in both directions is lost, and each end hears of it later.
    func cut(_ node: Node) {
        let ids = node.pipes.keys.sorted { "\($0)" < "\($1)" }
        guard let id = ids.randomElement(using: &random), let out = node.pipes[id], let back = node.incoming[id] else {
            return
        }
        for pipe in [out, back] {
            pipe.bytes = []
            schedule(.hangUp(pipe), after: Int.random(in: 0...3000, using: &random))
        }
        out.to.pipes[out.id] = nil
        node.pipes[id] = nil
    }
}

/// A core with an owner that writes down what it is told.
final class Node: MessengerEnvironment {
    let name: String
    let network: SimulatedNetwork
    var core: MessengerCore<Node>!
    var isAlive = true
    var pipes: [ConnectionID: SimulatedNetwork.Pipe] = [:]
    var incoming: [ConnectionID: SimulatedNetwork.Pipe] = [:]
    var unread: Set<ConnectionID> = []
    /// Numbers received, by session, since it was opened or reset.
    var received: [SessionID: [UInt64]] = [:]
    var resets: [SessionID: Int] = [:]
    var openSessions: [SessionID] = []
    var reports: [String] = []
    var pressure: [Bool] = []
    var onInterrupted: ((SessionID, Interruption) -> Void)?

    init(_ name: String, _ entity: Entity, incarnation: UInt64, cluster: UniqueID? = nil, in network: SimulatedNetwork)
    {
        self.name = name
        self.network = network
        core = MessengerCore(
            identity: Identity(cluster: cluster, entity: entity, incarnation: incarnation), environment: self)
    }

    /// Ends the process: its connections break, its state is gone.
    func kill() {
        isAlive = false
        for pipe in pipes.values { network.schedule(.hangUp(pipe), after: 1) }
    }

    func send(_ number: UInt64, to session: SessionID) {
        core.send(Message.monitor(.command(CommandRequest(number: number, words: ["x"]))).encoded, to: session)
    }

    private func note(_ text: String) { network.transcript.append("\(name) \(text)") }

    func dial(_ connection: ConnectionID, to endpoint: Endpoint) {
        network.schedule(.dial(self, connection, endpoint), after: Int.random(in: 0...5, using: &network.random))
    }
    func close(_ connection: ConnectionID) {
        if let pipe = pipes.removeValue(forKey: connection) { network.schedule(.hangUp(pipe), after: 1) }
        incoming.removeValue(forKey: connection)?.isOpen = false
    }
    func write(_ frame: OutgoingFrame, on connection: ConnectionID) {
        guard let pipe = pipes[connection] else { return }
        var bytes = [UInt8](repeating: 0, count: frame.byteCount)
        bytes.withUnsafeMutableBytes { frame.encode(into: $0) }
        pipe.bytes += bytes
    }
    func isWritable(_ connection: ConnectionID) -> Bool { true }
    func flush(_ connection: ConnectionID) {
        guard let pipe = pipes[connection] else { return }
        network.schedule(.deliver(pipe), after: Int.random(in: 0...5, using: &network.random))
    }
    func setReading(_ isReading: Bool, _ connection: ConnectionID) {
        if isReading { unread.remove(connection) } else { unread.insert(connection) }
    }
    func setTimer(_ timer: MessengerTimer, milliseconds: Int) {
        network.schedule(.timer(self, timer), after: milliseconds)
    }
    func scheduleTurnEnd() { network.schedule(.endTurn(self), after: 0) }
    func random() -> UInt64 { network.random.next() }
    func report(_ line: String) { reports.append(line) }

    func received(_ message: Message, from session: SessionID) {
        guard case .monitor(.command(let request)) = message else { return }
        received[session, default: []].append(request.number)
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        note("opened \(peer.entity) resumed=\(resumed)")
        if !openSessions.contains(session) { openSessions.append(session) }
    }
    func interrupted(_ session: SessionID, why: Interruption) {
        note("interrupted: \(why)")
        onInterrupted?(session, why)
    }
    func reset(_ session: SessionID) {
        note("reset")
        resets[session, default: 0] += 1
        received[session] = []
    }
    func closed(_ session: SessionID) {
        note("closed")
        openSessions.removeAll { $0 == session }
    }
    func pressureChanged(_ session: SessionID, isHigh: Bool) { pressure.append(isHigh) }
    func turnEnded() {}
    func turnSent() {}
}
