import Foundation
import PlacementGroup
import Testing

@Suite struct GroupSimulationTests {
    /// Seeds from the environment (`NACRE_SEED=n`, one run), or the suite's own range.
    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["NACRE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(1...200)
    }

    /// Branches that need a clock or a failing disk, which these runs do not have.
    static let elsewhere: Set<RareBranch> = [.waitedForLease, .readRepaired]

    @Test func acknowledgedWritesSurviveCrashesMapsAndLostSessions() {
        var completed = 0
        var branches: [RareBranch: Int] = [:]
        for seed in Self.seeds {
            let cluster = GroupCluster(seed: seed, osds: seed % 2 == 0 ? 3 : 5)
            for step in 0..<8000 { cluster.step(faults: step % 4 == 0) }
            cluster.heal()
            cluster.checkEnd(seed: seed)
            completed += cluster.completed
            branches.merge(cluster.branches) { $0 + $1 }
        }
        // A branch that no seed took is a branch that was not tested.
        guard Self.seeds.count > 1 else { return }
        for branch in RareBranch.allCases where !Self.elsewhere.contains(branch) {
            #expect(branches[branch, default: 0] > 0, "\(branch) never happened")
        }
        #expect(completed > Self.seeds.count * 20, "the runs hardly did anything")
    }
}
