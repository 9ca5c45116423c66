import ClusterMap
import Glibc
import Protocol
import Wire

/// A monitor as a state machine: it decides every change of the cluster map, tells it, and answers commands.
///
/// The map is a log of epochs. Events that would change it wait in order; when nothing is being stored, all that wait are
/// judged one after the other against the map as the ones before leave it, and become one increment. The increment is
/// proposed, and only when it is durable is it applied, told to subscribers, and are the commands in it answered, also those
/// that changed nothing but were judged in its light. An OSD goes up or down at most once in an epoch: what would make it
/// twice waits for the next.
///
/// Confined to one event loop. It reads no clock and does no I/O but through its environment, and the same events give the
/// same actions.
public final class MonitorCore<Environment: MonitorEnvironment> {
    /// The monitor's name and address, as status shows them.
    public let identity: MonitorIdentity
    /// The newest map that is stored.
    public private(set) var map: OSDMap

    unowned let environment: Environment
    let times: MonitorTimes
    var sessions = SessionTable()
    var watch: OSDWatch
    var accusations = Accusations()
    var groups: GroupTable
    var merges = MergeWatch()
    private var lastTick: UInt64
    private var waiting: [Change] = []
    private var proposed: Proposal?
    private var lastIncrement: (epoch: Epoch, bytes: Bytes)?

    /// A change of the map that somebody wants.
    enum Change {
        case boot(OSDBoot, PeerSession)
        case down(OSDID, incarnation: UInt64, reason: String, isDead: Bool)
        case alive(OSDID, incarnation: UInt64, epoch: Epoch)
        /// Down for too long.
        case out(OSDID, incarnation: UInt64)
        case acting(OSDID, incarnation: UInt64, ActingRequest)
        /// All groups of a pool have trimmed these snapshots.
        case trimmed(PoolID, SnapIntervals)
        /// The time of entries in the blocklist is over.
        case forgive
        /// The groups of a pool were split, and are clean where they were.
        case spread(PoolID)
        /// Groups of a pool are to write nothing until they are merged.
        case quiet(PoolID)
        /// They are not ready in time, and serve again.
        case letGo(PoolID)
        /// They are ready.
        case merge(PoolID)
        case command(CommandRequest, PeerSession, SessionTable.CommandKey)
    }

    /// An epoch that is being stored.
    private struct Proposal {
        var map: OSDMap
        var increment: OSDMap.Increment
        var entry: MapLogEntry
        var answers: [Answer]
    }

    private struct Answer {
        var reply: CommandReply
        var session: PeerSession
        /// Outlives the session, which may be gone when the answer is there: the client asks again in another.
        var key: SessionTable.CommandKey
    }

    /// A monitor that starts with the newest map of its log. Every OSD that the map says is up gets the whole grace.
    public init(identity: MonitorIdentity, map: OSDMap, times: MonitorTimes = MonitorTimes(), environment: Environment)
    {
        MonitorBounds.check()
        precondition(map.epoch >= Epoch(1), "a monitor begins with a map")
        self.identity = identity
        self.map = map
        self.times = times
        self.environment = environment
        groups = GroupTable(map)
        lastTick = environment.nowMilliseconds
        watch = OSDWatch(upOSDs: map.osds.filter(\.value.isUp).map(\.key), now: lastTick)
    }

    // MARK: Sessions

    /// A peer's session began.
    public func sessionOpened(_ id: PeerSession, peer: MonitorPeer) {
        sessions.open(id, peer: peer)
    }

    /// A session's connection broke; the session may come back.
    public func sessionInterrupted(_ id: PeerSession) {
        guard let session = sessions[id] else { return }
        if let osd = session.peer.osd, let run = session.osdRun {
            watch.lost(osd, incarnation: run, now: environment.nowMilliseconds)
        }
    }

    /// The session's connection is back.
    public func sessionResumed(_ id: PeerSession) {
        guard let session = sessions[id], let osd = session.peer.osd, let run = session.osdRun else { return }
        watch.found(osd, incarnation: run)
    }

    /// The session is over and forgotten.
    public func sessionClosed(_ id: PeerSession) {
        sessionInterrupted(id)
        sessions.close(id)
    }

    // MARK: Events

