import KeyValueStore
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Disks that fail, rot and fill up.
@Suite struct FaultTests {
    /// What a search of the device finds: where a record's or an object's bytes are.
    private func offsets(of pattern: Bytes, in device: SimulatedDevice, from start: UInt64, step: Int) -> [UInt64] {
        let all = device.bytes(at: start, count: Int(device.size - start)), pattern = pattern.array
        return stride(from: 0, to: all.count - pattern.count, by: step)
            .filter { at in all[at] == pattern[0] && all[at..<at + pattern.count].elementsEqual(pattern) }
            .map { start + UInt64($0) }
    }

    private let journalStart: UInt64 = 64 << 10

    /// A flipped bit in data: the read names the block, nothing else suffers, and only a whole new block heals it.
    @Test(arguments: 0..<8)
    func aFlippedBitInDataIsCorruptNotData(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        let id = harness.workload.objects[0], other = harness.workload.objects[1]
        let data = harness.workload.bytes(n % 2 == 0 ? 128 << 10 : 20 << 10)
        try harness.submit(Transaction([.write(id, offset: 0, data: data), .write(other, offset: 0, data: data)]))
        try harness.settle()
        harness.store.requestCheckpoint()
        try harness.settle()
        let block = harness.chooser.number(0..<data.count / 4096)
        let places = offsets(
            of: data[block * 4096..<block * 4096 + 4096], in: harness.device,
            from: journalStart + harness.options.journalSize, step: 4096)
        try #require(places.count == 2)
        harness.device.flipBit(
            at: places[0] + UInt64(harness.chooser.number(0..<4096)), bit: harness.chooser.number(0..<8))
        var bad: [ObjectID] = []
        for object in [id, other] {
            do {
                #expect(try harness.read(object, offset: 0, length: data.count) == data)
            } catch let error as StoreError {
                #expect(error.code == .corrupt(object, block: UInt64(block)), "\(error)")
                bad.append(object)
            }
        }
        #expect(bad.count == 1 && harness.store.counters.corruptBlocks == 1)
        guard let damaged = bad.first else { return }
        // Merging a part into it must not make the unknown rest look sound.
        try harness.submit(Transaction([.write(damaged, offset: UInt64(block * 4096 + 7), data: Bytes("part"))]))
        try harness.settle()
        #expect(throws: StoreError.self) { try harness.read(damaged, offset: UInt64(block * 4096), length: 10) }
        let healed = data[block * 4096..<block * 4096 + 4096]
        try harness.submit(Transaction([.write(damaged, offset: UInt64(block * 4096), data: healed)]))
        try harness.settle()
        #expect(try harness.read(damaged, offset: 0, length: data.count) == data)
    }

    /// A read whose first part is on its way from the device when a later part turns out to be unreadable: it ends with
    /// the error, after the device is done with its memory.
    @Test(arguments: 0..<4)
    func aReadThatIsCorruptInMemoryWaitsForTheDevice(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        let id = harness.workload.objects[0]
        let first = harness.workload.bytes(4096), last = harness.workload.bytes(8192)
        // Three runs: the hole between them keeps the first read apart from the second.
        try harness.submit(
            Transaction([.write(id, offset: 0, data: first), .write(id, offset: 8192, data: last)]))
        try harness.settle()
        harness.store.requestCheckpoint()
        try harness.settle()
        let places = offsets(
            of: last[4096..<8192], in: harness.device, from: journalStart + harness.options.journalSize, step: 4096)
        try #require(places.count == 1)
        harness.device.flipBit(at: places[0] + 5, bit: 1)
        try harness.submit(Transaction([.write(id, offset: 12300, data: Bytes("part"))]))
        if n % 2 == 0 { try harness.settle() }
        do {
            _ = try harness.read(id, offset: 0, length: 16384)
            Issue.record("the read of an unreadable block succeeds")
        } catch let error as StoreError {
            #expect(error.code == .corrupt(id, block: 3), "\(error)")
        }
        try harness.settle()
        #expect(try harness.read(id, offset: 0, length: 4096) == first)
    }

    /// Work without a checkpoint in a large journal, then power off.
    private func loggedWork(seed: UInt64) throws -> Harness {
        var harness = try Harness(seed: seed, journal: 2 << 20)
        for _ in 0..<30 {
            let id = harness.workload.objects[harness.chooser.number(0..<4)]
            let offset = UInt64(harness.chooser.number(0..<50) * 512)
            try harness.submit(
                Transaction([.write(id, offset: offset, data: harness.workload.bytes(harness.chooser.number(1..<9000)))]
                ))
            try harness.settle()
        }
        return harness
    }

