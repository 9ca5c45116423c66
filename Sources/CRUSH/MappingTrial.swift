import Glibc
import Wire

/// Maps a range of inputs by the rules of a map and tells what comes out, in the lines of `crushtool --test`.
public struct MappingTrial: Sendable {
    /// The numbers of the rules; nil for all.
    public var rules: ClosedRange<Int>?
    /// How many replicas to choose, one after the other; nil for the sizes that each rule says it is for.
    public var replicas: ClosedRange<Int>?
    /// The inputs.
    public var inputs: ClosedRange<Int32> = 0...1023
    /// Reweights by number of the device; 1 where there is none.
    public var weights: [Int32: CRUSHWeight] = [:]
    /// The pool whose number is hashed into each input; nil for the inputs as they are.
    public var pool: Int64?
    /// Whether to show every mapping.
    public var showsMappings = false
    /// Whether to show the mappings that are not of the size asked for.
    public var showsBadMappings = false
    /// Whether to count the mappings by size.
    public var showsStatistics = false
    /// Whether to count how often each device is chosen; counts sizes too.
    public var showsUtilization = false
    /// Whether to include devices that are never chosen; counts sizes too.
    public var showsFullUtilization = false
    /// Whether to count how many choices failed before each that was made.
    public var showsChooseTries = false

    /// A trial that shows nothing.
    public init() {}

    /// Runs the trial. `write` gets whole lines in large pieces, `remark` the line that the field's tool writes to standard
    /// error.
    public func run(
        on map: CRUSHMap, write: (String) -> Void, remark: (String) -> Void
    ) throws(CRUSHError) {
        for rule in map.rules where rules?.contains(Int(rule.id.rawValue)) != false {
            let most = replicas?.upperBound ?? Int(rule.maxSize)
            guard most <= CRUSHLimits.replicas, replicas?.lowerBound ?? 0 >= 0 else {
                throw CRUSHError(
                    "rule '\(rule.name)': \(most) replicas, from 0 to \(CRUSHLimits.replicas) can be chosen")
            }
        }
        let showsAnything =
            showsMappings || showsBadMappings || showsStatistics || showsUtilization || showsFullUtilization
            || showsChooseTries
        if !showsAnything { remark("WARNING: no output selected; use --show-mappings or another --show-X\n") }
        var run = Run(trial: self, map: map)
        if showsFullUtilization {
            let list = run.weights.map { String($0.rawValue, radix: 16) }.joined(separator: ",")
            remark("devices weights (hex): [\(list)]\n")
        }
        run.all(write)
    }
}

/// A trial under way.
private struct Run {
    let trial: MappingTrial
    let map: CRUSHMap
    let weights: [CRUSHWeight]
    private let statistics: Bool
    private var text = ""
    private var result: [ItemID] = []
    private var tries: [UInt32]

    init(trial: MappingTrial, map: CRUSHMap) {
        self.trial = trial
        self.map = map
        statistics = trial.showsStatistics || trial.showsUtilization || trial.showsFullUtilization
        var weights = [CRUSHWeight](repeating: .zero, count: map.deviceSlots)
        for bucket in map.buckets {
            for item in bucket.items where !item.id.isBucket { weights[Int(item.id.rawValue)] = .one }
        }
        for (device, weight) in trial.weights where weights.indices.contains(Int(device)) {
            weights[Int(device)] = min(weight, .one)
        }
        self.weights = weights
        tries = trial.showsChooseTries ? Array(repeating: 0, count: Int(map.tunables.chooseTotalTries) + 1) : []
    }

    mutating func all(_ write: (String) -> Void) {
        let slots = map.rules.last.map { Int($0.id.rawValue) } ?? -1
        let first = trial.rules?.lowerBound ?? 0
        for number in stride(from: max(first, 0), through: min(slots, trial.rules?.upperBound ?? slots), by: 1) {
            guard let rule = map.rule(RuleID(Int32(number))) else {
                if statistics { text += "rule \(number) dne\n" }
                continue
            }
            attempt(rule, write)
        }
        if trial.showsChooseTries {
            for (failures, count) in tries.dropLast().enumerated() {
                text += Self.padded("\(failures)", 2) + ": " + Self.padded("\(count)", 9) + "\n"
            }
        }
        write(text)
    }

    private mutating func attempt(_ rule: Rule, _ write: (String) -> Void) {
        let replicas = trial.replicas.map { ($0.lowerBound, $0.upperBound) } ?? (Int(rule.minSize), Int(rule.maxSize))
        if statistics {
            text += "rule \(rule.id) (\(rule.name)), x = \(trial.inputs.lowerBound)..\(trial.inputs.upperBound)"
            text += ", numrep = \(replicas.0)..\(replicas.1)\n"
        }
        for count in stride(from: replicas.0, through: replicas.1, by: 1) { attempt(rule, count, write) }
    }

