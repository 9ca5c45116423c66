import KeyValueStore
import Wire

/// An ordered store in memory that forgets at a crash what was not committed durably.
final class MemoryStore: KeyValueStore {
    private var durable: [Bytes: Bytes] = [:]
    /// What is not durable yet; nil where a key is removed.
    private var recent: [Bytes: Bytes?] = [:]

    func value(_ key: Bytes) throws(KeyValueError) -> Bytes? { recent[key] ?? durable[key] }

    func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(KeyValueError) {
        let values = durable.merging(recent.compactMapValues(\.self)) { $1 }.filter { recent[$0.key] != .some(nil) }
        for (key, value) in values.sorted(by: { $0.key < $1.key }) where lower <= key && key < upper {
            guard body(key, value) else { return }
        }
    }

    func write(_ batches: [KeyBatch], _ durability: Durability) throws(KeyValueError) {
        for batch in batches {
            batch.forEach { key, value in
                recent.updateValue(value.map { Bytes(copying: $0) }, forKey: Bytes(copying: key))
            }
        }
        if durability == .durable { try flush() }
    }

    func beginFlush(of changes: @escaping @Sendable () -> [KeyBatch]) {
        preconditionFailure("a monitor's commits are durable one by one")
    }
    func pollFlush() -> FlushState { .idle }

    func flush() throws(KeyValueError) {
        for (key, value) in recent { durable[key] = value }
        recent = [:]
    }

    /// What a power cut leaves.
    func crash() { recent = [:] }

    /// Changes one byte of a value, as a failing disk does.
    func damage(_ key: Bytes, at index: Int) {
        guard var bytes = durable[key]?.array else { return }
        bytes[index] ^= 0x40
        durable[key] = Bytes(bytes)
    }
}
