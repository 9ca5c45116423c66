import Wire

extension CRUSHMap {
    /// The hierarchy as a table, shadow trees included: the lines of `crushtool --tree`.
    public var tree: String {
        var rows: [[String]] = []
        let all = buckets + shadowBuckets
        var held: Set<ItemID> = []
        for bucket in all { for item in bucket.items { held.insert(item.id) } }
        let sets = chooseArguments.sorted(by: { $0.key < $1.key })
        let table = TreeTable(map: self, sets: sets.map(\.value))
        for root in all.reversed().sorted(by: { $0.id < $1.id }) where !held.contains(root.id) {
            table.add(root.id, at: nil, weight: root.weight, depth: 0, to: &rows)
        }
        let titles =
            ["ID", "CLASS", "WEIGHT"]
            + sets.map { $0.key == ChooseArguments.defaultSet ? "(compat)" : "\($0.key)" } + ["TYPE NAME"]
        var widths = titles.map(\.utf8.count)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.utf8.count) }
        }
        func line(_ cells: [String], isTitle: Bool) -> String {
            cells.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.utf8.count)
                return isTitle || column == cells.count - 1 ? cell + space : space + cell
            }.joined(separator: "  ") + "\n"
        }
        return line(titles, isTitle: true) + rows.map { line($0, isTitle: false) }.joined()
    }
}

private struct TreeTable {
    let map: CRUSHMap
    let sets: [ChooseArguments]
    private let classes: [ItemID: String]

    init(map: CRUSHMap, sets: [ChooseArguments]) {
        self.map = map
        self.sets = sets
        var classes: [ItemID: String] = [:]
        for device in map.devices { classes[ItemID(device.id)] = device.deviceClass }
        for bucket in map.buckets { for (name, shadow) in bucket.shadows { classes[shadow] = name } }
        self.classes = classes
    }

    /// Adds an item and what is below it. Recursion is bounded by `CRUSHLimits.depth`.
    func add(
        _ item: ItemID, at place: (parent: ItemID, index: Int)?, weight: CRUSHWeight, depth: Int,
        to rows: inout [[String]]
    ) {
        var row = ["\(item)", classes[item] ?? "", Self.text(weight)]
        for set in sets {
            let own = place.flatMap { place in
                set.replacements[place.parent]?.weightSets.first.map { $0[place.index] }
            }
            row.append(own.map(Self.text) ?? "")
        }
        let bucket = map.bucket(item)
        let name = bucket.map { "\(map.types[$0.type] ?? "") \($0.name)" } ?? "osd.\(item)"
        row.append(String(repeating: "    ", count: depth) + name)
        rows.append(row)
        // Buckets that stand in several places multiply; what nobody can read is not shown.
        guard let bucket, rows.count < CRUSHLimits.items else { return }
        // Buckets by name, devices by class and number.
        let children = bucket.items.enumerated().map { (key: key(of: $1.id), index: $0, item: $1) }
        for child in children.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            add(
                child.item.id, at: (bucket.id, child.index), weight: child.item.weight, depth: depth + 1, to: &rows)
        }
    }

    private func key(of item: ItemID) -> String {
        if item.isBucket { return "_" + (map.name(of: item) ?? "") }
        let digits = "\(item)"
        let padding = String(repeating: "0", count: max(0, 8 - digits.utf8.count))
        return "\(classes[item] ?? "")_osd.\(padding)\(digits)"
    }

    /// With five decimals; nothing is a plain 0.
    private static func text(_ weight: CRUSHWeight) -> String {
        weight == .zero ? "0" : FixedPoint.text(UInt32(exactly: Float(weight.rawValue)) ?? weight.rawValue, decimals: 5)
    }
}
