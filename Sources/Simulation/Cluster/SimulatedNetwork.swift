import ClusterMap
import Messenger
import Protocol
import Wire

/// A process on the simulated network. What it is told is what a `MessengerHandler` is told.
protocol NetworkProcess: AnyObject {
    var identity: Identity { get }
    /// False once the process was killed: nothing reaches it any more.
    var isAlive: Bool { get }
    func received(_ message: Message, from session: SessionID)
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool)
    func interrupted(_ session: SessionID, why: Interruption)
    func reset(_ session: SessionID)
    func closed(_ session: SessionID)
    func turnEnded()
}

/// Sessions between processes as the messenger gives them: in order and exactly once while both live, interrupted and taken
/// up again when a connection breaks, reset when the other process is a new one.
final class SimulatedNetwork {
    private final class Session {
        let initiator: any NetworkProcess
        let endpoint: Endpoint
        let id: SessionID
        var acceptor: (any NetworkProcess)?
        var acceptorID: SessionID?
        var isConnected = false
        var isClosed = false
        /// Not delivered yet, by direction: to the acceptor, to the initiator.
        var queues: [[Bytes]] = [[], []]
        var lastDelivery: [UInt64] = [0, 0]

        init(initiator: any NetworkProcess, endpoint: Endpoint, id: SessionID) {
            self.initiator = initiator
            self.endpoint = endpoint
            self.id = id
        }
    }

    private let events: EventQueue
    private var random: SeededGenerator
    private var listeners: [Endpoint: any NetworkProcess] = [:]
    private var sessions: [UInt64: Session] = [:]
    /// Live sessions in the order of their making, so that a seed always picks the same.
    private var order: [Session] = []
    private var nextID: UInt64 = 1
    /// Changes with every message that was delivered.
    private(set) var digest: UInt64 = 0
    /// Nothing goes from the first to the second.
    private var blocked: Set<Way> = []

    private struct Way: Hashable {
        var from: Entity
        var to: Entity
    }

    init(events: EventQueue, seed: UInt64) {
        self.events = events
        random = SeededGenerator(seed: seed)
    }

    func listen(_ process: any NetworkProcess, at endpoint: Endpoint) { listeners[endpoint] = process }

    /// Lets nothing go from one to the other for a while; what is sent meanwhile arrives afterwards.
    func block(from: Entity, to: Entity) { blocked.insert(Way(from: from, to: to)) }

    func unblock(from: Entity, to: Entity) { blocked.remove(Way(from: from, to: to)) }

    func unblockAll() { blocked.removeAll() }

    private func isBlocked(_ from: any NetworkProcess, _ to: any NetworkProcess) -> Bool {
        !blocked.isEmpty && blocked.contains(Way(from: from.identity.entity, to: to.identity.entity))
    }

    private func newID() -> SessionID {
        nextID += 1
        return SessionID(rawValue: nextID)
    }

    private func latency() -> UInt64 { UInt64.random(in: 20...400, using: &random) }

    func connect(_ process: any NetworkProcess, to endpoint: Endpoint) -> SessionID {
        let session = Session(initiator: process, endpoint: endpoint, id: newID())
        sessions[session.id.rawValue] = session
        order.append(session)
        attempt(session)
        return session.id
    }

    private func attempt(_ session: Session) {
        events.after(latency()) { [self] in
            guard !session.isClosed, session.initiator.isAlive, !session.isConnected else { return }
            if let acceptor = listeners[session.endpoint],
                isBlocked(session.initiator, acceptor) || isBlocked(acceptor, session.initiator)
            {
                return retry(session)
            }
            guard let acceptor = listeners[session.endpoint], acceptor.isAlive else {
                session.initiator.interrupted(session.id, why: .connectionRefused)
                session.initiator.turnEnded()
                retry(session)
                return
            }
            open(session, acceptor)
        }
    }

    private func retry(_ session: Session) {
        events.after(UInt64.random(in: 10_000...100_000, using: &random)) { [self] in attempt(session) }
    }

    private func open(_ session: Session, _ acceptor: any NetworkProcess) {
        let known = session.acceptor
        let resumed = known != nil && known === acceptor && session.acceptorID != nil
        session.isConnected = true
        session.acceptor = acceptor
        if !resumed {
            if known != nil {
                session.queues = [[], []]
                session.initiator.reset(session.id)
            }
            let id = newID()
            session.acceptorID = id
            sessions[id.rawValue] = session
        }
        guard let acceptorID = session.acceptorID else { return }
        acceptor.opened(acceptorID, peer: peer(session.initiator), resumed: resumed)
        acceptor.turnEnded()
        session.initiator.opened(session.id, peer: peer(acceptor), resumed: resumed)
        session.initiator.turnEnded()
        for direction in 0...1 {
            for _ in session.queues[direction] { scheduleDelivery(session, direction) }
        }
    }

