import Glibc

/// A small generator with a seed, so that a failing run can be repeated.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator that always gives the same numbers for the same seed.
    public init(seed: UInt64) { state = seed }

    /// SplitMix64.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// True once in `count` times on average.
    public mutating func oneIn(_ count: UInt64) -> Bool { next() % count == 0 }
}

/// The seeds of a randomised test: that of NACRE_SEED alone, or `count` fixed ones.
public func testSeeds(_ count: UInt64) -> [UInt64] {
    if let text = getenv("NACRE_SEED"), let seed = UInt64(String(cString: text)) { return [seed] }
    return Array(1...count)
}
