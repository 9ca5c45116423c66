import Protocol
import Wire

/// What the objecter tells the world: the effects of the targeting machine. Confined to the client's event loop.
public protocol ObjecterEnvironment: AnyObject {
    /// The kind of map that targets are taken from.
    associatedtype Map: TargetMap

    /// Hands a request to the session with `osd`, after everything handed over before. The session delivers in order or is
    /// reported lost through `Objecter.sessionReset`. Must not call the objecter back.
    func send(_ request: OperationRequest, to osd: OSDID)
    /// An OSD has seen a newer map: see that one of at least `epoch` arrives. May be asked several times.
    func wantMap(atLeast epoch: Epoch)
    /// An OSD had no room for a request: call `Objecter.retry` in about `ClientLimits.retryMilliseconds`. May be asked
    /// several times.
    func wantRetry()
    /// A request has ended; called exactly once for each. The reply's errno is the cluster's answer, or the objecter's own:
    /// ENOENT when the pool is gone, EAGAIN when too many requests wait. May submit further requests.
    func completed(_ token: RequestToken, _ reply: OperationReply)
}

/// What its submitter knows a request by: whose it is, and which of theirs.
public struct RequestToken: Hashable, Sendable {
    /// Whose request it is: the shell's number for them.
    public var owner: UInt32
    /// Which of theirs; the owner's own affair.
    public var value: UInt64

    /// The token `value` of `owner`.
    @inlinable
    public init(owner: UInt32, value: UInt64) {
        self.owner = owner
        self.value = value
    }
}

/// A pool in use, found without a lookup: an index given out by `Objecter.open`.
public struct PoolSlot: Hashable, Sendable {
    let index: Int
}
