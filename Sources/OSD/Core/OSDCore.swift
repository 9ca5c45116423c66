import ClusterMap
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// One OSD: hosts its placement groups over one store, and connects them with peers, clients and the monitor.
///
/// A core, confined to one event loop. Its owner gives it maps epoch by epoch, messages, session events and ticks, calls
/// `storeCompleted` after the store was polled, `endOfTurn` when a turn of the loop is over, and `turnSent` when what it sent
/// has gone out.
///
/// Every OSD follows the intervals of every group, its own or not: that is what lets a newcomer know whom to ask.
public final class OSDCore<Environment: OSDEnvironment> {
    public let id: OSDID
    public let uuid: UniqueID
    /// This run of the daemon.
    public let incarnation: UInt64
    public let endpoint: Endpoint
    /// It owns this object. Unsafe, because a counted access is an atomic operation at every effect.
    unowned(unsafe) let environment: Environment

    /// The newest map.
    public private(set) var map: OSDMap?
    /// Whether that map blocklists anyone: asked with every request.
    public private(set) var hasBlocklist = false
    typealias Group = PlacementGroup<OSDCore<Environment>>
    var groups: [Group] = []
    var slots: [PGID: GroupSlot] = [:]
    /// True once a map has shown this run of the OSD up: the groups have begun.
    public private(set) var isServing = false

    /// Sessions that this OSD opened to others, by OSD number, with the incarnation they are meant for.
    var outgoing: [OSDID: (session: PeerSession, incarnation: UInt64)] = [:]
    /// The newest session that each OSD opened to this one: answers go back on it.
    var incoming: [OSDID: PeerSession] = [:]
    var peers: [PeerSession: PeerName] = [:]

    /// What belongs to an epoch that has not come yet.
    private var early: [(message: Message, session: PeerSession)] = []
    private var lastStatistics: UInt64 = 0
    /// True when the monitor waits for how a group is.
    var isReportDue = false
    private var lastBoot: UInt64?
    /// The newest epoch in which a group wants this OSD to be known alive.
    private var wantedUpThru = Epoch.none
    /// When the monitor was told so last, and of which epoch.
    private var lastAlive: (at: UInt64, epoch: Epoch)?
    var turns = RecoveryTurns()
    var heartbeats = HeartbeatTable()
    /// True once the monitor was told that this OSD goes: it answers nobody any more.
    private(set) var hasLeft = false
    var acting = ActingWishes()
    var scrubSteps = ScrubSteps()
    var told = ToldStatistics()
    /// Copies of objects brought back by groups that this OSD leads, and their bytes, since it began.
    var recovered = (objects: UInt64(0), bytes: UInt64(0))
    private var lastGroupTick: UInt64 = 0

    public init(id: OSDID, uuid: UniqueID, incarnation: UInt64, endpoint: Endpoint, environment: Environment) {
        self.id = id
        self.uuid = uuid
        self.incarnation = incarnation
        self.endpoint = endpoint
        self.environment = environment
    }

    // MARK: Maps

    /// What the monitor sent: a map, and the increments that lead to it from the map before. Every epoch is gone through;
    /// what is known already, as after the monitor was asked for everything again, is passed over.
    public func mapsReceived(_ newest: OSDMap, increments: [OSDMap.Increment]) {
        guard let known = map else { return firstMaps(newest, increments) }
        if increments.isEmpty, newest.epoch == known.epoch.next { return mapReceived(newest) }
        for increment in increments where increment.epoch > (map?.epoch ?? .none) {
            guard let current = map, increment.epoch == current.epoch.next else {
                return environment.stop(because: "\(id) was not told of every epoch after \(map?.epoch ?? .none)")
            }
            mapReceived(current.changed(by: increment))
        }
    }

    private func firstMaps(_ newest: OSDMap, _ increments: [OSDMap.Increment]) {
        guard increments.isEmpty else {
            return environment.stop(because: "\(id) was told of increments before any map")
        }
        mapReceived(newest)
    }

    /// A monitor answers again: it has to hear of this run of the OSD.
    public func monitorFound() {
        lastBoot = nil
        lastAlive = nil
        told = ToldStatistics()
        sayAlive()
    }

    /// What a group asks for; it goes out once for all groups of an epoch.
    func wantUpThru(_ epoch: Epoch) {
        wantedUpThru = max(wantedUpThru, epoch)
        sayAlive()
    }

    /// Tells the monitor that this OSD lives, when a group waits for that and it was not told of late.
    private func sayAlive() {
        guard isUpInMap, let map, let record = map.osds[id], record.upThru < wantedUpThru else {
            lastAlive = nil
            return
        }
        let now = environment.nowMilliseconds
        if let last = lastAlive, last.epoch >= wantedUpThru, now - last.at < OSDLimits.aliveInterval { return }
        // The newest epoch at once: the intervals of other groups begin by then too.
        lastAlive = (now, map.epoch)
        environment.tellMonitor(.alive(id, incarnation: incarnation, epoch: map.epoch))
    }

