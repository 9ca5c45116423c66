import Protocol
import RADOS
import Wire

/// What an open image needs of the cluster: the effects of its core. Confined to the client's event loop.
public protocol ImageObjects: AnyObject {
    /// Submits a compound request on an object of the image's pool. Ends in `Image.received` with the token, perhaps before
    /// this returns. Requests on one object are done in the order in which they were submitted.
    func submit(_ steps: [ObjectOperation], on object: ObjectName, scope: SnapshotScope, token: UInt64)
    /// The image has another size now.
    func sizeChanged(to size: ByteCount)
    /// The image was removed: everything on it fails from now on.
    func imageRemoved()
    /// The watch has been given up, or could not be: nothing more is submitted.
    func closed()
}

/// How an operation on an image ended.
public enum ImageOutcome: Hashable, Sendable {
    /// A change was done: it is on every OSD of the acting set.
    case done
    /// The bytes asked for.
    case data(Bytes)
    /// All bytes asked for are zero.
    case zeroes
    /// The errno of the field; how much of a change was done is not known.
    case failed(errno: Int32)
}

/// The right and duty to hear how an operation ended; finished exactly once.
public protocol ImageReply: SendableMetatype {
    /// Called on the client's event loop, perhaps before the operation's method has returned.
    func finish(_ outcome: ImageOutcome)
}
