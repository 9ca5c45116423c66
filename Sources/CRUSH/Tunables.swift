/// How hard a mapping tries, and the historical variants of how it does. All clients of a map must use the same.
public struct Tunables: Hashable, Sendable {
    /// Retries in the same bucket after a collision, before the descent starts again.
    public var chooseLocalTries: UInt32
    /// Retries by a permutation of the bucket. Only 0 is supported so far: maps of before 2012 had 5.
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
    /// The version by which tools compute the straws of buckets of the kind `straw`; carried, without effect here.
    public var strawCalculationVersion: UInt8
    /// The kinds of buckets that tools may create, as bits; carried, without effect here.
    public var allowedBucketKinds: UInt32

    /// The profile `jewel`, which Ceph also calls `optimal` and new clusters use.
    public static let jewel = Tunables(
        chooseLocalTries: 0, chooseLocalFallbackTries: 0, chooseTotalTries: 50, chooseleafDescendOnce: true,
        chooseleafVaryR: 1, chooseleafStable: true, strawCalculationVersion: 1, allowedBucketKinds: 54)

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
}
