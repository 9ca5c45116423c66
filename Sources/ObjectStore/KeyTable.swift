import KeyValueStore
import Wire

/// A change of a key: the new value, or nil for a removal.
struct KeyChange: Equatable, Sendable {
    var key: Bytes
    var value: Bytes?
}

/// The newest change of each of many keys.
///
/// Committed changes wait here for a checkpoint, which writes them to the metadata store in order and at once: the journal
/// has them until then, most keys of a busy store change again before, and an insertion into the metadata store costs more
/// than all else of a write.
///
/// Keys that begin alike (an object's units, a group's log) lie together in order, so that a range among them costs what
/// is in it. Object records lie in no order: they are looked up one by one, and ranges of them are for listings.
struct KeyTable: Sendable {
    /// What the keys of a run begin with.
    private struct Prefix: Hashable, Comparable {
        var tag: UInt8
        var number: UInt64
        var seed: UInt32

        /// Nil for keys that are not kept in runs, and for what is shorter than a prefix.
        init?(_ key: Bytes) {
            let count = Prefix.count(key)
            guard count > 0, key.count >= count else { return nil }
            (tag, number, seed) = key.withUnsafeBytes { bytes in
                (
                    bytes[0], UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt64.self)),
                    count == 13 ? UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 9, as: UInt32.self)) : 0
                )
            }
        }

        /// Bytes of the prefix of such a key; 0 for keys that are not kept in runs.
        static func count(_ key: Bytes) -> Int {
            guard key.count > 0 else { return 0 }
            return switch key[0] {
            case StoreKeys.unitTag, StoreKeys.omapTag: 9
            case StoreKeys.groupTag: 13
            default: 0
            }
        }

        static func < (left: Prefix, right: Prefix) -> Bool {
            (left.tag, left.number, left.seed) < (right.tag, right.number, right.seed)
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(number ^ UInt64(seed) << 24 ^ UInt64(tag) << 56)
        }
    }

    /// Changes in the order of their keys.
    private struct Run {
        struct Entry {
            /// The eight bytes after the prefix as a number, which settles most comparisons.
            var order: UInt64
            var change: KeyChange
        }

        var entries: [Entry] = []

        /// The index of the first entry that is not before the key, whose `order` is given.
        func position(_ key: Bytes, _ order: UInt64) -> Int {
            entries.withUnsafeBufferPointer { entries in
                func isBefore(_ index: Int) -> Bool {
                    entries[index].order == order ? entries[index].change.key < key : entries[index].order < order
                }
                // Logs grow at their end.
                guard entries.count > 0, !isBefore(entries.count - 1) else { return entries.count }
                var low = 0, high = entries.count - 1
                while low < high {
                    let middle = (low + high) / 2
                    if isBefore(middle) { low = middle + 1 } else { high = middle }
                }
                return low
            }
        }

        func position(_ key: Bytes) -> Int { position(key, Run.order(key)) }

        /// True when the key is new.
        mutating func set(_ key: Bytes, _ value: Bytes?) -> Bool {
            let order = Run.order(key)
            let index = position(key, order)
            if index < entries.count, entries[index].order == order, entries[index].change.key == key {
                entries[index].change.value = value
                return false
            }
            entries.insert(Entry(order: order, change: KeyChange(key: key, value: value)), at: index)
            return true
        }

        private static func order(_ key: Bytes) -> UInt64 {
            let start = Prefix.count(key)
            return key.withUnsafeBytes { bytes in
                if bytes.count >= start + 8 {
                    return UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
                }
                var order: UInt64 = 0
                for index in start..<max(start, bytes.count) {
                    order |= UInt64(bytes[index]) << UInt64(56 - 8 * (index - start))
                }
                return order
            }
        }
    }

    private var runs: [Prefix: Run] = [:]
    private var others: [Bytes: Bytes?] = [:]
    /// Number of keys.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Notes a change; nil removes the key.
    mutating func set(_ key: Bytes, _ value: Bytes?) {
        if let prefix = Prefix(key) {
            if runs[prefix, default: Run()].set(key, value) { count += 1 }
        } else if others.updateValue(value, forKey: key) == nil {
            count += 1
        }
    }

    /// The change of a key, if there is one.
    func change(of key: Bytes) -> KeyChange? {
        guard let prefix = Prefix(key) else {
            guard let value = others[key] else { return nil }
            return KeyChange(key: key, value: value)
        }
        guard let run = runs[prefix] else { return nil }
        let index = run.position(key)
        guard index < run.entries.count, run.entries[index].change.key == key else { return nil }
        return run.entries[index].change
    }

    /// The changes of keys in `lower ..< upper`, in order.
    func changes(from lower: Bytes, to upper: Bytes) -> [KeyChange] {
        guard !isEmpty, lower < upper else { return [] }
        if let prefix = Prefix(lower), !(StoreKeys.end(ofPrefix: lower[0..<Prefix.count(lower)]) < upper) {
            guard let run = runs[prefix] else { return [] }
            return run.entries[run.position(lower)..<end(of: run, upper)].map { $0.change }
        }
        var found: [KeyChange] = []
        for (key, value) in others where !(key < lower) && key < upper {
            found.append(KeyChange(key: key, value: value))
        }
        for run in runs.values {
            for entry in run.entries where !(entry.change.key < lower) && entry.change.key < upper {
                found.append(entry.change)
            }
        }
        return found.sorted { $0.key < $1.key }
    }

    /// The index of the run's first entry that is not before `upper`, which may lie behind the whole run.
    private func end(of run: Run, _ upper: Bytes) -> Int {
        guard let last = run.entries.last, !(last.change.key < upper) else { return run.entries.count }
        return run.position(upper)
    }

    /// All changes in the order of their keys, for the metadata store.
    func encoded() -> KeyBatch {
        // The kinds of keys that lie in runs sort around that of objects: each goes out on its own.
        var inOrder = runs.sorted { $0.key < $1.key }.map { $0.value.entries.map { $0.change } }
        inOrder.append(others.map { KeyChange(key: $0.key, value: $0.value) }.sorted { $0.key < $1.key })
        var writer = KeyBatchWriter(capacity: 1 << 20)
        for changes in inOrder {
            for change in changes {
                if let value = change.value { writer.put(change.key, value) } else { writer.remove(change.key) }
            }
        }
        return writer.finish()
    }
}

/// Two lists of changes in order as one; where both have a key, that of `newer` counts.
func merged(_ older: [KeyChange], _ newer: [KeyChange]) -> [KeyChange] {
    guard !older.isEmpty else { return newer }
    guard !newer.isEmpty else { return older }
    var result: [KeyChange] = []
    result.reserveCapacity(older.count + newer.count)
    var next = newer[...]
    for change in older {
        while let first = next.first, first.key < change.key { result.append(next.removeFirst()) }
        if next.first?.key != change.key { result.append(change) }
    }
    return result + next
}
