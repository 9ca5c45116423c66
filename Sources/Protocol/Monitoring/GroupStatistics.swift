import ClusterMap
import Wire

/// How a placement group is, as its primary sees it.
public struct GroupStatistics: Hashable, Sendable {
    /// The states that administrators know; a group is in several at once.
    public struct State: OptionSet, Hashable, Sendable {
        /// The bits, as on the wire.
        public let rawValue: UInt32

        /// The states with these bits; bits without a name are kept and not shown.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// It serves clients.
        public static let active = State(rawValue: 1 << 0)
        /// Every object is on every OSD that should have it, and on no other.
        public static let clean = State(rawValue: 1 << 1)
        /// Members are given what their logs say they lack.
        public static let recovering = State(rawValue: 1 << 2)
        /// A member of an older interval that may have newer data is down.
        public static let down = State(rawValue: 1 << 3)
        /// No member that can be reached has some object at its newest version.
        public static let recoveryUnfound = State(rawValue: 1 << 4)
        /// Fewer members than the pool's size.
        public static let undersized = State(rawValue: 1 << 5)
        /// Some object has fewer copies than the pool's size.
        public static let degraded = State(rawValue: 1 << 6)
        /// Served by others than CRUSH chose, until those are filled.
        public static let remapped = State(rawValue: 1 << 7)
        /// Finding out what the members have.
        public static let peering = State(rawValue: 1 << 8)
        /// Waits for its turn to fill a member.
        public static let backfillWait = State(rawValue: 1 << 9)
        /// A member is being filled from the beginning.
        public static let backfilling = State(rawValue: 1 << 10)
        /// A member that is to be filled has no room.
        public static let backfillTooFull = State(rawValue: 1 << 11)
        /// No complete copy has the newest history.
        public static let incomplete = State(rawValue: 1 << 12)
        /// Has agreed on its history and does not serve: fewer members than `min_size`.
        public static let peered = State(rawValue: 1 << 13)

        /// Waits until the primary of an older interval can serve no more reads.
        public static let wait = State(rawValue: 1 << 14)
        /// Takes away what removed snapshots have left.
        public static let snapTrim = State(rawValue: 1 << 15)
        /// Will take away what removed snapshots have left, when it is clean.
        public static let snapTrimWait = State(rawValue: 1 << 16)

        /// Writes nothing until it is merged with others.
        public static let premerge = State(rawValue: 1 << 17)

        /// A member has no room for what it lacks.
        public static let recoveryTooFull = State(rawValue: 1 << 18)

        /// The copies are being compared.
        public static let scrubbing = State(rawValue: 1 << 20)
        /// They are compared with their data.
        public static let deep = State(rawValue: 1 << 21)
        /// Copies are not what they should be.
        public static let inconsistent = State(rawValue: 1 << 22)
        /// Bad copies are being replaced.
        public static let repair = State(rawValue: 1 << 23)

        /// What a healthy group is.
        public static let activeClean: State = [.active, .clean]

        /// True of a healthy group, also while it is scrubbed.
        public var isActiveClean: Bool { subtracting([.scrubbing, .deep]) == .activeClean }

        private static let names: [(State, String)] = [
            (.active, "active"), (.clean, "clean"), (.recovering, "recovering"), (.down, "down"),
            (.recoveryUnfound, "recovery_unfound"), (.undersized, "undersized"), (.degraded, "degraded"),
            (.remapped, "remapped"), (.peering, "peering"), (.backfillWait, "backfill_wait"),
            (.backfilling, "backfilling"), (.backfillTooFull, "backfill_toofull"), (.incomplete, "incomplete"),
            (.peered, "peered"), (.wait, "wait"), (.snapTrim, "snaptrim"), (.snapTrimWait, "snaptrim_wait"),
            (.premerge, "premerge"), (.recoveryTooFull, "recovery_toofull"),
            (.scrubbing, "scrubbing"), (.deep, "deep"), (.inconsistent, "inconsistent"), (.repair, "repair"),
        ]

        /// The text that `status` shows.
        public var text: String {
            let words = Self.names.filter { contains($0.0) }.map(\.1)
            return words.isEmpty ? "unknown" : words.joined(separator: "+")
        }
    }

    /// Which group.
    public var group: PGID
    /// How it is.
    public var state: State
    /// The OSDs that the group waits for.
    public var waitingFor: [OSDID]
    /// Its newest write.
    public var lastUpdate: Version
    /// Snapshots, of those that the pool is trimming, of which the group has nothing left.
    public var trimmed: SnapIntervals

    /// The first epoch of the interval that this is said of.
    public var interval = Epoch.none
    /// What it has.
    public var counts = Counts()
    /// Bad copies that are known.
    public var scrubErrors: UInt32 = 0
    /// Objects with bad copies.
    public var inconsistent: UInt32 = 0
    /// When it was scrubbed last, and deeply, in seconds since 1970.
    public var lastScrub: UInt64 = 0
    public var lastDeepScrub: UInt64 = 0

    /// Objects and copies of objects in numbers.
    public struct Counts: Hashable, Sendable {
        /// Objects, and their bytes.
        public var objects: UInt64 = 0
        public var bytes: UInt64 = 0
        /// Copies that there should be.
        public var copies: UInt64 = 0
        /// Copies that are not there.
        public var degraded: UInt64 = 0
        /// Copies that are whole and not where they should be.
        public var misplaced: UInt64 = 0
        /// Objects of which nobody who can be asked has the newest version.
        public var unfound: UInt64 = 0

        /// Nothing.
        public init() {}
    }

    /// Statistics with these values.
    public init(
        group: PGID, state: State, waitingFor: [OSDID], lastUpdate: Version, trimmed: SnapIntervals = SnapIntervals()
    ) {
        self.trimmed = trimmed
        self.group = group
        self.state = state
        self.waitingFor = waitingFor
        self.lastUpdate = lastUpdate
    }

    /// Decodes what `encode` wrote.
    public init(from reader: inout ByteReader) throws(WireError) {
        group = try PGID(from: &reader)
        state = State(rawValue: try reader.readU32())
        waitingFor = try reader.readArray(atMost: MapLimits.osds) { r throws(WireError) in OSDID(try r.readI32()) }
        lastUpdate = try Version(from: &reader)
        interval = Epoch(try reader.readU32())
        counts.objects = try reader.readU64()
        counts.bytes = try reader.readU64()
        counts.copies = try reader.readU64()
        counts.degraded = try reader.readU64()
        counts.misplaced = try reader.readU64()
        counts.unfound = try reader.readU64()
        scrubErrors = try reader.readU32()
        inconsistent = try reader.readU32()
        lastScrub = try reader.readU64()
        lastDeepScrub = try reader.readU64()
        trimmed = try SnapIntervals(from: &reader)
    }

    /// The statistics as bytes.
    public func encode(into writer: inout ByteWriter) {
        group.encode(into: &writer)
        writer.writeU32(state.rawValue)
        writer.writeArray(waitingFor) { $0.writeI32($1.rawValue) }
        lastUpdate.encode(into: &writer)
        writer.writeU32(interval.rawValue)
        for value in [
            counts.objects, counts.bytes, counts.copies, counts.degraded, counts.misplaced, counts.unfound,
        ] {
            writer.writeU64(value)
        }
        writer.writeU32(scrubErrors)
        writer.writeU32(inconsistent)
        writer.writeU64(lastScrub)
        writer.writeU64(lastDeepScrub)
        trimmed.encode(into: &writer)
    }
}
