import ClusterMap
import Messenger
import Protocol
import Wire

/// What a `MonitorClient` needs of whoever owns the messenger. Everything happens on the owner's event loop.
public protocol MonitorClientEnvironment: AnyObject, SendableMetatype {
    /// Opens a session with a monitor; its events go to the client's methods of the same names.
    func connect(toMonitor endpoint: Endpoint) -> SessionID
    /// Ends a session that `connect` returned.
    func close(_ session: SessionID)
    func send(_ message: MonitorMessage, to session: SessionID)
    /// Calls the client's `timerFired(timer)` after a time. Timers are never cancelled; old ones are ignored.
    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int)

    /// A newer map. With an increment (never more than one: every epoch is told), it leads from the map of the call before
    /// to this one; without, the map was fetched whole and epochs may have been skipped.
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment])
    /// A monitor answers now (`true`; a daemon announces itself again), or none does.
    func monitorReachable(_ isReachable: Bool)
    /// The end of a command, once for each.
    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>)
    /// The monitor refuses the boot that was announced, for this reason; only OSDs boot.
    func bootRefused(_ reason: String)
    /// The map here is another than the monitor's of the same epoch. True when the owner ends for that reason; otherwise the
    /// whole map is fetched.
    func mapHasParted(_ reason: String) -> Bool
    /// One line for the log: a monitor that cannot be used, and why.
    func report(_ line: String)
}

extension MonitorClientEnvironment {
    /// Clients do not boot.
    public func bootRefused(_ reason: String) {}
    /// A client goes on with the whole map.
    public func mapHasParted(_ reason: String) -> Bool { false }
}

/// A timer of a `MonitorClient`.
public enum MonitorClientTimer: Hashable, Sendable {
    /// The time to find a monitor at the current address is over.
    case attempt(UInt64)
    /// The time of a command is over.
    case command(UInt64)
}

/// Why the monitors gave no answer; the text is one line and says what to do.
public struct MonitorClientError: Error, Hashable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}
