extension CRUSHMap {
    /// Follows a rule for one input and puts what it chooses into `result`, in order: for a replicated pool the OSDs of a
    /// placement group, the primary first. Bit for bit what `crushtool --test` shows.
    ///
    /// There may be fewer than `count` where the hierarchy, the weights or the tries do not allow more, and none when there
    /// is no such rule; a rule of `indep` steps leaves `ItemID.none` instead. The time is bounded by the tunables. Nothing is
    /// allocated once `result` has room for `count` items.
    ///
    /// - Parameters:
    ///   - rule: the number of the rule.
    ///   - input: the seed of the placement group; `x` in the tools.
    ///   - count: how many to choose, at most `CRUSHLimits.replicas`.
    ///   - weights: the reweight of each OSD by number. An OSD without an entry is out.
    ///   - pool: the number of the pool whose choose arguments apply; those for all pools where it has none, or for nil.
    ///   - result: emptied first; give the same array again to keep its room.
    public func map(
        rule: RuleID, input: UInt32, count: Int, weights: [CRUSHWeight], pool: Int64? = nil,
        into result: inout [ItemID]
    ) {
        map(rule: rule, input: input, count: count, weights: weights, pool: pool, tries: nil, into: &result)
    }

    /// As `map(rule:input:count:weights:pool:into:)`, and counts in `tries` how many choices failed before each that was
    /// made, as long as they are no more than its last index.
    package func map(
        rule: RuleID, input: UInt32, count: Int, weights: [CRUSHWeight], pool: Int64?,
        tries: UnsafeMutableBufferPointer<UInt32>?, into result: inout [ItemID]
    ) {
        precondition((0...CRUSHLimits.replicas).contains(count), "\(count) replicas asked for")
        result.removeAll(keepingCapacity: true)
        let number = Int(rule.rawValue)
        guard count > 0, layout.rules.indices.contains(number), let steps = layout.rules[number] else { return }
        var arguments: UnsafeMutablePointer<Layout.Replacement>?
        if !layout.arguments.isEmpty {
            arguments = pool.flatMap { layout.arguments[$0] } ?? layout.arguments[ChooseArguments.defaultSet]
        }
        weights.withUnsafeBufferPointer { weights in
            withUnsafeTemporaryAllocation(of: ItemID.self, capacity: 3 * count) { scratch in
                guard let lists = scratch.baseAddress else { return }
                withExtendedLifetime(layout) {
                    var mapping = Mapping(
                        layout: layout, arguments: arguments, tunables: tunables, input: input, reweights: weights)
                    mapping.profile = tries
                    mapping.follow(steps, count: count, lists: lists, into: &result)
                }
            }
        }
    }
}

/// The mapping of one input. It lives no longer than the layout whose memory it reads.
private struct Mapping {
    let choice: BucketChoice
    let reweights: UnsafeBufferPointer<CRUSHWeight>
    var profile: UnsafeMutableBufferPointer<UInt32>?
    let descendOnce: Bool
    var localTries: UInt32
    var localFallbackTries: UInt32
    var tries: UInt32
    /// 0 when no step has set it.
    var leafTries: UInt32 = 0
    var varyR: UInt32
    var stable: Bool

    init(
        layout: Layout, arguments: UnsafeMutablePointer<Layout.Replacement>?, tunables: Tunables, input: UInt32,
        reweights: UnsafeBufferPointer<CRUSHWeight>
    ) {
        choice = BucketChoice(layout: layout, arguments: arguments, input: input)
        self.reweights = reweights
        descendOnce = tunables.chooseleafDescendOnce
        localTries = tunables.chooseLocalTries
        localFallbackTries = tunables.chooseLocalFallbackTries
        // The tunable counts the tries after the first.
        tries = tunables.chooseTotalTries + 1
        varyR = UInt32(tunables.chooseleafVaryR)
        stable = tunables.chooseleafStable
    }

    /// What a choose step is to find.
    struct Goal {
        var count: Int
        var type: TypeID
        /// Whether a device is wanted below each item of the type.
        var leaf: Bool
        /// Whether a position that finds nothing stays empty, instead of being taken by the next.
        var positional: Bool
    }

