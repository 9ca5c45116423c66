import Wire

extension CRUSHMap {
    /// A layer of buckets for building a map.
    public struct Layer: Hashable, Sendable {
        /// The name of the type, and of the buckets with a number behind it.
        public var name: String
        /// How the buckets choose.
        public var kind: Bucket.Kind
        /// How many items of the layer below a bucket holds; 0 for all, and then there is one, without a number.
        public var size: Int

        /// A layer with these values.
        public init(name: String, kind: Bucket.Kind, size: Int) {
            self.name = name
            self.kind = kind
            self.size = size
        }
    }

    /// A map of `devices` devices of weight 1 in layers, the lowest first, with a rule that puts replicas on different
    /// buckets of the lowest layer: what `crushtool --build` makes.
    public static func layered(devices: Int, _ layers: [Layer]) throws(CRUSHError) -> CRUSHMap {
        guard let top = layers.last else { throw CRUSHError("at least one layer is needed") }
        guard (1...CRUSHLimits.devices).contains(devices) else {
            throw CRUSHError("\(devices) devices: from 1 to \(CRUSHLimits.devices)")
        }
        guard layers.count <= CRUSHLimits.depth else { throw CRUSHError("more than \(CRUSHLimits.depth) layers") }
        var types: [TypeID: String] = [.osd: "osd"]
        var buckets: [Bucket] = []
        var below = (0..<devices).map { Bucket.Item(id: ItemID(Int32($0)), weight: .one) }
        for (index, layer) in layers.enumerated() {
            guard layer.size >= 0 else { throw CRUSHError("layer '\(layer.name)': size \(layer.size)") }
            let type = TypeID(UInt16(index + 1))
            types[type] = layer.name
            var made: [Bucket.Item] = []
            let size = layer.size == 0 ? below.count : layer.size
            for start in stride(from: 0, to: below.count, by: size) {
                var items = Array(below[start..<min(start + size, below.count)])
                let sum = items.reduce(UInt64(0)) { $0 + UInt64($1.weight.rawValue) }
                guard sum <= CRUSHLimits.bucketWeight.rawValue else {
                    throw CRUSHError("layer '\(layer.name)': a bucket weighs more than \(CRUSHLimits.bucketWeight)")
                }
                // All items of a uniform bucket weigh what the first does.
                if layer.kind == .uniform { for index in items.indices { items[index].weight = items[0].weight } }
                guard buckets.count < CRUSHLimits.buckets else {
                    throw CRUSHError("more than \(CRUSHLimits.buckets) buckets")
                }
                let id = ItemID(-1 - Int32(buckets.count))
                let name = layer.size == 0 ? layer.name : "\(layer.name)\(made.count)"
                buckets.append(Bucket(id: id, name: name, type: type, kind: layer.kind, items: items))
                made.append(Bucket.Item(id: id, weight: CRUSHWeight(UInt32(sum))))
            }
            below = made
        }
        let root = top.size == 0 ? top.name : "\(top.name)0"
        guard let start = buckets.first(where: { $0.name == root }) else {
            preconditionFailure("no bucket '\(root)' among \(buckets.count)")
        }
        let rule = Rule(
            id: RuleID(0), name: defaultRule,
            steps: [.take(start.id), .chooseLeafFirstN(count: 0, type: TypeID(1)), .emit])
        return try CRUSHMap(
            tunables: .jewel, types: types,
            devices: (0..<devices).map { Device(id: OSDID(Int32($0)), name: "osd.\($0)") }, buckets: buckets,
            rules: [rule])
    }

    /// The buckets that nothing holds.
    public var roots: [Bucket] {
        var held: Set<ItemID> = []
        for bucket in buckets { for item in bucket.items { held.insert(item.id) } }
        return buckets.filter { !held.contains($0.id) }
    }
}
