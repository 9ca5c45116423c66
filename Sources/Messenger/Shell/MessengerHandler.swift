import Protocol

/// What a messenger tells its owner. All methods are called on the messenger's event loop, and may call the messenger.
///
/// Life of a session that this side opened with `connect`: `interrupted` for every attempt that fails, `opened` when it is
/// connected, `received`, again `interrupted` … `opened(resumed: true)` when nothing was lost, or `reset` and then
/// `opened(resumed: false)` when the peer no longer knew it. It lasts until this side closes it. A session that a peer
/// opened begins with `opened(resumed: false)` and ends with `closed`, after which its id finds nothing.
public protocol MessengerHandler: AnyObject, SendableMetatype {
    /// A message, exactly once and in order for each session.
    func received(_ message: Message, from session: SessionID)
    /// The session has a connection. `resumed` when it is the one known before, with nothing lost.
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool)
    /// The session's connection ended, or an attempt to connect failed. What is sent meanwhile is kept.
    func interrupted(_ session: SessionID, why: Interruption)
    /// The peer has lost the session, or it was given up: messages sent and not acknowledged are dropped, and may or may
    /// not have been received. Whoever needs them to arrive sends them again.
    func reset(_ session: SessionID)
    /// A session opened by a peer is over, like `reset`, and its id is void: its initiator closed it, was replaced by a new
    /// run of its process, or did not come back in time. Not called for `Messenger.close`.
    func closed(_ session: SessionID)
    /// The session holds more unacknowledged messages than it should (`true`), or fewer than half of that again
    /// (`false`). Whoever goes on sending regardless makes the session be given up at `MessengerLimits.overflowFactor` times that.
    func pressureChanged(_ session: SessionID, isHigh: Bool)
    /// Once for each turn of the event loop in which something was received or sent, before what was sent goes out.
    func turnEnded()
    /// Follows `turnEnded` when what was sent has gone out, as far as sockets take it: for work that others need not wait for.
    /// What is sent now goes out at the end of the next turn.
    func turnSent()
}

extension MessengerHandler {
    public func pressureChanged(_ session: SessionID, isHigh: Bool) {}
    public func turnSent() {}
}
