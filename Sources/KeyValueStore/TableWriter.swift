import CRocksDB
import Glibc
import Wire

/// Gives RocksDB changes that are in order as a finished table: several times cheaper than through its memory, and durable when
/// it returns.
///
/// A range that is removed takes nothing from the table it stands in, only what was there before; so a batch in order has its
/// ranges first.
final class TableWriter {
    private let handle: OpaquePointer
    private let options: OpaquePointer
    private let path: String

    /// Smaller batches are not worth a table.
    static let smallest = 128 << 10

    /// For the store `handle`, opened with `options`, whose owner keeps both. A file that another run left is removed.
    init(handle: OpaquePointer, options: OpaquePointer, directory: String) {
        self.handle = handle
        self.options = options
        path = directory + "/" + Self.file
        unlink(path)
    }

    /// Under this name a table is made.
    static let file = "incoming.sst"

    /// Adds the changes of the batch, all or none. False, and nothing is done, when they are not in order.
    func add(_ batch: KeyBatch) throws(KeyValueError) -> Bool {
        guard Self.isInOrder(batch) else { return false }
        defer { unlink(path) }
        try write(batch)
        let settings = rocksdb_ingestexternalfileoptions_create()
        defer { rocksdb_ingestexternalfileoptions_destroy(settings) }
        rocksdb_ingestexternalfileoptions_set_move_files(settings, 1)
        var message: UnsafeMutablePointer<CChar>?
        path.withCString { name in
            var names: [UnsafePointer<CChar>?] = [name]
            rocksdb_ingest_external_file(handle, &names, 1, settings, &message)
        }
        if let message { throw RocksDBStore.error("metadata store: adding a table failed", message) }
        return true
    }

    /// Whether the ranges come first, and then each key once in order.
    private static func isInOrder(_ batch: KeyBatch) -> Bool {
        var isInOrder = true
        var last = UnsafeRawBufferPointer(start: nil, count: 0)
        // The batch keeps its memory while it is walked, so the last key may be looked at in the next call.
        batch.forEach { key, _ in
            if last.baseAddress != nil, !isBefore(last, key) { isInOrder = false }
            last = key
        } removingRange: { _, _ in
            if last.baseAddress != nil { isInOrder = false }
        }
        return isInOrder && last.baseAddress != nil
    }

    private static func isBefore(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard let first = left.baseAddress, let second = right.baseAddress else { return left.count < right.count }
        let compared = memcmp(first, second, min(left.count, right.count))
        return compared == 0 ? left.count < right.count : compared < 0
    }

    private func write(_ batch: KeyBatch) throws(KeyValueError) {
        let environment = rocksdb_envoptions_create()
        defer { rocksdb_envoptions_destroy(environment) }
        let writer = rocksdb_sstfilewriter_create(environment, options)
        defer { rocksdb_sstfilewriter_destroy(writer) }
        var message: UnsafeMutablePointer<CChar>?
        rocksdb_sstfilewriter_open(writer, path, &message)
        if message == nil {
            batch.forEach { key, value in
                guard message == nil else { return }
                if let value {
                    rocksdb_sstfilewriter_put(writer, key.chars, key.count, value.chars, value.count, &message)
                } else {
                    rocksdb_sstfilewriter_delete(writer, key.chars, key.count, &message)
                }
            } removingRange: { lower, upper in
                guard message == nil else { return }
                rocksdb_sstfilewriter_delete_range(
                    writer, lower.chars, lower.count, upper.chars, upper.count, &message)
            }
        }
        if message == nil { rocksdb_sstfilewriter_finish(writer, &message) }
        if let message { throw RocksDBStore.error("metadata store: writing a table failed", message) }
    }
}
