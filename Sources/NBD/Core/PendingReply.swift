import Wire

/// The right, and the duty, to answer one request: exactly one of the methods below is called exactly once, on the event
/// loop of the server, during the operation or any time later. Answering after the connection has gone is harmless and
/// still required, since it is what lets the export be closed.
///
/// A value of two words: keeping it costs a reference count, answering is a direct call.
public struct PendingReply {
    let transmission: Transmission
    let slot: UInt32
    let generation: UInt32

    /// The connection that asked, as later named by `Export.connectionLost`.
    public var connection: ConnectionID { transmission.connection }

    /// The operation succeeded. Not for a read, which must be answered with data.
    public func complete() {
        transmission.complete(self, failure: nil)
    }

    /// A read succeeded; `data` has exactly the length asked for. It is copied before this returns.
    public func complete(with data: Bytes) {
        transmission.complete(self, data: data)
    }

    /// A read succeeded and everything there is zero.
    public func completeWithZeroes() {
        transmission.completeWithZeroes(self)
    }

    /// The operation failed; nothing is said about how much of it was done.
    public func fail(_ failure: IOFailure) {
        transmission.complete(self, failure: failure)
    }
}
