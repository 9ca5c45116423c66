import KeyValueStore
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Clones, and removals of many keys.
@Suite struct CloneTests {
    private let unit = UInt64(64 << 10)

    private func harness(_ n: Int = 0, capacity: UInt64 = 32 << 20) throws -> Harness {
        try Harness(seed: baseSeed &+ UInt64(n), journal: 1 << 20, capacity: capacity, objects: 4)
    }

    /// Submits, and waits until all that it frees has been given back.
    private func run(_ harness: inout Harness, _ operations: [Transaction.Operation]) throws {
        try harness.submit(Transaction(operations))
        try harness.settle()
        harness.store.requestCheckpoint()
        try harness.settle()
    }

    /// What a clone takes is what has changed since.
    @Test(arguments: 0..<4)
    func clonesShareSpaceUntilTheyDiffer(n: Int) throws {
        var harness = try harness(n)
        let ids = harness.workload.objects
        let data = harness.workload.bytes(4 * Int(unit))
        try harness.submit(Transaction([.write(ids[0], offset: 0, data: data)]))
        // Home, waiting to go home, or not even committed: it is shared all the same.
        if n > 0 { try harness.settle() }
        if n > 1 { try run(&harness, []) }
        try run(&harness, [.clone(ids[0], to: ids[1]), .clone(ids[1], to: ids[2])])
        #expect(harness.store.usage.used == 4 * unit)
        try run(&harness, [.write(ids[0], offset: 5000, data: Bytes("changed"))])
        #expect(harness.store.usage.used == 5 * unit)
        // The unit is its own now.
        try run(&harness, [.write(ids[0], offset: 9000, data: Bytes("again"))])
        #expect(harness.store.usage.used == 5 * unit)
        #expect(try harness.read(ids[1], offset: 0, length: data.count) == data)
        try run(&harness, [.truncate(ids[1], size: unit + 100)])
        // Two units still belong to the others; the part of one was copied.
        #expect(harness.store.usage.used == 6 * unit)
        try run(&harness, [.remove(ids[2])])
        #expect(harness.store.usage.used == 6 * unit)
        try harness.compareRunning()
        try harness.crash()
        try run(&harness, [.remove(ids[0])])
        #expect(harness.store.usage.used == 2 * unit)
        try run(&harness, [.remove(ids[1])])
        #expect(harness.store.usage.used == 0)
    }

    /// A range in phase is shared, also within one object and over itself; the rest is copied.
    @Test(arguments: 0..<6)
    func rangesAreCloned(n: Int) throws {
        var harness = try harness(n)
        let ids = harness.workload.objects
        let data = harness.workload.bytes(4 * Int(unit) + 1000)
        try run(&harness, [.write(ids[0], offset: 0, data: data), .write(ids[1], offset: 0, data: data)])
        let before = harness.store.usage.used
        let target = ids[n % 2]
        switch n / 2 {
        case 0: try run(&harness, [.cloneRange(ids[0], to: target, offset: 0, length: 3 * unit, at: unit)])
        case 1: try run(&harness, [.cloneRange(ids[0], to: target, offset: unit, length: 9 * unit, at: 0)])
        default: try run(&harness, [.cloneRange(ids[0], to: target, offset: 4096, length: 2 * unit, at: 300)])
        }
        try harness.compareRunning()
        // Within one object the units only change places.
        let saved: [UInt64] = [1, 3, 0, 3, 0, 0]
        #expect(harness.store.usage.used == before - saved[n] * unit)
        try harness.crash()
        try harness.compareRunning()
    }

