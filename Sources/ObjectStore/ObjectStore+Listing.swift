import Protocol
import Wire

/// What a search of objects by name has found.
public struct ObjectListing: Sendable {
    /// The objects found, in the order of the range.
    public var objects: [ObjectID] = []
    /// The last object looked at, to go on behind; nil when the range is done.
    public var last: ObjectID?
}

/// Which objects there are, and where they hold data. Answered at once, like all reads of what is not data.
///
/// A placement group's objects are one range in the order of their bit-reversed hashes. A group that is split keeps the
/// first half of its range and its child gets the other, and a merge is the reverse: no object's key changes, and the
/// groups' own keys are moved by one transaction that sets and removes them.
extension ObjectStore {
    /// Up to `limit` objects of the range in their order, those after `after`.
    public func list(_ range: ObjectRange, after: ObjectID? = nil, limit: Int) throws(StoreError) -> [ObjectID] {
        try list(range, prefix: .empty, after: after, limit: limit, examining: .max).objects
    }

    /// Up to `limit` objects of the range whose names begin with `prefix`, in the order of the range, those after `after`.
    /// Looks at `examining` objects at most, since all others of the range lie between: the listing says where to go on.
    public func list(
        _ range: ObjectRange, prefix: Bytes, after: ObjectID? = nil, limit: Int, examining: Int
    ) throws(StoreError) -> ObjectListing {
        let (first, end) = StoreKeys.bounds(range)
        var lower = first
        if let after {
            // The least key behind that of `after`: the same with a byte more.
            let next = Bytes(StoreKeys.object(after).array + [0])
            if next > lower { lower = next }
        }
        var found: [Bytes] = []
        var last: Bytes?
        var examined = 0
        let wanted = StoreKeys.escaped(prefix)
        if limit > 0, examining > 0, lower < end {
            try scan(from: lower, to: end) { key, _ in
                examined += 1
                last = key
                if StoreKeys.hasName(key, beginningWith: wanted) { found.append(key) }
                return found.count < limit && examined < examining
            }
        }
        let isCutShort = found.count == limit || examined == examining
        var result = ObjectListing()
        do throws(WireError) {
            result.objects.reserveCapacity(found.count)
            for key in found { result.objects.append(try StoreKeys.objectID(key)) }
            if isCutShort {
                result.last = try last.map { key throws(WireError) in try StoreKeys.objectID(key) } ?? after
            }
        } catch {
            throw StoreError(.failed, "metadata store: \(error)")
        }
        return result
    }

    /// The parts of `offset ..< offset + length` of the object that hold data, in order, with a hole between any two and none
    /// behind the object's end: what is not in them reads as zeros. They begin and end with blocks of 4 KiB, or with what was
    /// asked for. Empty when there is no object.
    public func extents(
        _ object: ObjectID, offset: UInt64 = 0, length: UInt64 = StorageLimits.objectSize
    ) throws(StoreError) -> [Range<UInt64>] {
        let object = try cached(object)
        guard let size = object.record?.size, offset < size, length > 0 else { return [] }
        try loadUnits(object)
        let end = length < size - offset ? offset + length : size
        let unitSize = UInt64(StoreLimits.unitSize), blockSize = UInt64(StoreLimits.blockSize)
        var result: [Range<UInt64>] = []
        let first = Int(offset / unitSize)
        for index in first..<max(first, min(object.units.count, Int((end + unitSize - 1) / unitSize))) {
            guard let unit = object.unit(index) else { continue }
            for block in 0..<StoreLimits.blocksPerUnit where unit.has(block) {
                let start = UInt64(index) * unitSize + UInt64(block) * blockSize
                guard start < end, start + blockSize > offset else { continue }
                let part = max(start, offset)..<min(start + blockSize, end)
                if let before = result.last, before.upperBound == part.lowerBound {
                    result[result.count - 1] = before.lowerBound..<part.upperBound
                } else {
                    result.append(part)
                }
            }
        }
        return result
    }
}
