extension CRUSHMap {
    /// Follows a rule for one input and puts what it chooses into `result`, in order: for a replicated pool the OSDs of a
    /// placement group, the primary first. Bit for bit what `crushtool --test` shows.
    ///
    /// There may be fewer than `count` where the hierarchy, the weights or the tries do not allow more, and none when there
    /// is no such rule. The time is bounded by the tunables. Nothing is allocated once `result` has room for `count` items.
    ///
    /// - Parameters:
    ///   - rule: the number of the rule.
    ///   - input: the seed of the placement group; `x` in the tools.
    ///   - count: how many to choose, at most `CRUSHLimits.replicas`.
    ///   - weights: the reweight of each OSD by number. An OSD without an entry is out.
    ///   - result: emptied first; give the same array again to keep its room.
    public func map(rule: RuleID, input: UInt32, count: Int, weights: [CRUSHWeight], into result: inout [ItemID]) {
        precondition((0...CRUSHLimits.replicas).contains(count), "\(count) replicas asked for")
        result.removeAll(keepingCapacity: true)
        let number = Int(rule.rawValue)
        guard count > 0, layout.rules.indices.contains(number), let steps = layout.rules[number] else { return }
        weights.withUnsafeBufferPointer { weights in
            withUnsafeTemporaryAllocation(of: ItemID.self, capacity: 3 * count) { scratch in
                guard let lists = scratch.baseAddress else { return }
                let mapping = Mapping(layout: layout, tunables: tunables, input: input, reweights: weights)
                mapping.follow(steps, count: count, lists: lists, into: &result)
            }
        }
    }
}

/// The mapping of one input: nothing but what stays the same throughout.
private struct Mapping {
    let layout: Layout
    let input: UInt32
    let reweights: UnsafeBufferPointer<CRUSHWeight>
    let logarithm = StrawLogarithm.shared
    let localTries: UInt32
    let tries: UInt32
    let leafTries: UInt32
    let varyR: UInt32
    let stable: Bool

    init(layout: Layout, tunables: Tunables, input: UInt32, reweights: UnsafeBufferPointer<CRUSHWeight>) {
        self.layout = layout
        self.input = input
        self.reweights = reweights
        localTries = tunables.chooseLocalTries
        // The tunable counts the tries after the first.
        tries = tunables.chooseTotalTries + 1
        leafTries = tunables.chooseleafDescendOnce ? 1 : tries
        varyR = UInt32(tunables.chooseleafVaryR)
        stable = tunables.chooseleafStable
    }

    /// What a choose step is to find.
    struct Goal {
        var count: Int
        var type: TypeID
        /// Whether a device is wanted below each item of the type.
        var leaf: Bool
    }

    /// `lists` has room for three times `count` items: the list the steps work on, the next one, and the devices found below
    /// what is chosen.
    func follow(_ steps: [Rule.Step], count: Int, lists: UnsafeMutablePointer<ItemID>, into result: inout [ItemID]) {
        var current = lists
        var next = lists + count
        let leaves = lists + 2 * count
        var size = 0
        for step in steps {
            var goal: Goal
            switch step {
            case .take(let item):
                current.initialize(to: item)
                size = 1
                continue
            case .emit:
                let taken = min(size, count - result.count)
                result.append(contentsOf: UnsafeBufferPointer(start: current, count: taken))
                size = 0
                continue
            case .chooseFirstN(let count, let type): goal = Goal(count: Int(count), type: type, leaf: false)
            case .chooseLeafFirstN(let count, let type): goal = Goal(count: Int(count), type: type, leaf: true)
            }
            if goal.count <= 0 { goal.count += count }
            var found = 0
            for index in 0..<size where current[index].isBucket {
                found += choose(
                    goal, below: current[index], room: count - found, into: next + found, leaves: leaves + found)
            }
            if goal.leaf { next.update(from: leaves, count: found) }
            swap(&current, &next)
            size = found
        }
    }

    /// Chooses up to `goal.count` different items below `bucket`; returns how many were found. With `goal.leaf`, `leaves`
    /// gets a device for each of them.
    func choose(
        _ goal: Goal, below bucket: ItemID, room: Int, into chosen: UnsafeMutablePointer<ItemID>,
        leaves: UnsafeMutablePointer<ItemID>
    ) -> Int {
        var found = 0
        var replica = 0
        while replica < goal.count, found < room {
            let taken = UnsafeBufferPointer(start: chosen, count: found)
            let item = descend(
                from: bucket, to: goal.type, replica: UInt32(replica), tries: tries, avoiding: taken
            ) { item, attempt in
                goal.leaf ? findLeaf(below: item, attempt: attempt, position: found, leaves: leaves) : true
            }
            if let item {
                (chosen + found).initialize(to: item)
                found += 1
            }
            replica += 1
        }
        return found
    }

