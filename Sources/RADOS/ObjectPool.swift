import Glibc
import Protocol
import Wire

/// A pool as administration uses it: one compound request at a time, awaited. Metadata operations are written against this,
/// so that tests can bring objects of their own.
///
/// A request whose caller has been cancelled is not taken back: it may still be done.
public protocol ObjectPool: AnyObject, Sendable {
    /// The pool's name, for messages.
    var name: String { get }
    /// Placement groups of the pool now.
    func groupCount() async throws(RADOSError) -> UInt32
    /// Does the steps atomically. Returns their outputs; empty ones for a change that was sent again and had been done
    /// already, so do not take outputs from requests that change something.
    @discardableResult
    func perform(
        _ steps: [ObjectOperation], on object: ObjectName, in scope: SnapshotScope
    ) async throws(RADOSError) -> [Bytes]
    /// Objects from `position` on whose names begin with `prefix`, at most `OperationLimits.listing`; perhaps none although
    /// there are more. Those that exist at `snap`. Beside changes of the pool's groups, some may be come to twice.
    func list(
        from position: ListingPosition, prefix: Bytes, at snap: SnapID
    ) async throws(RADOSError) -> ObjectListing
    /// Has the monitors give out the number of a new snapshot; it is stored by then.
    func createSnapshot() async throws(RADOSError) -> SnapID
    /// Has the monitors take a snapshot out: what it has left is trimmed from now on. One that was removed before is no
    /// error.
    func removeSnapshot(_ snap: SnapID) async throws(RADOSError)
}

extension ObjectPool {
    /// Does the steps atomically on an object without snapshots.
    @discardableResult
    public func perform(_ steps: [ObjectOperation], on object: ObjectName) async throws(RADOSError) -> [Bytes] {
        try await perform(steps, on: object, in: .head)
    }

    /// Objects as they are now.
    public func list(from position: ListingPosition, prefix: Bytes) async throws(RADOSError) -> ObjectListing {
        try await list(from: position, prefix: prefix, at: .head)
    }
}

/// Why the cluster did not do what it was asked.
public struct RADOSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The positive errno of the field.
    public let errno: Int32
    /// One line that names the thing and what to do.
    public let description: String
    /// True when it is an OSD's answer to the request, false when the request was never done: the pool is gone, the
    /// cluster cannot be reached.
    public let isAnswer: Bool

    /// A failure with `errno` and a line for people.
    public init(errno: Int32, _ description: String, isAnswer: Bool = false) {
        self.errno = errno
        self.description = description
        self.isAnswer = isAnswer
    }
}

extension RADOSError {
    /// What an errno that an OSD answers with means, in a line.
    static func text(_ errno: Int32) -> String {
        if errno == Errno.blocklisted {
            return "this client was blocklisted and can do nothing any more: start it again"
        }
        if errno >= OperationLimits.mismatch {
            return "the object's bytes differ from what was expected at offset \(errno - OperationLimits.mismatch)"
        }
        return String(cString: strerror(errno))
    }
}

extension OperationReply {
    /// True when it is an OSD's answer, false when the request was never done: the pool is gone, or too much waited.
    @inlinable
    public var isAnswer: Bool { number != 0 }
}
