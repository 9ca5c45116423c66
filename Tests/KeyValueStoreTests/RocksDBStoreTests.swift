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

    /// A long scan goes on with another iterator on its way: nothing is given twice or left out where it changes over, and it ends
    /// where it is told to.
    @Test func aLongScanGivesEveryKeyOnce() throws {
        let path = directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let store = try RocksDBStore(directory: path, create: true)
        let names = (1000..<1400).map { "k\($0)" }
        var batch = KeyBatchWriter()
        for name in names { batch.put(Bytes(name), Bytes(name + "'")) }
        try store.write([batch.finish()], .durable)
        for count in [1, 127, 128, 129, 256, 257, 399, 400] {
            var seen: [String] = [], stopped: [String] = []
            try store.scan(from: Bytes("k1000"), to: Bytes("k\(1000 + count)")) { key, value in
                #expect(String(value) == String(key) + "'")
                seen.append(String(key))
                return true
            }
            #expect(seen == Array(names[..<count]))
            try store.scan(from: Bytes("a"), to: Bytes("z")) { key, _ in
                stopped.append(String(key))
                return stopped.count < count
            }
            #expect(stopped == Array(names[..<count]))
        }
    }

    /// The owner closes its descriptor while a flush runs, and another file gets the number: nothing is written to that.
    @Test func aFlushThatOutlivesItsOwnerWritesToNobodysFile() throws {
        let path = directory()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let events = ends[1]
        defer { close(ends[0]) }
        let other = open(path + "/other", O_RDWR | O_CREAT, 0o600)
        defer { close(other) }
        do {
            let store = try RocksDBStore(directory: path + "/keys", create: true, wakeDescriptor: events)
            let gate = DispatchSemaphore(value: 0)
            store.beginFlush(of: {
                gate.wait()
                return []
            })
            #expect(dup2(other, events) == events)
            gate.signal()
        }
        #expect(lseek(other, 0, SEEK_END) == 0)
        close(events)
    }

    @Test func refusesAMissingStore() {
        #expect(throws: KeyValueError.self) { try RocksDBStore(directory: directory(), create: false) }
    }
}
