import ClusterMap
import Protocol
import Wire

/// A session of a client or daemon with this monitor, numbered by the shell; numbers are never used twice.
public struct PeerSession: Identifier {
    /// The number.
    public var rawValue: UInt64
    /// A session with this number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Who is at the other end of a session, as the handshake said.
public struct MonitorPeer: Hashable, Sendable {
    /// What sort of peer.
    public enum Role: Hashable, Sendable {
        /// An OSD's daemon.
        case osd(OSDID)
        /// A client, a gateway or an administrator's command.
        case client
        /// Another monitor.
        case monitor
    }

    /// What sort of peer.
    public var role: Role
    /// What it calls itself, for the log; with the incarnation it is one run of one process.
    public var name: String
    /// Tells this run of the peer from others; numbers of its commands count within it.
    public var incarnation: UInt64

    /// A peer with these values.
    public init(role: Role, name: String, incarnation: UInt64) {
        self.role = role
        self.name = name
        self.incarnation = incarnation
    }

    /// The OSD, or nil for any other peer.
    public var osd: OSDID? {
        if case .osd(let id) = role { id } else { nil }
    }
}

/// What a monitor needs of the process around it: sessions, the log of maps, the time.
///
/// Confined to the monitor's event loop. No method may call back into the core before it returns.
public protocol MonitorEnvironment: AnyObject {
    /// A monotonic clock.
    var nowMilliseconds: UInt64 { get }
    /// The time of day, in seconds since 1970.
    var wallSeconds: UInt64 { get }

    /// Sends to a session; what is sent to one that is gone is dropped.
    func send(_ message: MonitorMessage, to session: PeerSession)

    /// Decides and stores the next epoch. When it is durable the core's `committed` is called. One at a time: the core
    /// proposes nothing before the last one is committed. With several monitors, Paxos stands behind this.
    func propose(_ entry: MapLogEntry)

    /// The stored increments after `epoch`, in order without a gap: as many as go into one map update, at least one when
    /// there is any. None when the store failed; the monitor then ends.
    func increments(after epoch: Epoch) -> [Bytes]

    /// The encoded first map of the cluster.
    func firstMap() -> Bytes

    /// A line for the daemon's log.
    func note(_ line: String)
}