    /// The next epoch's map. The first is that of the cluster's first epoch; none may be left out.
    public func mapReceived(_ next: OSDMap) {
        precondition(
            map.map { $0.epoch.next == next.epoch } ?? true, "epoch \(next.epoch) after \(map?.epoch ?? .none)")
        if let before = map { strikeLost(before, next) }
        for pool in next.poolsInOrder {
            guard let count = map?.pools[pool.id]?.groupCount else { continue }
            if count < pool.groupCount { split(pool, from: count, at: next.epoch) }
            if count > pool.groupCount { merge(pool, from: count, at: next.epoch) }
        }
        map = next
        hasBlocklist = !next.blocklist.isEmpty
        for pool in next.poolsInOrder {
            for (group, placement) in zip(pool.groups, next.placements(of: pool)) {
                let upThru = placement.primary.flatMap { next.osds[$0]?.upThru } ?? .none
                follow(group, pool, placement, upThru, at: next.epoch)
            }
        }
        if isServing, let reason = deposition { return environment.stop(because: reason) }
        if !isServing, isUpInMap { beginService() }
        sayAlive()
        updateSessions(next)
        deliverEarly()
    }

    /// Disks that are gone for good with this epoch are no witnesses of what groups did before.
    private func strikeLost(_ before: OSDMap, _ next: OSDMap) {
        for (osd, record) in before.osdsInOrder
        where next.osds[osd]?.uuid != record.uuid || next.osds[osd]?.lostAt != record.lostAt {
            for group in groups { group.strike(osd) }
        }
    }

    /// Why this run of the OSD, which was up once, can never be again.
    private var deposition: String? {
        guard let record = map?.osds[id], record.uuid == uuid else { return "\(id) was removed from the map" }
        guard record.isUp, record.incarnation != incarnation else { return nil }
        return "another process has come up as \(id) with the disk \(uuid): one of the two is a copy, keep one"
    }

    var isUpInMap: Bool {
        guard let record = map?.osds[id] else { return false }
        return record.isUp && record.incarnation == incarnation
    }

    private func follow(
        _ id: PGID, _ pool: Pool, _ placement: OSDMap.Placement, _ upThru: Epoch, at epoch: Epoch
    ) {
        if let slot = slots[id] {
            let group = groups[Int(slot.index)]
            group.advance(to: epoch, pool: pool, placement: placement, upThru: upThru)
            // One that has just split off.
            if isServing, !group.hasBegun { group.begin() }
            return
        }
        let intervals = IntervalHistory(group: id, pool: pool, placement: placement, upThru: upThru)
        let group = addGroup(id, pool, intervals)
        if isServing { group.begin() }
    }

    private func addGroup(_ id: PGID, _ pool: Pool, _ intervals: IntervalHistory) -> Group {
        let slot = GroupSlot(index: UInt32(groups.count))
        let group = Group(id: id, slot: slot, pool: pool, intervals: intervals, environment: self)
        groups.append(group)
        slots[id] = slot
        return group
    }

    /// The pool had `count` groups until the epoch that comes: new ones split off from them, with all that each has here.
    private func split(_ pool: Pool, from count: UInt32, at epoch: Epoch) {
        var parts: [UInt32: [Group]] = [:]
        for seed in count..<pool.groupCount {
            let whole = Pool.stableModulo(seed, count)
            guard let slot = slots[PGID(pool: pool.id, seed: whole)] else { continue }
            // What came before is the same for all that come out of the split.
            let intervals = groups[Int(slot.index)].intervals
            parts[whole, default: []].append(addGroup(PGID(pool: pool.id, seed: seed), pool, intervals))
        }
        for (seed, parts) in parts.sorted(by: { $0.key < $1.key }) {
            guard let slot = slots[PGID(pool: pool.id, seed: seed)] else { continue }
            let whole = groups[Int(slot.index)]
            if whole.isCut(before: epoch) { whole.split(into: parts, pool, at: epoch) }
        }
    }

    /// The pool had `count` groups until the epoch that comes: some of the others take up those that end. These stay in their
    /// slots without a name, since the store may still owe them answers.
    private func merge(_ pool: Pool, from count: UInt32, at epoch: Epoch) {
        guard let merge = pool.merge, merge.epoch == epoch else {
            return environment.stop(because: "\(id) was not told how the groups of pool \(pool.id) are merged")
        }
        var sources: [UInt32: [Group]] = [:]
        for seed in pool.groupCount..<count {
            guard let slot = slots.removeValue(forKey: PGID(pool: pool.id, seed: seed)) else { continue }
            sources[Pool.stableModulo(seed, pool.groupCount), default: []].append(groups[Int(slot.index)])
        }
        for (seed, sources) in sources.sorted(by: { $0.key < $1.key }) {
            guard let slot = slots[PGID(pool: pool.id, seed: seed)] else { continue }
            groups[Int(slot.index)].merge(sources, merge)
        }
    }

