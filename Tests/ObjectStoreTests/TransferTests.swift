import Foundation
import KeyValueStore
import ObjectStore
import Protocol
import Testing
import Wire

/// Groups that go from store to store, and streams that must not come in.
@Suite struct TransferTests {
    private let cluster = UniqueID(high: 1, low: 2)
    private let groups = [
        PGID(pool: PoolID(1), seed: 0), PGID(pool: PoolID(1), seed: 2), PGID(pool: PoolID(2), seed: 0),
    ]

    private func options(withoutRing: Bool = false) -> StoreOptions {
        var options = StoreOptions()
        options.journalSize = 4 << 20
        options.growth = 4 << 20
        options.capacity = ByteCount(32 << 20)
        options.withoutRing = withoutRing
        return options
    }

    private func withStores(_ count: Int, cluster other: UniqueID? = nil, _ body: ([String]) throws -> Void) throws {
        let top = NSTemporaryDirectory() + "/nacre-transfer-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: top) }
        var paths: [String] = []
        for n in 0..<count {
            let path = "\(top)/\(n)"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            let identity = StoreIdentity(
                cluster: n == 0 ? cluster : other ?? cluster, osd: OSDID(Int32(n)),
                store: UniqueID(high: 5, low: UInt64(n)))
            try StoreDirectory(path).format(identity, options: options())
            paths.append(path)
        }
        try body(paths)
    }

    private func object(_ pool: Int64, _ hash: UInt32, _ name: String, _ snap: SnapID = .head) -> ObjectID {
        ObjectID(pool: PoolID(pool), hash: hash, name: ObjectName(name), snap: snap)
    }

    /// Objects of groups 1.0 (pg_num 3: hashes ending in 00), 1.2 (ending in 10) and 2.0.
    private var objects: [(ObjectID, PGID)] {
        [
            (object(1, 0b0100, "even"), groups[0]), (object(1, 0b1000, "even"), groups[0]),
            (object(1, 0b0110, "two"), groups[1]), (object(1, 0b1110, "two"), groups[1]),
            (object(1, 0b1110, "two", SnapID(4)), groups[1]), (object(2, 77, "other"), groups[2]),
        ]
    }

    private func submit(_ path: String, _ transactions: [Transaction]) throws {
        let directory = try StoreDirectory(path)
        let store = try directory.openStore(options: options())
        for (n, transaction) in transactions.enumerated() { store.submit(transaction, token: UInt64(n)) }
        store.endOfTurn()
        let deadline = Date() + 20
        while !store.isIdle {
            guard Date() < deadline else { throw Failure("nothing completes") }
            store.poll()
            store.drainCompletions { _ in }
        }
        withExtendedLifetime(directory) {}
    }

    private func fill(_ path: String) throws {
        var transactions: [Transaction] = []
        for (n, (id, _)) in objects.enumerated() {
            let n = UInt8(n)
            transactions.append(
                Transaction([
                    .write(id, offset: 0, data: Bytes(repeating: n + 1, count: 5000)),
                    .write(id, offset: 300_000, data: Bytes(repeating: n + 65, count: 150_000)),
                    .truncate(id, size: 2_500_001 + UInt64(n)),
                    .setAttribute(id, name: "_", value: Bytes([n, n])),
                    .setOmap(
                        id,
                        entries: (0..<150).map {
                            KeyValue(Bytes("k\($0)"), Bytes(repeating: n, count: 40_000 / ($0 + 1)))
                        }),
                ]))
        }
        for (n, group) in groups.enumerated() {
            transactions.append(
                Transaction([
                    .setGroupKeys(
                        group,
                        entries: (0..<40).map { KeyValue(Bytes("l\($0)"), Bytes(repeating: UInt8(n), count: 300)) })
                ]))
        }
        try submit(path, transactions)
    }

    private func export(_ path: String, only: PGID? = nil) throws -> (bytes: [UInt8], summary: TransferSummary) {
        var stream: [UInt8] = []
        let summary = try StoreDirectory(path).export(only: only) { bytes throws(StoreError) in stream += bytes.array }
        return (stream, summary)
    }

    private func importing(_ stream: [UInt8], into path: String) throws -> TransferSummary {
        try StoreDirectory(path).importGroups { () throws(StoreError) in
            var at = 0
            return { count throws(StoreError) in
                let end = min(stream.count, at + count)
                defer { at = end }
                return Bytes(Array(stream[at..<end]))
            }
        }
    }

