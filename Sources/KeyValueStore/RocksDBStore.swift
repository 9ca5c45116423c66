import CRocksDB
import Glibc
import Synchronization
import Wire

/// The ordered store on RocksDB, in a directory of its own.
///
/// One column family, so that a flush is atomic by itself: after a crash the commits without log are there up to some
/// commit, in order.
public final class RocksDBStore: KeyValueStore {
    /// What can be tuned.
    public struct Options: Sendable {
        /// Bytes of unflushed changes held in memory before RocksDB flushes by itself.
        public var writeBuffer = 64 << 20
        /// Bytes of the cache of blocks.
        public var blockCache = 32 << 20
        /// Leaves out every synchronous write: for tests that must lose data only.
        public var unsafeNoFlush = false

        /// The defaults.
        public init() {}
    }

    private let ballast: Ballast
    private let handle: OpaquePointer
    private let settings: OpaquePointer
    private let readOptions = rocksdb_readoptions_create()
    /// For what is read once.
    private let passingOptions = rocksdb_readoptions_create()
    private let loggedSync = rocksdb_writeoptions_create()
    private let unlogged = rocksdb_writeoptions_create()
    private let flushOptions = rocksdb_flushoptions_create()
    private let batch = WriteBatch()
    private let cache: OpaquePointer?
    private let flusher: Flusher
    private let tables: TableWriter
    /// Bytes written without log since the last flush.
    private var unflushed = 0

    /// Opens the store in `directory`, which is made with `create`. `wakeDescriptor` is an eventfd that is written when a
    /// flush begun by `beginFlush` ends.
    public init(directory: String, create: Bool, options: Options = Options(), wakeDescriptor: Int32? = nil)
        throws(KeyValueError)
    {
        let cache = rocksdb_cache_create_lru(options.blockCache)
        let ballast = Ballast(directory: directory)
        let settings: OpaquePointer, opened: OpaquePointer
        do throws(KeyValueError) {
            settings = try Self.settings(options, create: create, cache: cache)
            do throws(KeyValueError) {
                try ballast.require(0)
                opened = try Self.open(directory, settings)
            } catch {
                rocksdb_options_destroy(settings)
                throw error
            }
        } catch {
            rocksdb_cache_destroy(cache)
            throw error
        }
        self.ballast = ballast
        self.settings = settings
        handle = opened
        self.cache = cache
        rocksdb_writeoptions_set_sync(loggedSync, options.unsafeNoFlush ? 0 : 1)
        rocksdb_writeoptions_disable_WAL(unlogged, 1)
        rocksdb_flushoptions_set_wait(flushOptions, 1)
        rocksdb_readoptions_set_fill_cache(passingOptions, 0)
        tables = TableWriter(handle: opened, options: settings, directory: directory)
        flusher = Flusher(
            handle: opened, tables: tables, writeOptions: unlogged, flushOptions: flushOptions, ballast: ballast,
            wakeDescriptor: wakeDescriptor)
        flusher.watchSpace()
    }

