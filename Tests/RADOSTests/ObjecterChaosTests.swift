import ClientTestSupport
import ClusterMap
import Protocol
import RADOS
import Testing
import Wire

@Suite struct ObjecterChaosTests {
    /// Requests on few objects while sessions die and maps change: each is answered once, and the first doing of the
    /// requests on one object is in the order of submission.
    @Test func everyRequestIsAnsweredOnceAndInOrder() {
        var misdirections = 0
        for seed in testSeeds(100) {
            misdirections += run(seed: seed).misdirections
        }
        #expect(misdirections > 0, "the rare answer did not happen")
    }

    private func run(seed: UInt64) -> MemoryCluster {
        let cluster = MemoryCluster(seed: seed)
        let slot = cluster.objecter.open(PoolID(1))!
        var answers: [UInt64: Int] = [:]
        cluster.onCompleted = { token, reply in
            answers[token.value, default: 0] += 1
            #expect(reply.outcome == .done(errno: 0), "seed \(seed)")
        }
        let total: UInt64 = 400
        for value in 1...total {
            let name = ObjectName("object.\(cluster.generator.next() % 12)")
            let data = Bytes.encoding { $0.writeU64(value) }
            cluster.objecter.submit(
                [.write(offset: 0, data: data)], on: name, in: slot, token: RequestToken(owner: 0, value: value))
            for _ in 0..<cluster.generator.next() % 6 { _ = cluster.step() }
            if cluster.generator.oneIn(8) { cluster.disturb() }
        }
        cluster.heal()
        cluster.settle()
        #expect(answers.count == Int(total) && answers.values.allSatisfy { $0 == 1 }, "seed \(seed)")
        #expect(cluster.objecter.inFlight == 0, "seed \(seed)")
        var last: [String: UInt64] = [:]
        for (name, number) in cluster.executed {
            #expect(number > last[name, default: 0], "seed \(seed): \(name) did \(number) late")
            last[name] = max(number, last[name, default: 0])
        }
        #expect(cluster.resends > 20, "seed \(seed) disturbed nothing")
        return cluster
    }
}
