import Simulation
import Testing

/// A seed decides everything that happens.
@Suite struct ReplayTests {
    private func run(_ seed: UInt64) throws -> (digest: UInt64, lines: [String], problems: [String]) {
        var options = SimulationOptions()
        options.faults = 8
        options.keepsTrace = true
        let cluster = try SimulatedCluster(seed: seed, options: options)
        let problems = try cluster.check()
        return (cluster.digest, cluster.lines, problems)
    }

    @Test func aSeedReplaysExactly() throws {
        let (first, again, other) = (try run(1), try run(1), try run(2))
        #expect(first.problems.isEmpty && other.problems.isEmpty)
        #expect(first.digest == again.digest)
        #expect(
            first.lines == again.lines,
            "the runs part at line \(zip(first.lines, again.lines).prefix { $0 == $1 }.count)")
        #expect(first.digest != other.digest)
    }
}
