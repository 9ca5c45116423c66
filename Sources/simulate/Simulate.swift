import Dispatch
import Glibc
import PlacementGroup
import Simulation
import Synchronization

/// Runs whole clusters under seeds and says which failed; see `usage`.
@main
struct Simulate {
    static let usage = """
        usage: simulate [--seeds A..B] [--faults N] [--jobs N] [--trace] [--twice] [--ignore-flushes] [--drift N]

        Runs a simulated cluster for each seed, on all processors. A seed replays exactly.
          --seeds A..B       the seeds, or one (1..20)
          --faults N         faults of each run, before the cluster is healed (30)
          --jobs N           seeds that run at a time (one for each processor)
          --trace            tell what happens
          --twice            run every seed twice, and fail when the runs differ
          --ignore-flushes   let the disks lie about flushes; then a seed in which nothing is lost is one that fails
          --drift N          let clocks be fast or slow by N thousandths (20); from 25 on, more than leases allow for, the
                             run fails when no seed of all notices
        """

    static func main() {
        var command = SimulationCommand()
        var arguments = CommandLine.arguments.dropFirst()
        func number(_ option: String) -> Int {
            guard let text = arguments.popFirst(), let value = Int(text), value > 0 else {
                fail("\(option) takes a number from 1 on")
            }
            return value
        }
        while let option = arguments.popFirst() {
            switch option {
            case "--seeds":
                let text = arguments.popFirst() ?? ""
                let ends = text.split(whereSeparator: { $0 == "." || $0 == "-" }).map { UInt64($0) }
                guard (1...2).contains(ends.count), let first = ends.first ?? nil, let last = ends.last ?? nil,
                    first <= last
                else { fail("--seeds takes A..B or A, not '\(text)'") }
                command.seeds = first...last
            case "--faults": command.options.faults = number(option)
            case "--jobs": command.jobs = number(option)
            case "--trace": command.options.keepsTrace = true
            case "--twice": command.runsTwice = true
            case "--ignore-flushes": command.options.ignoresFlushes = true
            case "--drift": command.options.drift = number(option)
            case "--help", "-h":
                print(usage)
                exit(0)
            default: fail("unknown option '\(option)'\n\(usage)")
            }
        }
        exit(command.run())
    }

    static func fail(_ text: String) -> Never {
        let line = Array("simulate: \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        exit(22)
    }
}

/// What one run of a seed came to.
struct SeedResult: Sendable {
    var problems: [String] = []
    var operations = 0
    var refusals = 0
    var faults: [String: Int] = [:]
    var branches: [RareBranch: Int] = [:]
    var digest: UInt64 = 0
    var lines: [String] = []

    init(seed: UInt64, options: SimulationOptions) {
        do {
            let cluster = try SimulatedCluster(seed: seed, options: options)
            // Also of a run that ends early, for a store that cannot be opened any more.
            defer {
                (operations, refusals, digest) = (cluster.operations, cluster.refusals, cluster.digest)
                (faults, branches, lines) = (cluster.faults, cluster.branches, cluster.lines)
            }
            problems = try cluster.check()
        } catch {
            problems = ["seed \(seed): \(error)"]
        }
    }
}

struct SimulationCommand: Sendable {
    var seeds: ClosedRange<UInt64> = 1...20
    var options = SimulationOptions()
    var jobs = Int(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    var runsTwice = false

    /// Ways that only the groups' own simulation takes, or that need disks that fail.
    static let takenElsewhere: Set<RareBranch> = [
        .unfound, .backfillResumed, .nothingToRepairFrom,
    ]
    /// Seeds from which on each way must have been taken.
    static let manySeeds = 40

    /// The exit status.
    func run() -> Int32 {
        let began = Self.seconds
        var failed = 0
        var operations = 0
        var refusals = 0
        var noticed = 0
        var faults: [String: Int] = [:]
        var branches: [RareBranch: Int] = [:]
        for (seed, result) in runAll() {
            let problems = result.problems
            operations += result.operations
            refusals += result.refusals
            faults.merge(result.faults) { $0 + $1 }
            branches.merge(result.branches) { $0 + $1 }
            for line in result.lines { print(line) }
            if options.keepsTrace { print("seed \(seed): digest \(String(result.digest, radix: 16))") }
            if !problems.isEmpty { noticed += 1 }
            if isExpectedToFail {
                print(problems.first.map { String($0.prefix(160)) } ?? "seed \(seed): no problem")
            } else {
                for problem in problems { print(problem) }
            }
            if problems.isEmpty == options.ignoresFlushes { failed += 1 }
        }
        let counts = faults.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        let took = Self.seconds - began
        print(
            "\(seeds.count) seeds, \(operations) operations, \(refusals) of them refused for want of room, "
                + "\(faults.values.reduce(0, +)) faults, in \(took.rounded()) s")
        print(counts)
        print(RareBranch.allCases.map { "\(branches[$0, default: 0]) × \($0)" }.joined(separator: ", "))
        if options.isBeyondLeases {
            print("\(noticed) seeds noticed that clocks drift by \(options.drift) thousandths")
            return noticed > 0 ? 0 : 1
        }
        // A way that no seed of many took is a way that was not tested.
        let untaken = RareBranch.allCases.filter { branches[$0, default: 0] == 0 && !Self.takenElsewhere.contains($0) }
        if seeds.count >= Self.manySeeds, !untaken.isEmpty, !options.ignoresFlushes {
            print("no seed came to: \(untaken.map(\.rawValue).joined(separator: ", "))")
            return 1
        }
        print("\(seeds.count - failed) passed, \(failed) failed")
        return failed == 0 ? 0 : 1
    }

    /// Runs under conditions that Nacre does not promise to bear, to see that they are noticed.
    private var isExpectedToFail: Bool { options.ignoresFlushes || options.isBeyondLeases }

    private static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Runs the seeds on several threads; results in the order of seeds.
    private func runAll() -> [(UInt64, SeedResult)] {
        let next = Mutex(seeds.lowerBound)
        let results = Mutex<[UInt64: SeedResult]>([:])
        DispatchQueue.concurrentPerform(iterations: jobs) { _ in
            while true {
                let seed = next.withLock { next in
                    defer { next += 1 }
                    return next
                }
                guard seeds.contains(seed) else { return }
                var result = SeedResult(seed: seed, options: options)
                if runsTwice, SeedResult(seed: seed, options: options).digest != result.digest {
                    result.problems.append("seed \(seed): two runs of it differ")
                }
                results.withLock { $0[seed] = result }
            }
        }
        return results.withLock { all in all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }
}
