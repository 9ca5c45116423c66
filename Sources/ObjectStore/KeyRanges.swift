import Wire

/// The keys in `lower ..< upper`.
package struct KeyRange: Equatable, Sendable {
    package var lower: Bytes
    package var upper: Bytes

    package init(_ lower: Bytes, _ upper: Bytes) {
        self.lower = lower
        self.upper = upper
    }

    func contains(_ key: Bytes) -> Bool { !(key < lower) && key < upper }
}

/// Ranges of keys that were removed: disjoint, in order, and none beside another.
package struct KeyRanges: Equatable, Sendable {
    package private(set) var all: [KeyRange] = []

    package init() {}

    package var isEmpty: Bool { all.isEmpty }
    package var count: Int { all.count }

    /// The first range that ends behind `key`, or at it with `touching`.
    private func first(endingBehind key: Bytes, touching: Bool = false) -> Int {
        var low = 0, high = all.count
        while low < high {
            let middle = (low + high) / 2
            let isBehind = touching ? !(all[middle].upper < key) : key < all[middle].upper
            if isBehind { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// The range that `key` is in.
    package func range(of key: Bytes) -> KeyRange? {
        guard !all.isEmpty else { return nil }
        let index = first(endingBehind: key)
        return index < all.count && !(key < all[index].lower) ? all[index] : nil
    }

    package func contains(_ key: Bytes) -> Bool { range(of: key) != nil }

    /// Adds a range; it takes in those that it overlaps or touches.
    package mutating func insert(_ range: KeyRange) {
        guard range.lower < range.upper else { return }
        var range = range
        let start = first(endingBehind: range.lower, touching: true)
        var end = start
        while end < all.count, !(range.upper < all[end].lower) {
            if all[end].lower < range.lower { range.lower = all[end].lower }
            if range.upper < all[end].upper { range.upper = all[end].upper }
            end += 1
        }
        all.replaceSubrange(start..<end, with: CollectionOfOne(range))
    }

    /// The parts of the ranges that lie in `lower ..< upper`.
    package func clipped(to lower: Bytes, _ upper: Bytes) -> [KeyRange] {
        guard !all.isEmpty else { return [] }
        var result: [KeyRange] = []
        for range in all[first(endingBehind: lower)...] {
            guard range.lower < upper else { break }
            result.append(KeyRange(max(range.lower, lower), min(range.upper, upper)))
        }
        return result
    }
}

/// What is newer than some keys: changes in order, and ranges removed before those changes were made.
struct NewerChanges {
    var changes: [KeyChange] = []
    var removed = KeyRanges()

    /// Puts on top what a newer table has of the keys in `lower ..< upper`.
    mutating func add(_ newer: KeyTable, from lower: Bytes, to upper: Bytes) {
        let ranges = newer.removedRanges(from: lower, to: upper)
        if !ranges.isEmpty {
            changes.removeAll { change in ranges.contains { $0.contains(change.key) } }
            for range in ranges { removed.insert(range) }
        }
        changes = merged(changes, newer.changes(from: lower, to: upper))
    }
}
