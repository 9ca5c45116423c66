import KeyValueStore
import Protocol
import Wire

/// The object store of one OSD: atomic durable transactions over objects, on a block device and an ordered metadata
/// store.
///
/// A core: confined to its owner's event loop, no system call but through `Device` and `Keys`. The owner calls `submit`
/// and `read` as it likes during a turn, `endOfTurn` once at its end, `poll` when the device has something (or `collect`, with
/// an `endOfTurn` that follows soon), and takes `drainCompletions` after any of these.
///
/// How a write travels: `submit` applies the transaction to the objects in memory and gathers the resulting keys, and
/// the blocks, in a `Batch`. `endOfTurn` writes the batch as one journal record, durably (group commit). When record
/// and data are complete, in the order of LSNs, it is committed: the owner hears, and the blocks (`dirty`) wait for their
/// home location as the keys (`young`, `closed`) do for the metadata store. A checkpoint writes both, the keys without the
/// metadata store's log, flushes device and metadata store, and then moves the start of replay in the superblock, which
/// frees the journal.
///
/// Invariants:
/// - `uncommitted` and `uncommittedUnits` hold exactly what is submitted and not committed; `dirty` never does, and a generation of keys
///   goes to the metadata store only when all of it is committed.
/// - A block goes home, and a freed unit is used again, only when `durableMark` has reached its LSN (see `RecordHeader`).
/// - At most one write per home location is in flight, and a unit with one is not used again.
/// - Nothing is told committed that a restart would not replay.
public final class ObjectStore<Device: BlockDevice, Keys: KeyValueStore> {
    /// Whose store this is.
    public var identity: StoreIdentity { superblock.identity }
    /// Why the store has stopped, when it has.
    public internal(set) var stopReason: StoreError?

    /// What the last start could not bring back because its journal was damaged, in the order of the objects. Reads of these
    /// blocks fail until they are written whole; all else is as it was committed.
    public internal(set) var unvouched: [UnvouchedObject] = []

    let device: Device
    let keys: Keys
    let options: StoreOptions
    var superblock: Superblock

    // The journal.
    /// Where the next record goes, and its LSN and predecessor.
    var head: JournalPosition
    /// LSN of the next batch; those between `head.lsn` and this wait to be written.
    var nextLSN: UInt64
    /// What is committed, up to and including `committed.lsn - 1`.
    var committed: JournalPosition
    /// The highest mark of a committed record.
    var durableMark: UInt64 = 0
    var nextObject: UInt64
    var committedNextObject: UInt64
    /// The batch that takes transactions.
    var gathering: Batch?
    /// Full batches not written yet.
    var waiting = Queue<Batch>()
    /// Written and not committed, in order of LSN.
    var inFlight: [Batch] = []
    let buffers = BufferPool()
    /// The buffer that takes the next journalled block.
    var chunk: BlockBuffer
    var chunkUsed = 0

    // What is newer than the metadata store and the home locations.
    struct UncommittedBlock {
        var lsn: UInt64
        var content: BlockReference
    }
    var uncommitted: [UInt64: UncommittedBlock] = [:]
    /// A unit written beside a record, from the first of its blocks on.
    struct UncommittedUnit {
        var buffer: BlockBuffer
        var index: Int
        /// Which of its blocks hold something.
        var blocks: UInt16
    }
    /// Those that are submitted and not committed. A block of `uncommitted` is newer.
    var uncommittedUnits: [UInt32: UncommittedUnit] = [:]
    /// Changes of keys, submitted or committed, that no checkpoint has begun to write.
    var young = KeyGeneration()
    /// Those before, in order. A checkpoint writes the first.
    var closed: [KeyGeneration] = []
    /// One that is written, until the thread that writes the next frees its memory: tens of thousands of keys would hold up a
    /// turn.
    var retired: KeyTable?
    var dirty: [UInt64: DirtyBlock] = [:]
    /// Dirty blocks in order of LSN, and those whose write home had to wait for an older one.
    var dirtyQueue = Queue<(block: UInt64, lsn: UInt64)>()
    var dirtyAgain = Queue<(block: UInt64, lsn: UInt64)>()
    var homeWrites: [UInt64: HomeWrite] = [:]
    var nextHomeWrite: UInt64 = 0
    /// Blocks whose way home has begun since the store was opened.
    var homeBlocksBegun = 0

