import Glibc
import PlacementGroup
import Simulation

/// `simulate --seeds A-B [--steps N] [--trace]`: runs whole clusters under seeds and says which failed. A seed replays
/// exactly; with `--trace` it tells what happened. With `--ignore-flushes` the disks lie, and a run in which nothing is lost
/// is the one that fails.
@main
struct Simulate {
    static func main() {
        var seeds: ClosedRange<UInt64> = 1...20
        var steps = 40
        var trace = false
        var ignoresFlushes = false
        var arguments = Array(CommandLine.arguments.dropFirst())
        while !arguments.isEmpty {
            let option = arguments.removeFirst()
            switch option {
            case "--seeds":
                let ends = (arguments.isEmpty ? "" : arguments.removeFirst()).split(separator: "-").compactMap {
                    UInt64($0)
                }
                guard let first = ends.first, let last = ends.last, first <= last else {
                    fail("--seeds takes A-B or A")
                }
                seeds = first...last
            case "--steps":
                guard let count = Int(arguments.isEmpty ? "" : arguments.removeFirst()), count > 0 else {
                    fail("--steps takes a number of faults")
                }
                steps = count
            case "--trace": trace = true
            case "--ignore-flushes": ignoresFlushes = true
            default: fail("unknown option '\(option)'; there are --seeds A-B, --steps N, --trace, --ignore-flushes")
            }
        }
        run(seeds, steps: steps, trace: trace, ignoresFlushes: ignoresFlushes)
    }

    /// Ways that only the groups' own simulation takes, or that need disks that fail.
    static let takenElsewhere: Set<RareBranch> = [
        .unfound, .readRepaired, .backfillResumed, .scrubFoundDamage, .copyReplaced, .nothingToRepairFrom,
    ]

    static func run(_ seeds: ClosedRange<UInt64>, steps: Int, trace: Bool, ignoresFlushes: Bool) {
        var failed = 0
        var operations = 0
        var faults: [String: Int] = [:]
        var branches: [RareBranch: Int] = [:]
        for seed in seeds {
            do {
                let cluster = try SimulatedCluster(
                    seed: seed, osds: 3 + Int(seed % 4), trace: trace, ignoresFlushes: ignoresFlushes)
                let problems = try cluster.check(steps: steps)
                operations += cluster.operations
                faults.merge(cluster.faults) { $0 + $1 }
                branches.merge(cluster.branches) { $0 + $1 }
                if trace { for line in cluster.lines { print(line) } }
                if !ignoresFlushes { for problem in problems { print(problem) } }
                if problems.isEmpty == ignoresFlushes { failed += 1 }
            } catch {
                print("seed \(seed): \(error)")
                if !ignoresFlushes { failed += 1 }
            }
        }
        let counts = faults.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        print("\(seeds.count) seeds, \(operations) operations, \(counts)")
        print(RareBranch.allCases.map { "\(branches[$0, default: 0]) × \($0)" }.joined(separator: ", "))
        // A way that no seed of many took is a way that was not tested.
        let untaken = RareBranch.allCases.filter { branches[$0, default: 0] == 0 && !Self.takenElsewhere.contains($0) }
        if seeds.count >= 40, !untaken.isEmpty, !ignoresFlushes {
            print("no seed came to: \(untaken.map(\.rawValue).joined(separator: ", "))")
            exit(1)
        }
        print("\(seeds.count - failed) passed, \(failed) failed")
        exit(failed == 0 ? 0 : 1)
    }

    static func fail(_ text: String) -> Never {
        let line = Array("simulate: \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        exit(22)
    }
}
