import Wire

/// A set of snapshots as runs of numbers: what was removed of a pool is few runs, however much was removed.
public struct SnapIntervals: Hashable, Sendable {
    /// The runs, ascending; between two of them there is at least one number.
    public private(set) var runs: [ClosedRange<UInt64>] = []

    /// No snapshots.
    public init() {}

    /// These snapshots.
    public init(_ snaps: some Sequence<SnapID>) {
        for snap in snaps { insert(snap) }
    }

    /// True when there is none.
    public var isEmpty: Bool { runs.isEmpty }

    /// The oldest.
    public var first: SnapID? { runs.first.map { SnapID($0.lowerBound) } }

    /// How many there are.
    public var count: UInt64 { runs.reduce(0) { $0 + ($1.upperBound - $1.lowerBound + 1) } }

    /// Index of the first run that does not end before `value`.
    private func index(notBefore value: UInt64) -> Int {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// True when the snapshot is in the set.
    public func contains(_ snap: SnapID) -> Bool {
        let index = index(notBefore: snap.rawValue)
        return index < runs.count && runs[index].contains(snap.rawValue)
    }

    /// Adds a snapshot. One that is there already is no error.
    public mutating func insert(_ snap: SnapID) { insert(snap.rawValue...snap.rawValue) }

    /// Adds a run.
    public mutating func insert(_ run: ClosedRange<UInt64>) {
        precondition(run.lowerBound > 0 && run.upperBound <= SnapID.last.rawValue, "snapshots \(run)")
        // Runs that touch the new one become one with it.
        let from = index(notBefore: run.lowerBound - 1)
        var to = from
        var merged = run
        while to < runs.count, runs[to].lowerBound <= run.upperBound + 1 {
            merged = min(merged.lowerBound, runs[to].lowerBound)...max(merged.upperBound, runs[to].upperBound)
            to += 1
        }
        runs.replaceSubrange(from..<to, with: CollectionOfOne(merged))
    }

    /// Adds all of another set.
    public mutating func formUnion(_ other: SnapIntervals) {
        for run in other.runs { insert(run) }
    }

    /// Takes a snapshot out.
    public mutating func remove(_ snap: SnapID) {
        var one = SnapIntervals()
        one.insert(snap)
        self = subtracting(one)
    }

    /// The snapshots that are not in `other`.
    public func subtracting(_ other: SnapIntervals) -> SnapIntervals {
        var result = SnapIntervals()
        for run in runs {
            var from = run.lowerBound
            var index = other.index(notBefore: from)
            while index < other.runs.count, other.runs[index].lowerBound <= run.upperBound {
                let hole = other.runs[index]
                if hole.lowerBound > from { result.runs.append(from...hole.lowerBound - 1) }
                from = hole.upperBound + 1
                index += 1
            }
            if from <= run.upperBound { result.runs.append(from...run.upperBound) }
        }
        return result
    }

    /// The snapshots that are in both.
    public func intersection(_ other: SnapIntervals) -> SnapIntervals { subtracting(subtracting(other)) }

    /// Decodes what `encode` wrote. Runs that are empty, out of order or touch are refused.
    public init(from reader: inout ByteReader, limit: Int = MapLimits.snapRuns) throws(WireError) {
        runs = try reader.readArray(atMost: limit) { r throws(WireError) in
            let (first, last) = (try r.readU64(), try r.readU64())
            guard first > 0, first <= last, last <= SnapID.last.rawValue else {
                throw WireError("snapshots \(first) to \(last) are no run")
            }
            return first...last
        }
        for (one, next) in zip(runs, runs.dropFirst()) where next.lowerBound <= one.upperBound + 1 {
            throw WireError("snapshots \(next.lowerBound) after \(one.upperBound): the runs are not apart")
        }
    }

    /// The runs as bytes: a count, then first and last of each.
    public func encode(into writer: inout ByteWriter) {
        writer.writeArray(runs) { writer, run in
            writer.writeU64(run.lowerBound)
            writer.writeU64(run.upperBound)
        }
    }
}

extension SnapIntervals: CustomStringConvertible {
    /// The runs as people write them: `1-3,7`.
    public var description: String {
        runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
    }
}