    private func peer(_ process: any NetworkProcess) -> PeerIdentity {
        PeerIdentity(process.identity, address: "simulated")
    }

    func send(_ payload: Bytes, from process: any NetworkProcess, on id: SessionID) {
        guard let session = sessions[id.rawValue], !session.isClosed else { return }
        let direction = session.id == id ? 0 : 1
        session.queues[direction].append(payload)
        if session.isConnected { scheduleDelivery(session, direction) }
    }

    private func scheduleDelivery(_ session: Session, _ direction: Int) {
        let time = max(events.now + latency(), session.lastDelivery[direction] + 1)
        session.lastDelivery[direction] = time
        let acceptorID = session.acceptorID
        events.after(time - events.now) { [self] in
            guard session.isConnected, session.acceptorID == acceptorID, !session.queues[direction].isEmpty else {
                return
            }
            guard let acceptor = session.acceptor else { return }
            let (sender, receiver) = direction == 0 ? (session.initiator, acceptor) : (acceptor, session.initiator)
            if isBlocked(sender, receiver) {
                session.lastDelivery[direction] = events.now + 20_000
                return events.after(20_000) { [self] in rearm(session, direction, acceptorID) }
            }
            deliver(session, direction)
        }
    }

    private func rearm(_ session: Session, _ direction: Int, _ acceptorID: SessionID?) {
        guard session.isConnected, session.acceptorID == acceptorID else { return }
        scheduleDelivery(session, direction)
    }

    private func deliver(_ session: Session, _ direction: Int) {
        let receiver = direction == 0 ? session.acceptor : session.initiator
        guard let receiver, receiver.isAlive, let acceptorID = session.acceptorID else { return }
        let payload = session.queues[direction].removeFirst()
        guard let message = try? Message(decoding: payload) else {
            preconditionFailure("a message of \(payload.count) bytes does not decode")
        }
        digest = (digest ^ UInt64(Checksum.crc32c(payload)) ^ acceptorID.rawValue << 32) &* 0x0000_0100_0000_01b3
        receiver.received(message, from: direction == 0 ? acceptorID : session.id)
        receiver.turnEnded()
    }

    func close(_ id: SessionID, by process: any NetworkProcess) {
        guard let session = sessions[id.rawValue], !session.isClosed else { return }
        forget(session)
        let other: (process: (any NetworkProcess)?, id: SessionID?) =
            session.id == id ? (session.acceptor, session.acceptorID) : (session.initiator, session.id)
        events.after(latency()) {
            guard let peer = other.process, peer.isAlive, let peerID = other.id else { return }
            peer.closed(peerID)
            peer.turnEnded()
        }
    }

    private func forget(_ session: Session) {
        session.isClosed = true
        order.removeAll { $0 === session }
    }

    /// A process was killed. Its peers see their connections end.
    func crashed(_ process: any NetworkProcess) {
        for session in order where session.initiator === process || session.acceptor === process {
            let wasConnected = session.isConnected
            session.isConnected = false
            if session.initiator === process {
                forget(session)
                guard wasConnected, let acceptor = session.acceptor, let id = session.acceptorID else { continue }
                events.after(latency()) {
                    guard acceptor.isAlive else { return }
                    acceptor.interrupted(id, why: .closedByPeer)
                    acceptor.turnEnded()
                }
                events.after(5_000_000) {
                    guard acceptor.isAlive else { return }
                    acceptor.closed(id)
                    acceptor.turnEnded()
                }
            } else if wasConnected {
                interrupt(session)
            }
        }
    }

    /// Breaks a connection at random; the session survives it.
    func cutSomething() {
        guard let session = order.filter(\.isConnected).randomElement(using: &random) else { return }
        session.isConnected = false
        if let acceptor = session.acceptor, acceptor.isAlive, let id = session.acceptorID {
            acceptor.interrupted(id, why: .closedByPeer)
            acceptor.turnEnded()
        }
        interrupt(session)
    }

    private func interrupt(_ session: Session) {
        events.after(latency()) { [self] in
            guard session.initiator.isAlive, !session.isClosed else { return }
            session.initiator.interrupted(session.id, why: .closedByPeer)
            session.initiator.turnEnded()
            attempt(session)
        }
    }
}