    /// A block that nobody can vouch for is not made sound by cloning it, and healing one copy does not heal the others.
    @Test(arguments: [true, false])
    func clonesOfACorruptBlockAreCorrupt(isShared: Bool) throws {
        var harness = try harness()
        let ids = harness.workload.objects
        let data = harness.workload.bytes(2 * Int(unit))
        try run(&harness, [.write(ids[0], offset: 0, data: data)])
        let place = try #require(
            stride(from: UInt64(64 << 10) + (1 << 20), to: harness.device.size, by: 4096).first {
                harness.device.bytes(at: $0, count: 4096) == data[8192..<12288].array
            })
        harness.device.flipBit(at: place, bit: 3)
        let at: UInt64 = isShared ? 0 : 512
        try run(&harness, [.cloneRange(ids[0], to: ids[1], offset: 0, length: 2 * unit, at: at)])
        // Copies the unit, with what is wrong in it.
        try run(&harness, [.write(ids[0], offset: 0, data: Bytes("x"))])
        for (id, blocks) in [(ids[0], [2]), (ids[1], isShared ? [2] : [2, 3])] {
            for block in 0..<16 {
                let range = (UInt64(block * 4096), 4096)
                if blocks.contains(block) {
                    #expect(throws: StoreError.self) { try harness.read(id, offset: range.0, length: range.1) }
                } else {
                    #expect(throws: Never.self) { try harness.read(id, offset: range.0, length: range.1) }
                }
            }
        }
        try run(&harness, [.write(ids[0], offset: 8192, data: data[8192..<12288])])
        #expect(try harness.read(ids[0], offset: 4096, length: 60000) == data[4096..<64096])
        #expect(throws: StoreError.self) { try harness.read(ids[1], offset: 8192, length: 4096) }
    }

    /// What says which units are shared is checked against those who share them.
    @Test(arguments: 0..<3)
    func wrongCountsOfReferencesAreNoticed(n: Int) throws {
        var harness = try harness(n)
        let ids = harness.workload.objects
        try run(&harness, [.write(ids[0], offset: 0, data: harness.workload.bytes(Int(unit)))])
        try run(&harness, [.clone(ids[0], to: ids[1])])
        var keys: [Bytes] = []
        try harness.keys.scan(from: Bytes("R"), to: Bytes("S")) { key, _ in
            keys.append(key)
            return true
        }
        let key = try #require(keys.first)
        var writer = KeyBatchWriter()
        switch n {
        case 0: writer.remove(key)
        case 1: writer.put(key, Bytes([3, 0, 0, 0]))
        default: writer.put(Bytes("R\0\0\0\u{9}"), Bytes([2, 0, 0, 0]))
        }
        try harness.keys.write([writer.finish()], .durable)
        #expect { try SimulatedStore.open(harness.device, harness.keys, options: harness.options) } throws: {
            ($0 as? StoreError)?.code == .failed
        }
    }

    /// More keys than a transaction could name are removed all the same, before and after they reach the metadata store.
    @Test(arguments: 0..<8)
    func anObjectWithManyKeysCanBeRemoved(n: Int) throws {
        var harness = try harness(n)
        let id = harness.workload.objects[0], other = harness.workload.objects[1]
        let group = harness.workload.groups[0]
        let value = Bytes(repeating: 7, count: 100)
        // The largest transaction of this journal is 256 KiB.
        for part in 0..<16 {
            let entries = (0..<400).map { KeyValue(Bytes("key \(part) \($0)"), value) }
            try harness.submit(Transaction([.setOmap(id, entries: entries), .setGroupKeys(group, entries: entries)]))
            try harness.settle()
        }
        if n & 1 != 0 { try run(&harness, [.setOmap(other, entries: [KeyValue(Bytes("key 3 3"), value)])]) }
        if n & 2 != 0 {
            try harness.submit(Transaction([.clearOmap(id), .removeGroup(group)]))
            try harness.submit(
                Transaction([
                    .setOmap(id, entries: [KeyValue(Bytes("key 3 3"), value)]),
                    .setGroupKeys(group, entries: [KeyValue(Bytes("key 3 3"), value)]),
                ]))
        } else {
            try harness.submit(
                Transaction([.removeOmapRange(id, from: Bytes("key 2"), to: Bytes("key 5")), .removeGroup(group)]))
        }
        try harness.compareRunning()
        if n & 4 != 0 { try run(&harness, []) }
        try harness.crash()
        try harness.submit(Transaction([.remove(id), .remove(other)]))
        try harness.compareRunning()
        try run(&harness, [])
        try harness.compareRunning()
        try harness.crash()
        #expect(try harness.contents().objects.isEmpty)
    }
}