    /// All inputs for one number of replicas.
    private mutating func attempt(_ rule: Rule, _ count: Int, _ write: (String) -> Void) {
        // The field's tool adds up in 32 bits, and skips what it takes for a map without weight.
        let total = weights.reduce(Int32(0)) { $0 &+ Int32(bitPattern: $1.rawValue) }
        guard total != 0 else { return }
        var stored = [Int](repeating: 0, count: weights.count)
        var sizes: [Int: Int] = [:]
        for input in trial.inputs {
            map(input, count, rule)
            var hole = false
            for item in result {
                // Rules that end at buckets have no devices to count.
                if item == .none { hole = true } else if !item.isBucket { stored[Int(item.rawValue)] += 1 }
            }
            sizes[result.count, default: 0] += 1
            if trial.showsMappings { show("CRUSH rule ", rule, " x ", input) }
            if trial.showsBadMappings, result.count != count || hole {
                show("bad mapping rule ", rule, " x ", input, count: count)
            }
            if text.utf8.count > 1 << 16 {
                write(text)
                text.removeAll(keepingCapacity: true)
            }
        }
        guard statistics else { return }
        let inputs = trial.inputs.count
        for (size, number) in sizes.sorted(by: { $0.key < $1.key }) {
            text += "rule \(rule.id) (\(rule.name)) num_rep \(count) result size == \(size):\t\(number)/\(inputs)\n"
        }
        let expected = Float(min(count, reach(of: rule)) * inputs)
        for (device, weight) in weights.enumerated() {
            let share = Float(Int32(bitPattern: weight.rawValue)) / Float(total) * expected
            // What shows everything says less beside what shows a part.
            guard trial.showsUtilization ? share > 0 && stored[device] > 0 : trial.showsFullUtilization else {
                continue
            }
            text += "  device \(device):\t\t stored : \(stored[device])\t expected : \(Self.general(share))\n"
        }
    }

    private mutating func map(_ input: Int32, _ count: Int, _ rule: Rule) {
        var hashed = UInt32(bitPattern: input)
        if let pool = trial.pool { hashed = CRUSHHash.hash(hashed, UInt32(truncatingIfNeeded: pool)) }
        // The field's tool tests with the choose arguments of pool 0, whatever the pool.
        if tries.isEmpty {
            map.map(rule: rule.id, input: hashed, count: count, weights: weights, pool: 0, into: &result)
        } else {
            tries.withUnsafeMutableBufferPointer { tries in
                map.map(
                    rule: rule.id, input: hashed, count: count, weights: weights, pool: 0, tries: tries, into: &result)
            }
        }
    }

    private mutating func show(_ prefix: String, _ rule: Rule, _ middle: String, _ input: Int32, count: Int? = nil) {
        text += prefix
        text += rule.id.description
        text += middle
        text += String(input)
        if let count { text += " num_rep \(count) result" }
        text += " ["
        for (index, item) in result.enumerated() {
            if index > 0 { text += "," }
            text += String(item.rawValue)
        }
        text += "]\n"
    }

    /// How many replicas a rule can place at most, as the field's tool estimates it: the least number of buckets of a type
    /// that the rule chooses, counted once for every step that chooses it, or the count of the last of these steps.
    private func reach(of rule: Rule) -> Int {
        var wanted: [TypeID: (steps: Int, count: Int)] = [:]
        for step in rule.steps {
            switch step {
            case .chooseFirstN(let count, let type), .chooseLeafFirstN(let count, let type),
                .chooseIndep(let count, let type), .chooseLeafIndep(let count, let type):
                wanted[type] = ((wanted[type]?.steps ?? 0) + 1, Int(count))
            default: break
            }
        }
        var reach = max(map.bucketSlots, map.deviceSlots)
        let all = map.buckets + map.shadowBuckets
        for (type, (steps, count)) in wanted {
            var there = steps * all.lazy.filter { $0.type == type }.count
            if count > 0, count < there { there = count }
            if there > 0, there < reach { reach = there }
        }
        return reach
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }

    /// A number with six significant digits, as C++ writes it.
    static func general(_ value: Float) -> String {
        var buffer = [CChar](repeating: 0, count: 32)
        _ = withVaList([Double(value)]) { vsnprintf(&buffer, buffer.count, "%g", $0) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
