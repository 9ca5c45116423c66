import KeyValueStore
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Rules of the format and of the order of writes that random work hardly ever needs, each with the case that needs it.
@Suite struct OrderTests {
    private let journalStart: UInt64 = 64 << 10
    private let unit = 64 << 10

    private func powerOff(_ harness: inout Harness) {
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
    }

    private func open(_ harness: Harness) throws -> SimulatedStore {
        try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
    }

    /// The block's place on the device.
    private func place(_ block: Bytes, in harness: Harness) throws -> UInt64 {
        let start = journalStart + harness.options.journalSize
        return try #require(
            stride(from: start, to: harness.device.size, by: 4096).first {
                harness.device.bytes(at: $0, count: 4096) == block.array
            })
    }

    private func records(in harness: Harness) -> [UInt64] {
        stride(from: journalStart, to: journalStart + harness.options.journalSize, by: 4096).filter {
            harness.device.bytes(at: $0, count: 8) == Array("NACREJRN".utf8)
        }
    }

    /// A record that an earlier start found incomplete stays so, even if what it lacked is there the next time: the
    /// write was sent again and its data arrived, but not its record.
    @Test func whatAnEarlierStartLeftIsNeverReplayed() throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        let id = harness.workload.objects[0]
        let data = harness.workload.bytes(unit)
        try harness.submit(Transaction([.setAttribute(id, name: "a", value: Bytes("before"))]))
        try harness.settle()
        try harness.submit(Transaction([.write(id, offset: 0, data: data)]))
        try harness.settle()
        try harness.device.flushNow()
        let home = try place(data[0..<4096], in: harness)
        powerOff(&harness)
        // Lost with the power, and there again after the next start.
        harness.device.flipBit(at: home, bit: 0)
        harness.store = try open(harness)
        #expect(try harness.store.stat(id) == 0)
        harness.device.flipBit(at: home, bit: 0)
        powerOff(&harness)
        harness.store = try open(harness)
        #expect(try harness.store.stat(id) == 0 && harness.store.attribute(id, "a") == Bytes("before"))
    }

    /// A record that was replaced by another, valid by itself, is noticed by the record behind it.
    @Test func recordsAreAChain() throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        let id = harness.workload.objects[0]
        for n in 0..<6 {
            try harness.submit(Transaction([.setAttribute(id, name: "a", value: Bytes("value \(n)"))]))
            try harness.settle()
        }
        try #require(harness.store.counters.checkpoints == 0)
        try harness.device.flushNow()
        let record = records(in: harness)[2]
        // The number of the next object, at byte 48, and the checksum of the header.
        var header = harness.device.bytes(at: record, count: 80)
        header[48] ^= 0x10
        let checksum = header[0..<76].withUnsafeBytes { Checksum.crc32c($0) }
        withUnsafeBytes(of: checksum.littleEndian) { header.replaceSubrange(76..<80, with: $0) }
        let before = harness.device.bytes(at: record, count: 80)
        for (n, (old, new)) in zip(before, header).enumerated() {
            for bit in 0..<8 where (old ^ new) & (1 << UInt8(bit)) != 0 {
                harness.device.flipBit(at: record + UInt64(n), bit: bit)
            }
        }
        powerOff(&harness)
        #expect { try open(harness) } throws: {
            ($0 as? StoreError)?.description.contains("journal is damaged at record") == true
        }
    }

    /// A block's checksum knows whose it is and where in the object: records of units that took each other's place do not give
    /// the data of one for that of the other.
    @Test(arguments: [true, false])
    func misplacedUnitsAreCorrupt(isOtherObject: Bool) throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        let ids = harness.workload.objects
        let (one, other) = (harness.workload.bytes(4096), harness.workload.bytes(4096))
        let last: (ObjectID, UInt64) = isOtherObject ? (ids[1], 0) : (ids[0], 1 << 20)
        try harness.submit(
            Transaction([.write(ids[0], offset: 0, data: one), .write(last.0, offset: last.1, data: other)]))
        try harness.settle()
        harness.store.requestCheckpoint()
        try harness.settle()
        #expect(try harness.read(last.0, offset: last.1, length: 4096) == other)
        powerOff(&harness)
        let units = try keys("U", of: harness)
        try #require(units.count == 2)
        harness.store = try swapped(units, in: &harness)
        #expect(throws: StoreError.self) { try harness.read(ids[0], offset: 0, length: 4096) }
        #expect(throws: StoreError.self) { try harness.read(last.0, offset: last.1, length: 4096) }
    }

    private func keys(_ tag: String, of harness: Harness) throws -> [KeyValue] {
        var result: [KeyValue] = []
        try harness.keys.scan(from: Bytes(tag), to: Bytes([tag.utf8.first! + 1])) { key, value in
            result.append(KeyValue(key, value))
            return true
        }
        return result
    }

    /// The store with the values of two keys exchanged.
    private func swapped(_ pairs: [KeyValue], in harness: inout Harness) throws -> SimulatedStore {
        var writer = KeyBatchWriter()
        writer.put(pairs[0].key, pairs[1].value)
        writer.put(pairs[1].key, pairs[0].value)
        try harness.keys.write([writer.finish()], .durable)
        return try open(harness)
    }

    /// Runs until all is committed and no longer.
    private func commit(_ harness: inout Harness) throws {
        while harness.committed < harness.submitted {
            harness.store.endOfTurn()
            harness.device.step(using: &harness.chooser)
            harness.store.poll()
            try harness.drain()
        }
    }

    /// A block may go home with its neighbours only as far as the mark reaches: behind it lies one that a restart must find
    /// as it was written beside its record.
    @Test(arguments: 0..<4)
    func neighboursAboveTheMarkStayInMemory(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), journal: 2 << 20, objects: 2)
        harness.options.dirtyBlocks = 1000
        harness.store = try open(harness)
        let ids = (0..<70).map { n in
            ObjectID(pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("o\(n)"), snap: .head)
        }
        // More blocks than may go home at a time, each in a unit of its own; the last at the end of the last unit.
        for (n, id) in ids.enumerated() {
            let offset = n == ids.count - 1 ? 15 * 4096 : 0
            try harness.submit(Transaction([.write(id, offset: UInt64(offset), data: harness.workload.bytes(4096))]))
        }
        try commit(&harness)
        try #require(harness.store.counters.homeWrites == 0)
        // All but the last wait at the device.
        let dataStart = journalStart + harness.options.journalSize
        harness.device.heldBack = dataStart..<dataStart + UInt64((ids.count - 1) * unit)
        harness.store.requestCheckpoint()
        for _ in 0..<2000 {
            harness.store.poll()
            if !harness.device.step(using: &harness.chooser) { break }
        }
        harness.store.poll()
        try #require(harness.store.checkpointStep == .home && harness.store.counters.homeWrites == 64)
        // A whole unit beside its record, next to the block that still waits, and its first block again in the record.
        let data = harness.workload.bytes(unit)
        try harness.submit(
            Transaction([
                .write(harness.workload.objects[0], offset: 0, data: data),
                .write(harness.workload.objects[0], offset: 0, data: harness.workload.bytes(4096)),
            ]))
        try commit(&harness)
        let next = try place(data[4096..<8192], in: harness) - 4096
        try #require(next == dataStart + UInt64(ids.count * unit))
        // Everything goes home but the superblock waits.
        harness.device.heldBack = 0..<8192
        for _ in 0..<2000 {
            harness.store.poll()
            if !harness.device.step(using: &harness.chooser) { break }
            harness.keys.step()
        }
        #expect(harness.device.bytes(at: next, count: 4096) == data[0..<4096].array)
        harness.device.heldBack = 0..<0
        try harness.device.flushNow()
        try harness.crash()
        #expect(try harness.store.stat(harness.workload.objects[0]) == UInt64(unit))
    }
}
