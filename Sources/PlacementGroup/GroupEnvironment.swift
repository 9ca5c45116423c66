import Protocol
import Wire

/// What a placement group needs of the OSD around it: the store, the other members, the clients and the time.
///
/// Everything is confined to the OSD's event loop. Metadata reads answer at once and see everything committed through
/// `commit`, on disk or not; data reads and commits complete later, through the group's own methods.
public protocol GroupEnvironment: AnyObject {
    /// This OSD.
    var osd: OSDID { get }
    /// A monotonic clock.
    var nowMilliseconds: UInt64 { get }
    /// The time of day as this machine has it, in nanoseconds since 1970: for people to read, and nothing that must be right
    /// depends on it.
    var wallNanoseconds: UInt64 { get }
    /// The object classes that requests can call.
    var classes: ObjectClasses { get }
    /// How much a group keeps and does at a time.
    var tuning: GroupTuning { get }
    /// True when the store takes no more data from clients; its reserve is for the log and recovery.
    var isFull: Bool { get }

    func send(_ message: GroupMessage, to osd: OSDID)
    /// Sends the same message to several members, encoding it once.
    func send(_ message: GroupMessage, to osds: [OSDID])
    func reply(_ reply: OperationReply, to client: ClientHandle)
    /// Tells a client of a watch; lost when its session is gone.
    func tell(_ event: WatchEvent, to client: ClientHandle)
    /// Whether any client is blocklisted by the OSD's map, so that each has to be looked up.
    var hasBlocklist: Bool { get }
    /// Whether this run of a client is blocklisted by the OSD's map.
    func isBlocklisted(_ client: UInt64) -> Bool
    /// How a client calls itself; nil when its session is gone.
    func name(of client: ClientHandle) -> String?

    /// Hands a transaction to the store. When it is durable the group's `committed()` is called, once for each call of
    /// this, in order.
    func commit(_ transaction: Transaction, for group: GroupSlot)
    /// Reads data; ends in the group's `readCompleted`. Only for objects without writes under way.
    func read(_ object: ObjectID, offset: UInt64, length: Int, number: UInt32, for group: GroupSlot)

    func size(of object: ObjectID) -> UInt64?
    /// The parts of a range of an object that hold data, in order: what is not in them reads as zeros.
    func extents(of object: ObjectID, offset: UInt64, length: UInt64) -> [Range<UInt64>]
    func attribute(_ name: String, of object: ObjectID) -> Bytes?
    func attributes(of object: ObjectID) -> [Attribute]
    func omapValues(of object: ObjectID, keys: [Bytes]) -> [KeyValue]
    /// Entries with keys after `after` that begin with `prefix`, in order, at most `limit`.
    func omap(of object: ObjectID, after: Bytes, prefix: Bytes, limit: Int) -> [KeyValue]
    /// Bytes of the keys and values of an object's omap; counting stops where it passes `limit`.
    func omapSize(of object: ObjectID, limit: Int) -> Int
    /// Objects of the range after `after`, in storage order, at most `limit`.
    func objects(in range: ObjectRange, after: ObjectID?, limit: Int) -> [ObjectID]
    /// Keys of the group in `from ..< to`, in order, at most `limit`.
    func groupKeys(_ group: PGID, from: Bytes, to: Bytes, limit: Int) -> [KeyValue]
    /// Has the monitors commit that this OSD lives in `epoch`: a later map with that `up_thru` is given to `advance`. Asked
    /// again until it is there; once for each interval is enough.
    func requestUpThru(_ epoch: Epoch)
    /// Has the monitors make `osds` the group's acting set, or (empty) the up set again; nil takes the wish back. Asked again
    /// until an interval with it begins, which `advance` tells.
    func requestActing(_ osds: [OSDID]?, for group: PGID)
    /// Asks for one of the OSD's turns to fill members; granted later by the group's `turnGranted`. Asked again it is one
    /// request.
    func requestTurn(_ kind: TurnKind, for group: GroupSlot)
    /// Gives a turn back, or takes the request back.
    func releaseTurn(_ kind: TurnKind, for group: GroupSlot)
    /// Has the monitor told soon how the group is.
    func reportSoon()
    /// Has the group's `scrubMayGoOn` called when the OSD has time for a step: soon, or (not `isUrgent`) later beside clients.
    func requestScrubStep(for group: GroupSlot, isUrgent: Bool)
    /// True when the OSD may bring one more object back now; given back by `endRecovery`. When it is false, the group's
    /// `recoveryMayGoOn` follows.
    func beginRecovery(for group: GroupSlot) -> Bool
    func endRecovery()
    /// True while clients ask so little that recovery need not leave them anything.
    var areClientsQuiet: Bool { get }
    /// True when a push that is not urgent must wait before its next part, so that clients keep their share: the group's
    /// `pushMayGoOn` follows with the same number. `took` is how long the last part took, in milliseconds.
    func pausePush(_ number: UInt32, for group: GroupSlot, took: UInt64) -> Bool
    /// A copy of an object was brought back.
    func recovered(bytes: UInt64)
    /// Something rare has happened: counted by tests.
    func occurred(_ branch: RareBranch)
    /// Until when all of these members have promised this OSD, as their primary, to let its reads be; in milliseconds of
    /// `nowMilliseconds`, `UInt64.max` for no members, 0 for no promise. What is told may only be extended.
    func leaseEnd(from members: [OSDID]) -> UInt64
    /// For how many milliseconds this OSD has still promised `primary` to let its reads be, counting what it may have
    /// promised before its last start.
    func promise(to primary: OSDID) -> UInt32
    /// True when the process that led intervals under this number, the last of them until `epoch`, is known to have ended.
    func isKnownDead(_ osd: OSDID, afterLeadingUntil epoch: Epoch) -> Bool
    /// True when the OSD is up in its newest map.
    func isUp(_ osd: OSDID) -> Bool
}

