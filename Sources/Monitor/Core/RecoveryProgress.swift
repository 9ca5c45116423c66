import Protocol
import Wire

/// How fast an OSD's groups bring copies back, from counts that it tells every second or so.
struct RecoveryProgress {
    private struct Sample {
        var time: UInt64
        var objects: UInt64
        var bytes: UInt64
    }

    private var samples: [Sample] = []

    /// A second's rate jumps; ten seconds are what people wait for.
    private static let window: UInt64 = 10_000

    /// Takes counts since the OSD's start.
    mutating func take(_ objects: UInt64, _ bytes: UInt64, now: UInt64) {
        // Counts that go back are of another run.
        if let last = samples.last, objects < last.objects || bytes < last.bytes { samples.removeAll() }
        samples.append(Sample(time: now, objects: objects, bytes: bytes))
        // The first sample is as old as the window, or older when there is none between.
        while samples.count > 2, samples[1].time + Self.window <= now { samples.removeFirst() }
    }

    /// Objects and bytes a second over the last seconds.
    var rate: (objects: Double, bytes: Double) {
        guard let first = samples.first, let last = samples.last, last.time > first.time else { return (0, 0) }
        let seconds = Double(last.time - first.time) / 1000
        return (Double(last.objects - first.objects) / seconds, Double(last.bytes - first.bytes) / seconds)
    }
}

/// Objects and copies of all groups in numbers, and how fast they are made whole.
struct DataCounts {
    var counts = GroupStatistics.Counts()
    var scrubErrors: UInt64 = 0
    var objectsPerSecond = 0.0
    var bytesPerSecond = 0.0

    /// Seconds until every copy is where it should be, at the present rate; nil when there is nothing to do, or nothing is
    /// done.
    var secondsLeft: UInt64? {
        let left = Double(counts.degraded) + Double(counts.misplaced)
        guard left > 0, objectsPerSecond > 0.01, left / objectsPerSecond < 1e12 else { return nil }
        return UInt64((left / objectsPerSecond).rounded(.up))
    }
}

extension ClusterView {
    /// What primaries say of the groups that the map gives them.
    var dataCounts: DataCounts {
        var sum = DataCounts()
        for state in allStates {
            guard let said = state.statistics else { continue }
            sum.counts.objects &+= said.counts.objects
            sum.counts.bytes &+= said.counts.bytes
            sum.counts.copies &+= said.counts.copies
            sum.counts.degraded &+= said.counts.degraded
            sum.counts.misplaced &+= said.counts.misplaced
            sum.counts.unfound &+= said.counts.unfound
            sum.scrubErrors += UInt64(said.scrubErrors)
        }
        for report in watch.reports.values {
            let rate = report.progress.rate
            sum.objectsPerSecond += rate.objects
            sum.bytesPerSecond += rate.bytes
        }
        return sum
    }

    typealias AddCheck = (String, HealthReport.Severity, String, Int, [String]) -> Void

    /// What is wrong with data: copies that are bad, and objects that nobody has.
    func checkData(_ states: [GroupState], _ add: AddCheck) {
        let damaged = states.filter { $0.statistics.map { $0.inconsistent > 0 } ?? false }
        let errors = damaged.reduce(0) { $0 + Int($1.statistics?.scrubErrors ?? 0) }
        add("OSD_SCRUB_ERRORS", .error, "\(errors) scrub errors", errors, [])
        add(
            "PG_DAMAGED", .error,
            "Possible data damage: \(damaged.count) \(Self.plural(damaged.count, "pg")) inconsistent", damaged.count,
            damaged.map { state in
                let count = Int(state.statistics?.inconsistent ?? 0)
                return "pg \(state.id) is \(state.name), acting \(state.group.placement.acting.map(\.rawValue)), "
                    + "\(count) \(Self.plural(count, "object")): `nacre pg list-inconsistent \(state.id)` names them, "
                    + "`nacre pg repair \(state.id)` heals what has a good copy"
            })
        let lost = states.filter { ($0.statistics?.counts.unfound ?? 0) > 0 }
        let unfound = lost.reduce(UInt64(0)) { $0 &+ ($1.statistics?.counts.unfound ?? 0) }
        add(
            "OBJECT_UNFOUND", .warning,
            "\(unfound) \(Self.plural(Int(clamping: unfound), "object")) unfound", Int(clamping: unfound),
            lost.map { "pg \($0.id) has \($0.statistics?.counts.unfound ?? 0) unfound objects" })
    }

    /// Copies that are not there, as part of a line; empty when all are.
    func degradedText(_ counts: GroupStatistics.Counts) -> String {
        guard counts.degraded > 0, counts.copies > 0 else { return "" }
        let share = Double(min(counts.degraded, counts.copies)) / Double(counts.copies) * 100
        let thousandths = Int((share * 1000).rounded())
        let fraction = String(thousandths % 1000)
        return "\(counts.degraded)/\(counts.copies) objects degraded (\(thousandths / 1000)."
            + String(repeating: "0", count: 3 - fraction.count) + fraction + " %)"
    }

    private static func plural(_ count: Int, _ word: String) -> String { count == 1 ? word : word + "s" }
}
