import ObjectStore

/// How often the rare paths were taken: a crash test that never meets them proves nothing about them.
struct Coverage {
    var crashes = 0
    /// Ends of the process that left the machine running.
    var kills = 0
    /// Starts that a crash interrupted, before and after replay had begun to write.
    var interruptedStarts = 0
    /// Crashes while a checkpoint was at a step.
    var crashesAtStep: [CheckpointStep: Int] = [:]
    /// Crashes with submitted work that was not committed, and those of which a part survived.
    var crashesWithOpenWork = 0
    var crashesKeepingOpenWork = 0
    /// Whole comparisons of the running store, and single reads that were in flight beside writes.
    var comparisons = 0
    var concurrentReads = 0
    var counters = StoreCounters()

    mutating func add(_ more: StoreCounters) {
        counters.records += more.records
        counters.wraps += more.wraps
        counters.checkpoints += more.checkpoints
        counters.replayedRecords += more.replayedRecords
        counters.journalFull += more.journalFull
        counters.homeWrites += more.homeWrites
        counters.besideBytes += more.besideBytes
        counters.mergeReads += more.mergeReads
        counters.sharedUnits += more.sharedUnits
        counters.copiedUnits += more.copiedUnits
        counters.holes += more.holes
        counters.corruptBlocks += more.corruptBlocks
    }

    mutating func add(_ other: Coverage) {
        crashes += other.crashes
        kills += other.kills
        interruptedStarts += other.interruptedStarts
        crashesAtStep.merge(other.crashesAtStep) { $0 + $1 }
        crashesWithOpenWork += other.crashesWithOpenWork
        crashesKeepingOpenWork += other.crashesKeepingOpenWork
        comparisons += other.comparisons
        concurrentReads += other.concurrentReads
        add(other.counters)
    }

    /// The paths that were taken less than `least` times.
    func missing(atLeast least: Int) -> [String] {
        var all: [(String, Int)] = [
            ("crashes", crashes), ("kills", kills), ("interrupted starts", interruptedStarts),
            ("crashes with open work", crashesWithOpenWork), ("open work that survived", crashesKeepingOpenWork),
            ("comparisons", comparisons), ("concurrent reads", concurrentReads),
            ("journal wraps", Int(counters.wraps)), ("journal full", Int(counters.journalFull)),
            ("checkpoints", Int(counters.checkpoints)), ("replayed records", Int(counters.replayedRecords)),
            ("home writes", Int(counters.homeWrites)), ("merge reads", Int(counters.mergeReads)),
            ("shared units", Int(counters.sharedUnits)), ("copied units", Int(counters.copiedUnits)),
            ("holes", Int(counters.holes)), ("large writes", Int(counters.besideBytes) / StoreLimits.unitSize),
        ]
        for step in CheckpointStep.allCases { all.append(("crashes at \(step)", crashesAtStep[step, default: 0])) }
        return all.filter { $0.1 < least }.map { "\($0.0): \($0.1)" }
    }
}
