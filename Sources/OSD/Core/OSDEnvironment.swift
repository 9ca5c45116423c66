import ClusterMap
import KeyValueStore
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// What an OSD needs of the process around it: its store, sessions, the monitor and the time. In production a shell over
/// SwiftNIO, under simulation a virtual network and virtual disks.
public protocol OSDEnvironment: AnyObject {
    associatedtype Device: BlockDevice
    associatedtype Keys: KeyValueStore

    var store: ObjectStore<Device, Keys> { get }
    /// The times after which the OSD acts.
    var times: OSDTimes { get }
    /// How much a group keeps and does at a time.
    var tuning: GroupTuning { get }
    /// A monotonic clock.
    var nowMilliseconds: UInt64 { get }
    /// The time of day, in nanoseconds since 1970.
    var wallNanoseconds: UInt64 { get }

    /// Sends an encoded message; a session that is gone swallows it.
    func send(_ payload: Bytes, to session: PeerSession)
    /// Opens a session to another OSD. Returns at once; the session connects, and reconnects, by itself.
    func connect(to endpoint: Endpoint, osd: OSDID, incarnation: UInt64) -> PeerSession
    func close(_ session: PeerSession)
    /// Has `endOfTurn` called again soon, though nothing may happen until then.
    func requestTurn()
    func tellMonitor(_ message: MonitorMessage)
    /// The OSD cannot go on: the process ends with this reason, and replays its journal at the next start.
    func stop(because reason: String)
    /// A line for the administrator who asks for more than warnings.
    func note(_ text: String)
    /// A line for the administrator about something that is not as it should be.
    func warn(_ text: String)
    /// Has the core's `pushMayGoOn` called with these values, after so many milliseconds.
    func resumePush(_ number: UInt32, for group: GroupSlot, afterMilliseconds: UInt64)
    /// Something rare has happened; for tests to count.
    func occurred(_ branch: RareBranch)
}

/// A session with another daemon or a client, by a number that the environment gave it.
public struct PeerSession: Hashable, Sendable {
    public var number: UInt64

    public init(number: UInt64) {
        self.number = number
    }
}

/// Who is at the other end of a session that was opened to this OSD.
public enum PeerName: Hashable, Sendable {
    case osd(OSDID, incarnation: UInt64)
    case client(String)
}

/// The times after which an OSD acts, in milliseconds of its monotonic clock.
public struct OSDTimes: Hashable, Sendable {
    /// Between two heartbeats to those it shares groups with.
    public var heartbeat: UInt64 = 1000
    /// A peer that answers none for this long is reported.
    public var grace: UInt64 = 6000
    /// For how long a heartbeat's answer lets the asker serve reads; less than the grace, more than a few heartbeats.
    public var lease: UInt64 = 5000

    /// The times of production.
    public init() {}
}

/// The limits of an OSD, in one place.
public enum OSDLimits {
    /// Messages of an interval that this OSD's map has not reached yet.
    public static let earlyMessages = 65536
    /// Milliseconds between two reports to the monitor.
    public static let statisticsInterval: UInt64 = 1000
    /// Milliseconds after which the monitor is told of all groups again, not only of those that have changed.
    public static let wholeStatisticsInterval: UInt64 = 15_000
    /// Milliseconds after which a boot that the map does not show is announced again.
    public static let bootInterval: UInt64 = 2000
    /// Milliseconds after which the monitor is asked again to commit that this OSD lives.
    public static let aliveInterval: UInt64 = 1000
    /// Groups of this OSD that fill others at a time, and copies on this OSD that are filled at a time.
    public static let fills = 8
    /// Groups of this OSD that are scrubbed at a time, and copies on this OSD that are compared for others at a time.
    public static let scrubs = 1
    /// Objects that are brought back at a time while clients are quiet, and while they are not.
    public static let recoveries = (idle: 16, busy: 2)
    /// How many times as long as a part took the next one waits, while clients are not quiet.
    public static let pausePerPart: UInt64 = 7
    /// Milliseconds that it waits at most.
    public static let longestPause: UInt64 = 200
    /// Client operations a second from which on clients are not quiet.
    public static let busyOperations = 20
    /// Milliseconds that a peer's answers to heartbeats take when the monitor is told: Ceph's default, a twentieth of its grace.
    public static let slowPing: Double = 1000
    /// Milliseconds after which a write that some member has not committed counts as slow, as in Ceph.
    public static let slowWrite: UInt64 = 30_000
    /// Milliseconds between two looks of the groups at what may have been lost.
    public static let groupTick: UInt64 = 1000
    /// Seconds that a new OSD looks for a monitor before it gives up; a busy machine takes its time to start one.
    public static let registrationSeconds: Int64 = 60
    /// Bytes of client data that must fit besides what is in flight, or the OSD counts as full.
    public static let headroom = 4 << 20
}
