/// How hard a mapping tries, and the historical variants of how it does. All clients of a map must use the same.
public struct Tunables: Hashable, Sendable {
    /// Retries in the same bucket after a collision, before the descent starts again.
    public var chooseLocalTries: UInt32
    /// Retries in the same bucket by a permutation of it, after local retries that failed: maps of before 2012 had 5.
    public var chooseLocalFallbackTries: UInt32
    /// Descents that may fail after the first, for each replica.
    public var chooseTotalTries: UInt32
    /// True when `chooseleaf` looks once for a device below the bucket it chose, and on failure chooses another.
    public var chooseleafDescendOnce: Bool
    /// How the search below the chosen bucket depends on which attempt chose it: not for 0, else on the number of the attempt
    /// shifted right by this less one.
    public var chooseleafVaryR: UInt8
    /// True when the search below the chosen bucket does not depend on the position of the replica, so that fewer move when
    /// an OSD goes out.
    public var chooseleafStable: Bool
    /// The version by which the straws of buckets of the kind `straw` are computed when their weights change.
    public var strawCalculationVersion: UInt8
    /// The kinds of buckets that tools may create, as bits (1 shifted left by the kind's number); carried, without effect
    /// here.
    public var allowedBucketKinds: UInt32

    /// The profile of before 2012, also called `argonaut`: what a map means that says nothing.
    public static let legacy = Tunables(
        chooseLocalTries: 2, chooseLocalFallbackTries: 5, chooseTotalTries: 19, chooseleafDescendOnce: false,
        chooseleafVaryR: 0, chooseleafStable: false, strawCalculationVersion: 0, allowedBucketKinds: 22)
    /// The profile `bobtail`.
    public static let bobtail = Tunables(
        chooseLocalTries: 0, chooseLocalFallbackTries: 0, chooseTotalTries: 50, chooseleafDescendOnce: true,
        chooseleafVaryR: 0, chooseleafStable: false, strawCalculationVersion: 0, allowedBucketKinds: 22)
    /// The profile `firefly`.
    public static let firefly = Tunables(
        chooseLocalTries: 0, chooseLocalFallbackTries: 0, chooseTotalTries: 50, chooseleafDescendOnce: true,
        chooseleafVaryR: 1, chooseleafStable: false, strawCalculationVersion: 0, allowedBucketKinds: 22)
    /// The profile `hammer`.
    public static let hammer = Tunables(
        chooseLocalTries: 0, chooseLocalFallbackTries: 0, chooseTotalTries: 50, chooseleafDescendOnce: true,
        chooseleafVaryR: 1, chooseleafStable: false, strawCalculationVersion: 0, allowedBucketKinds: 54)
    /// The profile `jewel`, which Ceph also calls `optimal` and `default`. New clusters use it.
    public static let jewel = Tunables(
        chooseLocalTries: 0, chooseLocalFallbackTries: 0, chooseTotalTries: 50, chooseleafDescendOnce: true,
        chooseleafVaryR: 1, chooseleafStable: true, strawCalculationVersion: 1, allowedBucketKinds: 54)

    /// The profiles by the names that administrators know.
    public static let profiles: [String: Tunables] = [
        "legacy": .legacy, "argonaut": .legacy, "bobtail": .bobtail, "firefly": .firefly, "hammer": .hammer,
        "jewel": .jewel, "optimal": .jewel, "default": .jewel,
    ]

    /// These tunables changed to the profile of this name, or nil when there is none. As with Ceph's tools, the profiles
    /// `bobtail` to `jewel` leave the version of straws as it is: changing it would move data with the next reweight.
    public func adopting(profile name: String) -> Tunables? {
        guard var tunables = Self.profiles[name] else { return nil }
        if ["bobtail", "firefly", "hammer", "jewel"].contains(name) {
            tunables.strawCalculationVersion = strawCalculationVersion
        }
        return tunables
    }

    /// Tunables with these values.
    public init(
        chooseLocalTries: UInt32, chooseLocalFallbackTries: UInt32, chooseTotalTries: UInt32,
        chooseleafDescendOnce: Bool, chooseleafVaryR: UInt8, chooseleafStable: Bool, strawCalculationVersion: UInt8,
        allowedBucketKinds: UInt32
    ) {
        self.chooseLocalTries = chooseLocalTries
        self.chooseLocalFallbackTries = chooseLocalFallbackTries
        self.chooseTotalTries = chooseTotalTries
        self.chooseleafDescendOnce = chooseleafDescendOnce
        self.chooseleafVaryR = chooseleafVaryR
        self.chooseleafStable = chooseleafStable
        self.strawCalculationVersion = strawCalculationVersion
        self.allowedBucketKinds = allowedBucketKinds
    }

    /// Sets the tunable that has this name in text maps. Throws when there is none, or when it cannot have the value.
    public mutating func set(_ name: String, to value: UInt32) throws(CRUSHError) {
        func atMost(_ limit: UInt32) throws(CRUSHError) {
            guard value <= limit else {
                throw CRUSHError("tunable \(name) \(value): at most \(limit)", at: .tunable(name))
            }
        }
        switch name {
        case "choose_local_tries":
            try atMost(CRUSHLimits.tries)
            chooseLocalTries = value
        case "choose_local_fallback_tries":
            try atMost(CRUSHLimits.tries)
            chooseLocalFallbackTries = value
        case "choose_total_tries":
            try atMost(CRUSHLimits.tries)
            chooseTotalTries = value
        case "chooseleaf_descend_once":
            try atMost(1)
            chooseleafDescendOnce = value == 1
        case "chooseleaf_vary_r":
            try atMost(31)
            chooseleafVaryR = UInt8(value)
        case "chooseleaf_stable":
            try atMost(1)
            chooseleafStable = value == 1
        case "straw_calc_version":
            try atMost(255)
            strawCalculationVersion = UInt8(value)
        case "allowed_bucket_algs":
            allowedBucketKinds = value
        default:
            throw CRUSHError("there is no tunable '\(name)'")
        }
    }
}