    // Space.
    var units = UnitMap()
    /// Freed by committed batches; free for use once the mark allows.
    var pendingFree = Queue<(lsn: UInt64, unit: UInt32)>()
    /// Stretches of units that are holes in the file, those that will be when the mark allows, and the number of both.
    var holes: [UInt32] = []
    var pendingHoles = Queue<(lsn: UInt64, hole: UInt32)>()
    var holeCount = 0
    var isGrowing = false
    var growable: UInt64 = 0
    /// What the file system has not left of that which the metadata store must have to go on.
    var missingForMetadata: UInt64 = 0
    var isMetadataShort: Bool { missingForMetadata > 0 }

    // Objects in memory: looked up in the younger generation, then in the older; when the younger is full it becomes
    // the older.
    var youngObjects: [ObjectID: CachedObject] = [:]
    var oldObjects: [ObjectID: CachedObject] = [:]
    var youngUnits = 0
    /// The object looked up last: the operations of a transaction are on one object mostly.
    var latestObject: CachedObject?
    /// Objects that the transaction being applied has changed.
    var touchedObjects: [CachedObject] = []
    /// Units whose number of references it has changed.
    var changedShares: [UInt32] = []

    var checkpoint = CheckpointPhase.idle
    /// The last LSN that a checkpoint was asked to cover.
    var checkpointWanted: UInt64 = 0
    var isCheckpointWanted: Bool { checkpointWanted >= superblock.position.lsn }
    /// Dirty blocks that the checkpoint under way still has to see home.
    var checkpointRemaining = 0
    /// At the beginning of the checkpoint under way: the journal's head, blocks to see home, and `homeBlocksBegun`.
    var checkpointPace = (start: UInt64(0), blocks: 0, begun: 0)
    /// The superblock being written.
    var superblockBuffer: BlockBuffer?

    var reads: [UInt64: ReadOperation] = [:]
    let cache: BlockCache?
    var nextRead: UInt64 = 0

    var completions: [Completion] = []
    private var drained: [Completion] = []
    private var deviceCompletions: [IOCompletion] = []
    /// Counters of rare paths and of bytes, for tests and measurement.
    public internal(set) var counters = StoreCounters()

    /// For `open`, which has replayed.
    init(device: Device, keys: Keys, options: StoreOptions, superblock: Superblock) {
        self.device = device
        self.keys = keys
        self.options = options
        self.superblock = superblock
        head = superblock.position
        committed = superblock.position
        nextLSN = superblock.position.lsn
        durableMark = superblock.mark
        nextObject = superblock.nextObject
        committedNextObject = superblock.nextObject
        chunk = BlockBuffer(count: StoreLimits.chunkSize, from: buffers)
        cache = BlockCache(bytes: options.cachedData)
    }

    // MARK: - The owner's turn

