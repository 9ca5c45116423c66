import ClusterMap
import DequeModule
import Protocol
import Wire

/// One member's side of a placement group: primary, replica or stray, as the map says.
///
/// A machine without I/O, confined to its OSD's event loop. The primary orders the group's operations; every member of the
/// acting set, and every member that is being filled, applies each in one transaction with its log entry and info; the
/// client hears after all have committed. With every new interval the members agree again on one history before the group
/// serves (peering), and every member stores that agreement (activation). What members lack is then brought back beside
/// client I/O (recovery, backfill).
public final class PlacementGroup<Environment: GroupEnvironment> {
    public let id: PGID
    public let slot: GroupSlot
    /// It owns this object. Unsafe, because a counted access is an atomic operation at every effect.
    unowned(unsafe) let environment: Environment
    /// The objects that belong to the group.
    private(set) var range: ObjectRange

    public internal(set) var intervals: IntervalHistory
    public internal(set) var info: GroupInfo
    public internal(set) var log: GroupLog
    /// What this copy lacks.
    public internal(set) var missing: MissingSet

    /// Where the group is on its way to service.
    public internal(set) var phase: Phase = .stray
    /// What each transaction handed to the store was for, oldest first.
    var commits: Deque<CommitPurpose> = []
    /// False while the OSD goes through the maps of the past.
    public private(set) var hasBegun = false
    /// Everything up to here is on this member's disk.
    var committedThrough: Version
    /// Questions of peering, kept until all that was handed to the store is durable: what a member tells of itself is on
    /// its disk.
    var deferred: [(from: OSDID, message: GroupMessage)] = []

    // The primary's side.
    var peering = Peering()
    var recovery = Recovery()
    /// Writes that some member has not committed, in version order.
    var writes: Deque<PendingWrite> = []
    /// How far the log went when, for the age of those writes.
    var writeMarks: Deque<WriteMark> = []
    /// Those who take part in writes: the acting set in its order, then members that are being filled.
    var members: [Member] = []
    /// The members but this one.
    var others: [OSDID] = []
    /// Objects with operations under way, and the requests that wait for them.
    var activities: [ObjectID: ObjectActivity] = [:]
    /// Requests that came before the group served.
    var waiting: Deque<(request: OperationRequest, client: ClientHandle)> = []
    var reads: [UInt32: PendingRead] = [:]
    var nextRead: UInt32 = 0
    /// Who has watched or renewed here.
    var watches: [WatchKey: WatchState] = [:]
    /// Notifications that not everyone has answered, by number.
    var notifications: [UInt64: Notification] = [:]
    var nextNotification: UInt64 = 0
    /// Objects being sent to other members.
    var pushes: [PushKey: OutgoingPush] = [:]
    /// Transfers that pause, by numbers that the environment was given.
    var paused: [UInt32: PausedTransfer] = [:]
    /// Objects of which the first part has been stored, and not yet the last.
    var arriving: Set<ObjectID> = []
    /// Until when reads may be answered, as far as was asked for.
    var readableUntil: UInt64 = 0
    /// Objects with reads that wait for that.
    var leaseStarved: Set<ObjectID> = []
    /// What the group has, as far as the primary has counted.
    var tally = Tally()
    /// Comparing the copies.
    var scrub = Scrub()
    /// The pool's snapshots by this OSD's map.
    var snapshots: PoolSnapshots?
    var trimming = Trimming()
    /// True while this copy, outside the sets, is being removed.
    var isRemoving = false

    /// The group as the store has it; everything else follows from the first call of `begin`.
    public init(id: PGID, slot: GroupSlot, pool: Pool, intervals: IntervalHistory, environment: Environment) {
        self.id = id
        self.slot = slot
        self.environment = environment
        self.intervals = intervals
        range = ObjectRange(pool: id.pool, seed: id.seed, bits: pool.bits(ofGroup: id.seed))
        info = GroupInfo(group: id, cutAt: intervals.current.first)
        log = GroupLog()
        missing = [:]
        committedThrough = .zero
        snapshots = pool.snapshots
        load()
    }