    /// A flipped bit, or a bad sector, in a record that a later one vouches for. In its header or keys nobody knows what is
    /// gone, and the store refuses; in the data it tells which block of which object it is, and all else is there.
    @Test(arguments: 0..<80)
    func damageInTheJournalIsNamedOrRefused(n: Int) throws {
        var harness = try loggedWork(seed: baseSeed &+ UInt64(n))
        #expect(harness.store.counters.checkpoints == 0)
        let records = offsets(of: Bytes("NACREJRN"), in: harness.device, from: journalStart, step: 4096)
        #expect(records.count >= 30)
        let record = records[harness.chooser.number(0..<records.count - 1)]
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
        // Anywhere in header, keys and tables, or in the first journalled block; the padding between them is nobody's.
        let isData = n % 2 == 1
        let at = record + UInt64(isData ? 4096 + harness.chooser.number(0..<4096) : harness.chooser.number(0..<80))
        if n % 4 < 2 {
            harness.device.flipBit(at: at, bit: harness.chooser.number(0..<8))
        } else {
            harness.device.unreadable = at / 512 * 512..<at / 512 * 512 + 512
        }
        do {
            harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        } catch {
            #expect(!isData && error.code == .failed, "\(error)")
            #expect(error.description.contains("journal is damaged at record"), "\(error)")
            return
        }
        #expect(isData, "opened with record at \(record) damaged at \(at)")
        harness.device.unreadable = 0..<0
        let model = harness.states[harness.committed]
        let named = harness.store.unvouched
        // Later records may have written the block again, in part or whole.
        #expect(named.count <= 1 && named.allSatisfy { $0.blocks.count == 1 })
        for (id, object) in model.objects {
            let blocks = named.first { $0.object == id }?.blocks ?? []
            for block in 0..<UInt64((object.data.count + 4095) / 4096) {
                let expected = Array(object.data.dropFirst(Int(block) * 4096).prefix(4096))
                if blocks.contains(block) {
                    #expect(throws: StoreError.self) { try harness.read(id, offset: block * 4096, length: 4096) }
                } else {
                    #expect(try harness.read(id, offset: block * 4096, length: 4096) == Bytes(expected))
                }
            }
        }
        // Whoever has another copy writes it, and the store is as if nothing had been.
        for each in named {
            for block in each.blocks {
                let data = model.objects[each.object]?.data.dropFirst(Int(block) * 4096).prefix(4096) ?? []
                var whole = Bytes(Array(data))
                if whole.count < 4096 { whole = Bytes(whole.array + [UInt8](repeating: 0, count: 4096 - whole.count)) }
                let size = UInt64(model.objects[each.object]?.data.count ?? 0)
                try harness.submit(
                    Transaction([
                        .write(each.object, offset: block * 4096, data: whole), .truncate(each.object, size: size),
                    ]))
            }
        }
        try harness.compareContents(with: model)
    }

    /// A sector of the torn end that cannot even be read is like one that was never written.
    @Test(arguments: 0..<8)
    func aBadSectorInTheTornEndIsItsEnd(n: Int) throws {
        var harness = try loggedWork(seed: baseSeed &+ UInt64(n))
        let records = offsets(of: Bytes("NACREJRN"), in: harness.device, from: journalStart, step: 4096)
        // Submitted and never acknowledged.
        let id = harness.workload.objects[0]
        harness.store.submit(Transaction([.write(id, offset: 0, data: harness.workload.bytes(20_000))]), token: 77)
        harness.store.endOfTurn()
        let last = try #require(records.last)
        let end = last + 4096 + UInt64((9000 / 4096 + 2) * 4096)
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
        let torn = offsets(of: Bytes("NACREJRN"), in: harness.device, from: journalStart, step: 4096).last { $0 > last }
        let start = (torn ?? end) + UInt64(n % 4 * 4096)
        harness.device.unreadable = start..<start + 512
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        #expect(harness.store.unvouched.isEmpty)
        try harness.compareContents(with: harness.states[harness.committed])
    }

