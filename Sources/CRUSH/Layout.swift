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
        /// Its type; 0 where there is no bucket of this number.
        var type: TypeID
    }

    /// The bucket with number -1 - index.
    let nodes: UnsafeMutablePointer<Node>
    /// How many numbers `nodes` covers.
    let nodeCount: Int
    /// The numbers of the items, as they enter the hash.
    let items: UnsafeMutablePointer<CRUSHHash.Lanes>
    /// The weights of the items; 0 in the padding.
    let weights: UnsafeMutablePointer<CRUSHHash.Lanes>
    /// The steps of the rule with this number; nil where there is none.
    let rules: [[Rule.Step]?]

    /// Lays out buckets of a valid map, which come in descending order of their numbers, and its rules in ascending order.
    init(buckets: [Bucket], rules: [Rule]) {
        nodeCount = buckets.last.map { -Int($0.id.rawValue) } ?? 0
        nodes = .allocate(capacity: nodeCount)
        nodes.initialize(repeating: Node(firstBlock: 0, count: 0, type: .osd), count: nodeCount)
        let lanes = CRUSHHash.Lanes.scalarCount
        let blocks = buckets.reduce(0) { $0 + ($1.items.count + lanes - 1) / lanes }
        items = .allocate(capacity: blocks)
        items.initialize(repeating: .zero, count: blocks)
        weights = .allocate(capacity: blocks)
        weights.initialize(repeating: .zero, count: blocks)
        var block = 0
        for bucket in buckets {
            nodes[-1 - Int(bucket.id.rawValue)] = Node(
                firstBlock: Int32(block), count: Int32(bucket.items.count), type: bucket.type)
            for (index, item) in bucket.items.enumerated() {
                items[block + index / lanes][index % lanes] = UInt32(bitPattern: item.id.rawValue)
                weights[block + index / lanes][index % lanes] = item.weight.rawValue
            }
            block += (bucket.items.count + lanes - 1) / lanes
        }
        precondition(block == blocks, "\(block) blocks laid out, \(blocks) allocated")
        var steps: [[Rule.Step]?] = Array(repeating: nil, count: rules.last.map { Int($0.id.rawValue) + 1 } ?? 0)
        for rule in rules { steps[Int(rule.id.rawValue)] = rule.steps }
        self.rules = steps
    }

    deinit {
        // Nothing in them has a destructor, so the memory is all there is to give back.
        nodes.deallocate()
        items.deallocate()
        weights.deallocate()
    }
}
