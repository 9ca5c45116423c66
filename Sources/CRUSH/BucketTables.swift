import Glibc

/// What buckets of the older kinds compute from the weights of their items. The floating point is that of the field: the
/// lengths of straws are part of a compiled map and come out the same.
enum BucketTables {
    /// The table of a bucket: `Bucket.table`.
    static func table(of bucket: Bucket, strawVersion: UInt8) -> [UInt32]? {
        let weights = bucket.items.map(\.weight.rawValue)
        switch bucket.kind {
        case .straw: return strawVersion == 0 ? firstStraws(weights) : straws(weights)
        case .tree: return nodes(weights)
        case .uniform, .list, .straw2: return nil
        }
    }

    /// How many entries the table of a bucket of this kind and size has.
    static func count(of kind: Bucket.Kind, items: Int) -> Int {
        switch kind {
        case .straw: items
        case .tree: nodeCount(items)
        case .uniform, .list, .straw2: 0
        }
    }

    // MARK: Trees

    /// The nodes of a tree over this many leaves, the unused node 0 among them. Leaf `i` is node 2i + 1, the root is in the
    /// middle.
    static func nodeCount(_ leaves: Int) -> Int {
        guard leaves > 0 else { return 0 }
        var count = 2
        while count / 2 < leaves { count *= 2 }
        return count
    }

    /// The weights of the nodes: of each inner node the sum of the leaves below it.
    private static func nodes(_ weights: [UInt32]) -> [UInt32] {
        let count = nodeCount(weights.count)
        var nodes = [UInt32](repeating: 0, count: count)
        for (index, weight) in weights.enumerated() {
            var node = 2 * index + 1
            nodes[node] = weight
            // Above a leaf at height h the parent is at the next multiple of 2^(h+1) that is no multiple of 2^(h+2).
            var height = 1
            while (1 << height) < count {
                node = (node >> (height + 1)) << (height + 1) | 1 << height
                nodes[node] &+= weight
                height += 1
            }
        }
        return nodes
    }

    // MARK: Straws

    /// The positions by ascending weight, equal ones in their order.
    private static func ascending(_ weights: [UInt32]) -> [Int] {
        weights.indices.sorted { (weights[$0], $0) < (weights[$1], $1) }
    }

    /// A length as 16.16 fixed point; what does not fit is cut off as the field's tools do on x86-64.
    private static func fixed(_ straw: Double) -> UInt32 {
        let scaled = straw * 0x10000
        guard let whole = Int64(exactly: scaled.rounded(.towardZero)) else { return 0 }
        return UInt32(truncatingIfNeeded: whole)
    }

    /// Version 1: every item but those of weight 0 counts.
    private static func straws(_ weights: [UInt32]) -> [UInt32] {
        var lengths = [UInt32](repeating: 0, count: weights.count)
        let order = ascending(weights).drop { weights[$0] == 0 }
        var left = UInt32(order.count)
        var straw = 1.0
        var below = 0.0
        var last = 0.0
        for (index, next) in zip(order, order.dropFirst().map(Optional.some) + [nil]) {
            lengths[index] = fixed(straw)
            guard let next else { break }
            below += (Double(weights[index]) - last) * Double(left)
            left -= 1
            // In 32 bits, as the field computes it.
            let above = Double(left &* (weights[next] &- weights[index]))
            let share = below / (below + above)
            straw *= pow(1 / share, 1 / Double(left))
            last = Double(weights[index])
        }
        return lengths
    }

    /// Version 0: items of weight 0 and items of equal weight are counted wrongly, and maps rely on it.
    private static func firstStraws(_ weights: [UInt32]) -> [UInt32] {
        var lengths = [UInt32](repeating: 0, count: weights.count)
        let order = ascending(weights)
        var left = Int32(weights.count)
        var straw = 1.0
        var below = 0.0
        var last = 0.0
        for position in order.indices where weights[order[position]] != 0 {
            let weight = weights[order[position]]
            lengths[order[position]] = fixed(straw)
            guard position + 1 < order.count else { break }
            let next = weights[order[position + 1]]
            if next == weight { continue }
            below += (Double(weight) - last) * Double(left)
            left -= Int32(order[(position + 1)...].prefix { weights[$0] == next }.count)
            let above = Double(UInt32(bitPattern: left) &* (next &- weight))
            let share = below / (below + above)
            straw *= pow(1 / share, 1 / Double(left))
            last = Double(weight)
        }
        return lengths
    }
}
