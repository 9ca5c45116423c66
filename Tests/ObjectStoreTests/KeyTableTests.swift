import KeyValueStore
import ObjectStore
import Simulation
import Testing
import Wire

@Suite struct KeyTableTests {
    /// Keys of every kind, few enough to meet again: runs of one entry, of hundreds, and of many pieces.
    private func key(_ random: inout SeededGenerator) -> Bytes {
        let kind = Int.random(in: 0..<10, using: &random)
        let number = UInt64.random(in: 0..<3, using: &random)
        return Bytes.encoding(capacity: 32) { writer in
            switch kind {
            case 0, 1:
                writer.writeU8(UInt8(ascii: "U"))
                writer.writeU64(number.byteSwapped)
                writer.writeU32(UInt32.random(in: 0..<64, using: &random).byteSwapped)
            case 2...6:
                writer.writeU8(UInt8(ascii: "M"))
                writer.writeU64(number.byteSwapped)
                for _ in 0..<Int.random(in: 0...11, using: &random) {
                    writer.writeU8(UInt8.random(in: 0..<4, using: &random) * 85)
                }
            case 7, 8:
                writer.writeU8(UInt8(ascii: "G"))
                writer.writeU64(number.byteSwapped)
                writer.writeU32(UInt32.random(in: 0..<2, using: &random).byteSwapped)
                writer.writeU64(UInt64.random(in: 0..<4000, using: &random).byteSwapped)
            default:
                writer.writeU8(UInt8(ascii: "O"))
                writer.writeU32(UInt32.random(in: 0..<200, using: &random))
            }
        }
    }

    @Test func equalsAPlainMap() {
        let seed = baseSeed
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var table = KeyTable()
        var model: [Bytes: Bytes?] = [:]
        for step in 0..<20_000 {
            let key = key(&random)
            let value = Bool.random(using: &random) ? Bytes("\(step)") : nil
            table.set(key, value)
            model.updateValue(value, forKey: key)
            if step % 97 == 0 {
                let bounds = [self.key(&random), self.key(&random)].sorted()
                let expected = model.filter { $0.key >= bounds[0] && $0.key < bounds[1] }.sorted { $0.key < $1.key }
                #expect(
                    table.changes(from: bounds[0], to: bounds[1])
                        == expected.map { KeyChange(key: $0.key, value: $0.value) })
            }
        }
        #expect(table.count == model.count)
        for (key, value) in model { #expect(table.change(of: key) == KeyChange(key: key, value: value)) }
        var written: [Bytes: Bytes?] = [:]
        table.encoded().forEach { key, value in
            written.updateValue(value.map { Bytes(copying: $0) }, forKey: Bytes(copying: key))
        }
        #expect(written == model)
    }

    /// A client's request may set thousands of keys in any order; each must not move all others.
    @Test func takesManyKeysOfOneObject() {
        var table = KeyTable()
        for step in 0..<300_000 {
            let key = Bytes.encoding(capacity: 24) { writer in
                writer.writeU8(UInt8(ascii: "M"))
                writer.writeU64(1)
                writer.writeU64(UInt64(step) &* 0x9e37_79b9_7f4a_7c15)
            }
            table.set(key, .empty)
        }
        #expect(table.count == 300_000)
    }
}
