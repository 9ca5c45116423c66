import Protocol

/// The limits of a client of the cluster, in one place. The relations between them are checked when an `Objecter` is made.
public enum ClientLimits {
    /// Requests that are on their way or wait for a primary. More are taken and wait their turn. When their answers are lost
    /// all of them are sent again, and a group must still know each of those it has done.
    public static let requestsInFlight = 2048
    /// Bytes that requests in flight carry or ask for. A request is sent when it is the only one, whatever its size.
    public static let bytesInFlight = 256 << 20
    /// Requests that wait their turn; one more fails with EAGAIN. The data path of the NBD server is bounded well below.
    public static let requestsWaiting = 1 << 18
    /// Requests of one administrative call (a removal, a listing) that are under way at a time.
    public static let administrativeRequests = 32
    /// Milliseconds before a request is sent again for which an OSD had no room.
    public static let retryMilliseconds = 500
    /// Seconds that an awaited request may take before its caller is told that the cluster does not answer.
    public static let administrativeSeconds: Int64 = 60
    /// Milliseconds for which a watch counts after each of its renewals.
    public static let watchMilliseconds: UInt32 = 30_000
    /// Notifications whose answers a watch remembers.
    public static let rememberedNotifications = 64
    /// Seconds that connecting to the monitors may take.
    public static let connectSeconds: Int64 = 30

    /// Stops the program when the limits contradict each other.
    static func check() {
        precondition(bytesInFlight >= Int(OperationLimits.readSize), "the largest read must fit into what is in flight")
        precondition(
            requestsInFlight >= administrativeRequests, "an administrative call must fit into what is in flight")
        precondition(requestsInFlight < GroupLimits.logEntriesKept, "a group must remember all that is sent again")
        precondition(requestsWaiting >= requestsInFlight, "what waits its turn must hold a full window")
    }
}

/// Errno values of Linux that the cluster answers with, so that cores need no system header.
public enum Errno {
    /// No such pool, object or image.
    public static let noEntry: Int32 = 2
    /// The data could not be read or stored.
    public static let inputOutput: Int32 = 5
    /// Too much is waiting already.
    public static let tryAgain: Int32 = 11
    /// In use.
    public static let busy: Int32 = 16
    /// Exists already.
    public static let exists: Int32 = 17
    /// Makes no sense.
    public static let invalid: Int32 = 22
    /// No space.
    public static let noSpace: Int32 = 28
    /// Beyond a limit of numbers.
    public static let range: Int32 = 34
    /// ESHUTDOWN: this run of the client is blocklisted.
    public static let blocklisted: Int32 = 108
    /// Not built.
    public static let notSupported: Int32 = 95
    /// Nobody answered in time.
    public static let timedOut: Int32 = 110
    /// There is something in it still.
    public static let notEmpty: Int32 = 39
    /// A guard of a compound request did not hold.
    public static let canceled: Int32 = 125
}
