import CRUSH

/// A CRUSH rule: an element of the answer to `osd crush rule dump`.
public struct RuleReport: Report, Hashable, Sendable {
    /// One step; what the operation has no use for is absent.
    public struct Step: Codable, Hashable, Sendable {
        /// What it does.
        public var op: String
        /// The item that is taken.
        public var item: Int32?
        /// Its name.
        public var itemName: String?
        /// How many are chosen, or the value that is set.
        public var num: Int?
        /// The type of what is chosen.
        public var type: String?

        init(op: String, item: Int32? = nil, itemName: String? = nil, num: Int? = nil, type: String? = nil) {
            self.op = op
            self.item = item
            self.itemName = itemName
            self.num = num
            self.type = type
        }
    }

    /// Its number.
    public var ruleId: Int32
    /// Its name.
    public var ruleName: String
    /// Its number once more, as tools of older maps expect it.
    public var ruleset: Int32
    /// 1 for whole copies, 3 for shards.
    public var type: Int
    /// The least size of pools that it is for.
    public var minSize: Int
    /// The largest size of pools that it is for.
    public var maxSize: Int
    /// What it does, in order.
    public var steps: [Step]
}

/// The answer to `osd crush show-tunables`.
public struct TunablesReport: Report, Hashable, Sendable {
    /// Retries in the same bucket after a collision.
    public var chooseLocalTries: UInt32
    /// Retries in the same bucket by a permutation of it.
    public var chooseLocalFallbackTries: UInt32
    /// Descents that may fail after the first.
    public var chooseTotalTries: UInt32
    /// 1 when `chooseleaf` looks once below a bucket.
    public var chooseleafDescendOnce: Int
    /// How the search below a bucket depends on the attempt.
    public var chooseleafVaryR: UInt8
    /// 1 when that search does not depend on the position.
    public var chooseleafStable: Int
    /// The version by which straws are computed.
    public var strawCalcVersion: UInt8
    /// The kinds of buckets that tools may make, as bits.
    public var allowedBucketAlgs: UInt32
    /// The newest profile that has these values, or `unknown`. The version of straws is no part of a profile.
    public var profile: String

    init(_ tunables: Tunables) {
        chooseLocalTries = tunables.chooseLocalTries
        chooseLocalFallbackTries = tunables.chooseLocalFallbackTries
        chooseTotalTries = tunables.chooseTotalTries
        chooseleafDescendOnce = tunables.chooseleafDescendOnce ? 1 : 0
        chooseleafVaryR = tunables.chooseleafVaryR
        chooseleafStable = tunables.chooseleafStable ? 1 : 0
        strawCalcVersion = tunables.strawCalculationVersion
        allowedBucketAlgs = tunables.allowedBucketKinds
        profile =
            ["jewel", "hammer", "firefly", "bobtail", "argonaut"].first { name in
                var same = tunables
                same.strawCalculationVersion = Tunables.profiles[name]?.strawCalculationVersion ?? 0
                return same == Tunables.profiles[name]
            } ?? "unknown"
    }
}
