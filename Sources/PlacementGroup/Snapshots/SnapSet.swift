import Protocol
import Wire

/// What an object's head knows of its older versions: kept with the head, or with what stands in its place when the object was
/// removed and versions of it are still needed.
///
/// A version, a *clone*, holds the object as it was before the first write that knew of a newer snapshot. Its number is that of
/// the writer's context; which snapshots it stands for is kept with the clone itself (`CloneRecord`).
package struct SnapSet: Hashable, Sendable {
    /// The newest snapshot that a write to the object knew of: what is older than this and has no clone did not exist.
    package private(set) var sequence: SnapID
    /// The clones, oldest first.
    package private(set) var clones: [SnapID]
    /// Where the head is known to be the same as the newest clone.
    package private(set) var overlap: BlockOverlap

    /// An object that no snapshot knows of.
    package init() {
        sequence = .none
        clones = []
        overlap = .nothing
    }

    /// Which version of an object serves a read.
    package enum Version: Hashable, Sendable {
        case head
        case clone(SnapID)
        /// There was no object.
        case none
    }

    /// Who serves a read at `snap`; `records` gives what is kept with a clone.
    package func version(
        at snap: SnapID, headExists: Bool, records: (SnapID) -> CloneRecord?
    ) -> Version {
        guard let candidate = candidate(for: snap) else { return headExists && snap > sequence ? .head : .none }
        return records(candidate)?.snaps.contains(snap) == true ? .clone(candidate) : .none
    }

    /// The only clone that can stand for the snapshot; nil when none can.
    package func candidate(for snap: SnapID) -> SnapID? {
        snap > sequence ? nil : clones.first { $0 >= snap }
    }

    /// A clone that a write has to make before it changes anything.
    package struct NewClone: Hashable, Sendable {
        package var id: SnapID
        package var record: CloneRecord
    }

    /// Takes note of a write under `context`, before it happens: the clone that it has to make of the object, which has `size`
    /// bytes, or nil for none. A context that is older than what the object knows has no effect.
    ///
    /// - Parameter isRemoved: snapshots that are no more, which no clone is to be made for.
    package mutating func take(
        _ context: SnapContext, exists: Bool, size: UInt64, isRemoved: (SnapID) -> Bool
    ) -> NewClone? {
        guard context.sequence > sequence else { return nil }
        let known = sequence
        sequence = context.sequence
        guard exists else { return nil }
        let snaps = context.snaps.prefix { $0 > known }.filter { !isRemoved($0) }
        guard !snaps.isEmpty else { return nil }
        let record = CloneRecord(snaps: snaps, overlap: overlap)
        clones.append(context.sequence)
        overlap = BlockOverlap(wholeOf: size)
        return NewClone(id: context.sequence, record: record)
    }

    /// These bytes of the head change. True when that is news.
    package mutating func changed(offset: UInt64, length: UInt64) -> Bool {
        overlap.remove(offset: offset, length: length)
    }

    /// The head changes from `offset` on. True when that is news.
    package mutating func changed(from offset: UInt64) -> Bool { overlap.remove(from: offset) }

    /// The head becomes what `clone` is, which has `size` bytes.
    package mutating func rolledBack(to clone: SnapID, size: UInt64, records: (SnapID) -> CloneRecord?) {
        overlap = BlockOverlap(wholeOf: size)
        for newer in clones where newer > clone {
            overlap = overlap.intersection(records(newer)?.overlap ?? .nothing)
        }
    }

    /// What trimming does to a clone.
    package enum Trim: Hashable, Sendable {
        /// It still stands for some snapshots.
        case keep(CloneRecord)
        /// It stands for none any more and goes; the next newer clone, if there is one, now follows the one before.
        case remove(newer: SnapID?, CloneRecord?)
    }

    /// Takes snapshots that are no more from a clone.
    ///
    /// - Parameter newer: what is kept with the next newer clone.
    package mutating func trim(
        _ clone: SnapID, _ record: CloneRecord, isRemoved: (SnapID) -> Bool, records: (SnapID) -> CloneRecord?
    ) -> Trim {
        let left = record.snaps.filter { !isRemoved($0) }
        guard left.isEmpty else { return .keep(CloneRecord(snaps: left, overlap: record.overlap)) }
        guard let index = clones.firstIndex(of: clone) else { return .remove(newer: nil, nil) }
        clones.remove(at: index)
        let between = index == 0 ? BlockOverlap.nothing : record.overlap
        guard index < clones.count else {
            overlap = overlap.intersection(between)
            return .remove(newer: nil, nil)
        }
        guard var next = records(clones[index]) else { return .remove(newer: nil, nil) }
        next.overlap = next.overlap.intersection(between)
        return .remove(newer: clones[index], next)
    }

    /// Decodes what `encoded` gave.
    package init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("snap set", supported: 1) { r, _ throws(WireError) in
            var set = SnapSet()
            set.sequence = SnapID(try r.readU64())
            set.overlap = try BlockOverlap(from: &r)
            set.clones = try r.readArray(atMost: SnapLimits.clones) { r throws(WireError) in SnapID(try r.readU64()) }
            return set
        }
        for (older, newer) in zip(clones, clones.dropFirst()) where older >= newer {
            throw WireError("clone \(newer) after \(older)")
        }
    }

    /// The set as it is kept with the head.
    package var encoded: Bytes {
        .encoding(capacity: 64 + 8 * clones.count) { writer in
            writer.versioned(1) { w in
                w.writeU64(sequence.rawValue)
                overlap.encode(into: &w)
                w.writeArray(clones) { $0.writeU64($1.rawValue) }
            }
        }
    }
}

/// What is kept with a clone.
package struct CloneRecord: Hashable, Sendable {
    /// The snapshots that it stands for, newest first.
    package var snaps: [SnapID]
    /// Where it is known to be the same as the next older clone.
    package var overlap: BlockOverlap

    package init(snaps: [SnapID], overlap: BlockOverlap) {
        self.snaps = snaps
        self.overlap = overlap
    }

    /// Decodes what `encoded` gave.
    package init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("clone record", supported: 1) { r, _ throws(WireError) in
            let snaps = try r.readArray(atMost: SnapLimits.contextSnaps) { r throws(WireError) in
                SnapID(try r.readU64())
            }
            return CloneRecord(snaps: snaps, overlap: try BlockOverlap(from: &r))
        }
    }

    /// The record as it is kept with the clone.
    package var encoded: Bytes {
        .encoding(capacity: 64 + 8 * snaps.count) { writer in
            writer.versioned(1) { w in
                w.writeArray(snaps) { $0.writeU64($1.rawValue) }
                overlap.encode(into: &w)
            }
        }
    }
}
