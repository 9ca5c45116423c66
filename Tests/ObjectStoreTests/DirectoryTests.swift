import Foundation
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
