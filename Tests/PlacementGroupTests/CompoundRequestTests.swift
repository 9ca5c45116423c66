import Foundation
import PlacementGroup
import Protocol
import Testing
import Wire

/// What the steps of one request see of each other, and what comes of them together.
@Suite struct CompoundRequestTests {
    private func size(_ output: Bytes?) -> UInt64? {
        var reader = ByteReader(output ?? .empty)
        return try? reader.readU64()
    }

    @Test func laterStepsSeeWhatEarlierOnesDid() {
        let script = Script()
        let reply = script.answer(

            [
                .create(exclusive: true), .write(offset: 10, data: Bytes("abc")), .stat,
                .setAttribute(name: "a", value: Bytes("1")), .getAttribute(name: "a"), .truncate(size: 4), .stat,
            ])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(size(reply?.outputs[2]) == 13 && reply?.outputs[4] == Bytes("1") && size(reply?.outputs[6]) == 4)
        // What is stored is what they saw.
        let stat = script.answer([.stat, .getAttribute(name: "a")])
        #expect(size(stat?.outputs[0]) == 4 && stat?.outputs[1] == Bytes("1"))
    }

    @Test func stepsSeeTheOrderedMapAsItIsBecoming() throws {
        let script = Script()
        func entry(_ key: String, _ value: String) -> KeyValue { KeyValue(Bytes(key), Bytes(value)) }
        _ = script.answer([.setOmap(entries: [entry("a", "1"), entry("b", "2"), entry("c", "3"), entry("d", "4")])])
        let reply = script.answer(

            [
                .removeOmap(keys: [Bytes("a"), Bytes("c")]), .setOmap(entries: [entry("bb", "5"), entry("d", "6")]),
                .compareOmap(key: Bytes("d"), expected: Bytes("6")), .compareOmap(key: Bytes("a"), expected: nil),
                .listOmap(after: .empty, prefix: .empty, limit: 2), .getOmap(keys: [Bytes("c"), Bytes("bb")]),
            ])
        #expect(reply?.outcome == .done(errno: 0))
        func entries(_ output: Bytes) throws -> [KeyValue] {
            var reader = ByteReader(output)
            return try reader.readArray(atMost: 100) { r throws(WireError) in try KeyValue(from: &r) }
        }
        let outputs = try #require(reply?.outputs)
        #expect(try entries(outputs[4]) == [entry("b", "2"), entry("bb", "5")] && outputs[4].array.last == 1)
        #expect(try entries(outputs[5]) == [entry("bb", "5")])
        let stored = script.answer([.listOmap(after: .empty, prefix: .empty, limit: 10)])
        #expect(
            try entries(try #require(stored?.outputs.first)) == [entry("b", "2"), entry("bb", "5"), entry("d", "6")])
    }

    /// Listings and values over random changes of the map are those of a plain dictionary, before and after it is stored.
    @Test func theMapSeenByStepsIsTheMapThatIsStored() throws {
        let seed = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) } ?? 1
        var random = SeededGenerator(seed: seed)
        let script = Script()
        var model: [Bytes: Bytes] = [:]
        func key() -> Bytes { Bytes("k\(Int.random(in: 0..<30, using: &random))") }
        script.write("x")
        for round in 0..<60 {
            var steps: [ObjectOperation] = []
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<5:
                    let entries = (0..<Int.random(in: 1...6, using: &random)).map {
                        KeyValue(key(), Bytes("\(round).\($0)"))
                    }
                    steps.append(.setOmap(entries: entries))
                    for entry in entries { model[entry.key] = entry.value }
                case 5..<7:
                    let keys = [key(), key(), key()]
                    steps.append(.removeOmap(keys: keys))
                    for key in keys { model[key] = nil }
                case 7..<9:
                    let (from, to) = (key(), random.chance(80) ? key() : nil)
                    steps.append(.removeOmapRange(from: from, to: to))
                    model = model.filter { key, _ in key < from || (to.map { key >= $0 } ?? false) }
                default:
                    steps.append(.clearOmap)
                    model.removeAll()
                }
            }
            let (after, prefix, limit) = (random.chance(50) ? key() : .empty, Bytes(random.chance(50) ? "k1" : "k"), 4)
            let asked = [key(), key()]
            steps += [.listOmap(after: after, prefix: prefix, limit: UInt32(limit)), .getOmap(keys: asked)]
            let reply = try #require(script.answer(steps), "seed \(seed) round \(round)")
            let matching = model.filter { $0.key > after && $0.key.array.starts(with: prefix.array) }.sorted {
                $0.key < $1.key
            }
            var reader = ByteReader(reply.outputs[steps.count - 2])
            let listed = try reader.readArray(atMost: 99) { r throws(WireError) in try KeyValue(from: &r) }
            #expect(listed == matching.prefix(limit).map { KeyValue($0.key, $0.value) }, "seed \(seed) round \(round)")
            #expect(try reader.readBool() == (matching.count > limit), "seed \(seed) round \(round)")
            var values = ByteReader(reply.outputs[steps.count - 1])
            let found = try values.readArray(atMost: 9) { r throws(WireError) in try KeyValue(from: &r) }
            #expect(
                found == asked.compactMap { key in model[key].map { KeyValue(key, $0) } }, "seed \(seed) round \(round)"
            )
            #expect(
                script.host(1).store.durable.objects[script.objects[0]]?.omap == model, "seed \(seed) round \(round)")
        }
    }

    @Test func aFailedStepLeavesNothingOfThoseBeforeIt() {
        let script = Script()
        script.write("old")
        script.drain()
        let reply = script.answer(

            [
                .writeFull(data: Bytes("new")), .setAttribute(name: "a", value: Bytes("1")),
                .compareOmap(key: Bytes("k"), expected: Bytes("v")),
            ])
        #expect(reply?.outcome == .done(errno: 125) && script.read(0) == "old")
        #expect(script.answer([.getAttribute(name: "a")])?.outcome == .done(errno: 61))
    }

    @Test func anObjectCanBeReplacedInOneRequest() {
        let script = Script()
        _ = script.answer([.writeFull(data: Bytes("old")), .setAttribute(name: "a", value: Bytes("1"))])
        let reply = script.answer(
            [.remove, .create(exclusive: true), .write(offset: 0, data: Bytes("n")), .stat])
        #expect(reply?.outcome == .done(errno: 0) && size(reply?.outputs[3]) == 1)
        for osd in [Int32(0), 1, 2] { #expect(script.read(osd) == "n") }
        #expect(script.answer([.getAttribute(name: "a")])?.outcome == .done(errno: 61))
    }

    @Test func whatIsMadeAndRemovedInOneRequestIsNothing() {
        let script = Script()
        let reply = script.answer([.create(exclusive: true), .write(offset: 0, data: Bytes("x")), .remove])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(script.read(0) == nil && script.answer([.stat])?.outcome == .done(errno: 2))
        #expect(script.isClean, script.summary)
    }

    /// The primary takes so many writes at a time; one that waits for room comes before those that arrive after it.
    @Test func aWriteThatWaitsForRoomIsNotOvertaken() {
        let script = Script()
        let last = script.objects[script.objects.count - 1]
        for index in 0..<GroupLimits.writesInFlight { script.write("\(index)", on: last) }
        let waiting = script.write("older")
        script.drain { script.answers.count > 10 }
        #expect(script.answers[waiting] == nil && script.answers.count < GroupLimits.writesInFlight / 4)
        script.write("newer")
        script.drain()
        #expect(script.answers[waiting]?.outcome == .done(errno: 0) && script.read(0) == "newer")
    }
}
