import ClusterMap
import Protocol
import RADOS
import Wire

/// OSDs in memory behind one client: sessions that keep order, maps that arrive at different times, intervals that forget
/// what was not done. What happens next is drawn from a seed, so a run can be repeated.
///
/// Replication is left out: there is one copy of every object, and an OSD may change it only in the newest interval of the
/// object's group, as a deposed primary cannot commit.
public final class MemoryCluster: ObjecterEnvironment {
    public typealias Map = MemoryMap

    private struct Server {
        var epoch: Epoch
        /// On its way from the client, oldest first.
        var inbox: [OperationRequest] = []
        /// On its way to the client, oldest first.
        var outbox: [OperationReply] = []
        /// The session was begun anew and the client does not know.
        var isReset = false
    }

    public var objects = MemoryObjects()
    public var generator: SeededGenerator
    /// Every map there was, by epoch from 1.
    public private(set) var maps: [MemoryMap]
    private var servers: [OSDID: Server] = [:]
    /// The epoch in which the group's current interval began.
    private var intervals: [UInt32: Epoch] = [:]
    /// The recorded result of every change.
    private var results: [RequestID: Int32] = [:]
    public var objecter: Objecter<MemoryCluster>!
    /// Who hears of completed requests.
    public var onCompleted: (RequestToken, OperationReply) -> Void = { _, _ in }
    /// The first doing of every request, in order, as name and number.
    public private(set) var executed: [(name: String, number: UInt64)] = []
    public private(set) var resends = 0
    public private(set) var misdirections = 0
    private var sent: Set<UInt64> = []

    public init(seed: UInt64, groups: UInt32 = 8, osds: Int32 = 4) {
        generator = SeededGenerator(seed: seed)
        var acting: [UInt32: [OSDID]] = [:]
        for group in 0..<groups { acting[group] = (0..<3).map { OSDID((Int32(group) + $0) % osds) } }
        maps = [MemoryMap(epoch: Epoch(1), pools: [MemoryMap.pool(groups: groups)], acting: acting)]
        for osd in 0..<osds { servers[OSDID(osd)] = Server(epoch: Epoch(1)) }
        objecter = Objecter(client: 7, environment: self)
        objecter.mapChanged(to: maps[0])
    }

    public var newest: MemoryMap { maps[maps.count - 1] }
    private var groupCount: UInt32 { newest.pools[PoolID(1)]?.groupCount ?? 1 }

    // MARK: Effects of the objecter

    public func send(_ request: OperationRequest, to osd: OSDID) {
        if !sent.insert(request.id.number).inserted { resends += 1 }
        // To a session that died nothing arrives.
        if servers[osd]!.isReset { return }
        servers[osd]!.inbox.append(request)
    }

    public func wantMap(atLeast epoch: Epoch) {
        precondition(epoch <= newest.epoch, "map \(epoch) wanted, the newest is \(newest.epoch)")
        misdirections += 1
    }

    public func wantRetry() { preconditionFailure("these OSDs have room for everything") }

    public func completed(_ token: RequestToken, _ reply: OperationReply) { onCompleted(token, reply) }

    // MARK: What happens

    /// One thing happens, if anything can. False when everybody knows everything and nothing is on its way.
    public func step() -> Bool {
        var choices: [() -> Void] = []
        for osd in servers.keys.sorted() {
            let server = servers[osd]!
            if let head = server.inbox.first, canAct(on: head, at: server.epoch) {
                choices.append { [unowned self] in process(at: osd) }
            }
            if !server.outbox.isEmpty, !server.isReset {
                choices.append { [unowned self] in
                    let reply = servers[osd]!.outbox.removeFirst()
                    objecter.received(reply, from: osd)
                }
            }
            if server.epoch < newest.epoch {
                choices.append { [unowned self] in servers[osd]!.epoch = servers[osd]!.epoch.next }
            }
            if server.isReset {
                choices.append { [unowned self] in
                    servers[osd]!.isReset = false
                    objecter.sessionReset(with: osd)
                }
            }
        }
        let known = objecter.map!.epoch
        if known < newest.epoch {
            choices.append { [unowned self] in objecter.mapChanged(to: maps[Int(known.rawValue)]) }
            choices.append { [unowned self] in objecter.mapChanged(to: newest) }
        }
        guard !choices.isEmpty else { return false }
        choices[Int(generator.next() % UInt64(choices.count))]()
        return true
    }