    /// Applies `transaction` and gathers it for the next journal write. Its completion carries `token`. What it changed
    /// is visible to every read from now on.
    ///
    /// The caller has asked `canAccept`. A transaction that would find no space, or that no record can hold, stops the store,
    /// with nothing of it logged or changed: its owner leaves the cluster with that reason, and a restart finds everything that
    /// was committed.
    public func submit(_ transaction: Transaction, token: UInt64) {
        guard stopReason == nil else { return }
        do throws(StoreError) {
            if units.free < StoreLimits.plentyOfUnits { try checkSpace(for: transaction) }
            try makeRoomInRecord(for: transaction)
            let batch = gathering ?? beginBatch()
            var writer = KeyBatchWriter(capacity: 1024)
            for operation in transaction.operations { try apply(operation, to: batch, &writer) }
            putTouched(into: batch, &writer)
            let keyBatch = writer.finish()
            batch.tokens.append(token)
            batch.keyBatches.append(keyBatch)
            batch.keyBytes += keyBatch.bytes.count
            batch.nextObject = nextObject
            let limit = StoreLimits.largestTransaction(journal: superblock.journalLength)
            precondition(
                batch.recordBytes <= limit + StoreLimits.batchTarget(journal: superblock.journalLength),
                "a transaction logs \(batch.recordBytes) bytes, the limit is \(limit)")
            if batch.recordBytes >= StoreLimits.batchTarget(journal: superblock.journalLength) { closeBatch() }
            if batch.recordBytes + batch.besideBytes >= StoreLimits.eagerBatch { beginEarly(batch) }
        } catch {
            stop(error)
        }
    }

    /// Ends a turn of the owner's loop: everything submitted since the last goes out as one journal write, as far as
    /// the journal has room and not too many are in flight.
    public func endOfTurn() {
        guard stopReason == nil else { return }
        pump()
    }

    /// Takes what the device and the metadata store have finished, and goes on with what that allows. To be called when the
    /// device's descriptor is readable, and was read empty before.
    public func poll() {
        collect()
        if stopReason == nil { pump() }
    }

    /// Takes what the device has finished, and begins nothing: for an owner whose turn ends soon, and who tells others of it
    /// first.
    public func collect() {
        guard stopReason == nil else { return }
        deviceCompletions.removeAll(keepingCapacity: true)
        // All there is: the next makes the descriptor readable again.
        device.poll(&deviceCompletions)
        for completion in deviceCompletions where stopReason == nil { complete(completion) }
    }

    /// Gives `body` every completion since the last call, in order. `body` may call the store.
    public func drainCompletions(_ body: (Completion) -> Void) {
        while !completions.isEmpty {
            swap(&completions, &drained)
            for completion in drained { body(completion) }
            drained.removeAll(keepingCapacity: true)
        }
    }

    /// True when nothing is submitted and not committed, and no read is in flight.
    public var isIdle: Bool {
        gathering == nil && waiting.isEmpty && inFlight.isEmpty && reads.isEmpty
    }

    /// Asks for a checkpoint of what is submitted by now, after which a restart has nothing of it to replay. `isCheckpointing`
    /// tells when it is done.
    public func requestCheckpoint() { checkpointWanted = nextLSN - 1 }

    /// True while a checkpoint is asked for or under way.
    public var isCheckpointing: Bool { isCheckpointWanted || checkpoint != .idle }

    // MARK: - Within

    func beginBatch() -> Batch {
        let batch = Batch(lsn: nextLSN)
        batch.nextObject = nextObject
        nextLSN += 1
        gathering = batch
        return batch
    }

    func closeBatch() {
        guard let batch = gathering else { return }
        waiting.append(batch)
        gathering = nil
        young.take(batch)
        // Whatever waits to be written, the records of one generation fit into the journal, so that it can be checkpointed.
        if young.recordBytes >= superblock.journalLength / 2 { closeGeneration() }
    }

    /// Begins to write what is gathered before the turn ends, while the device has nothing better to do: the rest of the turn is
    /// computed meanwhile, and what waits for an answer is not all answered at once, to come again all at once.
    private func beginEarly(_ batch: Batch) {
        guard gathering === batch, waiting.isEmpty, mayBegin(batch) else { return }
        closeBatch()
        guard seal(batch) else { return }
        waiting.popFirst()
        submitToDevice()
    }