    /// A message of a session. What does not fit its sender is noted and dropped.
    public func receive(_ message: MonitorMessage, from id: PeerSession) {
        guard let session = sessions[id] else { return }
        switch message {
        case .subscribe(let have): subscribe(id, have: have)
        case .boot(let boot):
            guard session.peer.osd == boot.id else { return refuse(session, "a boot of \(boot.id)") }
            announce(boot, from: id)
        case .failure(let failure):
            guard session.peer.osd == failure.reporter else {
                return refuse(session, "a report of \(failure.reporter)")
            }
            guard let reporter = map.osds[failure.reporter], reporter.isUp, failure.target != failure.reporter,
                session.osdRun.map({ $0 == reporter.incarnation }) ?? true
            else { return }
            take(failure)
        case .failureWithdrawn(let failure):
            guard session.peer.osd == failure.reporter else {
                return refuse(session, "a report of \(failure.reporter)")
            }
            accusations.withdraw(failure)
        case .alive(let osd, let incarnation, let epoch):
            guard session.peer.osd == osd else { return refuse(session, "a sign of life of \(osd)") }
            want(.alive(osd, incarnation: incarnation, epoch: min(epoch, map.epoch)))
        case .acting(let osd, let incarnation, let requests):
            guard session.peer.osd == osd else { return refuse(session, "a wish of \(osd)") }
            for request in requests where waiting.count < MonitorBounds.waitingChanges {
                enqueue(.acting(osd, incarnation: incarnation, request))
            }
            proposeWaiting()
        case .leaving(let osd, let incarnation):
            guard session.peer.osd == osd else { return refuse(session, "the leave of \(osd)") }
            want(.down(osd, incarnation: incarnation, reason: "it stopped", isDead: true))
        case .statistics(let statistics):
            guard session.peer.osd == statistics.id else {
                return refuse(session, "statistics of \(statistics.id)")
            }
            take(statistics, from: id)
        case .command(let request): execute(request, from: id)
        case .maps, .commandReply, .bootRefused: refuse(session, "what only monitors say")
        }
    }

    private func refuse(_ session: SessionTable.Session, _ what: String) {
        environment.note("\(session.peer.name) sent \(what): dropped")
    }

    /// Time has passed; to be called every `MonitorTimes.tick` or so.
    public func tick() {
        let now = environment.nowMilliseconds
        if now - lastTick >= times.heldUp { watch.beginAnew(now: now) }
        lastTick = now
        // All that is gone at this tick goes down in one epoch.
        for osd in watch.gone(now: now, reconnect: times.reconnect) {
            let reason = "its session with the monitor broke"
            enqueue(.down(osd.id, incarnation: osd.incarnation, reason: reason, isDead: false))
        }
        for (osd, record) in map.osdsInOrder where record.isUp {
            guard watch.isSilent(osd, now: now, grace: times.grace) else { continue }
            let reason = "it said nothing for \(times.grace) ms"
            enqueue(.down(osd, incarnation: record.incarnation, reason: reason, isDead: false))
        }
        for osd in watch.downTooLong(map, now: now, after: times.downOut) {
            enqueue(.out(osd.id, incarnation: osd.incarnation))
        }
        let wall = environment.wallSeconds
        if map.blocklist.contains(where: { $0.value <= wall }) { enqueue(.forgive) }
        for pool in poolsToSpread { enqueue(.spread(pool)) }
        proposeWaiting()
        continueMerging()
        for id in sessions.behind(map.epoch) { tell(id) }
    }

    /// Pools whose groups were split and are clean where they were: they go to their own places now (`pgp_num`).
    private var poolsToSpread: [PoolID] {
        map.poolsInOrder.filter { pool in
            pool.placementGroupCount < pool.wantedPlacementGroupCount
                && view.states(of: pool).allSatisfy { $0.said?.isSuperset(of: .activeClean) == true }
        }.map(\.id)
    }

    /// The proposed epoch is durable: it is the map now, and everyone hears.
    public func committed(_ epoch: Epoch) {
        guard let proposal = proposed, proposal.entry.epoch == epoch else {
            preconditionFailure("epoch \(epoch) is committed, proposed is \(String(describing: proposed?.entry.epoch))")
        }
        proposed = nil
        let before = map
        map = proposal.map
        lastIncrement = (epoch, proposal.entry.increment)
        watch.follow(from: before, to: map, now: environment.nowMilliseconds)
        accusations.follow(map)
        groups.follow(map, after: before, proposal.increment)
        for pool in proposal.increment.removedPools { merges.forget(pool) }
        for id in sessions.subscribers { tell(id) }
        for answer in proposal.answers { send(answer) }
        proposeWaiting()
    }

