import Protocol
import Wire

/// Where a request stands among the snapshots of what it is about.
public struct SnapshotScope: Hashable, Sendable {
    /// Which version a reading request is about.
    public var snap: SnapID
    /// The snapshots that a changing request knows of.
    public var context: SnapContext

    /// The object as it is, without snapshots.
    public static let head = SnapshotScope()

    /// A scope; the object as it is, without snapshots, unless said otherwise.
    public init(snap: SnapID = .head, context: SnapContext = .none) {
        self.snap = snap
        self.context = context
    }
}
