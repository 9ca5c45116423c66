import Wire

/// Why a pool cannot be balanced; a line that names it.
public struct BalanceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The line.
    public let description: String

    /// An error with this line.
    public init(_ description: String) { self.description = description }
}

/// What is to be changed so that every OSD has its share of groups, and what comes of it.
public struct BalancePlan: Hashable, Sendable {
    /// The copy of a group that moves.
    public struct Move: Hashable, Sendable, CustomStringConvertible {
        /// The group.
        public var group: PGID
        /// The OSD that has the copy.
        public var from: OSDID
        /// The OSD that gets it.
        public var to: OSDID

        /// The group, and both OSDs with an arrow between them.
        public var description: String { "\(group) \(from)->\(to)" }
    }

    /// How far the OSDs are from their ideal numbers of copies.
    public struct Spread: Hashable, Sendable {
        /// The largest number of copies below an OSD's ideal, 0 or less.
        public var lowest: Double
        /// The largest number of copies above an OSD's ideal, 0 or more.
        public var highest: Double

        /// True when every OSD is within one copy of its ideal.
        public var isWithinOne: Bool { lowest >= -1 - Self.slack && highest <= 1 + Self.slack }

        /// What sums of fractions may be off.
        static let slack = 1e-6

        init(_ surplus: some Sequence<Double>) {
            lowest = 0
            highest = 0
            for value in surplus {
                lowest = min(lowest, value)
                highest = max(highest, value)
            }
        }
    }

    /// What keeps the spread from being as small as the weights alone would allow.
    public struct Binding: Hashable, Sendable {
        /// The pool.
        public var pool: PoolID
        /// The bucket, or the OSD, that binds.
        public var domain: String
        /// A line that says why.
        public var reason: String
    }

    /// The exceptions to set: only `upmapItems`, where an empty list takes a group's entry out.
    public var changes = GroupExceptions()
    /// What moves in the end, by group.
    public var moves: [Move] = []
    /// The least number of moves that could bring every pool within one copy, were there no rules.
    public var leastMoves = 0
    /// The spread of each pool before, by its number.
    public var before: [PoolID: Spread] = [:]
    /// The spread of each pool after.
    public var after: [PoolID: Spread] = [:]
    /// The spread over all pools together before.
    public var totalBefore = Spread([])
    /// The spread over all pools together after.
    public var totalAfter = Spread([])
    /// What binds.
    public var bindings: [Binding] = []
    /// Pools that were left alone, with the reason.
    public var skipped: [PoolID: BalanceError] = [:]
    /// True when the limit on moves ended the work.
    public var isCut = false

    init() {}
}
