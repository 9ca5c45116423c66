import Messenger

/// The limits of the monitor client, in one place.
public enum MonitorClientLimits {
    /// How long one monitor may take to answer before the next one is tried.
    public static let attemptMilliseconds = 3_000
    /// The pause after every monitor has failed once.
    public static let pauseMilliseconds = 1_000
    /// Commands without an answer at a time.
    public static let commands = 1024

    static func check() {
        // Otherwise a monitor is left before its messenger could have said anything.
        precondition(attemptMilliseconds > 10 * MessengerLimits.firstBackOffMilliseconds, "an attempt is given time")
    }
}
