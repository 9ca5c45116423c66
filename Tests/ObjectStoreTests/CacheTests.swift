import ObjectStore
import Protocol
import Testing
import Wire

/// What was read lately comes from memory, and never anything that is not there any more.
@Suite struct CacheTests {
    @Test func readsAgainWithoutTheDevice() throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        harness.options.cachedData = 256 << 10
        harness.options.dirtyBlocks = 0
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        let id = harness.workload.objects[0]
        let data = harness.workload.bytes(1 << 20)
        try harness.submit(Transaction([.write(id, offset: 0, data: data)]))
        try harness.settle()
        #expect(try harness.read(id, offset: 8192, length: 8192) == data[8192..<16384])
        #expect(harness.store.counters.cachedBlocks == 0)
        let before = harness.device.finishedOperations
        #expect(try harness.read(id, offset: 12000, length: 100) == data[12000..<12100])
        #expect(harness.store.counters.cachedBlocks == 1 && harness.device.finishedOperations == before)
        // Long ones neither fill it nor ask it.
        #expect(try harness.read(id, offset: 0, length: 1 << 20) == data)
        #expect(harness.store.counters.cachedBlocks == 1)
        // It holds no more than it may.
        for block in 0..<256 { _ = try harness.read(id, offset: UInt64(block * 4096), length: 4096) }
        let held = harness.store.counters.cachedBlocks
        for block in 0..<256 { _ = try harness.read(id, offset: UInt64(block * 4096), length: 4096) }
        #expect(harness.store.counters.cachedBlocks - held <= 64)
    }

    @Test func neverGivesWhatWasOverwritten() throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        harness.options.cachedData = 1 << 20
        harness.options.dirtyBlocks = 0
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        let id = harness.workload.objects[0]
        var data = harness.workload.bytes(64 << 10).array
        try harness.submit(Transaction([.write(id, offset: 0, data: Bytes(data))]))
        try harness.settle()
        for round in 0..<50 {
            let block = harness.chooser.number(0..<16)
            #expect(
                try harness.read(id, offset: UInt64(block * 4096), length: 4096).array
                    == Array(data[block * 4096..<(block + 1) * 4096]))
            let new = harness.workload.bytes(4096).array
            data.replaceSubrange(block * 4096..<(block + 1) * 4096, with: new)
            try harness.submit(Transaction([.write(id, offset: UInt64(block * 4096), data: Bytes(new))]))
            try harness.settle()
            // Home, and out of memory.
            harness.store.requestCheckpoint()
            try harness.settle()
            #expect(try harness.read(id, offset: UInt64(block * 4096), length: 4096).array == new, "round \(round)")
        }
    }
}
