import Wire

/// What the members of a placement group say to each other. Every message names the group and the interval, by its first
/// epoch; what belongs to an older interval is dropped by whoever gets it.
public struct GroupMessage: Sendable {
    public var group: PGID
    public var interval: Epoch
    public var body: Body

    public init(group: PGID, interval: Epoch, body: Body) {
        self.group = group
        self.interval = interval
        self.body = body
    }

    public enum Body: Sendable {
        /// Primary → member: apply and log one write. Entries come in order; `trimTo` is how far every member may forget.
        case replicate(entry: LogEntry, operations: Transaction, trimTo: Version)
        /// The same with several entries, at least two, for objects that change together: a head and its clones. They are
        /// logged together or not at all.
        case replicateTogether(entries: [LogEntry], operations: Transaction, trimTo: Version)
        /// Member → primary: the entry, and all before it, are on this member's disk; `isFull` when it has no room for more.
        case replicated(Version, isFull: Bool)
        /// Primary → anyone who may have a copy: tell me your info.
        case queryInfo
        /// The answer; also what a member outside both sets says on its own, so that its copy is used or removed.
        case info(GroupInfo, leases: [LeasePromise])
        /// Primary → member: your info, your log after `since` (all of it when `since` is before its tail), your missing set.
        case queryLog(since: Version)
        case log(GroupInfo, entries: [LogEntry], missing: [MissingObject])
        /// Primary → member: this is the group's history now. Keep your entries up to `rewindTo`, then these; what you
        /// lack is `missing`; objects in `removals` are divergent creations and go.
        case activate(Activation)
        /// Member → primary: the activation is on this member's disk. `isFull` when it has no room for what clients write.
        case activated(isFull: Bool)
        /// Primary → member: send me this object at this version.
        case pull(ObjectID, need: Version)
        /// A part of an object; see `ObjectPart`.
        case push(ObjectPart)
        /// Receiver of a part that is not the last → sender: it is on this member's disk, the next may come.
        case partStored(ObjectID)
        /// Receiver of the last part → sender: the object is on this member's disk at this version.
        case pushed(ObjectID, Version)
        /// Member → primary: no room for the object now, nothing of it was stored.
        case noRoom(ObjectID)
        /// The member asked does not have the object at that version.
        case cannotPush(ObjectID, need: Version)
        /// Primary → member being backfilled: which objects have you after this one?
        case scan(after: ObjectID?, limit: UInt32)
        case scanned([ObjectVersion], more: Bool)
        /// Primary → member being backfilled: everything up to here is right.
        case backfillProgress(ObjectID)
        /// Primary → member: the copy has every object: it is complete.
        case backfilled
        /// Member → primary: that is on disk.
        case backfillStored
        /// Primary → member: may I fill you now? Answered when it is the group's turn; asked again means the same.
        case reserve
        /// Member → primary: it is your turn, or (false) there is no room for more.
        case reserved(Bool)
        /// Primary → member: all members have stored the activation of this interval.
        case started(Epoch)
        /// Primary → member: every copy is complete and where it should be, in this interval.
        case clean(Epoch)
        /// Primary of a clean group → someone outside it: remove your copy.
        case remove
        /// What the members compare of their copies.
        case scrub(ScrubMessage)
    }
}

/// See `GroupMessage.Body.activate`.
public struct Activation: Sendable {
    /// The authoritative info; `lastEpochStarted` is the activation's epoch.
    public var info: GroupInfo
    public var rewindTo: Version
    public var entries: [LogEntry]
    public var missing: [MissingObject]
    public var removals: [ObjectID]
    /// For a member whose log is replaced: the requests that are in the log no longer.
    public var requests: [RecordedRequest]

    public init(
        info: GroupInfo, rewindTo: Version, entries: [LogEntry], missing: [MissingObject], removals: [ObjectID],
        requests: [RecordedRequest] = []
    ) {
        self.requests = requests
        self.info = info
        self.rewindTo = rewindTo
        self.entries = entries
        self.missing = missing
        self.removals = removals
    }
}

/// A part of an object on its way to a member. The first part replaces whatever the member has; the member counts the object
/// as there only when it has stored the last.
public struct ObjectPart: Sendable {
    public var object: ObjectID
    public var version: Version
    public var isFirst: Bool
    public var isLast: Bool
    /// False: the object does not exist at this version, remove it.
    public var exists: Bool
    public var size: UInt64
    public var offset: UInt64
    public var data: Bytes
    public var attributes: [Attribute]
    public var omap: [KeyValue]

