import Foundation
import Testing

@Suite struct GroupSimulationTests {
    /// Seeds from the environment (`NACRE_SEED=n`, one run), or the suite's own range.
    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["NACRE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(1...400)
    }

    @Test func acknowledgedWritesSurviveCrashesMapsAndLostSessions() {
        var completed = 0
        for seed in Self.seeds {
            let cluster = GroupCluster(seed: seed, osds: seed % 2 == 0 ? 3 : 5)
            for _ in 0..<3000 { cluster.step(faults: true) }
            cluster.heal()
            cluster.checkEnd(seed: seed)
            completed += cluster.completed
        }
        #expect(completed > Self.seeds.count * 20, "the runs hardly did anything")
    }
}