    /// Looks for a device below a chosen item that is in and not among the `position` leaves found before; puts it behind
    /// them.
    @inline(__always)
    func findLeaf(below item: ItemID, attempt: UInt32, position: Int, leaves: UnsafeMutablePointer<ItemID>) -> Bool {
        guard item.isBucket else {
            (leaves + position).initialize(to: item)
            return true
        }
        let base = stable ? 0 : UInt32(position)
        let variation = varyR == 0 ? 0 : attempt &>> (varyR - 1)
        let taken = UnsafeBufferPointer(start: leaves, count: position)
        let leaf = descend(
            from: item, to: .osd, replica: base &+ variation, tries: leafTries, avoiding: taken
        ) { _, _ in true }
        guard let leaf else { return false }
        (leaves + position).initialize(to: leaf)
        return true
    }

    /// Walks down from `start`, choosing in each bucket, until an item of the type is reached. An item already taken, one
    /// that `accept` refuses, a device that is out and an empty bucket fail the attempt; the next one starts again at the
    /// top (or, after a collision, in the same bucket, as long as local tries are left). Nil when the tries are used up, or
    /// when the walk ends at a device although another type is wanted.
    @inline(__always)
    func descend(
        from start: ItemID, to type: TypeID, replica: UInt32, tries: UInt32,
        avoiding taken: UnsafeBufferPointer<ItemID>, accept: (ItemID, UInt32) -> Bool
    ) -> ItemID? {
        var failures: UInt32 = 0
        while true {
            var bucket = start
            var localFailures: UInt32 = 0
            attempt: while true {
                let attempt = replica &+ failures
                let node = node(bucket)
                var collides = false
                if node.count > 0 {
                    let item = straw2(node, attempt)
                    let found = item.isBucket ? self.node(item).type : .osd
                    guard found == type else {
                        guard item.isBucket else { return nil }
                        bucket = item
                        continue attempt
                    }
                    collides = taken.contains(item)
                    if !collides, accept(item, attempt), type != .osd || isIn(item) { return item }
                }
                failures += 1
                localFailures += 1
                if collides, localFailures <= localTries { continue attempt }
                if failures >= tries { return nil }
                break attempt
            }
        }
    }

    @inline(__always)
    func node(_ bucket: ItemID) -> Layout.Node {
        let index = -1 - Int(bucket.rawValue)
        assert(index >= 0 && index < layout.nodeCount, "bucket \(bucket) of \(layout.nodeCount)")
        return layout.nodes[index]
    }

    /// The item whose logarithm, divided by its weight, is nearest to zero; the first of equals. An item of weight 0 wins
    /// only when it is the first and all are 0.
    @inline(__always)
    func straw2(_ node: Layout.Node, _ replica: UInt32) -> ItemID {
        let first = Int(node.firstBlock)
        let lanes = CRUSHHash.Lanes.scalarCount
        var best = UInt64.max
        var winner = layout.items[first][0]
        var left = Int(node.count)
        var block = first
        while left > 0 {
            let items = layout.items[block]
            let weights = layout.weights[block]
            let hashes = CRUSHHash.hash(input: input, items: items, replica: replica)
            for lane in 0..<min(lanes, left) {
                // The quotient is below the best one exactly when the dividend is below the best times the divisor, so a
                // division is needed only for a new best. A product that does not fit is above every dividend.
                let deficit = logarithm.deficit(hashes[lane])
                let weight = UInt64(weights[lane])
                let (bound, overflow) = best.multipliedReportingOverflow(by: weight)
                if overflow || deficit < bound {
                    best = deficit / weight
                    winner = items[lane]
                }
            }
            left -= lanes
            block += 1
        }
        return ItemID(Int32(bitPattern: winner))
    }

    /// Whether an OSD takes this input: always at a reweight of 1, never at 0, in between by a hash of both.
    @inline(__always)
    func isIn(_ device: ItemID) -> Bool {
        let index = Int(device.rawValue)
        guard index < reweights.count else { return false }
        let weight = reweights[index].rawValue
        if weight >= CRUSHWeight.one.rawValue { return true }
        return weight > 0 && CRUSHHash.hash(input, UInt32(bitPattern: device.rawValue)) & 0xffff < weight
    }
}