    /// A block of data that looks like a record of a later opening, made with all that a client can know, is data.
    @Test func dataThatLooksLikeARecordIsData() throws {
        var harness = try Harness(seed: baseSeed, journal: 1 << 20)
        let id = harness.workload.objects[0]
        // The first record of an empty journal: a block of header and keys, then the data.
        let forged = Bytes.encoding { writer in
            writer.writeRaw(Bytes("NACREJRN"))
            for value in [harness.store.identity.store.low, 99, 70, 4096, 69, 1] as [UInt64] { writer.writeU64(value) }
            for _ in 0..<5 { writer.writeU32(0) }
        }
        let checksum = forged.withUnsafeBytes { Checksum.crc32c($0) }
        let block = Bytes.encoding { writer in
            writer.writeRaw(forged)
            writer.writeU32(checksum)
            writer.writeRaw(Bytes(repeating: 0, count: 4096 - 80))
        }
        try harness.submit(Transaction([.write(id, offset: 0, data: block)]))
        try harness.settle()
        try #require(harness.device.bytes(at: journalStart + 4096, count: 4096) == block.array)
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        try harness.compare()
    }

    /// A flipped bit in either superblock: everything is there, or the store refuses. It never goes back in time.
    @Test(arguments: 0..<20)
    func aFlippedBitInASuperblockLosesNothing(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        for _ in 0..<3 {
            for _ in 0..<200 { try harness.event() }
            try harness.settle()
            if n % 3 != 0 { try harness.crash() }
        }
        if n % 2 == 0 {
            try harness.submit(Transaction([.touch(harness.workload.objects[0])]))
            try harness.settle()
        }
        harness.device.crash(using: &harness.chooser)
        harness.device.flipBit(at: UInt64(n % 2 * 4096 + harness.chooser.number(0..<4096)), bit: 3)
        do {
            harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
            try harness.compare()
        } catch let error as StoreError {
            #expect(error.code == .failed && error.description.contains("damaged"), "\(error)")
        }
    }

    /// A bad sector in either superblock: the other copy does, or the journal shows that it is too old.
    @Test(arguments: 0..<8)
    func anUnreadableSuperblockLosesNothing(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        for _ in 0..<300 { try harness.event() }
        try harness.settle()
        if n % 4 > 1 {
            harness.store.requestCheckpoint()
            try harness.settle()
        }
        harness.device.crash(using: &harness.chooser)
        harness.keys.crash(using: &harness.chooser)
        harness.device.unreadable = n % 2 == 0 ? 0..<512 : 4096..<4608
        do {
            harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
            try harness.compare()
        } catch let error as StoreError {
            #expect(error.code == .failed && error.description.contains("damaged"), "\(error)")
        }
    }

