import Wire

/// When a commit must be on stable storage.
public enum Durability: Sendable {
    /// Before the call returns: the store's own log is written and flushed.
    case durable
    /// By the next `flush`. Until then a crash loses the commits since some point in order, never a part of one.
    case atFlush
}

/// Where a flush that was begun stands.
public enum FlushState: Sendable, Equatable {
    case idle
    case running
    case done
    case failed(KeyValueError)
}

/// Why the ordered store failed, in one line.
public struct KeyValueError: Error, Hashable, CustomStringConvertible {
    /// The reason, in one line.
    public let description: String

    /// A failure for a reason.
    public init(_ description: String) { self.description = description }
}

/// An ordered map of bytes to bytes with atomic commits: RocksDB in production, memory under simulation.
///
/// Confined to one thread, except that an implementation may work on a flush elsewhere.
public protocol KeyValueStore: AnyObject {
    /// The value of `key`, nil when there is none.
    func value(_ key: Bytes) throws(KeyValueError) -> Bytes?

    /// Gives `body` the keys from `lower` on and before `upper` in order, until it returns false. Not one moment's view: `body`
    /// must not write.
    func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(KeyValueError)

    /// Applies the batches in order as one atomic commit.
    func write(_ batches: [KeyBatch], _ durability: Durability) throws(KeyValueError)

    /// Begins to write the batches that `changes` gives, as one atomic commit, and to make them and everything written
    /// before durable, without waiting. One at a time; `changes` may be called on another thread.
    func beginFlush(of changes: @escaping @Sendable () -> [KeyBatch])

    /// The state of the last flush begun. `done` and `failed` are told once; then it is `idle` again.
    func pollFlush() -> FlushState

    /// Makes everything written so far durable before it returns.
    func flush() throws(KeyValueError)

    /// Says how many bytes to keep back on the store's file system for the time when others have filled the rest; as many of
    /// them as there is space for are, at once. Returns how many more bytes the file system should have free for the store: for
    /// the rest of those, and for merging its files. With less it goes on, but should be given some soon.
    func holdReserve(_ bytes: Int) -> Int
}

extension KeyValueStore {
    /// Nothing, where space cannot run out.
    public func holdReserve(_ bytes: Int) -> Int { 0 }
}