    /// `lists` has room for three times `count` items: the list the steps work on, the next one, and the devices found below
    /// what is chosen.
    mutating func follow(
        _ steps: [Rule.Step], count: Int, lists: UnsafeMutablePointer<ItemID>, into result: inout [ItemID]
    ) {
        var current = lists
        var next = lists + count
        let leaves = lists + 2 * count
        var size = 0
        for step in steps {
            let goal: Goal
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
            case .setChooseTries(let value):
                if value > 0 { tries = value }
                continue
            case .setChooseLeafTries(let value):
                if value > 0 { leafTries = value }
                continue
            case .setChooseLocalTries(let value):
                localTries = value
                continue
            case .setChooseLocalFallbackTries(let value):
                localFallbackTries = value
                continue
            case .setChooseLeafVaryR(let value):
                varyR = value
                continue
            case .setChooseLeafStable(let value):
                stable = value != 0
                continue
            case .chooseFirstN(let number, let type):
                goal = Goal(count: Int(number), type: type, leaf: false, positional: false)
            case .chooseLeafFirstN(let number, let type):
                goal = Goal(count: Int(number), type: type, leaf: true, positional: false)
            case .chooseIndep(let number, let type):
                goal = Goal(count: Int(number), type: type, leaf: false, positional: true)
            case .chooseLeafIndep(let number, let type):
                goal = Goal(count: Int(number), type: type, leaf: true, positional: true)
            }
            size = choose(goal, among: current, size, count: count, into: next, leaves: leaves)
            if goal.leaf { next.update(from: leaves, count: size) }
            swap(&current, &next)
        }
    }

    /// Chooses for every bucket of a list; returns how many were chosen in all, at most `count`.
    private func choose(
        _ goal: Goal, among list: UnsafeMutablePointer<ItemID>, _ size: Int, count: Int,
        into chosen: UnsafeMutablePointer<ItemID>, leaves: UnsafeMutablePointer<ItemID>
    ) -> Int {
        var goal = goal
        if goal.count <= 0 { goal.count += count }
        guard goal.count > 0 else { return 0 }
        var found = 0
        for index in 0..<size where list[index].isBucket {
            let room = count - found
            found +=
                goal.positional
                ? choosePositional(goal, below: list[index], room: room, into: chosen + found, leaves: leaves + found)
                : choose(goal, below: list[index], room: room, into: chosen + found, leaves: leaves + found)
        }
        return found
    }

    // MARK: firstn

    /// Chooses up to `goal.count` different items below `bucket`; returns how many were found. With `goal.leaf`, `leaves`
    /// gets a device for each of them.
    private func choose(
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
    private func findLeaf(
        below item: ItemID, attempt: UInt32, position: Int, leaves: UnsafeMutablePointer<ItemID>
    ) -> Bool {
        guard item.isBucket else {
            (leaves + position).initialize(to: item)
            return true
        }
        let base = stable ? 0 : UInt32(position)
        let variation = varyR == 0 ? 0 : attempt &>> (varyR - 1)
        let taken = UnsafeBufferPointer(start: leaves, count: position)
        let leaf = descend(
            from: item, to: .osd, replica: base &+ variation,
            tries: leafTries > 0 ? leafTries : descendOnce ? 1 : tries, avoiding: taken
        ) { _, _ in true }
        guard let leaf else { return false }
        (leaves + position).initialize(to: leaf)
        return true
    }

    /// Walks down from `start`, choosing in each bucket, until an item of the type is reached. An item already taken, one
    /// that `accept` refuses, a device that is out and an empty bucket fail the attempt; the next one starts again at the
    /// top, or in the same bucket as long as local tries are left. Nil when the tries are used up, or when the walk ends at
    /// a device although another type is wanted.
    @inline(__always)
    private func descend(
        from start: ItemID, to type: TypeID, replica: UInt32, tries: UInt32,
        avoiding taken: UnsafeBufferPointer<ItemID>, accept: (ItemID, UInt32) -> Bool
    ) -> ItemID? {
        var failures: UInt32 = 0
        while true {
            var bucket = start
            var localFailures: UInt32 = 0
            attempt: while true {
                let attempt = replica &+ failures
                let node = choice.node(bucket)
                let size = UInt32(bitPattern: node.count)
                var collides = false
                if size > 0 {
                    let item =
                        localFallbackTries > 0 && localFailures >= size / 2 && localFailures > localFallbackTries
                        ? choice.permuted(node, bucket, attempt)
                        : choice.choose(node, bucket, attempt, position: taken.count)
                    let found = item.isBucket ? choice.node(item).type : .osd
                    guard found == type else {
                        guard item.isBucket else { return nil }
                        bucket = item
                        continue attempt
                    }
                    collides = taken.contains(item)
                    if !collides, accept(item, attempt), type != .osd || isIn(item) {
                        if let profile { count(failures, in: profile) }
                        return item
                    }
                }
                failures += 1
                localFailures += 1
                if collides, localFailures <= localTries { continue attempt }
                if localFallbackTries > 0, localFailures <= size + localFallbackTries { continue attempt }
                if failures >= tries { return nil }
                break attempt
            }
        }
    }

    // MARK: indep

    /// What stands at a position that has not been decided yet.
    private static let undecided = ItemID(0x7fff_fffe)

    /// Chooses an item for each of up to `goal.count` positions, all positions in every round; returns how many positions
    /// there are. With `goal.leaf`, `leaves` gets the devices.
    private func choosePositional(
        _ goal: Goal, below bucket: ItemID, room: Int, into chosen: UnsafeMutablePointer<ItemID>,
        leaves: UnsafeMutablePointer<ItemID>
    ) -> Int {
        let size = min(goal.count, room)
        chosen.initialize(repeating: Self.undecided, count: size)
        if goal.leaf { leaves.initialize(repeating: Self.undecided, count: size) }
        var left = size
        var round: UInt32 = 0
        while left > 0, round < tries {
            for position in 0..<size where chosen[position] == Self.undecided {
                guard
                    let item = descend(
                        from: bucket, goal, round: round, position: position,
                        avoiding: UnsafeBufferPointer(start: chosen, count: size), leaves: leaves)
                else { continue }
                chosen[position] = item
                if item == .none, goal.leaf { leaves[position] = .none }
                left -= 1
            }
            round += 1
        }
        for position in 0..<size {
            if chosen[position] == Self.undecided { chosen[position] = .none }
            if goal.leaf, leaves[position] == Self.undecided { leaves[position] = .none }
        }
        if let profile { count(round, in: profile) }
        return size
    }

    /// One attempt for one position: the item, `none` when the walk ends at a device although another type is wanted, or nil
    /// when the attempt fails.
    private func descend(
        from start: ItemID, _ goal: Goal, round: UInt32, position: Int, avoiding taken: UnsafeBufferPointer<ItemID>,
        leaves: UnsafeMutablePointer<ItemID>
    ) -> ItemID? {
        var bucket = start
        while true {
            let node = choice.node(bucket)
            guard node.count > 0 else { return nil }
            let attempt = UInt32(position) &+ stride(of: node, goal.count) &* round
            let item = choice.choose(node, bucket, attempt, position: 0)
            let found = item.isBucket ? choice.node(item).type : .osd
            guard found == goal.type else {
                guard item.isBucket else { return ItemID.none }
                bucket = item
                continue
            }
            guard !taken.contains(item) else { return nil }
            if goal.leaf {
                guard item.isBucket else {
                    // Also when it turns out to be out: at the end the position is given to it all the same.
                    leaves[position] = item
                    return isIn(item) ? item : nil
                }
                leaves[position] = leaf(below: item, goal.count, position: position, attempt: attempt)
                if leaves[position] == .none { return nil }
            }
            return goal.type != .osd || isIn(item) ? item : nil
        }
    }

    /// A device below a chosen bucket that is in, or `none`.
    private func leaf(below start: ItemID, _ count: Int, position: Int, attempt: UInt32) -> ItemID {
        let limit = max(leafTries, 1)
        var round: UInt32 = 0
        var leaf = ItemID.none
        search: while round < limit, leaf == .none {
            var bucket = start
            while true {
                let node = choice.node(bucket)
                guard node.count > 0 else { break }
                let replica = UInt32(position) &+ attempt &+ stride(of: node, count) &* round
                let item = choice.choose(node, bucket, replica, position: position)
                if item.isBucket {
                    bucket = item
                    continue
                }
                if isIn(item) { leaf = item }
                break
            }
            round += 1
        }
        if let profile { self.count(round, in: profile) }
        return leaf
    }

    /// By how much the attempts of a position lie apart. In a uniform bucket whose size the count divides, the count itself
    /// would come back to the same items.
    @inline(__always)
    private func stride(of node: Layout.Node, _ count: Int) -> UInt32 {
        let count = UInt32(truncatingIfNeeded: count)
        return node.kind == .uniform && UInt32(bitPattern: node.count) % count == 0 ? count + 1 : count
    }

    // MARK: Devices

    /// Whether an OSD takes this input: always at a reweight of 1, never at 0, in between by a hash of both.
    @inline(__always)
    private func isIn(_ device: ItemID) -> Bool {
        let index = Int(device.rawValue)
        guard index < reweights.count else { return false }
        let weight = reweights[index].rawValue
        if weight >= CRUSHWeight.one.rawValue { return true }
        return weight > 0 && CRUSHHash.hash(choice.input, UInt32(bitPattern: device.rawValue)) & 0xffff < weight
    }

    private func count(_ failures: UInt32, in profile: UnsafeMutableBufferPointer<UInt32>) {
        if Int(failures) < profile.count { profile[Int(failures)] += 1 }
    }
}
