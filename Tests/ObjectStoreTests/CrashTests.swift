import Testing

@Suite struct CrashTests {
    /// Random work with crashes at every kind of moment: what was told committed is there, the rest is a prefix.
    @Test(arguments: 0..<4)
    func randomWorkSurvivesCrashes(part: Int) throws {
        for n in 0..<2 {
            let seed = baseSeed &+ UInt64(part * 1000 + n)
            do {
                var harness = try Harness(seed: seed)
                for _ in 0..<10 {
                    for _ in 0..<harness.workload.number(1..<400) { try harness.event() }
                    try harness.crash()
                }
                try harness.settle()
            } catch {
                Issue.record("NACRE_SEED=\(seed): \(error)")
                return
            }
        }
    }
}
