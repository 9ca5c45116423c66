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
    private let readOptions = rocksdb_readoptions_create()
    private let loggedSync = rocksdb_writeoptions_create()
    private let unlogged = rocksdb_writeoptions_create()
    private let flushOptions = rocksdb_flushoptions_create()
    private let batch = WriteBatch()
    private let cache: OpaquePointer?
    private let flusher: Flusher

    /// Opens the store in `directory`, which is made with `create`. `wakeDescriptor` is an eventfd that is written when a
    /// flush begun by `beginFlush` ends.
    public init(directory: String, create: Bool, options: Options = Options(), wakeDescriptor: Int32? = nil)
        throws(KeyValueError)
    {
        let settings = rocksdb_options_create()
        defer { rocksdb_options_destroy(settings) }
        rocksdb_options_set_create_if_missing(settings, create ? 1 : 0)
        rocksdb_options_set_error_if_exists(settings, create ? 1 : 0)
        rocksdb_options_set_write_buffer_size(settings, options.writeBuffer)
        rocksdb_options_set_max_write_buffer_number(settings, 3)
        rocksdb_options_set_max_background_jobs(settings, 2)
        rocksdb_options_set_max_open_files(settings, 512)
        rocksdb_options_set_keep_log_file_num(settings, 2)
        rocksdb_options_set_max_log_file_size(settings, 1 << 20)
        rocksdb_options_set_bytes_per_sync(settings, 1 << 20)
        rocksdb_options_set_level_compaction_dynamic_level_bytes(settings, 1)
        rocksdb_options_set_use_fsync(settings, 0)
        let table = rocksdb_block_based_options_create()
        defer { rocksdb_block_based_options_destroy(table) }
        let cache = rocksdb_cache_create_lru(options.blockCache)
        rocksdb_block_based_options_set_block_cache(table, cache)
        let filter = rocksdb_filterpolicy_create_bloom(10)
        rocksdb_block_based_options_set_filter_policy(table, filter)
        rocksdb_options_set_block_based_table_factory(settings, table)

        ballast = Ballast(path: directory + "/ballast")
        ballast.giveUpIfFull()
        var message: UnsafeMutablePointer<CChar>?
        let opened = rocksdb_open(settings, directory, &message)
        if let message {
            rocksdb_cache_destroy(cache)
            throw Self.error("cannot open the metadata store \(directory)", message)
        }
        guard let opened else { throw KeyValueError("cannot open the metadata store \(directory)") }
        handle = opened
        self.cache = cache
        rocksdb_writeoptions_set_sync(loggedSync, options.unsafeNoFlush ? 0 : 1)
        rocksdb_writeoptions_disable_WAL(unlogged, 1)
        rocksdb_flushoptions_set_wait(flushOptions, 1)
        flusher = Flusher(
            handle: opened, writeOptions: unlogged, flushOptions: flushOptions, wakeDescriptor: wakeDescriptor)
    }

    deinit {
        flusher.join()
        rocksdb_readoptions_destroy(readOptions)
        rocksdb_writeoptions_destroy(loggedSync)
        rocksdb_writeoptions_destroy(unlogged)
        rocksdb_close(handle)
        rocksdb_flushoptions_destroy(flushOptions)
        if let cache { rocksdb_cache_destroy(cache) }
    }

    /// Removes the store in `directory`; none is no error.
    public static func destroy(directory: String) throws(KeyValueError) {
        unlink(directory + "/ballast")
        let settings = rocksdb_options_create()
        defer { rocksdb_options_destroy(settings) }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_destroy_db(settings, directory, &message)
        if let message { throw error("cannot remove the metadata store \(directory)", message) }
    }

    fileprivate static func error(_ context: String, _ message: UnsafeMutablePointer<CChar>) -> KeyValueError {
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

    /// Walks an iterator over the range.
    public func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(KeyValueError) {
        let iterator = rocksdb_create_iterator(handle, readOptions)
        defer { rocksdb_iter_destroy(iterator) }
        lower.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.chars, $0.count) }
        while rocksdb_iter_valid(iterator) != 0 {
            var count = 0
            let key = rocksdb_iter_key(iterator, &count)
            let keyBytes = Bytes(copying: UnsafeRawBufferPointer(start: key, count: count))
            guard keyBytes < upper else { break }
            let value = rocksdb_iter_value(iterator, &count)
            guard body(keyBytes, Bytes(copying: UnsafeRawBufferPointer(start: value, count: count))) else { break }
            rocksdb_iter_next(iterator)
        }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_iter_get_error(iterator, &message)
        if let message { throw Self.error("metadata store: scan failed", message) }
    }

    /// One write batch of RocksDB; `.atFlush` goes without its log.
    public func write(_ batches: [KeyBatch], _ durability: Durability) throws(KeyValueError) {
        try batch.write(batches, to: handle, durability == .durable ? loggedSync : unlogged)
    }

    /// Writes and flushes on a thread of its own.
    public func beginFlush(of changes: @escaping @Sendable () -> [KeyBatch]) { flusher.begin(changes) }

    /// Asks that thread.
    public func pollFlush() -> FlushState { flusher.poll() }

    /// Makes the ballast file, or removes it.
    public func holdReserve(_ bytes: Int) { ballast.hold(bytes) }

    /// Flushes and waits, also for one that was begun.
    public func flush() throws(KeyValueError) {
        flusher.join()
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_flush(handle, flushOptions, &message)
        if let message { throw Self.error("metadata store: flush failed", message) }
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
    private let wakeDescriptor: Int32?
    private let state = Mutex<FlushState>(.idle)
    private var thread = pthread_t()
    private var joinable = false

    private var changes: (@Sendable () -> [KeyBatch])?

    init(
        handle: OpaquePointer, writeOptions: OpaquePointer?, flushOptions: OpaquePointer?, wakeDescriptor: Int32?
    ) {
        self.handle = handle
        self.writeOptions = writeOptions
        self.flushOptions = flushOptions
        // A flush may outlive the owner's descriptor, and must not write to whoever has got its number.
        self.wakeDescriptor = wakeDescriptor.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }
    }

    deinit { if let wakeDescriptor { close(wakeDescriptor) } }

    func begin(_ changes: @escaping @Sendable () -> [KeyBatch]) {
        let before = state.withLock { $0 }
        precondition(before == .idle, "a flush begins while the last is \(before)")
        join()
        self.changes = changes
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
            try WriteBatch().write(batches, to: handle, writeOptions)
        } catch {
            return finish(.failed(error))
        }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_flush(handle, flushOptions, &message)
        if let message {
            finish(.failed(RocksDBStore.error("metadata store: flush failed", message)))
        } else {
            finish(.done)
        }
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
    fileprivate var chars: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
}