    /// Reads what the store has of the group. What cannot be read is a broken store and stops the OSD.
    private func load() {
        do {
            let stored = environment.groupKeys(id, from: GroupKeys.info, to: GroupKeys.logStart)
            guard let first = stored.first else { return }
            var reader = ByteReader(first.value)
            info = try GroupInfo(from: &reader)
            log = GroupLog(tail: info.logTail)
            for pair in environment.groupKeys(id, from: GroupKeys.requestsStart, to: GroupKeys.requestsEnd) {
                let records = try GroupKeys.requests(from: pair.value)
                log.remember(GroupLog.Batch(upTo: try GroupKeys.version(pair.key), requests: records))
            }
            for pair in environment.groupKeys(id, from: GroupKeys.logStart, to: GroupKeys.logEnd) {
                var reader = ByteReader(pair.value)
                log.append(try LogEntry(from: &reader))
            }
            for pair in environment.groupKeys(id, from: GroupKeys.missingStart, to: GroupKeys.missingEnd) {
                var reader = ByteReader(pair.value)
                let lacking = try MissingObject(from: &reader)
                missing[lacking.object] = lacking
            }
            for pair in environment.groupKeys(id, from: GroupKeys.trimmedStart, to: GroupKeys.trimmedEnd) {
                trimming.trimmed.insert(try GroupKeys.trimmedRun(pair))
            }
            try loadScrub()
        } catch {
            preconditionFailure("group \(id) cannot be read from the store: \(error)")
        }
        // Each write stores its log entry; the info comes with other changes.
        precondition(log.head >= info.lastUpdate, "group \(id): log ends at \(log.head), info says \(info.lastUpdate)")
        info.lastUpdate = log.head
        committedThrough = info.lastUpdate
        intervals.forget(before: info.historyLastEpochClean)
    }

    // MARK: What the group is doing

    public enum Phase: Hashable, Sendable {
        /// In neither the acting nor the up set.
        case stray
        /// In a set, not the primary; activated when the primary has said what the history is.
        case replica(activated: Bool)
        /// Primary, waiting until what it has written is durable before it asks the others.
        case settling
        case gettingInfo
        /// Members of an older interval that may know of writes are down; empty when no copy is complete.
        case blocked([OSDID])
        /// Others should serve; the monitors were asked for that acting set.
        case awaitingActing([OSDID])
        case gettingAuthority(OSDID)
        case gettingLogs
        /// Everything is known; the monitors have not yet committed that this primary lives in this interval.
        case waitingUpThru
        case activating
        /// Activated with fewer members than `min_size`: members are given what they lack, clients wait.
        case peered
        /// Activated; the primary of an older interval may still serve reads.
        case leasing
        /// Serving; members may still be given what they lack.
        case active
    }

    /// What a transaction was for: what happens when it is durable.
    enum CommitPurpose {
        /// The primary's own part of a write.
        case write(Version, interval: Epoch)
        /// A replica's part of a write.
        case replica(Version, interval: Epoch, primary: OSDID)
        case activation(interval: Epoch, primary: OSDID)
        /// A part of an object that a member sent, not the last.
        case partStored(ObjectID, interval: Epoch, from: OSDID)
        /// The last part of an object that a member sent.
        case objectStored(ObjectID, Version, interval: Epoch, from: OSDID)
        case backfillStored(interval: Epoch, primary: OSDID)
        /// A part of the copy is removed.
        case removal
        /// Nothing waits for it.
        case note
    }

    /// Someone who takes part in writes, and how far it is.
    struct Member {
        var osd: OSDID
        var committed: Version
        var isFull = false
        /// How much of its copy counts.
        var position: BackfillPosition
        /// What it lacks by its log; this member's own is the group's.
        var missing: MissingSet
        /// The first write that it was not told of yet: it gets the entry alone, when others have the data on disk.
        var withheld: Version?
    }

    var me: OSDID { environment.osd }
    var interval: Epoch { intervals.current.first }
    var acting: [OSDID] { intervals.current.acting }
    var up: [OSDID] { intervals.current.up }
    public var isPrimary: Bool { intervals.current.primary == me }
    var primary: OSDID? { intervals.current.primary }
    var isActivated: Bool { phase == .active || phase == .peered || phase == .leasing }

    // MARK: Events

    /// Starts service under the current interval; called once, when the OSD knows the newest map. Of `damaged` the store
    /// cannot vouch for all data: this copy lacks them, and says so to whoever asks.
    public func begin(damaged: [ObjectID] = []) {
        precondition(!hasBegun, "group \(id) begins twice")
        hasBegun = true
        for object in damaged where range.contains(object) { noteDamaged(object) }
        enterInterval()
    }

