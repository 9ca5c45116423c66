import Foundation
import KeyValueStore
import Testing
import Wire

@Suite struct RocksDBStoreTests {
    private func directory() -> String {
        NSTemporaryDirectory() + "/nacre-keys-" + UUID().uuidString
    }

    @Test func keepsDurableCommitsAndOrder() throws {
        let path = directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let store = try RocksDBStore(directory: path, create: true)
            var writer = KeyBatchWriter()
            for n in 0..<100 { writer.put(Bytes("k\(100 + n)"), Bytes("v\(n)")) }
            writer.remove(Bytes("k150"))
            try store.write([writer.finish()], .durable)
            var second = KeyBatchWriter()
            second.put(Bytes("unlogged"), Bytes("1"))
            try store.write([second.finish()], .atFlush)
            var third = KeyBatchWriter()
            third.put(Bytes("with the flush"), Bytes("2"))
            let changes = third.finish()
            store.beginFlush(of: { [changes] })
            while store.pollFlush() == .running {}
        }
        let store = try RocksDBStore(directory: path, create: false)
        #expect(try store.value(Bytes("k101")) == Bytes("v1"))
        #expect(try store.value(Bytes("k150")) == nil)
        #expect(try store.value(Bytes("unlogged")) == Bytes("1"))
        #expect(try store.value(Bytes("with the flush")) == Bytes("2"))
        var seen: [String] = []
        try store.scan(from: Bytes("k148"), to: Bytes("k153")) { key, _ in
            seen.append(String(key))
            return true
        }
        #expect(seen == ["k148", "k149", "k151", "k152"])
    }

    @Test func refusesAMissingStore() {
        #expect(throws: KeyValueError.self) { try RocksDBStore(directory: directory(), create: false) }
    }
}