extension GroupEnvironment {
    /// All keys of the group in `from ..< to`, in order.
    func groupKeys(_ group: PGID, from: Bytes, to: Bytes) -> [KeyValue] {
        groupKeys(group, from: from, to: to, limit: .max)
    }
}

/// Where the OSD keeps a group: an index that finds it without a lookup.
public struct GroupSlot: Hashable, Sendable {
    public var index: UInt32

    public init(index: UInt32) {
        self.index = index
    }
}

/// A client's session, as the OSD knows it.
public struct ClientHandle: Hashable, Sendable {
    public var session: UInt64

    public init(session: UInt64) {
        self.session = session
    }
}

/// How a data read ended.
public enum ReadOutcome: Sendable {
    /// The bytes, short where the object ends.
    case data(Bytes)
    /// The store could not vouch for the data.
    case failed(String)
}

/// The two sides of filling a member and of comparing copies, each bounded for a whole OSD.
public enum TurnKind: UInt8, CaseIterable, Hashable, Sendable {
    /// This OSD's group fills another OSD.
    case filling
    /// This OSD's copy is filled.
    case beingFilled
    /// This OSD's group is scrubbed.
    case scrubbing
    /// This OSD's copy is compared for another's.
    case beingScrubbed
}

/// Ways through the code that a run seldom takes. A simulation that never took one has not tested it.
public enum RareBranch: String, CaseIterable, Sendable {
    /// A member had entries that are not of the authoritative history.
    case divergentLog
    /// Everything was known and the monitors had not said that the primary lives.
    case waitedUpThru
    /// No member of an older interval that may have served could be asked.
    case blockedByDown
    /// A write or read waited for an object to be brought back.
    case waitedForObject
    /// An object of the log's was brought back while the group served.
    case recoveredObject
    /// A member's log did not overlap.
    case backfillStarted
    /// A fill went on where an older interval had left it.
    case backfillResumed
    /// A member became complete by backfill.
    case backfillFinished
    /// A write of what a member lacks went to it as a log entry alone.
    case loggedOnly
    /// A write had to wait behind such an entry, which the member must not have before others have the data.
    case withheldInOrder
    /// An object was written to where it had been sent to a member already.
    case writtenWhileSent
    /// Another acting set than the up set was asked for.
    case actingRequested
    /// A copy outside the sets was removed after the group was clean.
    case strayRemoved
    /// A resend was answered from the log.
    case duplicateAnswered
    /// A resend was answered from what the log remembers after trimming, or after another primary ordered it.
    case duplicateAfterFailover
    /// The log was trimmed.
    case logTrimmed
    /// An object could not be found anywhere for now.
    case unfound
    /// A member had no room for an object that it lacked.
    case recoveryTooFull
    /// A read or the service waited for a lease.
    case waitedForLease
    /// A primary read bad data and took another copy's.
    case readRepaired
    /// A group was split into several.
    case split
    /// A group was split that was bringing back what members lacked.
    case splitWhileRecovering
    /// Groups were merged into one.
    case merged
    /// Groups were merged of which this copy did not have all, or not as they were at last.
    case mergedOutOfStep
    /// A scrub went through a group and found nothing.
    case scrubbedClean
    /// A scrub found copies that are not what they should be.
    case scrubFoundDamage
    /// A scrub had to give way to an interval or to recovery.
    case scrubPreempted
    /// A scrub went on where it had to give way.
    case scrubResumed
    /// A write waited for the comparison of its object.
    case waitedForScrub
    /// Bad copies of an object were to be replaced.
    case copyReplaced
    /// An object was read of which no copy verifies.
    case nothingToRepairFrom
    /// A write kept an object as a snapshot has it.
    case cloned
    /// An object that clones were left of was removed.
    case whiteout
    /// A clone was removed because no snapshot needs it any more.
    case cloneTrimmed
    /// A clone was sent to a member.
    case cloneRecovered
    /// An object was made what it was at a snapshot.
    case rolledBack
}