    /// Everything a store says of these objects and groups.
    private func contents(_ path: String, _ wanted: (PGID) -> Bool = { _ in true }) throws -> [String] {
        let directory = try StoreDirectory(path)
        let store = try directory.openStore(options: options(withoutRing: true))
        var lines: [String] = []
        for (id, group) in objects where wanted(group) {
            let size = try store.stat(id)
            lines.append(
                "\(id) \(size.map { "\($0)" } ?? "-") \(try store.attributes(id).map { "\($0.name)=\($0.value.array)" })"
            )
            lines.append("\(try store.omap(id, limit: 1000).map { "\($0.key.array):\($0.value.array.hashValue)" })")
            guard let size else { continue }
            var data: Bytes?
            store.read(id, offset: 0, length: Int(size), token: 1)
            store.endOfTurn()
            let deadline = Date() + 20
            while data == nil {
                guard Date() < deadline else { throw Failure("a read does not end") }
                store.poll()
                store.drainCompletions { if case .read(_, let found) = $0 { data = try? found.get() } }
            }
            lines.append("\(data?.count ?? 0) \(data?.array.hashValue ?? 0)")
        }
        for group in try store.groups() where wanted(group) {
            lines.append(
                "\(group) \(try store.groupKeys(group, limit: 1000).map { "\($0.key.array)\($0.value.array)" })")
        }
        withExtendedLifetime(directory) {}
        return lines
    }

    @Test func movesEverything() throws {
        try withStores(2) { paths in
            try fill(paths[0])
            let (stream, summary) = try export(paths[0])
            #expect(summary.groups == 3 && summary.objects == 6 && summary.keys == 6 * 150 + 3 * 40)
            #expect(try importing(stream, into: paths[1]) == summary)
            #expect(try contents(paths[0]) == contents(paths[1]))
            #expect(try StoreDirectory(paths[1]).check(readingData: true) { Issue.record("\($0)") }.objects == 6)
            // Holes stay holes.
            #expect(summary.dataBytes < 6 * 400_000)
        }
    }

    @Test func movesOneGroupIntoAStoreWithOthers() throws {
        try withStores(2) { paths in
            try fill(paths[0])
            try submit(paths[1], [Transaction([.setGroupKeys(groups[0], entries: [KeyValue(Bytes("l"), Bytes("x"))])])])
            let (stream, summary) = try export(paths[0], only: groups[1])
            #expect(summary.groups == 1 && summary.objects == 3)
            _ = try importing(stream, into: paths[1])
            #expect(try contents(paths[0]) { $0 == groups[1] } == contents(paths[1]) { $0 == groups[1] })
        }
    }

    /// What an import that was cut off has left does not stay.
    @Test func replacesWhatACutOffImportLeft() throws {
        try withStores(2) { paths in
            try fill(paths[0])
            let id = objects[2].0
            try submit(
                paths[1],
                [
                    Transaction([
                        .write(id, offset: 1_000_000, data: Bytes(repeating: 3, count: 9000)),
                        .setOmap(id, entries: [KeyValue(Bytes("stale"), .empty)]),
                    ])
                ])
            #expect(try StoreDirectory(paths[1]).check(readingData: true) { _ in }.unclaimedObjects == 1)
            _ = try importing(try export(paths[0], only: groups[1]).bytes, into: paths[1])
            #expect(try contents(paths[0]) { $0 == groups[1] } == contents(paths[1]) { $0 == groups[1] })
        }
    }

