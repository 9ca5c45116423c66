/// How a bucket of each kind chooses one of its items for one input. It lives no longer than the layout whose memory it
/// reads.
struct BucketChoice {
    let input: UInt32
    private let nodes: UnsafeMutablePointer<Layout.Node>
    private let nodeCount: Int
    private let items: UnsafeMutablePointer<CRUSHHash.Lanes>
    private let weights: UnsafeMutablePointer<CRUSHHash.Lanes>
    private let tables: UnsafeMutablePointer<UInt32>
    private let arguments: UnsafeMutablePointer<Layout.Replacement>?
    private let logarithm = StrawLogarithm.shared

    private static let lanes = CRUSHHash.Lanes.scalarCount

    init(layout: Layout, arguments: UnsafeMutablePointer<Layout.Replacement>?, input: UInt32) {
        self.input = input
        nodes = layout.nodes
        nodeCount = layout.nodeCount
        items = layout.items
        weights = layout.weights
        tables = layout.tables
        self.arguments = arguments
    }

    @inline(__always)
    func node(_ bucket: ItemID) -> Layout.Node {
        let index = -1 - Int(bucket.rawValue)
        assert(index >= 0 && index < nodeCount, "bucket \(bucket) of \(nodeCount)")
        return nodes[index]
    }

    /// The item that a bucket, which is not empty, chooses for an attempt. `position` is that of the replica, for choose
    /// arguments that have a weight set for each.
    @inline(__always)
    func choose(_ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32, position: Int) -> ItemID {
        if node.kind == .straw2, arguments == nil {
            let first = Int(node.firstBlock)
            return straw2(node, hashed: first, weights: first, attempt)
        }
        return chooseOtherwise(node, bucket, attempt, position: position)
    }

    @inline(never)
    private func chooseOtherwise(
        _ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32, position: Int
    ) -> ItemID {
        switch node.kind {
        case .uniform: permuted(node, bucket, attempt)
        case .list: list(node, bucket, attempt)
        case .tree: tree(node, bucket, attempt)
        case .straw: straw(node, attempt)
        case .straw2: replaced(node, bucket, attempt, position: position)
        }
    }

    @inline(__always)
    private func item(_ node: Layout.Node, _ index: Int) -> ItemID {
        let lanes = items + Int(node.firstBlock) + index / Self.lanes
        return ItemID(Int32(bitPattern: lanes.pointee[index % Self.lanes]))
    }

    // MARK: straw2 and straw

    /// The item whose logarithm, divided by its weight, is nearest to zero; the first of equals. An item of weight 0 wins
    /// only when it is the first and all are 0.
    @inline(__always)
    private func straw2(_ node: Layout.Node, hashed: Int, weights first: Int, _ attempt: UInt32) -> ItemID {
        var best = UInt64.max
        var winner = 0
        var left = Int(node.count)
        var block = 0
        while left > 0 {
            let weights = self.weights[first + block]
            let hashes = CRUSHHash.hash(input: input, items: items[hashed + block], replica: attempt)
            for lane in 0..<min(Self.lanes, left) {
                // The quotient is below the best one exactly when the dividend is below the best times the divisor, so a
                // division is needed only for a new best. A product that does not fit is above every dividend.
                let deficit = logarithm.deficit(hashes[lane])
                let weight = UInt64(weights[lane])
                let (bound, overflow) = best.multipliedReportingOverflow(by: weight)
                if overflow || deficit < bound {
                    best = deficit / weight
                    winner = block * Self.lanes + lane
                }
            }
            left -= Self.lanes
            block += 1
        }
        return item(node, winner)
    }

    /// As `straw2`, with the weights and numbers of the choose arguments.
    private func replaced(
        _ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32, position: Int
    ) -> ItemID {
        guard let arguments else { preconditionFailure("bucket \(bucket) without choose arguments") }
        let replacement = arguments[-1 - Int(bucket.rawValue)]
        var first = Int(node.firstBlock)
        if replacement.sets > 0 {
            let blocks = (Int(node.count) + Self.lanes - 1) / Self.lanes
            first = Int(replacement.firstBlock) + min(position, Int(replacement.sets) - 1) * blocks
        }
        return straw2(node, hashed: Int(replacement.firstItemBlock), weights: first, attempt)
    }

    /// The item with the longest straw, each shortened by the hash; the first of equals.
    private func straw(_ node: Layout.Node, _ attempt: UInt32) -> ItemID {
        let first = Int(node.firstBlock)
        var best: UInt64 = 0
        var winner = 0
        for index in 0..<Int(node.count) {
            let block = first + index / Self.lanes
            let lane = index % Self.lanes
            let draw =
                UInt64(CRUSHHash.hash(input, items[block][lane], attempt) & 0xffff) * UInt64(weights[block][lane])
            if draw > best {
                best = draw
                winner = index
            }
        }
        return item(node, winner)
    }

    // MARK: The older kinds

    /// The last item that takes its share of what it and those before it weigh.
    private func list(_ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32) -> ItemID {
        let first = Int(node.firstBlock)
        let sums = tables + Int(node.table)
        let id = UInt32(bitPattern: bucket.rawValue)
        for index in stride(from: Int(node.count) - 1, through: 0, by: -1) {
            let block = first + index / Self.lanes
            let lane = index % Self.lanes
            let hash = UInt64(CRUSHHash.hash(input, items[block][lane], attempt, id) & 0xffff)
            if hash * UInt64(sums[index]) >> 16 < UInt64(weights[block][lane]) { return item(node, index) }
        }
        return item(node, 0)
    }

    /// Walks from the root of the tree of weights to a leaf. Where all weights are 0 it may end at a leaf that does not exist;
    /// then it is the last that does.
    private func tree(_ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32) -> ItemID {
        let weights = tables + Int(node.table)
        let id = UInt32(bitPattern: bucket.rawValue)
        var half = BucketTables.nodeCount(Int(node.count)) / 2
        var place = half
        while half > 1 {
            half /= 2
            let hash = UInt64(CRUSHHash.hash(input, UInt32(truncatingIfNeeded: place), attempt, id))
            let point = hash * UInt64(weights[place]) >> 32
            place += point < UInt64(weights[place - half]) ? -half : half
        }
        return item(node, min(place / 2, Int(node.count) - 1))
    }

    /// The item at a place of the bucket's permutation for this input: of uniform buckets the choice, of all the last resort
    /// of old tunables.
    ///
    /// The permutation is a shuffle in which step k exchanges place k with one at or behind it. Which item ends up at a place
    /// is found by following the exchanges backwards, without writing the permutation down: places asked for are small, as
    /// replicas and their retries are.
    @inline(never)
    func permuted(_ node: Layout.Node, _ bucket: ItemID, _ attempt: UInt32) -> ItemID {
        let size = UInt32(bitPattern: node.count)
        let id = UInt32(bitPattern: bucket.rawValue)
        var step = attempt % size
        var place = step + CRUSHHash.hash(input, id, step) % (size - step)
        while step > 0 {
            step -= 1
            if step + CRUSHHash.hash(input, id, step) % (size - step) == place { place = step }
        }
        return item(node, Int(place))
    }
}
