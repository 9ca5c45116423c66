import KeyValueStore
import Wire

/// A change of a key: the new value, or nil for a removal.
package struct KeyChange: Equatable, Sendable {
    package var key: Bytes
    package var value: Bytes?

    package init(key: Bytes, value: Bytes?) {
        self.key = key
        self.value = value
    }
}

/// The newest change of each of many keys.
///
/// Committed changes wait here for a checkpoint, which writes them to the metadata store in order and at once: the journal
/// has them until then, most keys of a busy store change again before, and an insertion into the metadata store costs more
/// than all else of a write.
///
/// Keys that begin alike (an object's units, a group's log) lie together in order, so that a range among them costs what
/// is in it. Object records lie in no order: they are looked up one by one, and ranges of them are for listings.
package struct KeyTable: Sendable {
    package init() {}

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

    /// Changes in the order of their keys, in pieces of bounded length: an insertion moves what is behind it in its piece.
    private struct Run {
        struct Entry {
            /// The eight bytes after the prefix as a number, which settles most comparisons.
            var order: UInt64
            var change: KeyChange
        }

        /// Where an entry is.
        struct Place {
            var piece: Int
            var index: Int
        }

        static let longestPiece = 512

        /// None is empty.
        private(set) var pieces: [[Entry]] = []
        /// Removed before the entries that lie in them were set.
        private(set) var removed = KeyRanges()

        /// The place of the first entry that is not before the key; behind the last entry of the last piece if there is none.
        func place(of key: Bytes) -> Place { place(of: key, Run.order(key)) }

        private func place(of key: Bytes, _ order: UInt64) -> Place {
            var low = 0, high = pieces.count - 1
            while low < high {
                let middle = (low + high + 1) / 2
                if Run.isBefore(pieces[middle][0], key, order) { low = middle } else { high = middle - 1 }
            }
            guard low < pieces.count else { return Place(piece: 0, index: 0) }
            let index = Run.position(of: key, order, in: pieces[low])
            return index == pieces[low].count && low + 1 < pieces.count
                ? Place(piece: low + 1, index: 0) : Place(piece: low, index: index)
        }

        private static func isBefore(_ entry: Entry, _ key: Bytes, _ order: UInt64) -> Bool {
            entry.order == order ? entry.change.key < key : entry.order < order
        }

        private static func position(of key: Bytes, _ order: UInt64, in piece: [Entry]) -> Int {
            piece.withUnsafeBufferPointer { piece in
                // Logs grow at their end.
                guard !isBefore(piece[piece.count - 1], key, order) else { return piece.count }
                var low = 0, high = piece.count - 1
                while low < high {
                    let middle = (low + high) / 2
                    if isBefore(piece[middle], key, order) { low = middle + 1 } else { high = middle }
                }
                return low
            }
        }

        /// The change of a key, if there is one.
        func change(of key: Bytes) -> KeyChange? {
            let place = place(of: key)
            if place.piece < pieces.count, place.index < pieces[place.piece].count {
                let found = pieces[place.piece][place.index].change
                if found.key == key { return found }
            }
            return removed.contains(key) ? KeyChange(key: key, value: nil) : nil
        }

        /// Removes the keys of a range. Returns how many entries and ranges more there are.
        mutating func removeRange(_ range: KeyRange) -> Int {
            let before = removed.count
            let start = place(of: range.lower)
            // What ends a run whole does not begin as its keys do, and has no place among them.
            let end =
                Prefix(range.upper) == Prefix(range.lower)
                ? place(of: range.upper) : Place(piece: pieces.count - 1, index: pieces.last?.count ?? 0)
            removed.insert(range)
            var less = 0
            for piece in start.piece..<min(end.piece + 1, pieces.count) where start.piece <= end.piece {
                let from = piece == start.piece ? start.index : 0
                let to = piece == end.piece ? end.index : pieces[piece].count
                guard from < to else { continue }
                pieces[piece].removeSubrange(from..<to)
                less += to - from
            }
            if less > 0 { pieces.removeAll { $0.isEmpty } }
            return removed.count - before - less
        }

        /// True when the key is new.
        mutating func set(_ key: Bytes, _ value: Bytes?) -> Bool {
            let order = Run.order(key)
            let place = place(of: key, order)
            guard place.piece < pieces.count else {
                pieces.append([Entry(order: order, change: KeyChange(key: key, value: value))])
                return true
            }
            if place.index < pieces[place.piece].count, pieces[place.piece][place.index].change.key == key {
                pieces[place.piece][place.index].change.value = value
                return false
            }
            pieces[place.piece].insert(
                Entry(order: order, change: KeyChange(key: key, value: value)), at: place.index)
            if pieces[place.piece].count > Run.longestPiece { split(place.piece, at: place.index) }
            return true
        }

        /// Makes two pieces of one: halves, unless it has grown at its end and will again.
        private mutating func split(_ piece: Int, at index: Int) {
            let count = pieces[piece].count
            let middle = index == count - 1 ? count - 1 : count / 2
            pieces.insert(Array(pieces[piece][middle...]), at: piece + 1)
            pieces[piece].removeLast(count - middle)
        }

        /// Gives `body` the changes from `lower` on and before `upper`; from the first and to the last without them.
        func forEach(from lower: Bytes? = nil, to upper: Bytes? = nil, _ body: (KeyChange) -> Void) {
            let start = lower.map { place(of: $0) } ?? Place(piece: 0, index: 0)
            for piece in start.piece..<max(start.piece, pieces.count) {
                for entry in pieces[piece][(piece == start.piece ? start.index : 0)...] {
                    if let upper, !(entry.change.key < upper) { return }
                    body(entry.change)
                }
            }
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
    /// Number of keys and of removed ranges.
    package private(set) var count = 0

    package var isEmpty: Bool { count == 0 }

    /// Notes a change; nil removes the key.
    package mutating func set(_ key: Bytes, _ value: Bytes?) {
        if let prefix = Prefix(key) {
            if runs[prefix, default: Run()].set(key, value) { count += 1 }
        } else if others.updateValue(value, forKey: key) == nil {
            count += 1
        }
    }

    /// Notes that the keys of a range are removed, which must begin alike: all of one object's units or omap, or of one
    /// group.
    package mutating func removeRange(_ range: KeyRange) {
        guard range.lower < range.upper else { return }
        guard let prefix = Prefix(range.lower),
            !(StoreKeys.end(ofPrefix: range.lower[0..<Prefix.count(range.lower)]) < range.upper)
        else { preconditionFailure("keys of several kinds are removed as a range, from \(range.lower.array)") }
        count += runs[prefix, default: Run()].removeRange(range)
    }

    /// The ranges removed that lie in `lower ..< upper`. An entry of `changes` in one of them is newer than it.
    package func removedRanges(from lower: Bytes, to upper: Bytes) -> [KeyRange] {
        guard !isEmpty, lower < upper else { return [] }
        if let prefix = Prefix(lower), !(StoreKeys.end(ofPrefix: lower[0..<Prefix.count(lower)]) < upper) {
            return runs[prefix]?.removed.clipped(to: lower, upper) ?? []
        }
        return runs.values.flatMap { $0.removed.clipped(to: lower, upper) }
    }

    /// The change of a key, if there is one.
    package func change(of key: Bytes) -> KeyChange? {
        guard let prefix = Prefix(key) else {
            guard let value = others[key] else { return nil }
            return KeyChange(key: key, value: value)
        }
        return runs[prefix]?.change(of: key)
    }

    /// The changes of keys in `lower ..< upper`, in order.
    package func changes(from lower: Bytes, to upper: Bytes) -> [KeyChange] {
        guard !isEmpty, lower < upper else { return [] }
        if let prefix = Prefix(lower), !(StoreKeys.end(ofPrefix: lower[0..<Prefix.count(lower)]) < upper) {
            var found: [KeyChange] = []
            runs[prefix]?.forEach(from: lower, to: upper) { found.append($0) }
            return found
        }
        var found: [KeyChange] = []
        for (key, value) in others where !(key < lower) && key < upper {
            found.append(KeyChange(key: key, value: value))
        }
        for run in runs.values { run.forEach { if !($0.key < lower) && $0.key < upper { found.append($0) } } }
        return found.sorted { $0.key < $1.key }
    }

    /// All of it for the metadata store: first the ranges removed, then the changes in the order of their keys.
    package func encoded() -> KeyBatch {
        var inOrder: [KeyChange] = []
        inOrder.reserveCapacity(count)
        var writer = KeyBatchWriter(capacity: 1 << 20)
        for (_, run) in runs.sorted(by: { $0.key < $1.key }) {
            for range in run.removed.all { writer.removeRange(range.lower, range.upper) }
            run.forEach { inOrder.append($0) }
        }
        // The kinds of keys that lie in runs sort around those that do not.
        var next = 0
        for change in others.map({ KeyChange(key: $0.key, value: $0.value) }).sorted(by: { $0.key < $1.key }) {
            while next < inOrder.count, inOrder[next].key < change.key {
                Self.put(inOrder[next], &writer)
                next += 1
            }
            Self.put(change, &writer)
        }
        for change in inOrder[next...] { Self.put(change, &writer) }
        return writer.finish()
    }

    private static func put(_ change: KeyChange, _ writer: inout KeyBatchWriter) {
        if let value = change.value { writer.put(change.key, value) } else { writer.remove(change.key) }
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
