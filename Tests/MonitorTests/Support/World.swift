import ClusterMap
import KeyValueStore
import Monitor
import Protocol
import Testing
import Wire

/// A monitor with everything around it in the test's hands. What it does is written down, a line for each action.
final class World: MonitorEnvironment {
    static let cluster = UniqueID(high: 0x1111_2222_3333_4444, low: 0x5555_6666_7777_8888)
    static let identity = MonitorIdentity(name: "a", endpoint: Endpoint(host: "127.0.0.1", port: 6789))

    let store = MemoryStore()
    var nowMilliseconds: UInt64 = 1_000_000
    var wallSeconds: UInt64 { 1_700_000_000 + nowMilliseconds / 1000 }
    private(set) var log: MapLog
    private(set) var pending: MapLogEntry?
    private(set) var lines: [String] = []
    private(set) var notes: [String] = []
    private(set) var sent: [(session: PeerSession, message: MonitorMessage)] = []
    private var monitor: MonitorCore<World>?
    private var nextSession: UInt64 = 1
    /// Called with every message as it is sent.
    var onSend: ((MonitorMessage, PeerSession) -> Void)?
    /// When set, every proposal is stored as soon as the event that made it is over.
    var commitsAtOnce = true

    init(failureDomain: NewCluster.FailureDomain = .osd) throws {
        let map = NewCluster(cluster: Self.cluster, failureDomain: failureDomain).firstMap
        log = try MapLog.create(in: store, name: "a", firstMap: map)
        monitor = MonitorCore(identity: Self.identity, map: try log.newestMap(), environment: self)
    }

    var core: MonitorCore<World> {
        guard let monitor else { preconditionFailure("no monitor runs") }
        return monitor
    }

    var map: OSDMap { core.map }

    /// Ends the process and starts it again; a proposal under way may have reached the disk or not.
    func restart(storingProposal: Bool = false) throws {
        if storingProposal, let pending { try log.append(pending) }
        pending = nil
        store.crash()
        log = try #require(try MapLog.open(store))
        monitor = MonitorCore(identity: Self.identity, map: try log.newestMap(), environment: self)
    }

    // MARK: Environment

    func send(_ message: MonitorMessage, to session: PeerSession) {
        onSend?(message, session)
        sent.append((session, message))
        lines.append("to \(session): \(describe(message))")
    }

    func propose(_ entry: MapLogEntry) {
        #expect(pending == nil, "a proposal while another is being stored")
        #expect(entry.epoch == log.last.next, "epochs go up by one")
        pending = entry
        lines.append("propose \(describe(increment: entry.increment))")
    }

    func increments(after epoch: Epoch) -> [Bytes] {
        do { return try log.increments(after: epoch) } catch {
            Issue.record(error)
            return []
        }
    }

    func firstMap() -> Bytes {
        do { return try log.fullMap(Epoch(1)) } catch {
            Issue.record(error)
            return .empty
        }
    }

    func note(_ line: String) { notes.append(line) }

    // MARK: Events

    /// Stores what is proposed and tells the monitor.
    func commit() throws {
        while let entry = pending {
            try log.append(entry)
            pending = nil
            core.committed(entry.epoch)
            if !commitsAtOnce { return }
        }
    }

    private func settle() {
        guard commitsAtOnce else { return }
        do { try commit() } catch { Issue.record(error) }
    }

    func open(_ role: MonitorPeer.Role, incarnation: UInt64 = 7) -> PeerSession {
        let id = PeerSession(nextSession)
        nextSession += 1
        core.sessionOpened(id, peer: MonitorPeer(role: role, name: "\(role)", incarnation: incarnation))
        return id
    }

    func receive(_ message: MonitorMessage, from session: PeerSession) {
        core.receive(message, from: session)
        settle()
    }

    /// Lets time pass, with ticks in it.
    func advance(_ milliseconds: UInt64) {
        var left = milliseconds
        repeat {
            let step = min(left, 1000)
            holdUp(step)
            left -= step
        } while left > 0
    }

    /// Lets time pass without a tick before its end.
    func holdUp(_ milliseconds: UInt64) {
        nowMilliseconds += milliseconds
        core.tick()
        settle()
    }

    /// Sends a command and gives the reply, which must come at once.
    @discardableResult
    func command(
        _ session: PeerSession, _ number: UInt64, _ words: String, _ arguments: [String: String] = [:],
        input: Bytes = .empty
    ) throws -> CommandReply {
        let before = sent.count
        let request = CommandRequest(
            number: number, words: words.split(separator: " ").map(String.init), arguments: arguments, input: input)
        receive(.command(request), from: session)
        for (to, message) in sent[before...] where to == session {
            if case .commandReply(let reply) = message, reply.number == number { return reply }
        }
        throw WireError("no reply to '\(words)'")
    }

