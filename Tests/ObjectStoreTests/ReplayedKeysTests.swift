import KeyValueStore
import ObjectStore
import Simulation
import Testing
import Wire

@Suite struct ReplayedKeysTests {
    /// Few keys, so that they meet again; some are the beginning of others, some longer than what is compared as numbers.
    private func key(_ random: inout SeededGenerator) -> Bytes {
        let length = [1, 2, 7, 8, 9, 15, 16, 17, 20, 33].randomElement(using: &random) ?? 1
        return Bytes(
            (0..<length).map { n in n % 7 == 0 || n > length - 3 ? UInt8.random(in: 0..<3, using: &random) * 120 : 7 })
    }

    private func apply(_ batch: KeyBatch, to map: inout [Bytes: Bytes]) {
        batch.forEach { key, value in
            map[Bytes(copying: key)] = value.map { Bytes(copying: $0) }
        } removingRange: { lower, upper in
            let lower = Bytes(copying: lower), upper = Bytes(copying: upper)
            for each in map.keys where !(each < lower) && each < upper { map[each] = nil }
        }
    }

    /// Whatever a metadata store held before: in order or in one go, the changes give the same.
    @Test func resultsInTheSameAsOneAfterTheOther() {
        print("seed \(baseSeed)")
        var random = SeededGenerator(seed: baseSeed)
        for _ in 0..<300 {
            var before: [Bytes: Bytes] = [:]
            for _ in 0..<20 { before[key(&random)] = Bytes("old") }
            var expected = before, replayed = ReplayedKeys()
            for record in 0..<random.number(1..<30) {
                var writer = KeyBatchWriter()
                for step in 0..<random.number(0..<12) {
                    switch random.number(0..<8) {
                    case 0:
                        let ends = [key(&random), key(&random)].sorted()
                        // The same range twice, with something between.
                        writer.removeRange(ends[0], ends[1])
                        if Bool.random(using: &random) {
                            writer.put(ends[0], Bytes("between"))
                            writer.removeRange(ends[0], ends[1])
                        }
                    case 1, 2: writer.remove(key(&random))
                    default: writer.put(key(&random), Bytes("\(record).\(step)"))
                    }
                }
                let batch = writer.finish()
                apply(batch, to: &expected)
                replayed.take(batch)
            }
            var found = before
            let inOrder = replayed.inOrder()
            apply(inOrder, to: &found)
            #expect(found == expected)
            var last: Bytes?
            var isRemoving = true
            inOrder.forEach { key, _ in
                isRemoving = false
                if let last { #expect(last < Bytes(copying: key)) }
                last = Bytes(copying: key)
            } removingRange: { _, _ in
                #expect(isRemoving)
            }
        }
    }
}