    // MARK: Changes

    /// Has a change judged: now, or after the epoch that is being stored.
    func want(_ change: Change) {
        enqueue(change)
        proposeWaiting()
    }

    private func enqueue(_ change: Change) {
        if !isWaiting(change) { waiting.append(change) }
    }

    /// True when the same waits already. A change that is being stored counts not: its opposite may have come since.
    private func isWaiting(_ change: Change) -> Bool {
        switch change {
        case .command: false
        case .boot(let boot, let session):
            waiting.contains { if case .boot(boot, session) = $0 { true } else { false } }
        case .down(let osd, let incarnation, _, let isDead):
            waiting.contains { if case .down(osd, incarnation, _, isDead) = $0 { true } else { false } }
        case .out(let osd, let incarnation):
            waiting.contains { if case .out(osd, incarnation) = $0 { true } else { false } }
        case .acting(let osd, let incarnation, let request):
            waiting.contains { if case .acting(osd, incarnation, request) = $0 { true } else { false } }
        case .trimmed(let pool, let snaps):
            waiting.contains { if case .trimmed(pool, snaps) = $0 { true } else { false } }
        case .forgive: waiting.contains { if case .forgive = $0 { true } else { false } }
        case .spread(let pool): waiting.contains { if case .spread(pool) = $0 { true } else { false } }
        case .quiet(let pool): waiting.contains { if case .quiet(pool) = $0 { true } else { false } }
        case .letGo(let pool): waiting.contains { if case .letGo(pool) = $0 { true } else { false } }
        case .merge(let pool): waiting.contains { if case .merge(pool) = $0 { true } else { false } }
        case .alive(let osd, let incarnation, let epoch):
            waiting.contains { if case .alive(osd, incarnation, epoch) = $0 { true } else { false } }
        }
    }

    /// Takes a command that may change the map. One that waits already is answered to the session that sent it last.
    func want(_ request: CommandRequest, from session: PeerSession) {
        guard let key = sessions.key(of: request.number, from: session) else { return }
        for (index, change) in waiting.enumerated() {
            guard case .command(_, _, key) = change else { continue }
            waiting[index] = .command(request, session, key)
            return
        }
        let input = waiting.reduce(request.input.count) { sum, change in
            if case .command(let other, _, _) = change { sum + other.input.count } else { sum }
        }
        guard waiting.count < MonitorBounds.waitingChanges, input <= MonitorBounds.waitingInput else {
            let message = "the monitor has \(waiting.count) changes to store: try again"
            let reply = CommandReply(number: request.number, errno: EAGAIN, message: message)
            return environment.send(.commandReply(reply), to: session)
        }
        want(.command(request, session, key))
    }

    private func proposeWaiting() {
        guard proposed == nil, !waiting.isEmpty else { return }
        var draft = MapDraft(after: map)
        var answers: [Answer] = []
        let judged = waiting
        waiting = []
        for change in judged where !judge(change, &draft, &answers) { waiting.append(change) }
        if draft.increment.isEmpty {
            precondition(waiting.isEmpty, "\(waiting.count) changes wait for nothing")
            for answer in answers { send(answer) }
            return
        }
        let entry = draft.finish()
        proposed = Proposal(map: draft.map, increment: draft.increment, entry: entry, answers: answers)
        environment.propose(entry)
    }

