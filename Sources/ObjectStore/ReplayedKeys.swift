import KeyValueStore
import Wire

/// Changes of keys of a run of records, brought into the order of the keys: the metadata store takes millions of them many
/// times faster so. Of several changes of a key the last counts.
package struct ReplayedKeys {
    private struct Change {
        var key: UnsafeRawBufferPointer
        /// Nil removes the key.
        var value: UnsafeRawBufferPointer?
        /// Which change this is, counted on; below 0 for one that counts no more.
        var sequence: Int
    }

    /// Where a change stands in the order of keys.
    private struct Place {
        /// The first sixteen bytes of the key as numbers, which settles most comparisons.
        var order: (UInt64, UInt64)
        /// Of the change.
        var index: UInt32
    }

    private struct Removal {
        var range: KeyRange
        var sequence: Int
    }

    private var batches: [KeyBatch] = []
    /// Bytes of the batches taken.
    package private(set) var bytes = 0

    package init() {}

    /// Takes the changes of the next record.
    package mutating func take(_ batch: KeyBatch) {
        batches.append(batch)
        bytes += batch.bytes.count
    }

    /// What they result in: first the ranges removed, then changes of keys in order, none of which is older than a range it
    /// lies in.
    package func inOrder() -> KeyBatch {
        var changes: [Change] = []
        var places: [Place] = []
        var removals: [Removal] = []
        var sequence = 0
        for batch in batches {
            batch.forEach { key, value in
                places.append(Place(order: Self.order(key), index: UInt32(changes.count)))
                changes.append(Change(key: key, value: value, sequence: sequence))
                sequence += 1
            } removingRange: { lower, upper in
                let range = KeyRange(Bytes(copying: lower), Bytes(copying: upper))
                // The same range again and again, with what was set between: only the last counts.
                if removals.last?.range == range { removals.removeLast() }
                removals.append(Removal(range: range, sequence: sequence))
                sequence += 1
            }
        }
        // The keys lie in the batches, which keep their memory until the end.
        return withExtendedLifetime(batches) {
            changes.withUnsafeBufferPointer { all in places.sort { Self.isBefore($0, $1, in: all) } }
            Self.keepNewest(&places, changes)
            var writer = KeyBatchWriter(capacity: bytes + 1024)
            for removal in removals {
                writer.removeRange(removal.range.lower, removal.range.upper)
                Self.drop(from: &changes, whatIn: removal, places)
            }
            for place in places {
                let change = changes[Int(place.index)]
                if change.sequence >= 0 { writer.put(change.key, change.value) }
            }
            return writer.finish()
        }
    }

    private static func order(_ key: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        if key.count >= 16 {
            return (
                UInt64(bigEndian: key.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
        var order: (UInt64, UInt64) = (0, 0)
        for index in 0..<min(8, key.count) { order.0 |= UInt64(key[index]) << UInt64(56 - 8 * index) }
        for index in 8..<max(8, key.count) { order.1 |= UInt64(key[index]) << UInt64(120 - 8 * index) }
        return order
    }

    private static func isBefore(_ left: Place, _ right: Place, in changes: UnsafeBufferPointer<Change>) -> Bool {
        if left.order.0 != right.order.0 { return left.order.0 < right.order.0 }
        if left.order.1 != right.order.1 { return left.order.1 < right.order.1 }
        let compared = compare(changes[Int(left.index)].key, changes[Int(right.index)].key)
        return compared == 0 ? left.index < right.index : compared < 0
    }

    /// Below 0 when the left key comes first, 0 when they are the same.
    private static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        for index in 0..<min(left.count, right.count) where left[index] != right[index] {
            return Int(left[index]) - Int(right[index])
        }
        return left.count - right.count
    }

    /// Leaves the last change of each key.
    private static func keepNewest(_ places: inout [Place], _ changes: [Change]) {
        var kept = 0
        for place in places {
            if kept > 0, places[kept - 1].order == place.order,
                compare(changes[Int(places[kept - 1].index)].key, changes[Int(place.index)].key) == 0
            {
                kept -= 1
            }
            places[kept] = place
            kept += 1
        }
        places.removeLast(places.count - kept)
    }

    /// Marks what was changed before the range that it lies in was removed.
    private static func drop(from changes: inout [Change], whatIn removal: Removal, _ places: [Place]) {
        removal.range.lower.withUnsafeBytes { lower in
            removal.range.upper.withUnsafeBytes { upper in
                var low = 0, high = places.count
                while low < high {
                    let middle = (low + high) / 2
                    if compare(changes[Int(places[middle].index)].key, lower) < 0 {
                        low = middle + 1
                    } else {
                        high = middle
                    }
                }
                while low < places.count, compare(changes[Int(places[low].index)].key, upper) < 0 {
                    let index = Int(places[low].index)
                    if changes[index].sequence < removal.sequence { changes[index].sequence = -1 }
                    low += 1
                }
            }
        }
    }
}