    /// Whether one more batch may be in flight. Small ones gather meanwhile, which makes fewer of them; large ones keep the
    /// device busy.
    private func mayBegin(_ batch: Batch) -> Bool {
        let isLarge = batch.besideBytes >= StoreLimits.largeBatch
        return inFlight.count < options.batchesInFlight * (isLarge ? 2 : 1)
    }

    func submitToDevice() {
        do throws(DeviceError) {
            try device.submit()
        } catch {
            stop(StoreError(.failed, "the device failed: \(error)"))
        }
    }

    /// Does whatever has become possible and submits it to the device once.
    func pump() {
        if let gathering, mayBegin(gathering) { closeBatch() }
        while stopReason == nil, let batch = waiting.first, mayBegin(batch) {
            guard seal(batch) else { break }
            waiting.popFirst()
        }
        guard stopReason == nil else { return }
        advanceCheckpoint()
        writeHome()
        releaseFreed()
        punchHoles()
        growAhead()
        guard stopReason == nil else { return }
        submitToDevice()
    }

    private func complete(_ completion: IOCompletion) {
        let tag = completion.tag
        if completion.result < 0 && tag.kind != .read && tag.kind != .grow {
            stop(StoreError(.failed, "a \(tag.kind) write or flush failed with errno \(-completion.result)"))
            return
        }
        switch tag.kind {
        case .journal, .beside: completeBatchWrite(tag.number)
        case .home: completeHomeWrite(tag.number)
        case .read: completeRead(tag.number, result: completion.result)
        case .flush: completeFlush()
        case .superblock: completeSuperblock()
        case .grow: completeGrowth(completion.result)
        }
    }

    /// Stops for good: what follows a failed write or flush cannot be trusted, and a restart replays what counts.
    func stop(_ reason: StoreError) {
        guard stopReason == nil else { return }
        stopReason = reason
        completions.append(.failed(reason))
        for read in reads.values.sorted(by: { $0.token < $1.token }) {
            completions.append(.read(read.token, .failure(reason)))
        }
        abandonedReads = Array(reads.values)
        reads = [:]
    }

    /// Reads in flight when the store stopped: the device may still write into their memory.
    var abandonedReads: [ReadOperation] = []
}

/// An object that has lost the newest content of some of its blocks.
public struct UnvouchedObject: Hashable, Sendable {
    /// The object.
    public var object: ObjectID
    /// Numbers of the blocks of 4 KiB in it, in order.
    public var blocks: [UInt64]
}

/// What the store has done since it was opened.
public struct StoreCounters: Hashable, Sendable {
    /// Journal records written, and their bytes.
    public var records: UInt64 = 0
    /// Bytes of those records.
    public var journalBytes: UInt64 = 0
    /// Blocks and bytes written home from memory.
    public var homeWrites: UInt64 = 0
    /// Bytes of those writes.
    public var homeBytes: UInt64 = 0
    /// Bytes written straight to fresh units.
    public var besideBytes: UInt64 = 0
    /// Checkpoints completed.
    public var checkpoints: UInt64 = 0
    /// Times a batch had to wait for room in the journal.
    public var journalFull: UInt64 = 0
    /// Blocks read to merge a smaller write with them.
    public var mergeReads: UInt64 = 0
    /// Blocks that did not verify.
    public var corruptBlocks: UInt64 = 0
    /// Records replayed at open, and blocks beside records that were checked then.
    public var replayedRecords: UInt64 = 0
    /// Times a record wrapped around the end of the ring.
    public var wraps: UInt64 = 0

    /// References to units given to clones, and units written anew because they were shared or cloned in part.
    public var sharedUnits: UInt64 = 0
    /// Units written anew for that.
    public var copiedUnits: UInt64 = 0

    /// Blocks that a read found in the cache.
    public var cachedBlocks: UInt64 = 0

    /// Stretches of 1 MiB given back to the file system.
    public var holes: UInt64 = 0
    /// Stretches that it did not take.
    public var holesRefused: UInt64 = 0

    /// All zero.
    public init() {}
}
