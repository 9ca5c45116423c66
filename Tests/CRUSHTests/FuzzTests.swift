import CRUSH
import Testing
import Wire

/// Damaged maps: refused with an error, or another valid map that can be written, read and mapped. The budget is fixed.
@Suite struct FuzzTests {
    private func use(_ map: CRUSHMap, _ input: UInt32) throws {
        let weights = [CRUSHWeight](repeating: .one, count: 200)
        var result: [ItemID] = []
        for rule in map.rules { map.map(rule: rule.id, input: input, count: 3, weights: weights, into: &result) }
        let compiled = map.compiled
        let back = try CRUSHMap(compiled: compiled)
        #expect(back == map && back.compiled == compiled)
        #expect(!map.text.isEmpty && !map.tree.isEmpty)
    }

    @Test func damagedCompiledMapsNeverCrash() throws {
        var random = Seeded(testSeed("damagedCompiledMapsNeverCrash"))
        var accepted = 0
        var placed = 0
        for _ in 0..<20 {
            var maker = MapMaker(Seeded(random.next()))
            let bytes = try maker.make().compiled
            for _ in 0..<20 {
                let cut = Int.random(in: 0..<bytes.count, using: &random)
                // Old maps end early, so some cuts are maps.
                if let map = try? CRUSHMap(compiled: bytes[0..<cut]) { try use(map, 1) }
            }
            for _ in 0..<500 {
                var damaged = bytes.array
                for _ in 0..<Int.random(in: 1...3, using: &random) { damage(&damaged, &random) }
                do {
                    try use(try CRUSHMap(compiled: Bytes(damaged)), UInt32(accepted))
                    accepted += 1
                } catch let error as CRUSHError {
                    if error.description.hasPrefix("at byte ") { placed += 1 }
                }
            }
        }
        print(
            "damagedCompiledMapsNeverCrash: \(accepted) of 10000 damaged maps were valid, \(placed) errors name a byte")
        #expect(accepted > 0 && placed > 1000)
    }

    private func damage(_ bytes: inout [UInt8], _ random: inout Seeded) {
        guard !bytes.isEmpty else { return }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes[place] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
        case 3: bytes.remove(at: place)
        default: bytes.insert(contentsOf: bytes[place..<min(place + 4, bytes.count)], at: place)
        }
    }

    @Test func damagedTextsNeverCrash() throws {
        var random = Seeded(testSeed("damagedTextsNeverCrash"))
        var accepted = 0
        var placed = 0
        for _ in 0..<20 {
            var maker = MapMaker(Seeded(random.next()), isCompilable: true)
            let text = try maker.make().text
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { Array($0.utf8) }
            for _ in 0..<300 {
                var changed = lines
                for _ in 0..<Int.random(in: 1...2, using: &random) { damage(&changed, &random) }
                do {
                    let map = try CRUSHMap(file: Bytes(Array(changed.joined(separator: [UInt8(ascii: "\n")]))))
                    try use(map, UInt32(accepted))
                    // What is read is written so that it is read as the same hierarchy and rules; the numbers of classes
                    // follow from the order in which a text names them.
                    let again = try CRUSHMap(text: map.text)
                    #expect(again.buckets == map.buckets && again.shadowBuckets == map.shadowBuckets)
                    #expect(again.rules == map.rules && again.devices == map.devices)
                    #expect(again.chooseArguments == map.chooseArguments && again.tunables == map.tunables)
                    accepted += 1
                } catch let error as CRUSHError {
                    if error.description.hasPrefix("line ") { placed += 1 }
                    #expect(!error.description.contains("\n"))
                }
            }
        }
        print("damagedTextsNeverCrash: \(accepted) of 6000 damaged texts were valid, \(placed) errors name a line")
        #expect(accepted > 0 && placed > (6000 - accepted) * 9 / 10)
    }

    private func damage(_ lines: inout [[UInt8]], _ random: inout Seeded) {
        let line = Int.random(in: 0..<lines.count, using: &random)
        let other = Int.random(in: 0..<lines.count, using: &random)
        switch Int.random(in: 0..<7, using: &random) {
        case 0: lines.remove(at: line)
        case 1: lines.insert(lines[other], at: line)
        case 2: lines.swapAt(line, other)
        case 3, 4:
            // Another word of the text, or a number that is out of range.
            var words = lines[line].split(separator: UInt8(ascii: " ")).map(Array.init)
            let donors = lines[other].split(separator: UInt8(ascii: " ")).map(Array.init)
            guard let place = words.indices.randomElement(using: &random) else { return }
            let numbers = ["-1", "0", "-2147483649", "4294967296", "1e9", "0.00001", "999999999999999999999", "{", "}"]
            let number = Array((numbers.randomElement(using: &random) ?? "").utf8)
            words[place] = random.oneIn(2) ? donors.randomElement(using: &random) ?? number : number
            lines[line] = Array(words.joined(separator: [UInt8(ascii: " ")]))
        default: damage(&lines[line], &random)
        }
    }
}
