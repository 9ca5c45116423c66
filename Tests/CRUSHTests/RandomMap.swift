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

/// Makes up a hierarchy of two to four levels of buckets, with rules of many shapes.
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

    init(_ random: Seeded) {
        var random = random
        freeBuckets = (1...2000).map { Int32(-$0) }
        freeBuckets.shuffle(using: &random)
        let heavy = random.oneIn(3)
        grain = heavy ? 256 : 1
        heaviest = heavy ? 100 << 16 : 0x1_8000
        types = CRUSHMap.newCluster().types
        self.random = random
    }

    mutating func make() throws -> CRUSHMap {
        // Ascending types, the root last: "host", perhaps some above it, "root".
        var levels = (1...10).map { TypeID(UInt16($0)) }.shuffled(using: &random)
        levels = levels.prefix(Int.random(in: 1...3, using: &random)).sorted() + [TypeID(11)]
        var roots = (0..<(random.oneIn(4) ? 2 : 1)).map { _ in bucket(levels[...]) }
        // Without any device crushtool maps nothing and says nothing.
        while devices.isEmpty { roots.append(bucket(levels[...])) }
        let rules = (0..<4).map { rule(RuleID(Int32($0 * 2)), levels: levels, roots: roots) }
        return try CRUSHMap(
            tunables: tunables(), types: types, devices: devices.shuffled(using: &random),
            buckets: buckets.shuffled(using: &random), rules: rules)
    }

    /// Makes a bucket of the last level with all that is below it.
    private mutating func bucket(_ levels: ArraySlice<TypeID>) -> Bucket.Item {
        let type = levels[levels.endIndex - 1]
        let below = levels.dropLast()
        var items: [Bucket.Item] = []
        let fanOut = random.oneIn(12) ? 0 : Int.random(in: below.isEmpty ? 1...12 : 2...5, using: &random)
        for _ in 0..<fanOut {
            // Now and then a level is left out, or a device stands beside buckets.
            if below.isEmpty || random.oneIn(15) {
                items.append(device())
            } else {
                items.append(bucket(random.oneIn(10) ? below.dropLast() + below.suffix(1) : below))
            }
        }
        let id = ItemID(freeBuckets.removeLast())
        let bucket = Bucket(id: id, name: "\(types[type] ?? "")-\(-id.rawValue)", type: type, items: items)
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
        devices.append(Device(id: id, name: id.description))
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
        guard random.oneIn(2) else { return tunables }
        tunables.chooseTotalTries = random.oneIn(3) ? 19 : UInt32.random(in: 1...100, using: &random)
        tunables.chooseLocalTries = random.oneIn(2) ? 0 : UInt32.random(in: 1...4, using: &random)
        tunables.chooseleafDescendOnce = random.oneIn(2)
        tunables.chooseleafVaryR = UInt8.random(in: 0...4, using: &random)
        tunables.chooseleafStable = random.oneIn(2)
        tunables.strawCalculationVersion = random.oneIn(2) ? 1 : 0
        tunables.allowedBucketKinds = random.oneIn(2) ? 54 : 22
        return tunables
    }

    private mutating func rule(_ id: RuleID, levels: [TypeID], roots: [Bucket.Item]) -> Rule {
        var steps: [Rule.Step] = []
        for root in roots.prefix(random.oneIn(3) ? 2 : 1) {
            let start = random.oneIn(8) ? buckets.randomElement(using: &random)?.id : nil
            steps.append(.take(random.oneIn(20) ? ItemID(devices[0].id) : start ?? root.id))
            let count = Int32([0, 0, 0, 0, 0, 0, 1, 3, -1, -2].randomElement(using: &random) ?? 0)
            let type = levels.randomElement(using: &random) ?? .host
            switch Int.random(in: 0..<12, using: &random) {
            case 0: steps.append(.chooseFirstN(count: count, type: .osd))
            case 1: steps.append(.chooseLeafFirstN(count: count, type: .osd))
            case 2:
                // Only devices may be emitted: the statistics of crushtool write outside their memory for a bucket.
                steps.append(.chooseFirstN(count: count, type: type))
                steps.append(.chooseFirstN(count: 2, type: .osd))
            case 3:
                steps.append(.chooseFirstN(count: 2, type: levels[levels.count - 2]))
                steps.append(.chooseLeafFirstN(count: 2, type: levels[0]))
            case 4:
                steps.append(.chooseFirstN(count: count, type: levels[0]))
                steps.append(.chooseFirstN(count: 1, type: .osd))
            default: steps.append(.chooseLeafFirstN(count: count, type: type))
            }
            if !random.oneIn(30) { steps.append(.emit) }
        }
        return Rule(id: id, name: "rule-\(id)", kind: random.oneIn(5) ? .erasure : .replicated, steps: steps)
    }
}
