import Protocol
import Wire

/// Objects and copies of all groups in numbers.
public struct DataReport: Report, Hashable, Sendable {
    /// Objects.
    public var numObjects: UInt64
    /// Bytes in them, each counted once.
    public var dataBytes: UInt64
    /// Copies that are not there.
    public var degradedObjects: UInt64
    /// Copies that there should be.
    public var degradedTotal: UInt64
    /// The one divided by the other.
    public var degradedRatio: Double
    /// Copies that are whole and not where they should be.
    public var misplacedObjects: UInt64
    /// Copies that there should be.
    public var misplacedTotal: UInt64
    /// The one divided by the other.
    public var misplacedRatio: Double
    /// Objects of which nobody who can be asked has the newest version.
    public var unfoundObjects: UInt64
    /// Bad copies that scrubs and reads have found.
    public var scrubErrors: UInt64
    /// How fast copies are brought back.
    public var recoveringObjectsPerSec: Double
    /// The same in bytes.
    public var recoveringBytesPerSec: Double
    /// Seconds until every copy is where it should be, at that rate; absent when there is nothing to do, or nothing is done.
    public var recoverySecondsLeft: UInt64?

    /// The report of what primaries say.
    init(_ data: DataCounts) {
        let counts = data.counts
        func share(_ part: UInt64) -> Double { counts.copies == 0 ? 0 : Double(part) / Double(counts.copies) }
        numObjects = counts.objects
        dataBytes = counts.bytes
        degradedObjects = counts.degraded
        degradedTotal = counts.copies
        degradedRatio = share(counts.degraded)
        misplacedObjects = counts.misplaced
        misplacedTotal = counts.copies
        misplacedRatio = share(counts.misplaced)
        unfoundObjects = counts.unfound
        scrubErrors = data.scrubErrors
        recoveringObjectsPerSec = data.objectsPerSecond
        recoveringBytesPerSec = data.bytesPerSecond
        recoverySecondsLeft = data.secondsLeft
    }
}

extension GroupCounts {
    private enum CodingKeys: String, CodingKey {
        case numPools, numPgs, pgsByState, waiting, bytesUsed, bytesAvail, bytesTotal
    }

    /// Decodes what `encode` wrote.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            numPools: try fields.decode(Int.self, forKey: .numPools),
            numPgs: try fields.decode(Int.self, forKey: .numPgs),
            pgsByState: try fields.decode([State].self, forKey: .pgsByState),
            waiting: try fields.decode([Waiting].self, forKey: .waiting),
            bytesUsed: try fields.decode(UInt64.self, forKey: .bytesUsed),
            bytesAvail: try fields.decode(UInt64.self, forKey: .bytesAvail),
            bytesTotal: try fields.decode(UInt64.self, forKey: .bytesTotal), data: try DataReport(from: decoder))
    }

    /// Encodes the fields of `data` beside the others, where scripts look for them.
    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(numPools, forKey: .numPools)
        try fields.encode(numPgs, forKey: .numPgs)
        try fields.encode(pgsByState, forKey: .pgsByState)
        try fields.encode(waiting, forKey: .waiting)
        try fields.encode(bytesUsed, forKey: .bytesUsed)
        try fields.encode(bytesAvail, forKey: .bytesAvail)
        try fields.encode(bytesTotal, forKey: .bytesTotal)
        try data.encode(to: encoder)
    }
}

extension GroupDump {
    /// What a group has, and when it was compared.
    public struct GroupData: Codable, Hashable, Sendable {
        /// Objects.
        public var numObjects: UInt64
        /// Bytes in them, each counted once.
        public var numBytes: UInt64
        /// Copies that are not there.
        public var numObjectsDegraded: UInt64
        /// Copies that are whole and not where they should be.
        public var numObjectsMisplaced: UInt64
        /// Objects of which nobody who can be asked has the newest version.
        public var numObjectsUnfound: UInt64
        /// Objects with bad copies.
        public var numObjectsInconsistent: UInt32
        /// Bad copies.
        public var numScrubErrors: UInt32
        /// When a scrub ended last, in seconds since 1970.
        public var lastScrubStamp: UInt64
        /// When a deep scrub ended last.
        public var lastDeepScrubStamp: UInt64

        /// What a primary says.
        public init(_ said: GroupStatistics) {
            numObjects = said.counts.objects
            numBytes = said.counts.bytes
            numObjectsDegraded = said.counts.degraded
            numObjectsMisplaced = said.counts.misplaced
            numObjectsUnfound = said.counts.unfound
            numObjectsInconsistent = said.inconsistent
            numScrubErrors = said.scrubErrors
            lastScrubStamp = said.lastScrub
            lastDeepScrubStamp = said.lastDeepScrub
        }
    }
}