    private func refused(_ code: StoreError.Code, _ path: String, _ body: () throws -> Void) throws {
        let before = try DirectoryImage(path)
        #expect {
            try body()
        } throws: { error in
            guard let error = error as? StoreError else { return false }
            return error.code == code && !error.description.contains("\n")
        }
        #expect(try DirectoryImage(path) == before, "something was written")
    }

    @Test func refusesStreamsThatAreNotWhole() throws {
        try withStores(2) { paths in
            try fill(paths[0])
            let stream = try export(paths[0]).bytes
            var random = SystemRandomNumberGenerator()
            let cuts = [0, 5, 11, 51, 52, 60, stream.count - 1] + (0..<6).map { stream.count / 7 * $0 + 3 }
            for cut in cuts {
                try refused(.foreign, paths[1]) { _ = try importing(Array(stream[..<cut]), into: paths[1]) }
            }
            for _ in 0..<12 {
                var damaged = stream
                let at = Int.random(in: 12..<stream.count, using: &random)
                damaged[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                try refused(.foreign, paths[1]) { _ = try importing(damaged, into: paths[1]) }
            }
            try refused(.foreign, paths[1]) { _ = try importing(stream + [0], into: paths[1]) }
            try refused(.foreign, paths[1]) { _ = try importing(Array("a letter to somebody".utf8), into: paths[1]) }
            var newer = stream
            newer[8] = 2
            try refused(.newerFormat, paths[1]) { _ = try importing(newer, into: paths[1]) }
        }
    }

    @Test func refusesStoresThatDoNotFit() throws {
        try withStores(2) { paths in
            try fill(paths[0])
            let stream = try export(paths[0]).bytes
            #expect { try importing(stream, into: paths[0]) } throws: { ($0 as? StoreError)?.code == .exists }
            #expect { try export(paths[0], only: PGID(pool: PoolID(9), seed: 0)) } throws: {
                ($0 as? StoreError)?.code == .notFound
            }
            let holder = try StoreDirectory(paths[1])
            #expect { try importing(stream, into: paths[1]) } throws: { ($0 as? StoreError)?.code == .inUse }
            #expect { try export(paths[1]) } throws: {
                ($0 as? StoreError)?.description.contains("process \(getpid())") == true
            }
            withExtendedLifetime(holder) {}
        }
        try withStores(2, cluster: UniqueID(high: 8, low: 8)) { paths in
            try fill(paths[0])
            let stream = try export(paths[0]).bytes
            try refused(.otherCluster, paths[1]) { _ = try importing(stream, into: paths[1]) }
        }
    }

    @Test func refusesWhatDoesNotFitIn() throws {
        try withStores(2) { paths in
            let large = (0..<7).map { n in
                Transaction([.write(object(1, 4, "o\(n)"), offset: 0, data: Bytes(repeating: 1, count: 4 << 20))])
            }
            for n in 0..<7 { try submit(paths[0], [large[n]]) }
            try submit(paths[0], [Transaction([.setGroupKeys(groups[0], entries: [KeyValue(Bytes("l"), Bytes("x"))])])])
            try submit(
                paths[1],
                [Transaction([.write(object(3, 4, "mine"), offset: 0, data: Bytes(repeating: 1, count: 4 << 20))])])
            let stream = try export(paths[0]).bytes
            #expect { try importing(stream, into: paths[1]) } throws: { ($0 as? StoreError)?.code == .noSpace }
            #expect(try StoreDirectory(paths[1]).check(readingData: true) { _ in }.objects == 1)
        }
    }

    /// A copy that rotted is not passed on as good.
    @Test func doesNotExportWhatDoesNotVerify() throws {
        try withStores(1) { paths in
            try fill(paths[0])
            try StoreDirectory(paths[0]).checkpoint()
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: paths[0] + "/block"))
            defer { try? file.close() }
            let bytes = try Data(contentsOf: URL(fileURLWithPath: paths[0] + "/block"), options: .alwaysMapped)
            let pattern = Data(repeating: 67, count: 4096)
            let at = try #require(bytes.range(of: pattern, in: (64 << 10) + (4 << 20)..<bytes.count))
            try file.seek(toOffset: UInt64(at.lowerBound) + 77)
            try file.write(contentsOf: Data([0]))
            #expect { try export(paths[0]) } throws: {
                if case .corrupt = ($0 as? StoreError)?.code { true } else { false }
            }
        }
    }
}

extension StoreDirectory {
    /// Opens the store, which brings every block home, and closes it.
    func checkpoint() throws { _ = try check(readingData: false) { _ in } }
}

/// Names, sizes and bytes of all files of a directory.
struct DirectoryImage: Equatable {
    private var files: [String: Data] = [:]

    init(_ path: String) throws {
        for name in try FileManager.default.subpathsOfDirectory(atPath: path) {
            let full = path + "/" + name
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: full, isDirectory: &isDirectory)
            files[name] = isDirectory.boolValue ? Data() : try Data(contentsOf: URL(fileURLWithPath: full))
        }
    }
}
