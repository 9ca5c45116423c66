import Dispatch
import Foundation
import ObjectStore
import Synchronization
import Testing

@Suite(.serialized) struct CrashTests {
    /// How many seeds to run; NACRE_SEEDS=10000 for a night.
    private let seeds = ProcessInfo.processInfo.environment["NACRE_SEEDS"].flatMap { Int($0) } ?? 200

    /// Runs one seed; throws what is wrong.
    private func run(_ seed: UInt64, prepare: (inout Harness) -> Void = { _ in }) throws -> Coverage {
        var harness = try Harness(seed: seed, capacity: seed % 2 == 0 ? 32 << 20 : 5 << 20)
        // From the first start on.
        harness.options.cachedData = [0, 16 << 10, 1 << 20][Int(seed % 3)]
        prepare(&harness)
        for _ in 0..<10 {
            for _ in 0..<harness.chooser.number(1..<500) { try harness.event() }
            // Sometimes with nothing more coming: a checkpoint must end without the help of later records.
            if harness.chooser.number(0..<4) == 0 {
                harness.store.requestCheckpoint()
                try harness.settle()
            }
            try harness.crash()
        }
        try harness.settle()
        try harness.compareRunning()
        harness.coverage.add(harness.store.counters)
        return harness.coverage
    }

    /// Random work with crashes at every kind of moment: what was told committed is there, the rest is a prefix.
    @Test func randomWorkSurvivesCrashes() {
        struct Outcome {
            var coverage = Coverage()
            var failures: [String] = []
        }
        let outcome = Mutex(Outcome())
        DispatchQueue.concurrentPerform(iterations: seeds) { n in
            let seed = baseSeed &+ UInt64(n)
            do {
                let coverage = try run(seed)
                outcome.withLock { $0.coverage.add(coverage) }
            } catch {
                outcome.withLock { $0.failures.append("NACRE_SEED=\(seed) NACRE_SEEDS=1: \(error)") }
            }
        }
        let (coverage, failures) = outcome.withLock { ($0.coverage, $0.failures) }
        for failure in failures.prefix(5) { Issue.record("\(failure)") }
        #expect(failures.isEmpty, "\(failures.count) of \(seeds) seeds fail")
        #expect(coverage.counters.corruptBlocks == 0)
        if seeds >= 100 {
            #expect(coverage.missing(atLeast: 10).isEmpty, "rare paths not taken often enough: \(coverage)")
        }
        if ProcessInfo.processInfo.environment["NACRE_VERBOSE"] != nil { print(coverage) }
    }

    /// A start gives the metadata store the journal's keys in several commits, and ends after any number of them: what was
    /// committed of them is done once more by the next, with the same result.
    @Test(arguments: 0..<20)
    func aStartMayEndBetweenTwoBatchesOfKeys(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), journal: 2 << 20)
        harness.options.replayedKeys = 1 << 10
        for _ in 0..<400 { try harness.event() }
        try harness.settle()
        var interrupted = 0
        while try !isStarted(&harness, after: interrupted) { interrupted += 1 }
        #expect(interrupted > 1)
        try harness.compare()
    }

    /// Starts after a crash, and crashes again at the commit of keys of that number: false when it came to that.
    private func isStarted(_ harness: inout Harness, after commits: Int) throws -> Bool {
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
        harness.keys.writesUntilCrash = commits
        do {
            harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        } catch {
            guard error.description.contains("simulated crash") else { throw error }
            return false
        }
        return true
    }

    /// What a killed process wrote and did not flush is read by the next start, and lost in a power cut during that start or
    /// after it: nothing that follows from it may be all that is left.
    @Test(arguments: 0..<40)
    func whatAKilledProcessWroteMayBeLostAfterItWasRead(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), journal: 1 << 20)
        for _ in 0..<10 {
            for _ in 0..<harness.chooser.number(1..<200) { try harness.event() }
            harness.device.kill(using: &harness.chooser)
            harness.keys.crash(using: &harness.chooser)
            harness.device.callsUntilCrash = n % 2 == 0 ? harness.chooser.number(0..<80) : nil
            do {
                harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
            } catch {
                guard error.description.contains("simulated crash") else { throw error }
                try harness.crash()
                continue
            }
            harness.device.callsUntilCrash = nil
            try harness.compare()
            // What it found it counts as committed.
            for _ in 0..<harness.chooser.number(0..<30) { try harness.event() }
            try harness.crash()
        }
    }

    /// A disk so small that every unit is used again as soon as it may be: never before a restart can do without it.
    @Test func unitsUsedAgainAtOnceSurviveCrashes() {
        let failures = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: min(seeds, 80)) { n in
            let seed = baseSeed &+ UInt64(n)
            do {
                var harness = try Harness(seed: seed, journal: 1 << 20, capacity: (2 << 20) + (64 << 10), objects: 3)
                harness.workload.wholeUnits = true
                for _ in 0..<40 {
                    for _ in 0..<harness.chooser.number(1..<80) { try harness.event() }
                    try harness.crash()
                }
            } catch {
                failures.withLock { $0.append("NACRE_SEED=\(seed) NACRE_SEEDS=1: \(error)") }
            }
        }
        let all = failures.withLock { $0 }
        for failure in all.prefix(5) { Issue.record("\(failure)") }
        #expect(all.isEmpty, "\(all.count) seeds fail")
    }

    /// What a reopened store finds in use is what the running one counted: no unit is lost, none is given back too early.
    @Test(arguments: 0..<20)
    func spaceIsCountedExactly(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), capacity: n % 2 == 0 ? 32 << 20 : 5 << 20)
        for round in 0..<3 {
            for _ in 0..<400 { try harness.event() }
            try harness.settle()
            harness.store.requestCheckpoint()
            try harness.settle()
            let used = harness.store.usage.used
            harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
            #expect(harness.store.usage.used == used, "round \(round)")
            try harness.compare()
        }
    }

    /// The negative controls: on parts that lie about flushes the same test must fail, or it could not find a missing one.
    @Test(arguments: ["device", "journal and data", "keys"])
    func noticesMissingFlushes(part: String) {
        var noticed = 0
        for n in 0..<10 {
            do {
                _ = try run(baseSeed &+ UInt64(n)) { harness in
                    switch part {
                    case "device": harness.device.liesFrom = 0
                    case "journal and data": harness.device.liesFrom = StoreLimits.journalStart
                    default: harness.keys.ignoresFlushes = true
                    }
                }
            } catch {
                noticed += 1
            }
        }
        #expect(noticed == 10, "\(part): \(noticed) of 10 seeds notice")
    }
}
