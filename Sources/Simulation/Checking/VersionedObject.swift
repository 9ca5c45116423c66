/// An object with what it was at snapshots, as clients can tell: the object itself and what a write under newer snapshots keeps.
public struct VersionedObject: Hashable, Sendable {
    /// What a request says of snapshots beside its steps.
    public struct Scope: Hashable, Sendable {
        /// The snapshot at which it reads; nil for the object as it is.
        public var snap: UInt64?
        /// The newest snapshot that the writer knows of; 0 for none.
        public var sequence: UInt64
        /// The snapshots of which the writer knows that they live, newest first.
        public var snaps: [UInt64]

        /// A scope; the object as it is, without snapshots, unless said otherwise.
        public init(snap: UInt64? = nil, sequence: UInt64 = 0, snaps: [UInt64] = []) {
            self.snap = snap
            self.sequence = sequence
            self.snaps = snaps
        }
    }

    private struct Kept: Hashable {
        var snap: UInt64
        var object: ObjectModel
    }

    /// The object as it is.
    public private(set) var head = ObjectModel()
    /// The newest snapshot that a change of the object knew of: at newer ones it is what it is now.
    public private(set) var sequence: UInt64 = 0
    /// What it was at snapshots at which it existed.
    private var kept: [Kept] = []

    /// No object, at no snapshot.
    public init() {}

    /// The errno of a request about a snapshot that is no more.
    public static let stale: Int32 = 116

    /// What the object was at a snapshot.
    public func object(at snap: UInt64) -> ObjectModel {
        snap > sequence ? head : kept.first { $0.snap == snap }?.object ?? ObjectModel()
    }

    /// Does a request as a whole.
    public mutating func apply(_ steps: [ObjectModel.Step], _ scope: Scope) -> ObjectModel.Outcome {
        if let snap = scope.snap {
            var object = object(at: snap)
            return object.apply(steps)
        }
        guard steps.contains(where: \.isWrite) else { return head.apply(steps) }
        var next = head
        if case .rollback(let snap)? = steps.first {
            // What it is already is not changed.
            guard snap <= sequence else { return ObjectModel.Outcome() }
            next = object(at: snap)
        } else {
            let outcome = next.apply(steps)
            guard outcome.errno == 0 else { return outcome }
        }
        guard head.exists || next.exists else { return ObjectModel.Outcome() }
        keep(for: scope)
        head = next
        // Nothing is left that could know of snapshots.
        if !head.exists, kept.isEmpty { sequence = 0 }
        return ObjectModel.Outcome()
    }

    private mutating func keep(for scope: Scope) {
        guard scope.sequence > sequence else { return }
        if head.exists {
            for snap in scope.snaps where snap > sequence { kept.append(Kept(snap: snap, object: head)) }
        }
        sequence = scope.sequence
    }

    /// True when all that is left are versions that only removed snapshots need: then it may be forgotten at any time.
    public func isForgettable(_ removed: Set<UInt64>) -> Bool {
        !head.exists && sequence > 0 && kept.allSatisfy { removed.contains($0.snap) }
    }

    /// The object, for a failing run.
    public var description: String {
        let versions = kept.map { " \($0.snap): \($0.object.description)" }.joined()
        return sequence == 0 ? head.description : "\(head.description) since \(sequence)\(versions)"
    }
}
