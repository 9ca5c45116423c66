import Foundation

extension Seeded {
    static func fromEnvironment(_ name: String = #function) -> Seeded {
        let given = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) }
        let seed = given ?? UInt64.random(in: 1...UInt64.max)
        print("\(name): NACRE_SEED=\(seed)")
        return Seeded(seed)
    }
}
