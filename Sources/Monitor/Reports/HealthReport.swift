/// How the cluster is, as a list of named checks.
public struct HealthReport: Codable, Hashable, Sendable {
    /// How bad a check is; the cluster's is the worst.
    public enum Severity: String, Codable, Hashable, Sendable, Comparable {
        /// To be known, nothing to be done.
        case ok = "HEALTH_OK"
        /// Somebody should act.
        case warning = "HEALTH_WARN"
        /// Data is at risk or cannot be written.
        case error = "HEALTH_ERR"

        private var rank: Int {
            switch self {
            case .ok: 0
            case .warning: 1
            case .error: 2
            }
        }

        public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
    }

    /// What a check found.
    public struct Check: Codable, Hashable, Sendable {
        /// A line, and how many things it is about.
        public struct Summary: Codable, Hashable, Sendable {
            /// The line.
            public var message: String
            /// How many things.
            public var count: Int
        }

        /// One of the things.
        public struct Detail: Codable, Hashable, Sendable {
            /// A line that names it.
            public var message: String
        }

        /// How bad it is.
        public var severity: Severity
        /// The whole in one line.
        public var summary: Summary
        /// Every thing, up to a limit.
        public var detail: [Detail]
    }

    /// The worst of the checks.
    public var status: Severity
    /// What was found, by the check's name; checks that found nothing are not there.
    public var checks: [String: Check]
}