    /// The options of a store as RocksDB wants them. The caller destroys them.
    private static func settings(_ options: Options, create: Bool, cache: OpaquePointer?) throws(KeyValueError)
        -> OpaquePointer
    {
        let base = rocksdb_options_create()
        defer { rocksdb_options_destroy(base) }
        rocksdb_options_set_create_if_missing(base, create ? 1 : 0)
        rocksdb_options_set_error_if_exists(base, create ? 1 : 0)
        rocksdb_options_set_write_buffer_size(base, options.writeBuffer)
        rocksdb_options_set_max_write_buffer_number(base, 3)
        rocksdb_options_set_max_background_jobs(base, 2)
        rocksdb_options_set_max_open_files(base, 512)
        // Its log of what it does would be written at any time, also to a full file system, which ends the process; only the
        // options go there, when it is opened. Errors come back from the calls.
        rocksdb_options_set_info_log_level(base, 4)
        rocksdb_options_set_keep_log_file_num(base, 1)
        rocksdb_options_set_bytes_per_sync(base, 1 << 20)
        rocksdb_options_set_level_compaction_dynamic_level_bytes(base, 1)
        rocksdb_options_set_max_compaction_bytes(base, UInt64(mostMerged))
        // Not before it is known that there is space for it.
        rocksdb_options_set_disable_auto_compactions(base, 1)
        rocksdb_options_set_manifest_preallocation_size(base, 64 << 10)
        rocksdb_options_set_use_fsync(base, 0)
        let table = rocksdb_block_based_options_create()
        defer { rocksdb_block_based_options_destroy(table) }
        rocksdb_block_based_options_set_block_cache(table, cache)
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom(10))
        rocksdb_options_set_block_based_table_factory(base, table)
        guard let all = rocksdb_options_create() else { throw KeyValueError("metadata store: no memory") }
        // Space allocated ahead would be missing for what is written beside it; and what is not flushed when the store is closed
        // would be as good as lost in a crash, so nobody needs it written then.
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_get_options_from_string(base, "allow_fallocate=false;avoid_flush_during_shutdown=true", all, &message)
        if let message {
            rocksdb_options_destroy(all)
            throw error("metadata store: options", message)
        }
        return all
    }

    private static func open(_ directory: String, _ settings: OpaquePointer) throws(KeyValueError) -> OpaquePointer {
        var message: UnsafeMutablePointer<CChar>?
        let opened = rocksdb_open(settings, directory, &message)
        if let message { throw error("cannot open the metadata store \(directory)", message) }
        guard let opened else { throw KeyValueError("cannot open the metadata store \(directory)") }
        return opened
    }

    deinit {
        flusher.join()
        rocksdb_readoptions_destroy(readOptions)
        rocksdb_readoptions_destroy(passingOptions)
        rocksdb_writeoptions_destroy(loggedSync)
        rocksdb_writeoptions_destroy(unlogged)
        rocksdb_close(handle)
        rocksdb_options_destroy(settings)
        rocksdb_flushoptions_destroy(flushOptions)
        if let cache { rocksdb_cache_destroy(cache) }
    }

    /// Removes the store in `directory`; none is no error.
    public static func destroy(directory: String) throws(KeyValueError) {
        unlink(directory + "/ballast")
        unlink(directory + "/" + TableWriter.file)
        let settings = rocksdb_options_create()
        defer { rocksdb_options_destroy(settings) }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_destroy_db(settings, directory, &message)
        if let message { throw error("cannot remove the metadata store \(directory)", message) }
    }

    static func error(_ context: String, _ message: UnsafeMutablePointer<CChar>) -> KeyValueError {
        defer { rocksdb_free(message) }
        return KeyValueError("\(context): \(String(cString: message))")
    }

    /// Looks the key up; may read from the disk.
    public func value(_ key: Bytes) throws(KeyValueError) -> Bytes? {
        var message: UnsafeMutablePointer<CChar>?
        let slice = key.withUnsafeBytes { raw in
            rocksdb_get_pinned(handle, readOptions, raw.chars, raw.count, &message)
        }
        if let message { throw Self.error("metadata store: read failed", message) }
        guard let slice else { return nil }
        defer { rocksdb_pinnableslice_destroy(slice) }
        var count = 0
        let found = rocksdb_pinnableslice_value(slice, &count)
        return Bytes(copying: UnsafeRawBufferPointer(start: found, count: count))
    }

    /// Keys after which a scan counts as a long one.
    private static let shortScan = 128

    /// Walks an iterator over the range. What a long scan passes is not kept in the cache of blocks: a start that reads
    /// everything once would fill it with that.
    public func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(KeyValueError) {
        guard let next = try scan(from: lower, to: upper, atMost: Self.shortScan, readOptions, body) else { return }
        _ = try scan(from: next, to: upper, atMost: .max, passingOptions, body)
    }

    /// Where to go on when there may be more than `limit` keys.
    private func scan(
        from lower: Bytes, to upper: Bytes, atMost limit: Int, _ options: OpaquePointer?,
        _ body: (Bytes, Bytes) -> Bool
    ) throws(KeyValueError) -> Bytes? {
        let iterator = rocksdb_create_iterator(handle, options)
        defer { rocksdb_iter_destroy(iterator) }
        lower.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.chars, $0.count) }
        var passed = 0
        while rocksdb_iter_valid(iterator) != 0 {
            var count = 0
            let key = rocksdb_iter_key(iterator, &count)
            let keyBytes = Bytes(copying: UnsafeRawBufferPointer(start: key, count: count))
            guard keyBytes < upper else { break }
            guard passed < limit else { return keyBytes }
            let value = rocksdb_iter_value(iterator, &count)
            guard body(keyBytes, Bytes(copying: UnsafeRawBufferPointer(start: value, count: count))) else { break }
            rocksdb_iter_next(iterator)
            passed += 1
        }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_iter_get_error(iterator, &message)
        if let message { throw Self.error("metadata store: scan failed", message) }
        return nil
    }

    /// One write batch of RocksDB; `.atFlush` goes without its log, and where it is large and its keys are in order, after
    /// removals of ranges, as a table.
    public func write(_ batches: [KeyBatch], _ durability: Durability) throws(KeyValueError) {
        let bytes = batches.reduce(0) { $0 + $1.bytes.count }
        if durability == .atFlush {
            if unflushed == 0, batches.count == 1, bytes >= TableWriter.smallest {
                flusher.join()
                flusher.watchSpace()
                try ballast.require(Flusher.space(for: bytes))
                if try tables.add(batches[0]) { return flusher.makeRoom() }
            }
            unflushed += bytes
        } else {
            flusher.watchSpaceWithoutFlush()
        }
        try ballast.require(Flusher.space(for: durability == .durable ? bytes : unflushed))
        try batch.write(batches, to: handle, durability == .durable ? loggedSync : unlogged)
    }

    /// Writes and flushes on a thread of its own.
    public func beginFlush(of changes: @escaping @Sendable () -> [KeyBatch]) {
        flusher.begin(changes, unflushed: unflushed)
        unflushed = 0
    }

    /// Asks that thread.
    public func pollFlush() -> FlushState { flusher.poll() }

    /// Bytes of files that are merged at a time.
    static let mostMerged = 256 << 20

    /// Sets the size of the ballast file.
    public func holdReserve(_ bytes: Int) -> Int {
        ballast.hold(bytes) + min(flusher.size, Self.mostMerged) + 4 * Ballast.margin
    }

    /// Flushes and waits, also for one that was begun.
    public func flush() throws(KeyValueError) {
        flusher.join()
        flusher.watchSpace()
        try ballast.require(Flusher.space(for: unflushed))
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_flush(handle, flushOptions, &message)
        if let message { throw Self.error("metadata store: flush failed", message) }
        unflushed = 0
        flusher.makeRoom()
    }
}

