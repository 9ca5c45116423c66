import ClusterMap
import Messenger
import Protocol
import Wire

/// Finds a monitor, follows the OSD map, and asks commands: one for daemons and clients alike. A core: its owner passes on
/// the messenger's events of the monitor's session (see `owns`).
///
/// Commands are sent again after a connection was lost, with the same number: a monitor remembers the replies it gave to an
/// entity and incarnation by number, and answers a number it knows from memory instead of doing it twice.
public final class MonitorClient<Environment: MonitorClientEnvironment> {
    /// The newest map; nil before the first.
    public private(set) var map: OSDMap?
    /// The session with the monitor that is used now, connected or not; nil before `start`.
    public private(set) var session: SessionID?

    /// A client that knows monitors at these addresses (at least one), and perhaps a cluster, and a map from an earlier
    /// run. It does not keep `environment` alive.
    public init(monitors: [Endpoint], cluster: UniqueID?, map: OSDMap? = nil, environment: Environment) {
        preconditionFailure("not built yet")
    }

    /// Begins to look for a monitor and to follow the map.
    public func start() { preconditionFailure("not built yet") }

    /// Ends the session; open commands fail.
    public func stop() { preconditionFailure("not built yet") }

    /// True when the session is this client's, so that its events belong here.
    public func owns(_ session: SessionID) -> Bool { preconditionFailure("not built yet") }

    /// True while a monitor is connected.
    public var isReachable: Bool { preconditionFailure("not built yet") }

    /// Sends a message to the monitor; dropped when none is connected (see `monitorReachable`).
    public func send(_ message: MonitorMessage) { preconditionFailure("not built yet") }

    /// Asks a command; ends in `commandEnded` with the number returned. Nil for no time limit.
    public func command(
        words: [String], arguments: [String: String] = [:], timeoutMilliseconds: Int? = nil
    ) -> UInt64 { preconditionFailure("not built yet") }

    // MARK: Events

    public func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        preconditionFailure("not built yet")
    }
    public func interrupted(_ session: SessionID, why: Interruption) { preconditionFailure("not built yet") }
    public func reset(_ session: SessionID) { preconditionFailure("not built yet") }
    public func received(_ message: MonitorMessage, from session: SessionID) {
        preconditionFailure("not built yet")
    }
    public func timerFired(_ timer: MonitorClientTimer) { preconditionFailure("not built yet") }
}
