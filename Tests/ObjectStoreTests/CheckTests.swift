import Foundation
import KeyValueStore
import ObjectStore
import Protocol
import Testing
import Wire

/// What a check says of stores that are whole, and of stores that were damaged in one place.
@Suite struct CheckTests {
    private let identity = StoreIdentity(
        cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))
    private let marked = [UInt8](repeating: 0x6d, count: 4096)

    private var options: StoreOptions {
        var options = StoreOptions()
        options.journalSize = 4 << 20
        options.growth = 4 << 20
        options.capacity = ByteCount(64 << 20)
        return options
    }

    private func object(_ name: String) -> ObjectID {
        ObjectID(pool: PoolID(1), hash: UInt32(name.utf8.reduce(7) { $0 &* 31 &+ UInt32($1) }), name: ObjectName(name))
    }

    /// A store with what a random workload leaves and an object of marked blocks, in a directory that `damage` may change.
    private func findings(
        readingData: Bool = true, after damage: (String) throws -> Void = { _ in }
    ) throws -> (contents: StoreContents, findings: [StoreFinding], objects: Int) {
        let path = NSTemporaryDirectory() + "/nacre-check-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        var model = Model()
        try StoreDirectory(path).format(identity, options: options)
        do {
            let directory = try StoreDirectory(path)
            let store = try directory.openStore(options: options)
            var workload = Workload(seed: baseSeed)
            for token in 1...300 as ClosedRange<UInt64> {
                let transaction =
                    token == 150
                    ? Transaction([
                        .write(object("marked"), offset: 8192, data: Bytes(marked + marked)),
                        .setOmap(object("marked"), entries: [KeyValue(Bytes("key"), Bytes("value"))]),
                    ]) : workload.transaction()
                model.apply(transaction)
                store.submit(transaction, token: token)
                store.endOfTurn()
            }
            store.requestCheckpoint()
            let deadline = Date() + 20
            while !store.isIdle || store.isCheckpointing {
                guard Date() < deadline else { throw Failure("no checkpoint: \(store.counters)") }
                store.poll()
                store.drainCompletions { _ in }
            }
            withExtendedLifetime(directory) {}
        }
        try damage(path)
        var found: [StoreFinding] = []
        let contents = try StoreDirectory(path).check(readingData: readingData) { found.append($0) }
        #expect(contents.findings == found.count)
        return (contents, found, model.objects.count)
    }

    @Test func aWholeStoreHasNone() throws {
        let result = try findings()
        #expect(result.findings == [])
        #expect(result.contents.objects == result.objects)
        #expect(result.contents.blocks > 2 && result.contents.verifiedBlocks == result.contents.blocks)
        #expect(result.contents.omapKeys > 0 && result.contents.groups > 0)
        let quick = try findings(readingData: false)
        #expect(quick.contents.verifiedBlocks == 0 && quick.contents.blocks == result.contents.blocks)
    }

    @Test func findsTheBlockThatRotted() throws {
        let result = try findings { path in
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path + "/block"))
            defer { try? file.close() }
            let bytes = try Data(contentsOf: URL(fileURLWithPath: path + "/block"), options: .alwaysMapped)
            let at = try #require(bytes.range(of: Data(marked + marked), in: (64 << 10) + (4 << 20)..<bytes.count))
            try file.seek(toOffset: UInt64(at.lowerBound) + 4096 + 77)
            try file.write(contentsOf: Data([0]))
        }
        #expect(result.findings.map(\.kind) == [.data])
        #expect(result.findings.first?.object == object("marked").description)
        #expect(result.findings.first?.detail == "block 3 does not match its checksum")
        #expect(result.findings.first?.remedy == .fetchObject)
        #expect(result.findings.first?.group == "1.0", "the group of the store that takes its hash")
    }

    /// Changes keys of a closed store; `body` gets every key of the kind with its value.
    private func change(
        _ path: String, _ kind: Character, _ body: ([(Bytes, Bytes)], inout [(Bytes, Bytes?)]) throws -> Void
    ) throws {
        let keys = try RocksDBStore(directory: path + "/meta", create: false)
        let tag = kind.asciiValue!
        var entries: [(Bytes, Bytes)] = []
        try keys.scan(from: Bytes([tag]), to: Bytes([tag + 1])) { key, value in
            entries.append((key, value))
            return true
        }
        var changes: [(Bytes, Bytes?)] = []
        try body(entries, &changes)
        var writer = KeyBatchWriter()
        for (key, value) in changes {
            if let value { writer.put(key, value) } else { writer.remove(key) }
        }
        try keys.write([writer.finish()], .durable)
    }

    @Test func findsWhatBelongsToNoObject() throws {
        let result = try findings { path in
            try change(path, "O") { entries, changes in
                let name = Bytes("marked").array
                let key = try #require(
                    entries.first { $0.0.array.split(separator: 0).contains { $0.suffix(6) == name[...] } })
                changes.append((key.0, nil))
            }
        }
        #expect(result.findings.map(\.kind) == [.orphan, .orphan], "an omap key and a unit")
        #expect(result.findings.allSatisfy { $0.remedy == .leaveIt })
        #expect(result.contents.objects == result.objects - 1)
    }

    @Test func findsUnitsOfTwoObjectsAndOutsideTheStore() throws {
        let result = try findings { path in
            try change(path, "U") { entries, changes in
                try #require(entries.count > 2)
                let place = entries[0].1[0..<4]
                changes.append((entries[1].0, Bytes(place.array + entries[1].1[4..<entries[1].1.count].array)))
                changes.append((entries[2].0, Bytes([255, 255, 255, 0] + entries[2].1[4..<entries[2].1.count].array)))
            }
        }
        #expect(result.findings.filter { $0.kind == .space }.count >= 2, "a unit that was shared is miscounted besides")
        #expect(result.findings.contains { $0.detail.contains("which belongs to object") })
        #expect(result.findings.contains { $0.detail.contains("the store has") })
        #expect(result.findings.allSatisfy { $0.remedy == .recreate || $0.kind != .space })
    }

    @Test func findsWrongCountsOfReferences() throws {
        let result = try findings { path in
            try change(path, "R") { entries, changes in
                try #require(entries.count > 1, "clones share units")
                let count = entries[0].1[0] + 1
                changes.append((entries[0].0, Bytes([count] + entries[0].1[1..<4].array)))
                changes.append((entries[1].0, nil))
            }
        }
        #expect(result.findings.allSatisfy { $0.kind == .space && $0.remedy == .recreate })
        #expect(result.findings.contains { $0.detail.contains("references, counted are") })
        #expect(result.findings.contains { $0.detail.contains("which belongs to object") })
    }

    @Test func findsKeysThatDoNotDecode() throws {
        let result = try findings { path in
            try change(path, "O") { entries, changes in changes.append((entries[0].0, Bytes([1, 2, 3]))) }
            try change(path, "z") { _, changes in changes.append((Bytes("zebra"), .empty)) }
        }
        #expect(result.findings.filter { $0.kind == .metadata }.count == 2)
    }

    @Test func findsACopyOfTheSuperblockThatIsGone() throws {
        let result = try findings { path in
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path + "/block"))
            defer { try? file.close() }
            let first = try #require(try file.read(upToCount: 8192))
            // The older copy: what counts is in the other.
            func generation(_ at: Int) -> UInt64 {
                first[at + 48..<at + 56].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
            try file.seek(toOffset: generation(0) < generation(4096) ? 0 : 4096)
            try file.write(contentsOf: Data(repeating: 0, count: 4096))
        }
        #expect(result.findings.map(\.kind) == [.superblock] && result.findings[0].remedy == .nextStart)
    }
}