/// RocksDB's write batch, used again and again by one thread.
private final class WriteBatch {
    private let batch = rocksdb_writebatch_create()

    deinit { rocksdb_writebatch_destroy(batch) }

    func write(_ batches: [KeyBatch], to handle: OpaquePointer, _ options: OpaquePointer?) throws(KeyValueError) {
        rocksdb_writebatch_clear(batch)
        for each in batches {
            each.forEach { key, value in
                if let value {
                    rocksdb_writebatch_put(batch, key.chars, key.count, value.chars, value.count)
                } else {
                    rocksdb_writebatch_delete(batch, key.chars, key.count)
                }
            } removingRange: { lower, upper in
                rocksdb_writebatch_delete_range(batch, lower.chars, lower.count, upper.chars, upper.count)
            }
        }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_write(handle, options, batch, &message)
        if let message { throw RocksDBStore.error("metadata store: write failed", message) }
    }
}

/// Runs one flush at a time on a thread of its own: RocksDB's flush waits for the disk, and the owner's loop must not.
///
/// Sendable: the handles are used by RocksDB's thread-safe calls only, the state is behind a mutex, and `changes` is set
/// before the thread begins and taken by it.
private final class Flusher: @unchecked Sendable {
    private let handle: OpaquePointer
    private let writeOptions: OpaquePointer?
    private let flushOptions: OpaquePointer?
    private let ballast: Ballast
    private let wakeDescriptor: Int32?
    private let state = Mutex<FlushState>(.idle)
    private var thread = pthread_t()
    private var joinable = false

    private var changes: (@Sendable () -> [KeyBatch])?
    /// Bytes written before the flush under way, which it covers too.
    private var unflushed = 0
    /// RocksDB compacts by itself; not while there is little space, nor before that is known.
    private var compactsAlone = false
    private let measured = Atomic<Int>(0)

    /// Files of the first level from which on it is compacted where RocksDB may not do so by itself.
    private static let mostFiles = 8

    private let tables: TableWriter

    init(
        handle: OpaquePointer, tables: TableWriter, writeOptions: OpaquePointer?, flushOptions: OpaquePointer?,
        ballast: Ballast, wakeDescriptor: Int32?
    ) {
        self.tables = tables
        self.ballast = ballast
        self.handle = handle
        self.writeOptions = writeOptions
        self.flushOptions = flushOptions
        // A flush may outlive the owner's descriptor, and must not write to whoever has got its number.
        self.wakeDescriptor = wakeDescriptor.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
    }

    deinit { if let wakeDescriptor { close(wakeDescriptor) } }

    /// What a table of so many bytes of changes takes at most: they are compressed or as they are, with an index and a filter.
    static func space(for bytes: Int) -> Int { bytes + bytes / 4 }