    private func beginService() {
        isServing = true
        environment.note("\(id) is up in epoch \(map?.epoch ?? .none)")
        // Of most starts nothing.
        let damaged = environment.store.unvouched.map(\.object)
        if !damaged.isEmpty {
            environment.warn(
                "\(id): the store cannot vouch for all data of \(damaged.count) objects, which count as missing")
        }
        for group in groups { group.begin(damaged: damaged) }
    }

    /// Keeps a session to every OSD that shares a group with this one, so that its death is noticed without traffic.
    private func updateSessions(_ map: OSDMap) {
        for (osd, entry) in outgoing.sorted(by: { $0.key < $1.key }) {
            let record = map.osds[osd]
            guard record?.isUp != true || record?.incarnation != entry.incarnation else { continue }
            environment.close(entry.session)
            outgoing[osd] = nil
        }
        // Those who took this OSD for dead have closed what they had opened to it, and that may not have come through.
        if !isUpInMap { incoming.removeAll() }
        guard isServing else { return }
        var wanted = Set<OSDID>()
        for group in groups {
            let interval = group.intervals.current
            guard interval.acting.contains(id) || interval.up.contains(id) else { continue }
            wanted.formUnion(interval.acting)
            wanted.formUnion(interval.up)
        }
        wanted.remove(id)
        for osd in wanted.sorted() { _ = session(to: osd) }
        setHeartbeatPeers(wanted)
    }

    func session(to osd: OSDID) -> PeerSession? {
        if let entry = outgoing[osd] { return entry.session }
        guard let record = map?.osds[osd], record.isUp, let endpoint = record.endpoint else { return nil }
        let session = environment.connect(to: endpoint, osd: osd, incarnation: record.incarnation)
        outgoing[osd] = (session, record.incarnation)
        return session
    }

    // MARK: Sessions

    /// A session is open, or open again: one that someone opened to this OSD, or one of its own, which it knows already.
    public func opened(_ session: PeerSession, by peer: PeerName) {
        guard peerOfOutgoing(session) == nil else { return }
        peers[session] = peer
        if case .osd(let osd, _) = peer { incoming[osd] = session }
    }

    /// A session that someone opened to this OSD is gone for good.
    public func closed(_ session: PeerSession) {
        if case .osd(let osd, _)? = peers.removeValue(forKey: session), incoming[osd] == session { incoming[osd] = nil }
    }

    /// The other end of a session that this OSD opened has forgotten it: what was on its way is lost.
    public func reset(_ session: PeerSession) {
        guard let osd = outgoing.first(where: { $0.value.session == session })?.key else { return }
        for group in groups where isServing { group.sessionReset(with: osd) }
    }

    /// The process at the other end of a session that this OSD opened is not there any more: proof of its death.
    public func refused(_ session: PeerSession) {
        guard let (osd, entry) = outgoing.first(where: { $0.value.session == session }) else { return }
        guard let record = map?.osds[osd], record.isUp, record.incarnation == entry.incarnation else { return }
        environment.tellMonitor(.failure(OSDFailure(reporter: id, target: osd, incarnation: entry.incarnation)))
    }

    // MARK: Messages

    /// A message from a peer or client. What belongs to a later epoch waits for its map.
    public func received(_ message: Message, from session: PeerSession) {
        switch message {
        case .operation(let request):
            guard isServing, let map, request.epoch <= map.epoch else { return hold(message, session) }
            receive(request, session, map)
        case .group(let message):
            guard case .osd(let osd, _)? = peers[session] ?? peerOfOutgoing(session) else { return }
            guard isServing, let map, message.interval <= map.epoch else { return hold(.group(message), session) }
            guard let slot = slots[message.group] else { return }
            groups[Int(slot.index)].received(message, from: osd)
        case .heartbeat(let heartbeat):
            guard case .osd(let osd, _)? = peers[session] ?? peerOfOutgoing(session) else { return }
            received(heartbeat, from: osd, on: session)
        case .operationReply, .monitor, .watchEvent:
            environment.note("\(id): dropped a message that is not for an OSD")
        }
    }

    private func peerOfOutgoing(_ session: PeerSession) -> PeerName? {
        outgoing.first { $0.value.session == session }.map { .osd($0.key, incarnation: $0.value.incarnation) }
    }

    private func hold(_ message: Message, _ session: PeerSession) {
        guard early.count < OSDLimits.earlyMessages else { return }
        early.append((message, session))
    }

