import Protocol

/// The limits of a monitor, in one place. What is said on the wire is bounded by `Protocol.MonitorLimits`.
public enum MonitorBounds {
    /// Changes that wait while one is being stored. A command beyond that is refused, to be tried again.
    public static let waitingChanges = 4096
    /// Bytes of files that came with the commands that wait. A command beyond that is refused, to be tried again.
    public static let waitingInput = 64 << 20
    /// Answers to commands that are kept for a resend, the newest of all clients.
    public static let rememberedReplies = 1024
    /// Bytes of increments in one map update; a larger increment goes alone.
    public static let updateBytes = 4 << 20
    /// Map updates that a subscriber far behind gets in one go; the next follow with the next tick.
    public static let updatesPerTurn = 4
    /// A whole map is stored beside the increment at every multiple of this, so that loading applies fewer than that.
    public static let epochsBetweenFullMaps: UInt32 = 256
    /// Copies of placement groups that a new pool may bring each OSD to.
    public static let groupsPerOSD: UInt64 = 1000
    /// Copies that one `osd balance` moves when nothing is said.
    public static let balanceMoves = 10_000
    /// Lines of detail under one health check.
    public static let healthDetails = 50
    /// Bytes of a line that one check of the health shows.
    public static let line = 1024
    /// Bytes of a monitor's name.
    public static let name = 64

    /// Groups that end with one epoch: clients of them and of their takers wait meanwhile.
    public static let mergesAtATime: UInt32 = 32

    /// The relations between them.
    static func check() {
        precondition(updateBytes < MessageLimits.payload, "a map update must fit a message")
        precondition(waitingInput >= MonitorLimits.input, "one command's file must be allowed to wait")
        precondition(line * healthDetails < MonitorLimits.output, "a check's details must fit a reply")
    }
}

/// The times after which a monitor acts, in milliseconds of its monotonic clock.
public struct MonitorTimes: Hashable, Sendable {
    /// An up OSD that says nothing for this long is marked down.
    public var grace: UInt64 = 20_000
    /// An OSD whose session with the monitor broke is marked down when it is not back after this.
    public var reconnect: UInt64 = 1_000
    /// An OSD that is down for this long is marked out, so that its data is made whole elsewhere; 0 for never.
    public var downOut: UInt64 = 600_000
    /// A report that an OSD is silent counts for this long unless it is said again.
    public var accusation: UInt64 = 10_000
    /// A monitor that did not come to its tick for this long was held up, with or without the OSDs: that it heard nothing
    /// says nothing of them.
    public var heldUp: UInt64 = 2_000
    /// Groups that are quiet for this long and not ready to be merged serve again.
    public var mergeGrace: UInt64 = 3_000
    /// After that they are not made quiet again for this long.
    public var mergePause: UInt64 = 15_000
    /// How often `MonitorCore.tick` is to be called.
    public var tick: UInt64 = 100

    /// The times that administrators know.
    public init() {}
}
