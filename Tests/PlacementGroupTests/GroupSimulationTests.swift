import Foundation
import PlacementGroup
import Protocol
import Testing
import Wire

@Suite struct GroupSimulationTests {
    /// Seeds from the environment (`NACRE_SEED=n`, one run), or the suite's own range.
    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["NACRE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(1...200)
    }

    /// Branches that need a clock, a failing disk, snapshots or another pg_num, which these runs do not have.
    static let elsewhere: Set<RareBranch> = [
        .waitedForLease, .readRepaired, .scrubbedClean, .scrubFoundDamage, .scrubPreempted, .scrubResumed,
        .waitedForScrub, .copyReplaced, .nothingToRepairFrom,
        .recoveryTooFull, .cloned, .whiteout, .cloneTrimmed, .cloneRecovered, .rolledBack, .split,
        .splitWhileRecovering, .merged, .mergedOutOfStep,
    ]

    @Test func acknowledgedWritesSurviveCrashesMapsAndLostSessions() {
        var completed = 0
        var branches: [RareBranch: Int] = [:]
        for seed in Self.seeds {
            let cluster = GroupCluster(seed: seed, osds: seed % 2 == 0 ? 3 : 5)
            for step in 0..<12000 { cluster.step(faults: step % 10 == 0) }
            cluster.heal()
            cluster.checkEnd(seed: seed)
            completed += cluster.completed
            branches.merge(cluster.branches) { $0 + $1 }
        }
        // A branch that no seed took is a branch that was not tested.
        guard Self.seeds.count > 1 else { return }
        for branch in RareBranch.allCases where !Self.elsewhere.contains(branch) {
            #expect(branches[branch, default: 0] > 0, "\(branch) never happened: \(branches)")
        }
        #expect(completed > Self.seeds.count * 20, "the runs hardly did anything")
    }

    /// Runs one request of an object to its end; the answer's errno.
    private func run(_ steps: [ObjectOperation], number: UInt64, on object: ObjectID, _ cluster: GroupCluster) -> Int32?
    {
        let group = cluster.pool.group(ofHash: object.hash)
        guard let primary = cluster.epochs[cluster.epochs.count - 1].placement(group).primary else { return nil }
        let request = OperationRequest(
            id: RequestID(client: 9, number: number), epoch: cluster.clientEpoch, group: group, object: object,
            steps: steps)
        cluster.replies.removeAll()
        cluster.hosts[Int(primary.rawValue)].receive(request, from: ClientHandle(session: 9))
        for _ in 0..<10000 {
            if let reply = cluster.replies.first(where: { $0.number == number }), case .done(let errno) = reply.outcome
            {
                return errno
            }
            cluster.goOn()
        }
        return nil
    }

    /// What one request removes of an omap, and what an object gathers of attributes over many, stays within a record.
    @Test func whatWouldNotFitARecordIsRefused() {
        let cluster = GroupCluster(seed: 1, osds: 3)
        cluster.heal()
        let object = cluster.objects[0]
        #expect(run([.create(exclusive: false)], number: 1_000_000, on: object, cluster) == 0)
        let keys = (0..<1100).map { n in Bytes(repeating: UInt8(n % 251), count: StorageLimits.omapKey) }
        #expect(run([.removeOmap(keys: keys)], number: 1_000_001, on: object, cluster) == 27)
        #expect(run([.removeOmap(keys: Array(keys[..<900]))], number: 1_000_002, on: object, cluster) == 0)
        var answers: [Int32?] = []
        for n in 0..<20 {
            let value = Bytes(repeating: 1, count: StorageLimits.attributeValue)
            answers.append(
                run([.setAttribute(name: "a\(n)", value: value)], number: 1_000_010 + UInt64(n), on: object, cluster))
        }
        #expect(answers == Array(repeating: 0, count: 15) + Array(repeating: 27, count: 5))
    }
}