    private func deliverEarly() {
        guard isServing, !early.isEmpty else { return }
        let held = early
        early.removeAll()
        for (message, session) in held { received(message, from: session) }
    }

    private func receive(_ request: OperationRequest, _ session: PeerSession, _ map: OSDMap) {
        // What was sent under a map older than the group's interval is sent again by its client: doing a late copy now could
        // put it between newer ones.
        guard !hasLeft else { return }
        guard let slot = slots[request.group], groups[Int(slot.index)].isPrimary, isUpInMap,
            request.epoch >= groups[Int(slot.index)].intervals.current.first,
            map.pools[request.group.pool] != nil
        else {
            let reply = OperationReply(number: request.id.number, outcome: .misdirected(map.epoch))
            return environment.send(Message.operationReply(reply).encoded, to: session)
        }
        turns.clientOperations += 1
        groups[Int(slot.index)].request(request, from: ClientHandle(session: session.number))
    }

    // MARK: Store

    /// Takes what the store has finished.
    public func storeCompleted() {
        environment.store.drainCompletions { completion in
            switch completion {
            case .committed(let token):
                groups[Int(token)].committed()
            case .read(let token, let result):
                let group = groups[Int(token >> 32)]
                switch result {
                case .success(let data):
                    group.readCompleted(UInt32(truncatingIfNeeded: token), .data(data))
                case .failure(let error):
                    environment.note("\(id): \(error)")
                    group.readCompleted(UInt32(truncatingIfNeeded: token), .failed(error.description))
                }
            case .failed(let error):
                environment.stop(because: error.description)
            }
        }
    }

    /// The turn of the loop is over: says what is left to be said.
    public func endOfTurn() {
        grantTurns()
        storeCompleted()
        tellActing()
        if isReportDue { tellStatistics() }
    }

    /// What was sent has gone out: what was submitted goes to the disk as one write. The other members, and clients with their
    /// next requests, are at work meanwhile.
    public func turnSent() {
        environment.store.endOfTurn()
        storeCompleted()
    }

    // MARK: Time

    /// To be called several times a second.
    public func tick() {
        let now = environment.nowMilliseconds
        heartbeatTick()
        if isServing { takeScrubSteps(isTick: true) }
        for group in groups {
            group.leaseTick()
            group.watchTick()
        }
        if map != nil, !isUpInMap, !hasLeft, lastBoot.map({ now - $0 >= OSDLimits.bootInterval }) ?? true {
            lastBoot = now
            environment.tellMonitor(
                .boot(OSDBoot(id: id, uuid: uuid, incarnation: incarnation, endpoint: endpoint)))
        }
        sayAlive()
        if isServing, now - lastGroupTick >= OSDLimits.groupTick {
            lastGroupTick = now
            turns.tick()
            acting.isTold = false
            for group in groups { group.tick() }
        }
        if isServing, now - lastStatistics >= OSDLimits.statisticsInterval {
            environment.store.lookForSpace()
            tellStatistics()
        }
    }

    private func tellStatistics() {
        lastStatistics = environment.nowMilliseconds
        isReportDue = false
        environment.tellMonitor(.statistics(news(at: lastStatistics)))
    }

    /// How each group is that this OSD leads or has a copy of, in a line for traces and failing tests.
    public var groupSummaries: [String] { groups.filter { $0.isPrimary || !$0.info.isEmpty }.map(\.summary) }

    /// How the OSD and the groups it leads are.
    public var statistics: OSDStatistics {
        let usage = environment.store.usage
        var result = OSDStatistics(
            id: id, incarnation: incarnation, epoch: map?.epoch ?? .none, capacity: usage.total, used: usage.used,
            groups: groups.filter(\.isPrimary).map(\.statistics))
        (result.recoveredObjects, result.recoveredBytes) = recovered
        result.slowPeers = heartbeats.slowPeers
        for group in groups where group.isPrimary {
            guard let slow = group.slowWrites(after: OSDLimits.slowWrite) else { continue }
            result.slowWrites += UInt32(slow.count)
            result.oldestWrite = max(result.oldestWrite, UInt32(clamping: slow.oldest / 1000))
        }
        return result
    }

    /// The monitor is told that this OSD goes, so that nobody waits for it.
    public func leave() {
        // Others take its word as proof of its end, so not even a read that waits may be answered from here on.
        hasLeft = true
        for group in groups { group.giveUpLease() }
        environment.tellMonitor(.leaving(id, incarnation: incarnation))
    }

    /// The answer of the store, or nil when it failed: then the OSD stops, since nothing it says can be trusted.
    func ask<Value>(_ body: () throws(StoreError) -> Value?) -> Value? {
        do throws(StoreError) {
            return try body()
        } catch {
            environment.stop(because: error.description)
            return nil
        }
    }
}
