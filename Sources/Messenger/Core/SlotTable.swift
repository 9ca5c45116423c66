/// A place in a `SlotTable` and which use of it.
package struct SlotKey: Hashable, Sendable {
    package var index: UInt32
    package var generation: UInt32
}

/// Objects found by a small number without hashing. A key of a removed object finds nothing, also when its place is used
/// again.
package struct SlotTable<Element: AnyObject> {
    private var slots: [(generation: UInt32, element: Element?)] = []
    private var free: [UInt32] = []
    package private(set) var count = 0

    /// Puts in what `make` returns for its key.
    package mutating func insert(_ make: (SlotKey) -> Element) -> Element {
        count += 1
        if let index = free.popLast() {
            let key = SlotKey(index: index, generation: slots[Int(index)].generation)
            let element = make(key)
            slots[Int(index)].element = element
            return element
        }
        let key = SlotKey(index: UInt32(slots.count), generation: 1)
        let element = make(key)
        slots.append((1, element))
        return element
    }

    package subscript(key: SlotKey) -> Element? {
        let index = Int(key.index)
        guard index < slots.count, slots[index].generation == key.generation else { return nil }
        return slots[index].element
    }

    /// Takes out what has the key; nothing when it is gone already.
    package mutating func remove(_ key: SlotKey) {
        let index = Int(key.index)
        guard index < slots.count, slots[index].generation == key.generation, slots[index].element != nil else {
            return
        }
        slots[index].element = nil
        count -= 1
        // A place whose uses are used up stays empty, so that no key is ever given out twice.
        guard key.generation < .max else { return }
        slots[index].generation += 1
        free.append(key.index)
    }

    /// All elements, in the order of their places.
    package var all: [Element] { slots.compactMap { $0.element } }
}
