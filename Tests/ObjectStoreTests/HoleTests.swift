import Foundation
import Glibc
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Space given back to the file system, on whatever the temporary directory is on.
@Suite struct HoleTests {
    @Test func whatIsRemovedLeavesTheDisk() throws {
        let path = NSTemporaryDirectory() + "/nacre-holes-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        var options = StoreOptions()
        options.journalSize = 4 << 20
        options.growth = 4 << 20
        let identity = StoreIdentity(
            cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))
        try StoreDirectory(path).format(identity, options: options)
        let ids = (0..<64).map { n in
            ObjectID(pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("o\(n)"), snap: .head)
        }
        var workload = Workload(seed: baseSeed)
        let data = workload.bytes(1 << 20)
        func run(_ store: DiskStore, _ operations: [Transaction.Operation]) throws {
            for (n, operation) in operations.enumerated() {
                store.submit(Transaction([operation]), token: UInt64(n))
                if n % 4 == 3 { try finish(store, through: UInt64(n)) }
            }
            if operations.count % 4 != 0 { try finish(store, through: UInt64(operations.count - 1)) }
        }
        func blocks() throws -> Int {
            var info = stat()
            guard stat(path + "/block", &info) == 0 else { throw Failure("no block file") }
            return Int(info.st_blocks) * 512
        }
        do {
            let directory = try StoreDirectory(path)
            let store = try directory.openStore(options: options)
            try run(store, ids.map { .write($0, offset: 0, data: data) })
            let full = try blocks()
            try run(store, ids.dropFirst(4).map { .remove($0) })
            // The first checkpoint frees, the next finds what is free, and a mark lets it go.
            for n in 0..<4 {
                store.requestCheckpoint()
                try run(store, [.setAttribute(ids[0], name: "round", value: Bytes("\(n)"))])
                while store.isCheckpointing { try finish(store, through: nil) }
            }
            #expect(store.counters.holes > 20)
            #expect(try blocks() < full - (20 << 20))
            withExtendedLifetime(directory) {}
        }
        // After a restart the space is had again where it was.
        let directory = try StoreDirectory(path)
        let store = try directory.openStore(options: options)
        let size = try FileManager.default.attributesOfItem(atPath: path + "/block")[.size] as? Int
        try run(store, ids.dropFirst(4).prefix(45).map { .write($0, offset: 0, data: data) })
        #expect(try FileManager.default.attributesOfItem(atPath: path + "/block")[.size] as? Int == size)
        for id in ids.prefix(49) { #expect(try store.stat(id) == 1 << 20) }
        withExtendedLifetime(directory) {}
    }

    /// Runs until a token is committed, or for one turn.
    private func finish(_ store: DiskStore, through token: UInt64?) throws {
        let deadline = Date() + 60
        var isDone = token == nil
        repeat {
            store.endOfTurn()
            var failure: StoreError?
            store.drainCompletions { completion in
                switch completion {
                case .committed(let found): isDone = isDone || found == token
                case .failed(let error): failure = error
                case .read: break
                }
            }
            if let failure { throw failure }
            guard Date() < deadline else { throw Failure("\(token ?? 0) is never committed: \(store.counters)") }
            store.poll()
        } while !isDone
    }
}
