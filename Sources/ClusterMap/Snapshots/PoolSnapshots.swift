import Wire

/// What a pool knows of its self-managed snapshots: which numbers were given out, and which of them are no more. Which
/// snapshots belong together, and what they are called, is the affair of those who asked for the numbers.
public struct PoolSnapshots: Hashable, Sendable {
    /// The newest number that was given out.
    public private(set) var sequence = SnapID.none
    /// All that were removed.
    public private(set) var removed = SnapIntervals()
    /// Those of `removed` that some group may not have trimmed yet.
    public private(set) var trimming = SnapIntervals()

    /// A pool without snapshots.
    public init() {}

    /// Gives out the next number; nil when there are too many snapshots, or none left.
    public mutating func create() -> SnapID? {
        // Every snapshot that lives can part two runs of removed ones.
        guard removed.runs.count < MapLimits.snapRuns - 1, sequence < .last else { return nil }
        sequence = SnapID(sequence.rawValue + 1)
        return sequence
    }

    /// Removes a snapshot: its clones are trimmed from now on. False when that number was never given out; one that was
    /// removed before is no error.
    public mutating func remove(_ snap: SnapID) -> Bool {
        guard snap > .none, snap <= sequence else { return false }
        guard !removed.contains(snap) else { return true }
        removed.insert(snap)
        trimming.insert(snap)
        return true
    }

    /// All groups have trimmed these.
    public mutating func trimmed(_ snaps: SnapIntervals) { trimming = trimming.subtracting(snaps) }

    init(from reader: inout ByteReader) throws(WireError) {
        sequence = SnapID(try reader.readU64())
        removed = try SnapIntervals(from: &reader)
        trimming = try SnapIntervals(from: &reader)
        guard sequence <= .last, (removed.runs.last?.upperBound ?? 0) <= sequence.rawValue,
            trimming.subtracting(removed).isEmpty
        else { throw WireError("snapshots up to \(sequence), removed \(removed), trimming \(trimming)") }
    }

    func encode(into writer: inout ByteWriter) {
        writer.writeU64(sequence.rawValue)
        removed.encode(into: &writer)
        trimming.encode(into: &writer)
    }
}