    /// Goes on to the next epoch. Every epoch must be given, in order; before `begin`, those of the past.
    ///
    /// - Parameter upThru: what that epoch's map says of the placement's primary.
    public func advance(to epoch: Epoch, pool: Pool, placement: OSDMap.Placement, upThru: Epoch) {
        range = ObjectRange(pool: id.pool, seed: id.seed, bits: pool.bits(ofGroup: id.seed))
        let isNew = intervals.advance(to: epoch, of: id, pool: pool, placement: placement, upThru: upThru)
        snapshots = pool.snapshots
        guard hasBegun else { return }
        if isNew {
            enterInterval()
        } else {
            switch phase {
            case .gettingInfo, .blocked, .awaitingActing, .gettingAuthority, .gettingLogs: startPeering()
            case .waitingUpThru: membersKnown()
            case .peered, .leasing, .active:
                recoveryPeersChanged()
                continueTrimming()
            default: break
            }
        }
    }

    /// The disk of an OSD is gone for good by the map that follows: removed, replaced, or declared lost.
    public func strike(_ osd: OSDID) { intervals.strike(osd) }

    /// A new interval: what belonged to the one before is let go, and a primary begins to peer.
    func enterInterval() {
        leaveRecovery()
        leaveScrub()
        leaveTrimming()
        tally = Tally()
        if !isPrimary { (scrub.run, scrub.order) = (nil, nil) }
        environment.requestActing(nil, for: id)
        environment.releaseTurn(.beingFilled, for: slot)
        peering = Peering()
        deferred.removeAll()
        writes.removeAll()
        members.removeAll()
        others.removeAll()
        activities.removeAll()
        waiting.removeAll()
        reads.removeAll()
        watches.removeAll()
        notifications.removeAll()
        arriving.removeAll()
        readableUntil = 0
        leaseStarved.removeAll()
        if isPrimary {
            startPeering()
        } else if acting.contains(me) || up.contains(me) {
            phase = .replica(activated: false)
        } else {
            phase = .stray
            announceStray()
        }
        checkInvariants()
    }

    /// The oldest transaction that was handed to the store is durable.
    public func committed() {
        guard let purpose = commits.popFirst() else { preconditionFailure("group \(id): a commit nobody waits for") }
        switch purpose {
        case .write(let version, let writtenIn):
            guard writtenIn == interval else { break }
            committedThrough = version
            if phase == .active { memberCommitted(me, version, isFull: environment.isFull) }
        case .replica(let version, let writtenIn, let primary):
            guard writtenIn == interval else { break }
            committedThrough = version
            send(.replicated(version, isFull: environment.isFull), to: primary)
        case .activation(let activatedIn, let primary):
            guard activatedIn == interval else { break }
            committedThrough = info.lastUpdate
            let isFull = environment.isFull
            primary == me ? activationStored(by: me, isFull: isFull) : send(.activated(isFull: isFull), to: primary)
        case .partStored(let object, let storedIn, let from):
            if storedIn == interval { tellStored(object, to: from) }
        case .objectStored(let object, let version, let storedIn, let from):
            guard storedIn == interval else { break }
            isPrimary ? pullStored(object, version) : send(.pushed(object, version), to: from)
        case .backfillStored(let storedIn, let primary):
            guard storedIn == interval else { break }
            send(.backfillStored, to: primary)
        case .removal: continueRemoval()
        case .note: break
        }
        if commits.isEmpty { settled() }
    }

    /// Everything handed to the store is durable: peering may go on.
    private func settled() {
        if phase == .settling { startPeering() }
        let questions = deferred
        deferred.removeAll()
        for (from, message) in questions { received(message, from: from) }
    }

