import ClusterMap
import Messenger
import Wire

/// Byte streams between messengers, and what becomes of them: they delay what they carry, hold it back while the way is
/// blocked, break with everything in flight, and damage it.
final class SimulatedNetwork {
    /// One direction of a stream.
    final class Pipe {
        let from: SimulatedMessenger
        let to: SimulatedMessenger
        /// The connection at the receiver.
        let id: ConnectionID
        /// Flushed and not yet arrived.
        var chunks: [[UInt8]] = []
        var unflushed: [UInt8] = []
        var isOpen = true
        /// The sender has closed it: its end arrives after the bytes.
        var isEnding = false
        var isPaused = false
        /// Broken: whatever is sent on it is lost.
        var isCut = false
        var lastArrival: UInt64 = 0

        init(from: SimulatedMessenger, to: SimulatedMessenger, id: ConnectionID) {
            self.from = from
            self.to = to
            self.id = id
        }
    }

    private struct Way: Hashable {
        var from: Entity
        var to: Entity
    }

    let events: EventQueue
    var random: SeededGenerator
    private var listeners: [Endpoint: SimulatedMessenger] = [:]
    /// Both directions of every stream, in the order of their making, so that a seed always picks the same.
    private var streams: [(Pipe, Pipe)] = []
    /// Nothing goes from the first to the second.
    private var blocked: Set<Way> = []
    /// Changes with everything that arrives.
    private(set) var digest: UInt64 = 0

    init(events: EventQueue, seed: UInt64) {
        self.events = events
        random = SeededGenerator(seed: seed)
    }

    func listen(_ messenger: SimulatedMessenger, at endpoint: Endpoint) { listeners[endpoint] = messenger }

    /// Lets nothing go from one to the other for a while; what is sent meanwhile arrives afterwards.
    func block(from: Entity, to: Entity) { blocked.insert(Way(from: from, to: to)) }

    func unblock(from: Entity, to: Entity) { blocked.remove(Way(from: from, to: to)) }

    func unblockAll() { blocked.removeAll() }

    private func isBlocked(_ from: SimulatedMessenger, _ to: SimulatedMessenger) -> Bool {
        !blocked.isEmpty && blocked.contains(Way(from: from.entity, to: to.entity))
    }

    private func latency() -> UInt64 { UInt64.random(in: 20...400, using: &random) }

    // MARK: Streams

    func dial(_ messenger: SimulatedMessenger, _ connection: ConnectionID, to endpoint: Endpoint) {
        events.after(latency()) { [self] in
            guard messenger.isAlive, messenger.core.isDialing(connection) else { return }
            let target = listeners[endpoint]
            if let target, isBlocked(messenger, target) || isBlocked(target, messenger) {
                // The system goes on asking until its caller has had enough.
                return events.after(50_000) { [self] in dial(messenger, connection, to: endpoint) }
            }
            guard let target, target.isAlive, let far = target.core.accepted(from: "127.0.0.1:1", isLocal: true) else {
                return messenger.core.disconnected(connection, why: .connectionRefused)
            }
            let out = Pipe(from: messenger, to: target, id: far)
            let back = Pipe(from: target, to: messenger, id: connection)
            messenger.opened(connection, out: out, back: back)
            target.opened(far, out: back, back: out)
            streams.append((out, back))
            messenger.core.dialed(connection)
        }
    }

    /// What was written goes on its way.
    func flush(_ pipe: Pipe) {
        guard pipe.isOpen, !pipe.isCut, !pipe.unflushed.isEmpty else { return pipe.unflushed = [] }
        pipe.chunks.append(pipe.unflushed)
        pipe.unflushed = []
        schedule(pipe)
    }

    /// The sender closes it after what was written.
    func end(_ pipe: Pipe) {
        flush(pipe)
        guard pipe.isOpen, !pipe.isEnding else { return }
        pipe.isEnding = true
        schedule(pipe)
    }

    /// One more thing, a chunk or the end, arrives in a while.
    private func schedule(_ pipe: Pipe, noEarlier delay: UInt64 = 0) {
        let time = max(events.now + max(latency(), delay), pipe.lastArrival + 1)
        pipe.lastArrival = time
        events.after(time - events.now) { [self] in arrive(pipe) }
    }

    private func arrive(_ pipe: Pipe) {
        guard pipe.isOpen, pipe.to.isAlive else { return }
        if isBlocked(pipe.from, pipe.to) || pipe.isPaused { return schedule(pipe, noEarlier: 20_000) }
        guard !pipe.chunks.isEmpty else {
            if pipe.isEnding { hangUp(pipe) }
            return
        }
        let chunk = pipe.chunks.removeFirst()
        chunk.withUnsafeBytes { bytes in
            digest = (digest ^ UInt64(Checksum.crc32c(bytes)) ^ events.now << 32) &* 0x0000_0100_0000_01b3
            pipe.to.core.receive(bytes, on: pipe.id)
        }
    }

    private func hangUp(_ pipe: Pipe) {
        close(pipe)
        if pipe.to.isAlive { pipe.to.core.disconnected(pipe.id, why: .closedByPeer) }
    }

    /// Nothing arrives any more.
    func close(_ pipe: Pipe) {
        pipe.isOpen = false
        pipe.chunks = []
        pipe.unflushed = []
        if streams.count > 64 { streams.removeAll { !$0.0.isOpen && !$0.1.isOpen } }
    }

    // MARK: Faults

    /// A process has ended: what it sent arrives in part, and then the ends of its streams.
    func crashed(_ messenger: SimulatedMessenger) {
        for (out, back) in streams {
            for pipe in [out, back] where pipe.isOpen && pipe.from === messenger {
                pipe.chunks.removeLast(Int.random(in: 0...pipe.chunks.count, using: &random))
                pipe.unflushed = []
                end(pipe)
            }
            for pipe in [out, back] where pipe.isOpen && pipe.to === messenger { close(pipe) }
        }
    }

    private func anyStream() -> (Pipe, Pipe)? {
        streams.filter { $0.0.isOpen && $0.1.isOpen && !$0.0.isCut }.randomElement(using: &random)
    }

    /// Breaks a connection with all that is on its way; the two ends hear of it at different times.
    func cutSomething() {
        guard let (out, back) = anyStream() else { return }
        for pipe in [out, back] {
            pipe.isCut = true
            pipe.chunks = []
            let delay = Bool.random(using: &random) ? 0 : UInt64.random(in: 0...3_000_000, using: &random)
            events.after(delay) { [self] in if pipe.isOpen { hangUp(pipe) } }
        }
    }

    /// Flips a bit of what is on its way on some connection. False when nothing is.
    func damageSomething() -> Bool {
        let pipes = streams.flatMap { [$0.0, $0.1] }.filter { $0.isOpen && !$0.chunks.isEmpty }
        guard let pipe = pipes.randomElement(using: &random),
            let index = pipe.chunks[0].indices.randomElement(using: &random)
        else { return false }
        pipe.chunks[0][index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        return true
    }
}