    /// Keys of another store, or a copy from before the last checkpoint, are not taken for those of this one.
    @Test(arguments: 0..<3)
    func metadataOfAnotherTimeOrStoreIsRefused(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        let copy = SimulatedKeys()
        for round in 0..<2 {
            for _ in 0..<200 { try harness.event() }
            try harness.submit(Transaction([.touch(harness.workload.objects[0])]))
            try harness.settle()
            harness.store.requestCheckpoint()
            try harness.settle()
            guard round == 0, n == 0 else { continue }
            var writer = KeyBatchWriter()
            try harness.keys.scan(from: .empty, to: Bytes(repeating: 255, count: 9)) { key, value in
                writer.put(key, value)
                return true
            }
            try copy.write([writer.finish()], .durable)
        }
        harness.device.crash(using: &harness.chooser)
        if n == 1 {
            let other = try Harness(seed: baseSeed &+ 77)
            try other.keys.scan(from: .empty, to: Bytes(repeating: 255, count: 9)) { key, value in
                var writer = KeyBatchWriter()
                writer.put(key, value)
                try? copy.write([writer.finish()], .durable)
                return true
            }
        }
        #expect { try SimulatedStore.open(harness.device, copy, options: harness.options) } throws: {
            ($0 as? StoreError)?.description.hasPrefix("the metadata store") == true
        }
        harness.keys.crash(using: &harness.chooser)
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        try harness.compare()
    }

    /// A write or flush fails: told once, nothing is acknowledged afterwards, and a restart has all that was.
    @Test(arguments: 0..<40)
    func aFailedWriteStopsTheStoreOnce(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        harness.device.writesUntilFailure = harness.chooser.number(0..<300)
        var reason: StoreError?
        for _ in 0..<20000 where reason == nil {
            do { try harness.event() } catch let error as StoreError { reason = error }
        }
        #expect(reason?.code == .failed && harness.store.stopReason == reason)
        // The disk works again, which changes nothing: what it lost meanwhile nobody knows.
        var told = 0
        for round in 0..<50 {
            harness.store.submit(Transaction([.touch(harness.workload.objects[0])]), token: 5000 + UInt64(round))
            harness.store.read(harness.workload.objects[0], offset: 0, length: 10, token: 1)
            harness.store.endOfTurn()
            harness.device.step(using: &harness.chooser)
            harness.keys.step()
            harness.store.poll()
            harness.store.drainCompletions { completion in
                if case .read(1, .failure) = completion { return }
                told += 1
            }
        }
        #expect(told == 0)
        try harness.crash()
        for _ in 0..<100 { try harness.event() }
        try harness.settle()
        try harness.compareRunning()
    }

    /// The metadata store fails in a flush or a read: the store stops, or says that it cannot tell, and a restart has
    /// everything that was acknowledged.
    @Test(arguments: 0..<40)
    func aFailingMetadataStoreLosesNothing(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        harness.options.cachedObjects = 2
        harness.store = try SimulatedStore.open(harness.device, harness.keys, options: harness.options)
        for _ in 0..<harness.chooser.number(1..<600) { try harness.event() }
        if n % 2 == 0 {
            harness.keys.flushesUntilFailure = harness.chooser.number(0..<2)
        } else {
            harness.keys.readsUntilFailure = harness.chooser.number(0..<200)
        }
        var reason: StoreError?
        for round in 0..<20000 where reason == nil {
            if round % 500 == 0 { harness.store.requestCheckpoint() }
            do { try harness.event() } catch let error as StoreError { reason = error } catch let error as Failure {
                // A read in flight beside writes is told so.
                guard error.description.contains("simulated failure") else { throw error }
                reason = StoreError(.failed, error.description)
            }
        }
        #expect(reason?.description.contains("simulated failure") == true)
        try harness.crash()
        for _ in 0..<100 { try harness.event() }
        try harness.settle()
        try harness.compareRunning()
    }

    /// A sector of data that cannot be read: the read names the block, and the others are there.
    @Test(arguments: 0..<8)
    func aBadSectorInDataIsCorruptNotData(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n))
        let id = harness.workload.objects[0]
        let data = harness.workload.bytes(n % 2 == 0 ? 128 << 10 : 20 << 10)
        try harness.submit(Transaction([.write(id, offset: 0, data: data)]))
        try harness.settle()
        harness.store.requestCheckpoint()
        try harness.settle()
        let block = harness.chooser.number(0..<data.count / 4096)
        let place = try #require(
            offsets(
                of: data[block * 4096..<block * 4096 + 4096], in: harness.device,
                from: journalStart + harness.options.journalSize, step: 4096
            ).first)
        harness.device.unreadable = place + 512..<place + 1024
        for each in 0..<data.count / 4096 {
            let range = each * 4096..<each * 4096 + 4096
            if each == block {
                #expect { try harness.read(id, offset: UInt64(range.lowerBound), length: 4096) } throws: {
                    ($0 as? StoreError)?.code == .corrupt(id, block: UInt64(block))
                }
            } else {
                #expect(try harness.read(id, offset: UInt64(range.lowerBound), length: 4096) == data[range])
            }
        }
        // A part of it merged, or the unit copied for a clone: what is not written stays unknown.
        try harness.submit(
            Transaction([
                .clone(id, to: harness.workload.objects[1]),
                .write(id, offset: UInt64(n % 4 < 2 ? block : 0) * 4096 + 5, data: Bytes("part")),
            ]))
        try harness.settle()
        for each in [id, harness.workload.objects[1]] {
            #expect(throws: StoreError.self) { try harness.read(each, offset: UInt64(block * 4096), length: 100) }
        }
        try harness.submit(
            Transaction([.write(id, offset: UInt64(block * 4096), data: data[block * 4096..<block * 4096 + 4096])]))
        harness.device.unreadable = 0..<0
        try harness.settle()
        #expect(try harness.read(id, offset: UInt64(block * 4096 + 4), length: 4092).count == 4092)
    }

    /// A transaction without room is refused whole: nothing of it is logged or seen again, and a restart goes on.
    @Test(arguments: 0..<8)
    func aTransactionWithoutRoomIsRefusedBeforeItIsLogged(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), capacity: 12 << 20, objects: 9)
        _ = try fill(&harness, as: .essential)
        try harness.settle()
        let records = harness.store.counters.records
        let ids = harness.workload.objects
        // What a replica is told to write; nobody has asked it.
        let large = harness.workload.bytes(8 << 20)
        harness.store.submit(
            Transaction([
                .setAttribute(ids[0], name: "a", value: Bytes("x")), .write(ids[1], offset: 0, data: large),
            ]), token: 9999)
        #expect(harness.store.stopReason?.code == .noSpace)
        harness.store.endOfTurn()
        #expect(harness.store.counters.records == records)
        try harness.crash()
        try harness.submit(Transaction(ids.map { .remove($0) }))
        try harness.settle()
        #expect(harness.store.canAccept(100_000))
        try harness.crash()
    }

    /// What no record can hold is refused whole, however it comes by its size, and a restart goes on.
    @Test(arguments: 0..<4)
    func aTransactionThatNoRecordHoldsIsRefusedBeforeItIsLogged(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), journal: 1 << 20)
        let ids = harness.workload.objects
        let limit = StoreLimits.largestTransaction(journal: 1 << 20)
        func entries(_ bytes: Int, _ name: String) -> [KeyValue] {
            let value = Bytes(repeating: 1, count: 1000)
            return (0..<bytes / 1000).map { KeyValue(Bytes(name + String($0)), value) }
        }
        // Each fits; all together they do not.
        for part in 0..<3 {
            try harness.submit(Transaction([.setOmap(ids[0], entries: entries(limit / 2, "\(part)."))]))
            try harness.settle()
        }
        var refused: [Transaction.Operation] = [.setAttribute(ids[1], name: "a", value: Bytes("x"))]
        switch n {
        case 0: refused.append(.clone(ids[0], to: ids[2]))
        case 1: refused.append(.setOmap(ids[1], entries: entries(2 * limit, "k")))
        case 2:
            refused.append(.setOmap(ids[1], entries: entries(limit / 3, "k")))
            refused.append(.clone(ids[1], to: ids[2]))
            refused.append(.clone(ids[1], to: ids[3]))
        default:
            let data = Bytes(repeating: 1, count: 60 << 10)
            for part in 0..<8 { refused.append(.write(ids[1], offset: UInt64(part << 17), data: data)) }
        }
        let records = harness.store.counters.records
        harness.store.submit(Transaction(refused), token: 9999)
        #expect(harness.store.stopReason?.code == .tooLarge, "\(String(describing: harness.store.stopReason))")
        harness.store.endOfTurn()
        #expect(harness.store.counters.records == records)
        try harness.crash()
        // Random work would clone it.
        try harness.submit(Transaction([.remove(ids[0])]))
        for _ in 0..<50 { try harness.event() }
        try harness.settle()
        try harness.compareRunning()
    }

    /// Fills as `space` until refused, with writes of all sizes; what was accepted is committed.
    private func fill(_ harness: inout Harness, as space: SpaceClass) throws -> Int {
        var refused = 0, accepted = 0
        while refused < 20 {
            let length = harness.chooser.number(1..<200_000)
            let objects = harness.workload.objects
            let id = objects[harness.chooser.number(0..<objects.count)]
            let offset = UInt64(harness.chooser.number(0..<40) * 65536 + harness.chooser.number(0..<65536))
            if harness.store.canAccept(length, as: space) {
                try harness.submit(Transaction([.write(id, offset: offset, data: harness.workload.bytes(length))]))
                accepted += 1
            } else {
                refused += 1
            }
            if harness.submitted - harness.committed > 5 || refused > 0 { try harness.settle() }
        }
        return accepted
    }

    /// A full store refuses in time, opens again, and takes writes again after something was deleted.
    @Test(arguments: 0..<8)
    func aFullStoreRefusesAndRecovers(n: Int) throws {
        var harness = try Harness(seed: baseSeed &+ UInt64(n), capacity: 12 << 20, objects: 9)
        if n % 2 == 1 {
            // The space that was promised is taken by others.
            try harness.submit(
                Transaction([.write(harness.workload.objects[0], offset: 0, data: harness.workload.bytes(9000))]))
            try harness.settle()
            harness.device.isFull = true
        }
        for round in 0..<3 {
            let accepted = try fill(&harness, as: .client)
            #expect(accepted > 0, "round \(round)")
            _ = try fill(&harness, as: .recovery)
            _ = try fill(&harness, as: .essential)
            #expect(!harness.store.canAccept(100_000))
            if round == 1 { try harness.crash() } else { try harness.compareRunning() }
            for id in harness.workload.objects.dropFirst(1 - n % 2) { try harness.submit(Transaction([.remove(id)])) }
            // Nothing else is written: the freed space must come back by itself.
            try harness.settle()
            #expect(harness.store.canAccept(100_000), "round \(round): \(harness.store.usage)")
        }
    }
}