    /// A message of another member. The OSD has seen to it that this member's map is at least that of the sender's interval.
    public func received(_ message: GroupMessage, from: OSDID) {
        precondition(message.group == id, "message for group \(message.group) given to \(id)")
        guard message.interval == interval else { return }
        switch message.body {
        case .replicate(let entry, let operations, let trimTo):
            replicate(CollectionOfOne(entry), operations, trimTo: trimTo, from: from)
        case .replicateTogether(let entries, let operations, let trimTo):
            replicate(entries, operations, trimTo: trimTo, from: from)
        case .replicated(let version, let isFull):
            if phase == .active { memberCommitted(from, version, isFull: isFull) }
        case .queryInfo, .queryLog:
            if from == primary { answer(message, to: from) }
        case .info(let info, let leases):
            receivedInfo(info, leases, from: from)
        case .log(let info, let entries, let missing):
            receivedLog(info, entries, missing, from: from)
        case .activate(let activation):
            if from == primary { activate(activation, primary: from) }
        case .activated(let isFull):
            activationStored(by: from, isFull: isFull)
        case .pull, .push, .partStored, .pushed, .cannotPush, .noRoom:
            receivedTransfer(message.body, from: from)
        case .scrub(let message):
            receivedScrub(message, from: from)
        default:
            if from == primary {
                receivedOrder(message.body, from: from)
            } else {
                receivedWord(message.body, from: from)
            }
        }
        checkInvariants()
    }

    /// What a primary has its members do.
    private func receivedOrder(_ body: GroupMessage.Body, from: OSDID) {
        switch body {
        case .scan(let after, let limit): answerScan(after: after, limit: limit, to: from)
        case .backfillProgress(let object): noteProgress(object)
        case .backfilled: completeBackfill(primary: from)
        case .reserve: environment.requestTurn(.beingFilled, for: slot)
        case .started(let epoch): if epoch == interval { noteStarted() }
        case .clean(let epoch): if epoch == interval { noteClean() }
        case .remove: startRemoval()
        default: break
        }
    }

    /// What members tell the primary.
    private func receivedWord(_ body: GroupMessage.Body, from: OSDID) {
        guard isPrimary else { return }
        switch body {
        case .scanned(let objects, let more): receivedScan(objects, more: more, from: from)
        case .backfillStored: backfillStored(by: from)
        case .reserved(let isGranted): receivedReservation(isGranted, from: from)
        default: break
        }
    }

    /// The session to a member was begun anew: what was on its way in either direction is lost, so what is outstanding is
    /// said again. Members take a repetition for what it is.
    public func sessionReset(with osd: OSDID) {
        switch phase {
        case .gettingInfo, .blocked, .awaitingActing, .gettingAuthority, .gettingLogs, .waitingUpThru: startPeering()
        case .activating: resendActivation(to: osd)
        case .peered, .leasing, .active:
            guard others.contains(osd) || recovery.mayConcern(osd) else { break }
            if phase == .active, members.contains(where: { $0.osd == osd }) { send(.started(interval), to: osd) }
            resendWrites(to: osd)
            recoveryPeersChanged(reset: osd)
            if members.contains(where: { $0.osd == osd }) { repeatScrub(to: osd) }
        case .stray:
            if osd == primary { announceStray() }
        case .replica, .settling: break
        }
    }

    // MARK: Helpers

    func send(_ body: GroupMessage.Body, to osd: OSDID) {
        precondition(osd != me, "group \(id) sends to itself")
        environment.send(GroupMessage(group: id, interval: interval, body: body), to: osd)
    }

    func commit(_ transaction: Transaction, _ purpose: CommitPurpose) {
        commits.append(purpose)
        environment.commit(transaction, for: slot)
    }

    /// Stores the info, which has changed; nothing waits for it.
    func commitInfo(_ purpose: CommitPurpose = .note) {
        commit(Transaction([.setGroupKeys(id, entries: [GroupKeys.entry(info)])]), purpose)
    }

    /// The version of an object in this copy; zero when it is not there.
    func version(of object: ObjectID) -> Version { objectInfo(of: object).version }

    /// Cheap relations that hold after every event.
    func checkInvariants() {
        precondition(
            log.head == info.lastUpdate && log.tail == info.logTail,
            "group \(id): log \(log.tail)..\(log.head), info \(info.logTail)..\(info.lastUpdate)")
        precondition(missing.count == Int(info.missingCount), "group \(id): \(missing.count) objects missing, \(info)")
        precondition(
            phase != .active || (isPrimary && info.isComplete), "group \(id) serves from an incomplete copy: \(info)")
        precondition(committedThrough <= info.lastUpdate, "group \(id) committed \(committedThrough) of \(info)")
    }
}
