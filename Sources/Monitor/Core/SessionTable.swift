import Protocol
import Wire

/// The sessions of a monitor, and the replies that their clients may ask for again.
struct SessionTable {
    struct Session {
        let peer: MonitorPeer
        /// The newest epoch sent; nil without a subscription.
        var told: Epoch?
        /// The run of the OSD at the other end, once it has said it.
        var osdRun: UInt64?
    }

    /// A command among all that a run of a client sends.
    struct CommandKey: Hashable {
        var name: String
        var incarnation: UInt64
        var number: UInt64
    }

    private var sessions: [PeerSession: Session] = [:]
    private var replies: [CommandKey: CommandReply] = [:]
    /// The keys of `replies`, in a ring: the oldest is at `oldest` once the ring is full.
    private var ring: [CommandKey] = []
    private var oldest = 0

    subscript(id: PeerSession) -> Session? { sessions[id] }

    /// Those with a subscription, in order.
    var subscribers: [PeerSession] { sessions.filter { $0.value.told != nil }.keys.sorted() }

    /// Those with a subscription that were not told `epoch` yet, in order.
    func behind(_ epoch: Epoch) -> [PeerSession] {
        sessions.filter { $0.value.told.map { $0 < epoch } ?? false }.keys.sorted()
    }

    mutating func open(_ id: PeerSession, peer: MonitorPeer) {
        precondition(sessions[id] == nil, "session \(id) opens twice")
        sessions[id] = Session(peer: peer)
    }

    mutating func close(_ id: PeerSession) { sessions[id] = nil }

    mutating func told(_ id: PeerSession, _ epoch: Epoch) { sessions[id]?.told = epoch }

    mutating func setRun(_ id: PeerSession, _ incarnation: UInt64) { sessions[id]?.osdRun = incarnation }

    // MARK: Replies

    /// How a command of a session is known; nil when the session is gone.
    func key(of number: UInt64, from id: PeerSession) -> CommandKey? {
        sessions[id].map { CommandKey(name: $0.peer.name, incarnation: $0.peer.incarnation, number: number) }
    }

    /// The reply to a command that was answered before.
    func reply(to key: CommandKey) -> CommandReply? { replies[key] }

    /// Keeps a reply in place of the oldest.
    mutating func remember(_ reply: CommandReply, for key: CommandKey) {
        guard replies.updateValue(reply, forKey: key) == nil else { return }
        if ring.count < MonitorBounds.rememberedReplies {
            ring.append(key)
        } else {
            replies[ring[oldest]] = nil
            ring[oldest] = key
            oldest = (oldest + 1) % ring.count
        }
        precondition(replies.count == ring.count, "\(replies.count) replies, \(ring.count) keys")
    }
}