    /// An OSD with a registered disk, its session open and subscribed.
    func newOSD(host: String = "pearl", size: UInt64 = 10 << 30) throws -> TestOSD {
        let client = open(.client, incarnation: nextSession &+ 1000)
        let uuid = UniqueID(high: 0xabc0_0000_0000_4000 | nextSession, low: 0x8000_0000_0000_0000 | nextSession)
        let reply = try command(
            client, 1, "osd new", ["uuid": uuid.description, "host": host, "size": "\(size)"])
        let id = OSDID(try #require(Int32(String(reply.output))))
        core.sessionClosed(client)
        return TestOSD(id: id, uuid: uuid, incarnation: 100 + UInt64(id.rawValue), session: open(.osd(id)))
    }

    /// Three OSDs that are up.
    func threeUp() throws -> [TestOSD] {
        let osds = [try newOSD(), try newOSD(), try newOSD()]
        for osd in osds { receive(.boot(osd.boot), from: osd.session) }
        return osds
    }

    /// The lines since the last call.
    func transcript() -> [String] {
        defer { lines = [] }
        return lines
    }

    /// Lets sessions of a finished run be forgotten.
    func clear() {
        lines = []
        sent = []
        notes = []
    }
}

/// An OSD's daemon as the monitor sees it.
struct TestOSD {
    var id: OSDID
    var uuid: UniqueID
    var incarnation: UInt64
    var session: PeerSession

    var boot: OSDBoot {
        OSDBoot(
            id: id, uuid: uuid, incarnation: incarnation,
            endpoint: Endpoint(host: "127.0.0.1", port: 6800 + UInt16(id.rawValue)))
    }

    func failure(of other: TestOSD) -> MonitorMessage {
        .failure(OSDFailure(reporter: id, target: other.id, incarnation: other.incarnation))
    }

    func statistics(
        _ map: OSDMap, capacity: UInt64 = 10 << 30, used: UInt64 = 1 << 30, groups: [GroupStatistics] = []
    ) -> MonitorMessage {
        .statistics(
            OSDStatistics(
                id: id, incarnation: incarnation, epoch: map.epoch, capacity: capacity, used: used, groups: groups))
    }

    /// What it says when every group that it leads is in this state.
    func leading(_ map: OSDMap, _ state: GroupStatistics.State) -> MonitorMessage {
        let led = map.poolsInOrder.flatMap { Array($0.groups) }.filter { map.placement(of: $0).primary == id }
        return statistics(
            map,
            groups: led.map { group in
                var said = GroupStatistics(group: group, state: state, waitingFor: [], lastUpdate: .zero)
                said.interval = map.epoch
                return said
            })
    }
}

// MARK: Descriptions

private func describe(_ message: MonitorMessage) -> String {
    switch message {
    case .maps(let update):
        var parts: [String] = []
        if let full = update.full, let map = try? OSDMap(decoding: full) { parts.append("full \(map.epoch)") }
        let epochs = update.increments.compactMap { try? OSDMap.Increment(decoding: $0).epoch }
        if let first = epochs.first, let last = epochs.last {
            parts.append(first == last ? "increment \(first)" : "increments \(first)-\(last)")
        }
        return "maps " + parts.joined(separator: ", ")
    case .commandReply(let reply):
        return "reply \(reply.number): \(reply.errno == 0 ? "ok" : "errno \(reply.errno)") \(reply.message)"
    default: return "\(message)"
    }
}

private func describe(increment bytes: Bytes) -> String {
    guard let increment = try? OSDMap.Increment(decoding: bytes) else { return "what does not decode" }
    var parts = ["\(increment.epoch):"]
    for (id, record) in increment.osds.sorted(by: { $0.key < $1.key }) {
        let state = record.isUp ? "up run \(record.incarnation)" : "down"
        parts.append("\(id) \(state)\(record.isIn ? "" : " out")")
    }
    parts += increment.removedOSDs.map { "\($0) removed" }
    parts += increment.pools.map { "pool \($0.name)" }
    parts += increment.removedPools.map { "pool \($0) removed" }
    if increment.crush != nil { parts.append("crush") }
    for (group, items) in increment.exceptions.upmapItems.sorted(by: { $0.key < $1.key }) {
        parts.append("\(group) \(items)")
    }
    return parts.joined(separator: " ")
}
