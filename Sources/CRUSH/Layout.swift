/// The hierarchy of a map laid out for mapping: flat arrays indexed by number, the items of each bucket padded to whole
/// blocks of lanes, so that a bucket's draws are hashed without a remainder. Made once for each map; never changes.
final class Layout: @unchecked Sendable {
    // Sendable because the memory is written in `init` only and freed in `deinit`.

    /// One bucket.
    struct Node {
        /// Its first block in `items` and `weights`.
        var firstBlock: Int32
        /// Its items, without the padding.
        var count: Int32
        /// Its first entry in `tables`: of list the sums of weights, of tree the weights of the nodes.
        var table: Int32
        /// Its type; 0 where there is no bucket of this number.
        var type: TypeID
        /// How it chooses.
        var kind: Bucket.Kind
    }

    /// What replaces weights and numbers of one bucket.
    struct Replacement {
        /// The first block of the first set in `weights`; meaningless without sets.
        var firstBlock: Int32
        /// The weight sets, each of as many blocks as the bucket has; 0 for the bucket's own weights.
        var sets: Int32
        /// The first block in `items` of what is hashed.
        var firstItemBlock: Int32
    }

    /// The bucket with number -1 - index.
    let nodes: UnsafeMutablePointer<Node>
    /// How many numbers `nodes` covers.
    let nodeCount: Int
    /// The numbers of the items, as they enter the hash.
    let items: UnsafeMutablePointer<CRUSHHash.Lanes>
    /// The weights of the items, of straw buckets the lengths of the straws; 0 in the padding.
    let weights: UnsafeMutablePointer<CRUSHHash.Lanes>
    /// What buckets of the kinds list and tree need besides.
    let tables: UnsafeMutablePointer<UInt32>
    /// The steps of the rule with this number; nil where there is none.
    let rules: [[Rule.Step]?]
    /// The replacements by set, for each as many as there are nodes.
    let arguments: [Int64: UnsafeMutablePointer<Replacement>]

    private static let lanes = CRUSHHash.Lanes.scalarCount

    /// Lays out the buckets of a valid map, shadows included, its rules in ascending order, and its choose arguments.
    init(buckets: [Bucket], rules: [Rule], arguments: [Int64: ChooseArguments]) {
        let last = buckets.min { $0.id < $1.id }?.id.rawValue ?? 0
        nodeCount = -Int(last)
        nodes = .allocate(capacity: nodeCount)
        let none = Node(firstBlock: 0, count: 0, table: 0, type: .osd, kind: .straw2)
        nodes.initialize(repeating: none, count: nodeCount)
        var items: [CRUSHHash.Lanes] = []
        var weights: [CRUSHHash.Lanes] = []
        var tables: [UInt32] = []
        for bucket in buckets {
            nodes[-1 - Int(bucket.id.rawValue)] = Node(
                firstBlock: Int32(items.count), count: Int32(bucket.items.count), table: Int32(tables.count),
                type: bucket.type, kind: bucket.kind)
            Self.append(bucket.items.map { UInt32(bitPattern: $0.id.rawValue) }, to: &items)
            let own = bucket.items.map(\.weight.rawValue)
            Self.append(bucket.kind == .straw ? bucket.table ?? own : own, to: &weights)
            switch bucket.kind {
            case .list:
                var sum: UInt32 = 0
                for weight in own {
                    sum += weight
                    tables.append(sum)
                }
            case .tree: tables += bucket.table ?? []
            case .uniform, .straw, .straw2: break
            }
        }
        var sets: [Int64: UnsafeMutablePointer<Replacement>] = [:]
        for (set, each) in arguments {
            let replacements = UnsafeMutablePointer<Replacement>.allocate(capacity: nodeCount)
            for index in 0..<nodeCount {
                let own = Replacement(firstBlock: 0, sets: 0, firstItemBlock: nodes[index].firstBlock)
                (replacements + index).initialize(to: own)
            }
            for (id, replacement) in each.replacements {
                let index = -1 - Int(id.rawValue)
                if !replacement.weightSets.isEmpty {
                    replacements[index].firstBlock = Int32(weights.count)
                    replacements[index].sets = Int32(replacement.weightSets.count)
                    for own in replacement.weightSets { Self.append(own.map(\.rawValue), to: &weights) }
                }
                if !replacement.ids.isEmpty {
                    replacements[index].firstItemBlock = Int32(items.count)
                    Self.append(replacement.ids.map { UInt32(bitPattern: $0.rawValue) }, to: &items)
                }
            }
            sets[set] = replacements
        }
        self.arguments = sets
        self.items = Self.copy(items)
        self.weights = Self.copy(weights)
        self.tables = Self.copy(tables)
        var steps: [[Rule.Step]?] = Array(repeating: nil, count: rules.last.map { Int($0.id.rawValue) + 1 } ?? 0)
        for rule in rules { steps[Int(rule.id.rawValue)] = rule.steps }
        self.rules = steps
    }

    deinit {
        // Nothing in them has a destructor, so the memory is all there is to give back.
        nodes.deallocate()
        items.deallocate()
        weights.deallocate()
        tables.deallocate()
        for replacements in arguments.values { replacements.deallocate() }
    }

    private static func append(_ values: [UInt32], to blocks: inout [CRUSHHash.Lanes]) {
        for start in stride(from: 0, to: values.count, by: lanes) {
            var block = CRUSHHash.Lanes.zero
            for lane in 0..<min(lanes, values.count - start) { block[lane] = values[start + lane] }
            blocks.append(block)
        }
    }

    private static func copy<Element>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
        let memory = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
        for (index, element) in elements.enumerated() { (memory + index).initialize(to: element) }
        return memory
    }
}
