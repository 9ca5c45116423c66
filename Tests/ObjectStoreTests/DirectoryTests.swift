import Foundation
import Glibc
import ObjectStore
import Protocol
import Testing
import Wire

/// The store on real files.
@Suite struct DirectoryTests {
    private let identity = StoreIdentity(
        cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))

    private func withDirectory(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "/nacre-store-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    private var options: StoreOptions {
        var options = StoreOptions()
        options.journalSize = 4 << 20
        options.growth = 4 << 20
        options.capacity = ByteCount(256 << 20)
        return options
    }

    /// Runs until `token` is committed.
    private func wait(_ store: DiskStore, for token: UInt64) throws {
        store.endOfTurn()
        var done = false
        let deadline = Date() + 20
        while !done {
            var failure: StoreError?
            store.drainCompletions { completion in
                switch completion {
                case .committed(let found): done = done || found == token
                case .failed(let error): failure = error
                case .read: break
                }
            }
            if let failure { throw failure }
            guard Date() < deadline else { throw Failure("token \(token) is never committed: \(store.counters)") }
            store.poll()
        }
    }

    private func read(_ store: DiskStore, _ id: ObjectID, _ offset: UInt64, _ length: Int) throws -> Bytes {
        store.read(id, offset: offset, length: length, token: 1)
        store.endOfTurn()
        var result: Result<Bytes, StoreError>?
        let deadline = Date() + 20
        while result == nil {
            store.drainCompletions { if case .read(_, let found) = $0 { result = found } }
            guard Date() < deadline else { throw Failure("a read does not end") }
            store.poll()
        }
        return try result?.get() ?? .empty
    }

    @Test(arguments: [false, true]) func keepsDataOverReopening(withoutRing: Bool) throws {
        var options = options
        options.withoutRing = withoutRing
        try withDirectory { path in
            var workload = Workload(seed: baseSeed)
            var model = Model()
            try StoreDirectory(path).format(identity, options: options)
            for _ in 0..<3 {
                let directory = try StoreDirectory(path)
                let store = try directory.openStore(cluster: identity.cluster, osd: identity.osd, options: options)
                for token in 1...150 as ClosedRange<UInt64> {
                    let transaction = workload.transaction()
                    model.apply(transaction)
                    store.submit(transaction, token: token)
                    if token % 7 == 0 { store.endOfTurn() }
                    if token % 50 == 0 { try wait(store, for: token) }
                }
                for id in workload.objects {
                    #expect(try store.stat(id) == model.objects[id].map { UInt64($0.data.count) })
                    guard let object = model.objects[id] else { continue }
                    #expect(try read(store, id, 0, 1 << 20) == Bytes(object.data))
                }
                withExtendedLifetime(directory) {}
            }
        }
    }

    /// A block file that has lost its end says at the start which blocks went with it; everything else is there.
    @Test func namesWhatATruncatedFileLost() throws {
        try withDirectory { path in
            try StoreDirectory(path).format(identity, options: options)
            let ids = (0..<8).map { n in ObjectID(pool: PoolID(1), hash: UInt32(n), name: ObjectName("o\(n)")) }
            let data = Bytes(repeating: 7, count: 1 << 20)
            do {
                let directory = try StoreDirectory(path)
                let store = try directory.openStore(options: options)
                for (n, id) in ids.enumerated() {
                    store.submit(Transaction([.write(id, offset: 0, data: data)]), token: UInt64(n))
                    try wait(store, for: UInt64(n))
                }
                store.requestCheckpoint()
                while store.isCheckpointing {
                    store.endOfTurn()
                    store.poll()
                }
                #expect(store.unvouched.isEmpty)
                withExtendedLifetime(directory) {}
            }
            let start = (64 << 10) + Int(options.journalSize)
            #expect(truncate(path + "/block", start + (2 << 20) + 8192) == 0)
            let directory = try StoreDirectory(path)
            let store = try directory.openStore(options: options)
            let lost = Dictionary(uniqueKeysWithValues: store.unvouched.map { ($0.object, $0.blocks) })
            #expect(lost.values.reduce(0) { $0 + $1.count } == 6 * 256 - 2)
            for id in ids {
                for block in [0, 1, 2, 255] as [UInt64] {
                    if lost[id]?.contains(block) == true {
                        #expect(throws: StoreError.self) { try read(store, id, block * 4096, 4096) }
                    } else {
                        #expect(try read(store, id, block * 4096, 4096) == data[0..<4096])
                    }
                }
            }
            withExtendedLifetime(directory) {}
        }
    }

    @Test func refusesWhatIsNotItsOwn() throws {
        try withDirectory { path in
            let directory = try StoreDirectory(path)
            #expect { try StoreDirectory(path) } throws: { ($0 as? StoreError)?.code == .inUse }
            try directory.format(identity, options: options)
            #expect { try directory.format(identity, options: options) } throws: {
                ($0 as? StoreError)?.code == .foreign
            }
            let other = UniqueID(high: 9, low: 9)
            #expect { try directory.openStore(cluster: other) } throws: { ($0 as? StoreError)?.code == .otherCluster }
            #expect { try directory.openStore(osd: OSDID(4)) } throws: { ($0 as? StoreError)?.code == .otherOSD }
        }
        try withDirectory { path in
            _ = FileManager.default.createFile(atPath: path + "/letter", contents: Data())
            #expect { try StoreDirectory(path).isFormatted() } throws: { ($0 as? StoreError)?.code == .foreign }
        }
        #expect { try StoreDirectory("/nowhere/at/all") } throws: { ($0 as? StoreError)?.code == .foreign }
    }
}