    /// Puts a change into the draft if it is one. False when it must wait for the next epoch.
    private func judge(_ change: Change, _ draft: inout MapDraft, _ answers: inout [Answer]) -> Bool {
        switch change {
        case .boot(let boot, let session): return judgeBoot(boot, session, &draft)
        case .out(let osd, let incarnation):
            judgeOut(osd, incarnation, &draft)
            return true
        case .down(let osd, let incarnation, let reason, let isDead):
            if draft.settled.contains(osd) { return false }
            guard var record = draft.map.osds[osd], record.isUp, record.incarnation == incarnation else { return true }
            record.markDown(in: draft.epoch, isDead: isDead)
            draft.settle(osd, record)
            environment.note("\(osd) is marked down in epoch \(draft.epoch): \(reason)")
            return true
        case .acting(let osd, let incarnation, let request):
            judgeActing(request, by: osd, incarnation, &draft)
            return true
        case .forgive:
            let wall = environment.wallSeconds
            for (client, end) in draft.map.blocklist where end <= wall { draft.blocklist(client, until: 0) }
            return true
        case .spread(let id):
            guard var pool = draft.map.pools[id], pool.placementGroupCount < pool.wantedPlacementGroupCount else {
                return true
            }
            pool.placementGroupCount = pool.wantedPlacementGroupCount
            draft.set(pool)
            environment.note("the groups of pool '\(pool.name)' go to places of their own in epoch \(draft.epoch)")
            return true
        case .quiet(let pool):
            judgeQuiet(pool, &draft)
            return true
        case .letGo(let pool):
            judgeLetGo(pool, &draft)
            return true
        case .merge(let pool): return judgeMerge(pool, &draft)
        case .alive(let osd, let incarnation, let epoch):
            // In an epoch that takes it down or brings it, its groups begin new intervals: they will ask again.
            if draft.settled.contains(osd) { return true }
            guard var record = draft.map.osds[osd], record.isUp, record.incarnation == incarnation,
                record.upThru < epoch
            else { return true }
            record.upThru = epoch
            draft.set(osd, record)
            return true
        case .trimmed(let pool, let snaps):
            judgeTrimmed(pool, snaps, &draft)
            return true
        case .command(let request, let session, let key):
            // The reply may have been made while the same request, sent again, waited.
            let known = sessions.reply(to: key)
            guard let reply = known ?? CommandTable.change(request, &draft, context: view) else { return false }
            answers.append(Answer(reply: reply, session: session, key: key))
            return true
        }
    }

    private func send(_ answer: Answer) {
        sessions.remember(answer.reply, for: answer.key)
        environment.send(.commandReply(answer.reply), to: answer.session)
    }

    // MARK: Subscribers

    private func subscribe(_ id: PeerSession, have: Epoch) {
        guard let peer = sessions[id]?.peer else { return }
        if have > map.epoch {
            environment.note("\(peer.name) has epoch \(have), newer than this monitor's \(map.epoch)")
        }
        let isBehind = map.epoch.rawValue - min(have.rawValue, map.epoch.rawValue) > UInt32(MonitorLimits.increments)
        switch peer.osd {
        case _? where have == .none:
            let first = environment.increments(after: Epoch(1))
            sendMaps(full: environment.firstMap(), increments: first, to: id)
            sessions.told(id, Epoch(1 + UInt32(first.count)))
        case nil where have == .none || isBehind, _ where have > map.epoch:
            sendMaps(full: map.encoded, increments: [], to: id)
            sessions.told(id, map.epoch)
        default:
            sessions.told(id, have)
        }
        tell(id)
    }

    /// Sends a subscriber what it has not been told, a bounded part of it at a time.
    private func tell(_ id: PeerSession) {
        guard var told = sessions[id]?.told else { return }
        for _ in 0..<MonitorBounds.updatesPerTurn where told < map.epoch {
            let increments: [Bytes]
            if let last = lastIncrement, last.epoch == map.epoch, told == last.epoch.previous {
                increments = [last.bytes]
            } else {
                increments = environment.increments(after: told)
            }
            // The store failed, and the monitor ends.
            guard !increments.isEmpty else { return }
            sendMaps(full: nil, increments: increments, to: id)
            told = Epoch(told.rawValue + UInt32(increments.count))
        }
        precondition(told <= map.epoch, "epoch \(told) is told, stored is \(map.epoch)")
        sessions.told(id, told)
    }

    private func sendMaps(full: Bytes?, increments: [Bytes], to id: PeerSession) {
        environment.send(.maps(MapUpdate(cluster: map.cluster, full: full, increments: increments)), to: id)
    }

    /// What commands may look at.
    var view: ClusterView {
        ClusterView(
            identity: identity, map: map, groups: groups, watch: watch, wallSeconds: environment.wallSeconds)
    }
}

/// What a monitor is called and where it listens.
public struct MonitorIdentity: Hashable, Sendable {
    /// Its name among the monitors.
    public var name: String
    /// Where it listens.
    public var endpoint: Endpoint

    /// An identity with these values.
    public init(name: String, endpoint: Endpoint) {
        self.name = name
        self.endpoint = endpoint
    }
}
