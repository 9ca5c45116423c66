import CRUSH
import Glibc
import Wire

/// A generator whose numbers follow from its seed (SplitMix64).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// True once in `n` times.
    mutating func oneIn(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }
}

/// The seed of a test run: from NACRE_SEED, else a new one; printed, so that a failure can be repeated.
func testSeed(_ name: String) -> UInt64 {
    let given = getenv("NACRE_SEED").flatMap { UInt64(String(cString: $0)) }
    let seed = given ?? UInt64.random(in: 0...UInt64.max)
    print("\(name): NACRE_SEED=\(seed)")
    return seed
}

/// Makes up a hierarchy of one to five levels of buckets of all kinds, with classes of devices, choose arguments, and rules
/// of many shapes.
struct MapMaker {
    var random: Seeded
    private var devices: [Device] = []
    private var buckets: [Bucket] = []
    private var freeBuckets: [Int32]
    private var nextDevice: Int32 = 0
    private let types: [TypeID: String]
    /// All weights are multiples of this, so that `crushtool`, which reads weights as 32-bit floats, reads them exactly.
    private let grain: UInt32
    private let heaviest: UInt32
    private let kinds: [Bucket.Kind]
    private let classes: [String]

    /// With `isCompilable`, `crushtool -c` can make the shadow trees: it cannot for uniform buckets and trees.
    init(_ random: Seeded, isCompilable: Bool = false) {
        var random = random
        freeBuckets = (1...2000).map { Int32(-$0) }
        freeBuckets.shuffle(using: &random)
        let heavy = random.oneIn(3)
        grain = heavy ? 256 : 1
        heaviest = heavy ? 100 << 16 : 0x1_8000
        types = CRUSHMap.newCluster().types
        var kinds: [Bucket.Kind] = random.oneIn(3) ? [.straw2] : Bucket.Kind.allCases
        classes = Array(["hdd", "nvme", "ssd"].shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random)))
        if isCompilable, !classes.isEmpty { kinds.removeAll { $0 == .uniform || $0 == .tree } }
        self.kinds = kinds
        self.random = random
    }

    mutating func make() throws -> CRUSHMap {
        // Ascending types, the root last: "host", perhaps some above it, "root".
        var levels = (1...10).map { TypeID(UInt16($0)) }.shuffled(using: &random)
        levels = levels.prefix(Int.random(in: 1...4, using: &random)).sorted() + [TypeID(11)]
        var roots = (0..<(random.oneIn(4) ? 2 : 1)).map { _ in bucket(levels[...]) }
        // Without any device crushtool maps nothing and says nothing.
        while devices.isEmpty { roots.append(bucket(levels[...])) }
        let map = try CRUSHMap(
            tunables: tunables(), types: types, devices: devices.shuffled(using: &random),
            buckets: buckets.shuffled(using: &random), rules: [])
        let rules = (0..<4).map { rule(RuleID(Int32($0 * 2)), levels: levels, roots: roots, map) }
        return try CRUSHMap(
            tunables: map.tunables, types: types, devices: map.devices, buckets: map.buckets, rules: rules,
            chooseArguments: arguments(map))
    }

    /// Makes a bucket of the last level with all that is below it.
    private mutating func bucket(_ levels: ArraySlice<TypeID>) -> Bucket.Item {
        let type = levels[levels.endIndex - 1]
        let below = levels.dropLast()
        let kind = kinds.randomElement(using: &random) ?? .straw2
        var items: [Bucket.Item] = []
        var fanOut =
            random.oneIn(12)
            ? 0 : Int.random(in: below.isEmpty ? 1...12 : 2...(below.count > 2 ? 3 : 5), using: &random)
        // In a tree without any weight crushtool reads behind the items, unless they are a power of two.
        if kind == .tree { fanOut = [1, 2, 4, 8].last { $0 <= fanOut } ?? 0 }
        // crushtool refuses to make a uniform bucket whose items have no weight.
        let uniform = max(deviceWeight(), CRUSHWeight(grain))
        for _ in 0..<fanOut {
            // Now and then a level is left out, or a device stands beside buckets.
            if below.isEmpty || random.oneIn(15) {
                items.append(device())
            } else {
                items.append(bucket(random.oneIn(10) ? below.dropLast() + below.suffix(1) : below))
            }
            if kind == .uniform { items[items.count - 1].weight = uniform }
        }
        let id = ItemID(freeBuckets.removeLast())
        let bucket = Bucket(id: id, name: "\(types[type] ?? "")-\(-id.rawValue)", type: type, kind: kind, items: items)
        buckets.append(bucket)
        var weight = bucket.weight
        if random.oneIn(12) { weight = .zero }
        if random.oneIn(12) { weight = deviceWeight() }
        return Bucket.Item(id: id, weight: weight)
    }

    private mutating func device() -> Bucket.Item {
        if random.oneIn(8) { nextDevice += Int32.random(in: 1...4, using: &random) }
        let id = OSDID(nextDevice)
        nextDevice += 1
        let name = random.oneIn(4) ? nil : classes.randomElement(using: &random)
        devices.append(Device(id: id, name: id.description, deviceClass: name))
        return Bucket.Item(id: ItemID(id), weight: deviceWeight())
    }

    private mutating func deviceWeight() -> CRUSHWeight {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: .zero
        case 1: CRUSHWeight(grain)
        case 2, 3: .one
        default: CRUSHWeight(UInt32.random(in: 0...heaviest / grain, using: &random) * grain)
        }
    }

    private mutating func tunables() -> Tunables {
        var tunables = Tunables.jewel
        if random.oneIn(4) { return .legacy }
        guard random.oneIn(2) else { return tunables }
        tunables.chooseTotalTries = random.oneIn(3) ? 19 : UInt32.random(in: 1...100, using: &random)
        tunables.chooseLocalTries = random.oneIn(2) ? 0 : UInt32.random(in: 1...4, using: &random)
        tunables.chooseLocalFallbackTries = random.oneIn(2) ? 0 : UInt32.random(in: 1...6, using: &random)
        tunables.chooseleafDescendOnce = random.oneIn(2)
        tunables.chooseleafVaryR = UInt8.random(in: 0...4, using: &random)
        tunables.chooseleafStable = random.oneIn(2)
        tunables.strawCalculationVersion = random.oneIn(2) ? 1 : 0
        tunables.allowedBucketKinds = random.oneIn(2) ? 54 : 22
        return tunables
    }

    private mutating func arguments(_ map: CRUSHMap) -> [Int64: ChooseArguments] {
        guard random.oneIn(3) else { return [:] }
        var sets: [Int64: ChooseArguments] = [:]
        for set in [ChooseArguments.defaultSet, 0, 5] where random.oneIn(2) {
            var arguments = ChooseArguments()
            // Of other kinds crushtool drops them when it reads the compiled form.
            for bucket in map.buckets + map.shadowBuckets
            where bucket.kind == .straw2 && !bucket.items.isEmpty && random.oneIn(2) {
                var replacement = ChooseArguments.Replacement()
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    replacement.weightSets.append(bucket.items.map { _ in deviceWeight() })
                }
                if random.oneIn(3) || replacement.weightSets.isEmpty {
                    replacement.ids = bucket.items.map { _ in ItemID(Int32.random(in: -1000...1000, using: &random)) }
                }
                arguments.replacements[bucket.id] = replacement
            }
            sets[set] = arguments
        }
        return sets
    }

    private mutating func rule(_ id: RuleID, levels: [TypeID], roots: [Bucket.Item], _ map: CRUSHMap) -> Rule {
        var steps: [Rule.Step] = []
        if random.oneIn(3) { steps.append(setting()) }
        let kind: Rule.Kind = random.oneIn(2) ? .erasure : .replicated
        func choose(_ count: Int32, _ type: TypeID) -> Rule.Step {
            kind == .erasure ? .chooseIndep(count: count, type: type) : .chooseFirstN(count: count, type: type)
        }
        func chooseLeaf(_ count: Int32, _ type: TypeID) -> Rule.Step {
            kind == .erasure ? .chooseLeafIndep(count: count, type: type) : .chooseLeafFirstN(count: count, type: type)
        }
        // Two roots, or the same one twice.
        for root in (roots + roots).prefix(random.oneIn(3) ? 2 : 1) {
            var start = (random.oneIn(8) ? buckets.randomElement(using: &random)?.id : nil) ?? root.id
            if random.oneIn(2), let name = map.classes.randomElement(using: &random)?.name {
                start = map.shadow(of: start, deviceClass: name) ?? start
            }
            steps.append(.take(random.oneIn(20) ? ItemID(devices[0].id) : start))
            if random.oneIn(4) { steps.append(setting()) }
            let count = Int32([0, 0, 0, 0, 0, 0, 1, 3, -1, -2].randomElement(using: &random) ?? 0)
            let type = levels.randomElement(using: &random) ?? .host
            switch Int.random(in: 0..<12, using: &random) {
            case 0: steps.append(choose(count, .osd))
            case 1: steps.append(chooseLeaf(count, .osd))
            case 2:
                // Only devices may be emitted: the statistics of crushtool write outside their memory for a bucket.
                steps.append(choose(count, type))
                steps.append(choose(2, .osd))
            case 3:
                steps.append(choose(2, levels[levels.count - 2]))
                steps.append(chooseLeaf(2, levels[0]))
            case 4:
                steps.append(choose(count, levels[0]))
                steps.append(choose(1, .osd))
            default: steps.append(chooseLeaf(count, type))
            }
            if !random.oneIn(30) { steps.append(.emit) }
        }
        let least = UInt8.random(in: 1...3, using: &random)
        return Rule(
            id: id, name: "rule-\(id)", kind: kind, minSize: least,
            maxSize: UInt8.random(in: least...7, using: &random), steps: steps)
    }

    private mutating func setting() -> Rule.Step {
        let number = UInt32.random(in: 0...5, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return .setChooseTries(number * number * 4)
        case 1: return .setChooseLeafTries(number)
        case 2: return .setChooseLocalTries(number)
        case 3: return .setChooseLocalFallbackTries(number)
        case 4: return .setChooseLeafVaryR(number)
        default: return .setChooseLeafStable(number % 3)
        }
    }
}
