import Foundation

/// A generator whose whole output follows from its seed (splitmix64).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// The seed of this run: `NACRE_SEED` if set, else a new one. Printed, so that a failure can be repeated.
    static func ofThisRun(_ test: String) -> UInt64 {
        let given = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) }
        let seed = given ?? UInt64.random(in: .min ... .max)
        print("\(test): NACRE_SEED=\(seed)")
        return seed
    }
}
