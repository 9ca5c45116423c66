import Protocol
import Wire

/// Whose store it is; written at format, checked at open.
public struct StoreIdentity: Hashable, Sendable {
    /// The cluster.
    public var cluster: UniqueID
    /// The daemon.
    public var osd: OSDID
    /// This store, so that a daemon recreated under the same number is another one.
    public var store: UniqueID

    /// An identity of these parts.
    public init(cluster: UniqueID, osd: OSDID, store: UniqueID) {
        self.cluster = cluster
        self.osd = osd
        self.store = store
    }
}

/// What can be tuned; the defaults are for production, simulation makes everything small.
public struct StoreOptions: Sendable {
    /// Bytes of the journal; fixed at format.
    public var journalSize = StoreLimits.defaultJournal
    /// Bytes of data the store may hold; nil for what the file system has. Fixed at format.
    public var capacity: ByteCount?
    /// A random number that no client knows; written at format. It keeps data from passing for records of the journal.
    public var salt: UInt64 = 0
    /// Bytes by which the data region is physically allocated ahead of use.
    public var growth: UInt64 = 64 << 20
    /// Blocks waiting in memory for their home location before they are written there.
    public var dirtyBlocks = 4096
    /// Records of units kept in memory.
    public var cachedUnits = 256 << 10
    /// Objects kept in memory.
    public var cachedObjects = 16 << 10
    /// Journal writes in flight at a time; twice as many where large writes go beside them.
    public var batchesInFlight = 2
    /// Bytes of data kept in memory that were read lately, by reads of at most 64 KiB; longer ones see the disk.
    public var cachedData = 32 << 20
    /// Bytes of records whose keys a start brings into order at a time: several times that in memory.
    public var replayedKeys = 16 << 20
    /// Leaves out every flush and every wait for stable storage: for tests that must lose data, never for use.
    public var unsafeNoFlush = false
    /// Where the data begins on the device.
    package var dataStart: UInt64 {
        StoreLimits.journalStart + journalSize / UInt64(StoreLimits.unitSize) * UInt64(StoreLimits.unitSize)
    }
    /// Does not try io_uring, as if the system forbade it.
    public var withoutRing = false

    /// The defaults.
    public init() {}
}

/// What the store tells its owner, in the order of submission.
public enum Completion: Sendable {
    /// The transaction is durable, and so is everything before it.
    case committed(UInt64)
    /// The read's data: short at the object's size, zeros for holes.
    case read(UInt64, Result<Bytes, StoreError>)
    /// The store has stopped for good; nothing that was not committed before may be trusted. Told once.
    case failed(StoreError)
}

/// How full the store is.
public struct StoreUsage: Hashable, Sendable {
    /// Bytes the store can hold, by the tighter of its capacity and the file system.
    public var total: UInt64
    /// Bytes of units in use.
    public var used: UInt64
    /// Bytes that can still be used.
    public var available: UInt64
    /// Bytes of the file that are physically allocated for data, in use or not.
    public var allocated: UInt64
}

/// How full a store is for the cluster, each step from a share of it on.
public enum StoreFullness: Int, Comparable, Sendable {
    /// There is room.
    case ok
    /// Worth a warning.
    case nearfull
    /// No copies are moved here any more.
    case backfillfull
    /// Clients may only free space.
    case full

    public static func < (left: StoreFullness, right: StoreFullness) -> Bool { left.rawValue < right.rawValue }
}

/// Who wants to write, which decides how full the store may get.
public enum SpaceClass: Sendable {
    case client
    /// Recovery of copies that the cluster needs.
    case recovery
    /// What frees space or keeps the log: only a store without any space refuses.
    case essential
}
