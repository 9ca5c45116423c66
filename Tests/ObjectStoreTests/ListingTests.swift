import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

@Suite struct ListingTests {
    @Test func extentsAreWhatHoldsData() throws {
        var harness = try Harness(seed: baseSeed, objects: 2)
        let id = harness.workload.objects[0]
        let data = harness.workload.bytes(200_000)
        try harness.submit(
            Transaction([
                .truncate(id, size: 1_000_000), .write(id, offset: 10_000, data: data[0..<5000]),
                .write(id, offset: 65536, data: data), .zero(id, offset: 100_000, length: 50_000),
                .write(id, offset: 999_000, data: data[0..<1000]),
            ]))
        // The ends of a hole are filled up to whole blocks with zeros.
        let all: [Range<UInt64>] = [8192..<16384, 65536..<102_400, 147_456..<266_240, 995_328..<1_000_000]
        for _ in 0..<2 {
            #expect(try harness.store.extents(id) == all)
            #expect(try harness.store.extents(id, offset: 9000, length: 60_000) == [9000..<16384, 65536..<69000])
            #expect(try harness.store.extents(id, offset: 20_000, length: 10_000) == [])
            #expect(try harness.store.extents(id, offset: 999_999, length: .max) == [999_999..<1_000_000])
            #expect(try harness.store.extents(id, offset: 2_000_000, length: 1) == [])
            #expect(try harness.store.extents(harness.workload.objects[1]) == [])
            try harness.settle()
            try harness.crash()
        }
    }

    private func object(_ name: String, _ hash: UInt32) -> ObjectID {
        ObjectID(pool: PoolID(1), hash: hash, name: ObjectName(name))
    }

    @Test func objectsAreFoundByWhatTheirNamesBeginWith() throws {
        var harness = try Harness(seed: baseSeed)
        let names = ["rbd_data.1.0", "rbd_data.1.1", "rbd_data.2.0", "rbd", "r\0a", "r", "rbd_header.1"]
        let ids = names.enumerated().map { object($1, UInt32($0) &* 0x9e37_79b9) }
        try harness.submit(Transaction(ids.map { .touch($0) }))
        let range = ObjectRange(pool: PoolID(1), seed: 0, bits: 0)
        for prefix in ["", "r", "r\0", "r\0a", "rbd", "rbd_data.1.", "rbd_data.", "x", "rbd_header.12"] {
            let expected = ids.filter { $0.name.description.utf8.starts(with: prefix.utf8) }.sorted()
            for examining in 1...8 {
                var found: [ObjectID] = []
                var after: ObjectID?
                var calls = 0
                repeat {
                    let part = try harness.store.list(
                        range, prefix: Bytes(prefix), after: after, limit: 2, examining: examining)
                    #expect(part.objects.count <= min(2, examining))
                    found += part.objects
                    after = part.last
                    calls += 1
                } while after != nil && calls < 20
                #expect(found == expected, "\(prefix.debugDescription), \(examining) at a time")
            }
        }
    }

    /// A group is split and merged by transactions on its own keys: its objects lie in the ranges of both as they are.
    @Test func aSplitMovesNoObjects() throws {
        var harness = try Harness(seed: baseSeed)
        let parent = PGID(pool: PoolID(1), seed: 1), child = PGID(pool: PoolID(1), seed: 3)
        let ids = (0..<40).map { object("object\($0)", UInt32($0) &* 0x9e37_79b9) }
        let log = (0..<20).map { KeyValue(Bytes("log.\(100 + $0)"), Bytes("\($0)")) }
        try harness.submit(Transaction(ids.map { .write($0, offset: 0, data: Bytes("\($0)")) }))
        try harness.submit(Transaction([.setGroupKeys(parent, entries: log)]))
        try harness.settle()
        func objects(_ group: PGID, _ bits: Int) throws -> [ObjectID] {
            try harness.store.list(ObjectRange(pool: group.pool, seed: group.seed, bits: bits), limit: 100)
        }
        let before = try objects(parent, 1)
        #expect(before == ids.filter { $0.hash & 1 == 1 }.sorted())
        let written = harness.store.counters.journalBytes
        let (kept, moved) = (log[..<10], log[10...])
        try harness.submit(
            Transaction([
                .setGroupKeys(child, entries: Array(moved)),
                .removeGroupKeys(parent, from: moved[10].key, to: Bytes("log.999")),
            ]))
        try harness.settle()
        #expect(harness.store.counters.journalBytes - written <= 8192)
        try harness.crash()
        #expect(try objects(parent, 2) + objects(child, 2) == before)
        #expect(try harness.store.groupKeys(parent, limit: 100) == Array(kept))
        #expect(try harness.store.groupKeys(child, limit: 100) == Array(moved))
        try harness.submit(Transaction([.setGroupKeys(parent, entries: Array(moved)), .removeGroup(child)]))
        try harness.settle()
        try harness.crash()
        #expect(try harness.store.groups() == [parent])
        #expect(try harness.store.groupKeys(parent, limit: 100) == log)
        #expect(try objects(parent, 1) == before)
    }
}
