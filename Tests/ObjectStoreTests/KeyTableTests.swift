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
        var removed = KeyRanges()
        for step in 0..<20_000 {
            let key = key(&random)
            let value = Bool.random(using: &random) ? Bytes("\(step)") : nil
            table.set(key, value)
            model.updateValue(value, forKey: key)
            if step % 101 == 0 {
                // A range among keys that begin alike.
                let other = self.key(&random)
                let prefix = key[0] == UInt8(ascii: "G") ? 13 : 9
                guard key[0] != UInt8(ascii: "O"), other.count >= prefix, other[0..<prefix] == key[0..<prefix] else {
                    continue
                }
                let range = KeyRange(min(key, other), max(key, other))
                table.removeRange(range)
                removed.insert(range)
                for each in model.keys where !(each < range.lower) && each < range.upper { model[each] = nil }
            }
            if step % 97 == 0 {
                let bounds = [self.key(&random), self.key(&random)].sorted()
                let expected = model.filter { $0.key >= bounds[0] && $0.key < bounds[1] }.sorted { $0.key < $1.key }
                #expect(
                    table.changes(from: bounds[0], to: bounds[1])
                        == expected.map { KeyChange(key: $0.key, value: $0.value) })
            }
        }
        #expect(table.count == model.count + removed.count)
        #expect(removed.count > 1)
        for _ in 0..<1000 {
            let key = key(&random)
            let expected = model[key].map { KeyChange(key: key, value: $0) }
            #expect(
                table.change(of: key) == expected ?? (removed.contains(key) ? KeyChange(key: key, value: nil) : nil))
        }
        for (key, value) in model { #expect(table.change(of: key) == KeyChange(key: key, value: value)) }
        var written: [Bytes: Bytes?] = [:]
        var last: Bytes?
        table.encoded().forEach { key, value in
            if let last { #expect(last < Bytes(copying: key)) }
            last = Bytes(copying: key)
            written.updateValue(value.map { Bytes(copying: $0) }, forKey: Bytes(copying: key))
        } removingRange: { lower, upper in
            let range = KeyRange(Bytes(copying: lower), Bytes(copying: upper))
            // Before all that was set.
            #expect(removed.all.contains(range) && written.isEmpty)
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

@Suite struct KeyRangesTests {
    @Test func equalsASetOfNumbers() {
        let seed = baseSeed
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var ranges = KeyRanges()
            var model = Set<UInt8>()
            for _ in 0..<random.number(1..<20) {
                let lower = UInt8(random.number(0..<100)), upper = UInt8(random.number(0..<100))
                ranges.insert(KeyRange(Bytes([lower]), Bytes([upper])))
                if lower < upper { model.formUnion(lower..<upper) }
            }
            for number in UInt8(0)..<110 { #expect(ranges.contains(Bytes([number])) == model.contains(number)) }
            for (before, after) in zip(ranges.all, ranges.all.dropFirst()) { #expect(before.upper < after.lower) }
            let from = UInt8(random.number(0..<50)), to = UInt8(random.number(50..<110))
            let clipped = ranges.clipped(to: Bytes([from]), Bytes([to]))
            let found = Set(clipped.flatMap { $0.lower[0]..<$0.upper[0] })
            #expect(found == model.filter { $0 >= from && $0 < to })
        }
    }
}
