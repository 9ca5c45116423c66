/// Which units of the data region are free. Rebuilt from the units' records at open.
///
/// The search goes on where the last one ended: what is written together lies together, and units that were freed
/// lately are used late.
struct UnitMap {
    private var words: [UInt64] = []
    private(set) var count = 0
    private(set) var free = 0
    private var cursor = 0
    /// By parts of the map, for each unit how many refer to it beside the first; a part where no unit is shared is empty.
    private var more: [[UInt32]] = []
    private static let part = 1024
    /// Units with more than one reference.
    private(set) var shared = 0

    /// Units in use.
    var used: Int { count - free }

    /// Adds free units up to `total`.
    mutating func grow(to total: Int) {
        precondition(total >= count, "\(total) units, there are \(count)")
        words.append(contentsOf: repeatElement(0, count: (total + 63) / 64 - words.count))
        for unit in count..<total { words[unit >> 6] |= 1 << UInt64(unit & 63) }
        free += total - count
        count = total
    }

    func isFree(_ unit: UInt32) -> Bool { words[Int(unit) >> 6] & (1 << UInt64(unit & 63)) != 0 }

    /// Takes one unit that is known: at open. False when it does not exist or is taken, which is corruption.
    mutating func take(_ unit: UInt32) -> Bool {
        guard Int(unit) < count, isFree(unit) else { return false }
        words[Int(unit) >> 6] &= ~(1 << UInt64(unit & 63))
        free -= 1
        return true
    }

    func isShared(_ unit: UInt32) -> Bool { shared > 0 && references(unit) > 1 }

    /// How many refer to a unit that is in use.
    func references(_ unit: UInt32) -> UInt32 {
        let part = Int(unit) / Self.part
        guard part < more.count, !more[part].isEmpty else { return 1 }
        return more[part][Int(unit) % Self.part] + 1
    }

    /// One more refers to the unit.
    mutating func share(_ unit: UInt32) {
        precondition(Int(unit) < count && !isFree(unit), "unit \(unit) of \(count) is shared and free")
        let part = Int(unit) / Self.part
        if part >= more.count { more.append(contentsOf: repeatElement([], count: part + 1 - more.count)) }
        if more[part].isEmpty { more[part] = [UInt32](repeating: 0, count: Self.part) }
        if more[part][Int(unit) % Self.part] == 0 { shared += 1 }
        more[part][Int(unit) % Self.part] += 1
    }

    /// One less refers to the unit, which was shared.
    mutating func unshare(_ unit: UInt32) {
        precondition(isShared(unit), "unit \(unit) is not shared")
        more[Int(unit) / Self.part][Int(unit) % Self.part] -= 1
        if references(unit) == 1 { shared -= 1 }
    }

    mutating func release(_ unit: UInt32) {
        precondition(Int(unit) < count && !isFree(unit), "unit \(unit) of \(count) is free already")
        words[Int(unit) >> 6] |= 1 << UInt64(unit & 63)
        free += 1
    }

    /// Takes up to `wanted` units that lie side by side; nil when none is free.
    mutating func allocate(_ wanted: Int) -> (first: UInt32, count: Int)? {
        guard free > 0, let first = nextFree(from: cursor) ?? nextFree(from: 0) else { return nil }
        var taken = 0
        while taken < wanted, first + taken < count, take(UInt32(first + taken)) { taken += 1 }
        cursor = first + taken
        return (UInt32(first), taken)
    }

    // MARK: - Stretches, which are parts of a word

    private static let stretch = StoreLimits.unitsPerHole
    private static let mask = (UInt64(1) << UInt64(stretch)) - 1

    /// Takes stretches of units that are all free, from the end on.
    mutating func takeStretches(atMost limit: Int) -> [UInt32] {
        var taken: [UInt32] = []
        for word in words.indices.reversed() where words[word] != 0 {
            for part in (0..<64 / Self.stretch).reversed() where taken.count < limit {
                let number = UInt32(word * (64 / Self.stretch) + part)
                if take(stretch: number) { taken.append(number) }
            }
            if taken.count == limit { break }
        }
        return taken
    }

    /// Takes a stretch of units. False when one of them does not exist or is in use.
    mutating func take(stretch: UInt32) -> Bool {
        let first = Int(stretch) * Self.stretch
        guard first + Self.stretch <= count else { return false }
        let bits = Self.mask << UInt64(first & 63)
        guard words[first >> 6] & bits == bits else { return false }
        words[first >> 6] &= ~bits
        free -= Self.stretch
        return true
    }

    /// Frees a stretch that was taken.
    mutating func release(stretch: UInt32) {
        let first = Int(stretch) * Self.stretch
        let bits = Self.mask << UInt64(first & 63)
        precondition(words[first >> 6] & bits == 0, "units from \(first) on are free already")
        words[first >> 6] |= bits
        free += Self.stretch
    }

    private func nextFree(from start: Int) -> Int? {
        var word = start >> 6
        guard word < words.count else { return nil }
        var bits = words[word] & (UInt64.max << UInt64(start & 63))
        while bits == 0 {
            word += 1
            guard word < words.count else { return nil }
            bits = words[word]
        }
        return word << 6 + bits.trailingZeroBitCount
    }
}
