import Protocol
import Wire

/// The snapshots that the clients of a simulation have taken, of all its objects together. A client goes by a copy, which may
/// be old.
struct SnapshotBook {
    /// Living ones at most.
    static let limit = 4

    /// The newest that anybody was told of.
    private(set) var sequence: UInt64 = 0
    /// Those that live, oldest first.
    private(set) var living: [UInt64] = []
    /// Those whose removal was asked for, in that order.
    private(set) var removed: [UInt64] = []

    mutating func add(_ snap: UInt64) {
        sequence = max(sequence, snap)
        living.append(snap)
        living.sort()
    }

    mutating func remove(_ snap: UInt64) {
        living.removeAll { $0 == snap }
        removed.append(snap)
    }

    /// What a write says that goes by this book.
    var scope: VersionedObject.Scope {
        VersionedObject.Scope(sequence: sequence, snaps: living.reversed())
    }
}

extension VersionedObject.Scope {
    /// The scope as it is sent.
    var context: SnapContext {
        guard let context = SnapContext(sequence: SnapID(sequence), snaps: snaps.map { SnapID($0) }) else {
            preconditionFailure("\(self) is no context")
        }
        return context
    }
}