    /// Lets things happen until nothing can.
    public func settle() {
        while step() {}
    }

    /// A new epoch in which `change` has been applied.
    public func changeMap(_ change: (inout MemoryMap) -> Void) {
        var map = newest
        map.epoch = map.epoch.next
        change(&map)
        for seed in 0..<groupCount {
            let group = PGID(pool: PoolID(1), seed: seed)
            if map.target(of: group) != newest.target(of: group) {
                intervals[seed] = map.epoch
                forget(seed)
            }
        }
        maps.append(map)
    }

    /// The session with `osd` dies with what is on its way.
    public func reset(_ osd: OSDID) {
        servers[osd]!.inbox = []
        servers[osd]!.outbox = []
        servers[osd]!.isReset = true
    }

    /// Something goes wrong, drawn from the seed: a daemon restarts, a primary changes, a group is without one for a while,
    /// a session dies.
    public func disturb() {
        let seed = UInt32(generator.next() % UInt64(groupCount))
        let osds = servers.keys.sorted()
        let osd = osds[Int(generator.next() % UInt64(osds.count))]
        switch generator.next() % 5 {
        case 0: reset(osd)
        case 1:
            reset(osd)
            changeMap { $0.upFrom[osd] = $0.epoch }
        case 2: changeMap { $0.acting[seed] = [] }
        default:
            let first = Int32(generator.next() % UInt64(osds.count))
            let set = (0..<3).map { OSDID((first + $0) % Int32(osds.count)) }
            changeMap { $0.acting[seed] = set }
        }
    }

    /// Gives every group a primary again.
    public func heal() {
        changeMap { map in
            for seed in map.acting.keys where map.acting[seed]!.isEmpty { map.acting[seed] = [OSDID(0), OSDID(1)] }
        }
    }

    /// A new interval forgets some of what OSDs have received of the group and not done.
    private func forget(_ seed: UInt32) {
        for osd in servers.keys.sorted() where generator.oneIn(2) {
            servers[osd]!.inbox.removeAll { $0.group.seed == seed && $0.epoch < newest.epoch.next }
        }
    }

    /// False while the OSD must wait for a newer map: the client's, or that of the group's current interval.
    private func canAct(on request: OperationRequest, at epoch: Epoch) -> Bool {
        request.epoch <= epoch && intervals[request.group.seed, default: .none] <= epoch
    }

    private func process(at osd: OSDID) {
        let request = servers[osd]!.inbox.removeFirst()
        let epoch = servers[osd]!.epoch
        let map = maps[Int(epoch.rawValue) - 1]
        var reply = OperationReply(number: request.id.number, outcome: .misdirected(epoch))
        let isPrimary = map.target(of: request.group).primary == osd
        if isPrimary, request.epoch >= intervals[request.group.seed, default: .none] {
            if request.isWrite, let errno = results[request.id] {
                reply.outcome = .done(errno: errno)
            } else {
                executed.append((request.object.name.description, request.id.number))
                let (errno, outputs) = objects.execute(
                    request.steps, on: request.object, group: (request.group.seed, groupCount),
                    client: request.id.client, name: "test", at: request.snap, context: request.context)
                if request.isWrite { results[request.id] = errno }
                reply.outcome = .done(errno: errno)
                reply.outputs = outputs
            }
        }
        servers[osd]!.outbox.append(reply)
    }
}
