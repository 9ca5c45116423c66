import KeyValueStore
import Wire

/// An ordered map in memory: sorted keys beside a dictionary. Small stores only, an insertion moves what is behind it.
public struct SortedMap: Sendable {
    private var keys: [Bytes] = []
    private var values: [Bytes: Bytes] = [:]

    /// An empty map.
    public init() {}

    /// Number of keys.
    public var count: Int { keys.count }

    /// The value of a key; nil removes it.
    public subscript(key: Bytes) -> Bytes? {
        get { values[key] }
        set {
            if let newValue {
                if values.updateValue(newValue, forKey: key) == nil { keys.insert(key, at: position(key)) }
            } else if values.removeValue(forKey: key) != nil {
                keys.remove(at: position(key))
            }
        }
    }

    /// The index of the first key that is not before `key`.
    private func position(_ key: Bytes) -> Int {
        var low = 0, high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Gives `body` the entries of the range in order until it returns false.
    public func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) {
        for key in keys[position(lower)...] {
            guard key < upper, body(key, values[key] ?? .empty) else { return }
        }
    }

    /// Removes the keys of the range.
    public mutating func removeRange(_ lower: Bytes, _ upper: Bytes) {
        guard lower < upper else { return }
        let range = position(lower)..<position(upper)
        for key in keys[range] { values[key] = nil }
        keys.removeSubrange(range)
    }

    mutating func apply(_ batches: [KeyBatch]) {
        for batch in batches {
            batch.forEach { key, value in
                self[Bytes(copying: key)] = value.map { Bytes(copying: $0) }
            } removingRange: { lower, upper in
                removeRange(Bytes(copying: lower), Bytes(copying: upper))
            }
        }
    }
}

/// Ordered keys that forget at a crash what was not flushed, except for the commits before some point, as RocksDB does that
/// flushes when it likes.
public final class SimulatedKeys: KeyValueStore {
    private var current = SortedMap()
    private var stable = SortedMap()
    private var unflushed: [[KeyBatch]] = []
    private var flushing: Int?
    private var isFlushed = false

    /// Flushes end and keep nothing: what a checkpoint that forgot them would lose.
    public var ignoresFlushes = false

    /// Reads that may still succeed before one fails; nil for none.
    public var readsUntilFailure: Int?
    /// Flushes begun that may still succeed before one fails, its changes lost; nil for none.
    public var flushesUntilFailure: Int?
    /// Commits that may still succeed before the machine crashes under them; nil for no crash.
    public var writesUntilCrash: Int?
    private var failed: KeyValueError?

    /// An empty store.
    public init() {}

    private func countRead() throws(KeyValueError) {
        guard let left = readsUntilFailure else { return }
        readsUntilFailure = left > 0 ? left - 1 : nil
        if left == 0 { throw KeyValueError("metadata store: simulated failure of a read") }
    }

    /// The newest value.
    public func value(_ key: Bytes) throws(KeyValueError) -> Bytes? {
        try countRead()
        return current[key]
    }

    /// Walks the newest state.
    public func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(KeyValueError) {
        try countRead()
        current.scan(from: lower, to: upper, body)
    }

    /// Changes the newest state; it stays for sure when `.durable` or flushed.
    public func write(_ batches: [KeyBatch], _ durability: Durability) throws(KeyValueError) {
        if let left = writesUntilCrash {
            guard left > 0 else { throw KeyValueError("simulated crash") }
            writesUntilCrash = left - 1
        }
        commit(batches, durability)
    }

    private func commit(_ batches: [KeyBatch], _ durability: Durability) {
        current.apply(batches)
        unflushed.append(batches)
        if durability == .durable { settle(unflushed.count) }
    }

    /// Writes, and begins a flush, which `step` ends.
    public func beginFlush(of changes: @escaping @Sendable () -> [KeyBatch]) {
        precondition(flushing == nil && !isFlushed && failed == nil, "two flushes at a time")
        if let left = flushesUntilFailure {
            flushesUntilFailure = left > 0 ? left - 1 : nil
            if left == 0 {
                failed = KeyValueError("metadata store: simulated failure of a flush")
                return
            }
        }
        commit(changes(), .atFlush)
        flushing = unflushed.count
    }

    /// The state of the flush that was begun.
    public func pollFlush() -> FlushState {
        if let failed {
            self.failed = nil
            return .failed(failed)
        }
        if isFlushed {
            isFlushed = false
            return .done
        }
        return flushing == nil ? .idle : .running
    }

    /// Flushes at once.
    public func flush() { settle(unflushed.count) }

    /// True while `step` would end a flush.
    public var isFlushing: Bool { flushing != nil }

    /// Ends the flush that was begun. False when there is none.
    @discardableResult
    public func step() -> Bool {
        guard let count = flushing else { return false }
        flushing = nil
        settle(count)
        isFlushed = true
        return true
    }

    private func settle(_ count: Int, always: Bool = false) {
        guard always || !ignoresFlushes else { return }
        for batches in unflushed.prefix(count) { stable.apply(batches) }
        unflushed.removeFirst(count)
        if let flushing { self.flushing = max(0, flushing - count) }
    }

    /// The machine loses power: commits since the last flush are lost from a point that `generator` picks.
    public func crash(using generator: inout some RandomNumberGenerator) {
        settle(
            Bool.random(using: &generator) ? 0 : Int.random(in: 0...unflushed.count, using: &generator), always: true)
        unflushed = []
        current = stable
        flushing = nil
        failed = nil
        readsUntilFailure = nil
        flushesUntilFailure = nil
        writesUntilCrash = nil
        isFlushed = false
    }
}