    public init(object: ObjectID, version: Version, exists: Bool, size: UInt64) {
        self.object = object
        self.version = version
        self.exists = exists
        self.size = size
        isFirst = true
        isLast = true
        offset = 0
        data = .empty
        attributes = []
        omap = []
    }
}

/// A named value kept with an object.
public struct Attribute: Hashable, Sendable {
    public var name: String
    public var value: Bytes

    public init(_ name: String, _ value: Bytes) {
        self.name = name
        self.value = value
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        name = try reader.readString(atMost: StorageLimits.attributeName)
        value = try reader.readBytes(atMost: StorageLimits.attributeValue)
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeString(name)
        writer.writeBytes(value)
    }
}

/// An object and the version a member has of it.
public struct ObjectVersion: Hashable, Sendable {
    public var object: ObjectID
    public var version: Version

    public init(_ object: ObjectID, _ version: Version) {
        self.object = object
        self.version = version
    }
}

/// How much a group keeps and does at a time, where that is not fixed by a format. Production uses the values given here;
/// simulation uses small ones, so that a short run comes to their ends.
public struct GroupTuning: Hashable, Sendable {
    /// Entries at which the log is cut.
    public var logCut = GroupLimits.logEntries - GroupLimits.logSlack
    /// Entries that are left then.
    public var logKept = GroupLimits.logEntriesKept
    /// Requests that are remembered after they left the log, at least.
    public var requestsKept = GroupLimits.requestsKept
    /// Objects in the window of a backfill.
    public var scan = GroupLimits.scan
    /// Bytes of data in one part of an object that is sent.
    public var part = GroupLimits.partSize
    /// Objects of a scrub's window.
    public var scrubObjects = ScrubLimits.objects
    /// After how many seconds a group is scrubbed again, and deeply; up to half as many are added, by the group's name.
    public var scrubInterval: UInt64 = 24 * 3600
    public var deepScrubInterval: UInt64 = 7 * 24 * 3600

    /// The values of production.
    public init() {}
}

/// The limits of what members say to each other, in one place.
public enum GroupLimits {
    /// Entries of a log in memory, on disk and in a message. A member further behind than this is backfilled.
    public static let logEntries = 8192
    /// The log is cut to this many when it has reached its limit.
    public static let logEntriesKept = 3072
    /// Trimming begins this far below the limit: what may be in flight when it does.
    public static let logSlack = 4096
    /// Objects named in one message: no more can be missing than the log has entries.
    public static let missingObjects = 8192
    /// Bytes of data in one part of an object: few enough that what clients wait for is not long behind one.
    public static let partSize = 512 << 10
    /// Parts of an object on their way while clients are quiet, or wait for it; otherwise each waits for the one before.
    public static let partsInFlight = 4
    /// Places that were written to while an object was sent; more of them are sent again as one.
    public static let rewrittenRanges = 64
    /// Omap entries in one part of an object.
    public static let partEntries = 2048
    /// Objects in one answer to a scan: the window of a backfill, on which writes wait for what is being sent.
    public static let scan: UInt32 = 128
    /// Objects that an answer to a scan has at most: the last comes with all its clones.
    public static let scanned = Int(scan) + SnapLimits.clones + 1
    /// Requests that are remembered after they left the log, at least; twice that, and what one trim adds, at most.
    public static let requestsKept = 3000
    /// Entries that belong together: what becomes of a clone, of the clone beside it, and of the head.
    public static let entriesTogether = 4
    /// Objects that one step of the removal of a copy takes away.
    public static let removals = 64
    /// Remembered requests in one message.
    public static let requests = 2 * requestsKept + 2 * logEntries
    /// Requests that a group remembers which others were merged into.
    public static let requestsMerged = 8192
    /// Those of them that are stored together.
    public static let requestsTogether = 1024
    /// Writes that some member has not committed; further ones wait, so that the log can always be trimmed.
    public static let writesInFlight = 3072
    /// Bytes of omap entries in one part of an object, beyond the first entry.
    public static let partMetadata = 4 << 20
    /// Requests that wait for a group to serve; further ones are told to try again.
    public static let waitingRequests = 16384
    /// Ranges that one call of an object class may read.
    public static let classReads = 16
    /// Notifications of a group that not everyone has answered.
    public static let notifications = 1024
    /// Milliseconds that a notification waits when it does not say how long.
    public static let notifyMilliseconds: UInt32 = 30_000
    /// Pushes and pulls a group has under way at once.
    public static let recoveriesInFlight = 4
}
