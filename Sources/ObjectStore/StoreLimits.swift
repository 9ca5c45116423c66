/// The sizes and limits of the object store, in one place, with the relations between them.
public enum StoreLimits {
    /// Bytes of a block: the unit of checksums, of merging, and of device writes.
    public static let blockSize = 4096
    /// Bytes of a unit: what the allocator hands out and one metadata key describes.
    public static let unitSize = 64 << 10
    /// Blocks of a unit. The presence bits and checksums of a unit's record have this many places.
    public static let blocksPerUnit = 16

    /// Where the journal begins in the file; before it are the copies of the superblock.
    static let journalStart: UInt64 = 64 << 10
    /// Where the copies of the superblock are.
    static let superblockOffsets: [UInt64] = [0, 4096]

    /// The smallest journal that format accepts.
    public static let smallestJournal: UInt64 = 256 << 10
    /// The largest journal that format accepts: it is zeroed within the time a start may take.
    public static let largestJournal: UInt64 = 256 << 20
    /// The journal's size when none is given.
    public static let defaultJournal: UInt64 = 128 << 20

    /// Bytes of one buffer that gathers blocks for the journal.
    static let chunkSize = 128 << 10
    /// Bytes a batch gathers before the next one is begun.
    static let batchTarget = 4 << 20
    /// Bytes of one write beside the journal; a larger run becomes several.
    static let besideWrite = 4 << 20

    /// A batch of so many bytes is begun before its turn ends, if the device is not busy.
    static let eagerBatch = 64 << 10
    /// With so many bytes beside its record a batch counts as large.
    static let largeBatch = 512 << 10
    /// A write beside the journal of so many bytes is given to the device at once.
    static let besideAtOnce = 256 << 10

    /// The largest buffer whose memory is kept for the next, and how many bytes are kept at most.
    static let largestPooled = 4 << 20
    static let pooledBytes = 80 << 20

    /// Writes to home locations in flight at a time; blocks in one of them.
    static let homeWritesInFlight = 64
    static let blocksPerHomeWrite = 16
    /// Home writes are begun so many at a time, where there are that many.
    static let homeWriteBurst = 32

    /// Bytes of records whose keys a start brings into order at a time: several times that in memory.
    static let replayedKeys = 16 << 20

    /// Keys of a range that are removed one by one; more are removed as a range.
    static let keysRemovedSingly = 64
    /// Committed changes of keys in memory that make a checkpoint worth while: some 200 bytes each.
    static let settledKeys = 256 << 10

    /// Reads of at most the bytes of so many blocks are kept in the cache, and looked for there: a longer one is cheap for its bytes.
    static let cachedRead = 16

    /// Times a read whose block does not verify is tried again before the block is called corrupt: its place may have
    /// been given to another object since the read was issued.
    static let readAttempts = 3

    /// Share of the store above which it is worth a warning.
    public static let nearfullRatio = 0.85
    /// Share of the store above which no copies are moved to it.
    public static let backfillfullRatio = 0.90
    /// Share of the store that clients may fill.
    public static let fullRatio = 0.95
    /// Share of the store that recovery may fill.
    public static let recoveryRatio = 0.97

    /// What clients leave free at least, whatever their share: one part of the store in so many, at most so many bytes. That
    /// much may be on its way to an OSD before its primaries hear that it is full. Recovery leaves half.
    static let clientReserveShare: UInt64 = 16
    static let largestClientReserve: UInt64 = 256 << 20
    /// With more units free than this no transaction can find too few: it is more than requests may carry.
    static let plentyOfUnits = 4096

    /// Above this share a freed unit is worth a checkpoint of its own.
    static let eagerRatio = 0.90

    /// What data leaves of the file system to the metadata store: one part in this many, at most so many bytes.
    static let reserveShare: UInt64 = 32
    static let largestReserve: UInt64 = 512 << 20

    /// Units of a hole; holes begun after one checkpoint, punched in one turn of the loop, and filled at once.
    static let unitsPerHole = 16
    static let holesPerCheckpoint = 256
    static let holesPerTurn = 4
    static let holesFilledAtOnce = 16

    /// The part of that reserve that the metadata store keeps in a file until the rest runs short, at most so many bytes.
    static let ballastShare: UInt64 = 4
    static let largestBallast: UInt64 = 64 << 20

    /// Stops when the relations do not hold; called once at open and at format.
    static func check() {
        precondition(unitSize == blockSize * blocksPerUnit, "a unit is \(blocksPerUnit) blocks")
        precondition(UInt64(superblockOffsets.count * blockSize) <= journalStart, "superblocks before the journal")
        precondition(smallestJournal <= defaultJournal && defaultJournal <= largestJournal, "journal sizes")
        precondition(nearfullRatio < backfillfullRatio && backfillfullRatio < fullRatio, "ratios")
        precondition(eagerRatio < fullRatio && fullRatio < recoveryRatio && recoveryRatio < 1, "ratios")
        precondition(largestPooled & (largestPooled - 1) == 0 && largestPooled <= pooledBytes, "pooled buffers")
        precondition(64 % unitsPerHole == 0, "a hole is a part of a word of the map of units")
        precondition(chunkSize % blockSize == 0 && besideWrite % unitSize == 0, "whole blocks")
        // A batch just below its target and then the largest transaction fit into half the journal.
        let largest = largestTransaction(journal: smallestJournal) + batchTarget(journal: smallestJournal)
        precondition(UInt64(largest) <= smallestJournal / 2, "two batches fit the journal")
    }

    /// Bytes one transaction may log in a journal of this size.
    public static func largestTransaction(journal: UInt64) -> Int { Int(journal / 4) }

    /// Bytes a batch gathers in a journal of this size before the next is begun.
    static func batchTarget(journal: UInt64) -> Int { min(batchTarget, Int(journal / 8)) }
}