    func begin(_ changes: @escaping @Sendable () -> [KeyBatch], unflushed: Int) {
        let before = state.withLock { $0 }
        precondition(before == .idle, "a flush begins while the last is \(before)")
        join()
        self.changes = changes
        self.unflushed = unflushed
        state.withLock { $0 = .running }
        let argument = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<Flusher>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, argument)
        if result == 0 {
            joinable = true
        } else {
            Unmanaged<Flusher>.fromOpaque(argument).release()
            finish(
                .failed(KeyValueError("metadata store: no thread for a flush: \(String(cString: strerror(result)))")))
        }
    }

    private func run() {
        do throws(KeyValueError) {
            let batches = changes?() ?? []
            changes = nil
            let bytes = batches.reduce(unflushed) { $0 + $1.bytes.count }
            watchSpace()
            try ballast.require(Self.space(for: bytes))
            if unflushed == 0, batches.count == 1, bytes >= TableWriter.smallest, try tables.add(batches[0]) {
                makeRoom()
                return finish(.done)
            }
            try WriteBatch().write(batches, to: handle, writeOptions)
        } catch {
            return finish(.failed(error))
        }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_flush(handle, flushOptions, &message)
        if let message {
            finish(.failed(RocksDBStore.error("metadata store: flush failed", message)))
        } else {
            makeRoom()
            finish(.done)
        }
    }

    private func number(_ property: String) -> Int {
        var value: UInt64 = 0
        return rocksdb_property_int(handle, "rocksdb." + property, &value) == 0 ? Int(clamping: value) : 0
    }

    /// Files of the first level: a property that is a text.
    private var firstLevelFiles: Int {
        guard let text = rocksdb_property_value(handle, "rocksdb.num-files-at-level0") else { return 0 }
        defer { rocksdb_free(text) }
        return Int(String(cString: text)) ?? 0
    }

    /// Bytes of the store's files when they were last asked for.
    var size: Int { measured.load(ordering: .relaxed) }

    /// Lets RocksDB merge files by itself while there is plenty of space, and forbids it otherwise, since it does not ask for
    /// any. To be called before it gets a file, after which it may begin. On the thread that flushes, or while that does not run.
    @discardableResult
    func watchSpace() -> Bool {
        let size = number("total-sst-files-size")
        measured.store(size, ordering: .relaxed)
        // A compaction writes up to what it reads before it removes that.
        let isPlenty =
            ballast.available.map { $0 > 2 * min(size, RocksDBStore.mostMerged) + 4 * Ballast.margin } ?? true
        // It writes its options anew when they change.
        guard isPlenty != compactsAlone, (try? ballast.require(0)) != nil else { return isPlenty }
        var message: UnsafeMutablePointer<CChar>?
        "disable_auto_compactions".withCString { key in
            (isPlenty ? "false" : "true").withCString { value in
                var keys: [UnsafePointer<CChar>?] = [key]
                var values: [UnsafePointer<CChar>?] = [value]
                rocksdb_set_options(handle, 1, &keys, &values, &message)
            }
        }
        if let message { rocksdb_free(message) } else { compactsAlone = isPlenty }
        return isPlenty
    }

    /// Takes the ballast back, and compacts what RocksDB may not compact by itself: when there are many files, and when that
    /// may be what the ballast is missing. On the thread that flushes, or while that does not run.
    func makeRoom() {
        let isPlenty = watchSpace()
        ballast.written()
        guard !isPlenty else { return }
        defer { ballast.written() }
        let files = firstLevelFiles
        guard files >= Self.mostFiles || (files > 1 && ballast.missing > 0), (try? ballast.require(size)) != nil else {
            return
        }
        rocksdb_compact_range(handle, nil, 0, nil, 0)
        watchSpace()
    }

    /// The same for a store that does not flush by itself, while RocksDB may not merge.
    func watchSpaceWithoutFlush() {
        guard !compactsAlone, state.withLock({ $0 != .running }) else { return }
        join()
        makeRoom()
    }

    private func finish(_ result: FlushState) {
        state.withLock { $0 = result }
        if let wakeDescriptor {
            var one: UInt64 = 1
            _ = Glibc.write(wakeDescriptor, &one, 8)
        }
    }

    func poll() -> FlushState {
        state.withLock { state in
            let now = state
            if now != .running { state = .idle }
            return now
        }
    }

    /// Waits for the thread of the last flush to end.
    func join() {
        if joinable { pthread_join(thread, nil) }
        joinable = false
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes as the C interface wants them.
    var chars: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
}
