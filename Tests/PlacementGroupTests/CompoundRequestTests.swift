import PlacementGroup
import Protocol
import Testing
import Wire

/// What the steps of one request see of each other, and what comes of them together.
@Suite struct CompoundRequestTests {
    /// Sends a request and gives its answer.
    private func answer(_ script: Script, _ steps: [ObjectOperation], on object: ObjectID? = nil) -> OperationReply? {
        let number = script.send(script.request(steps, on: object))
        script.drain()
        return script.answers[number]
    }

    private func size(_ output: Bytes?) -> UInt64? {
        var reader = ByteReader(output ?? .empty)
        return try? reader.readU64()
    }

    @Test func laterStepsSeeWhatEarlierOnesDid() {
        let script = Script()
        let reply = answer(
            script,
            [
                .create(exclusive: true), .write(offset: 10, data: Bytes("abc")), .stat,
                .setAttribute(name: "a", value: Bytes("1")), .getAttribute(name: "a"), .truncate(size: 4), .stat,
            ])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(size(reply?.outputs[2]) == 13 && reply?.outputs[4] == Bytes("1") && size(reply?.outputs[6]) == 4)
        // What is stored is what they saw.
        let stat = answer(script, [.stat, .getAttribute(name: "a")])
        #expect(size(stat?.outputs[0]) == 4 && stat?.outputs[1] == Bytes("1"))
    }

    @Test func stepsSeeTheOrderedMapAsItIsBecoming() throws {
        let script = Script()
        func entry(_ key: String, _ value: String) -> KeyValue { KeyValue(Bytes(key), Bytes(value)) }
        _ = answer(script, [.setOmap(entries: [entry("a", "1"), entry("b", "2"), entry("c", "3"), entry("d", "4")])])
        let reply = answer(
            script,
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
        let stored = answer(script, [.listOmap(after: .empty, prefix: .empty, limit: 10)])
        #expect(
            try entries(try #require(stored?.outputs.first)) == [entry("b", "2"), entry("bb", "5"), entry("d", "6")])
    }

    @Test func aFailedStepLeavesNothingOfThoseBeforeIt() {
        let script = Script()
        script.write("old")
        script.drain()
        let reply = answer(
            script,
            [
                .writeFull(data: Bytes("new")), .setAttribute(name: "a", value: Bytes("1")),
                .compareOmap(key: Bytes("k"), expected: Bytes("v")),
            ])
        #expect(reply?.outcome == .done(errno: 125) && script.read(0) == "old")
        #expect(answer(script, [.getAttribute(name: "a")])?.outcome == .done(errno: 2))
    }

    @Test func anObjectCanBeReplacedInOneRequest() {
        let script = Script()
        _ = answer(script, [.writeFull(data: Bytes("old")), .setAttribute(name: "a", value: Bytes("1"))])
        let reply = answer(
            script, [.remove, .create(exclusive: true), .write(offset: 0, data: Bytes("n")), .stat])
        #expect(reply?.outcome == .done(errno: 0) && size(reply?.outputs[3]) == 1)
        for osd in [Int32(0), 1, 2] { #expect(script.read(osd) == "n") }
        #expect(answer(script, [.getAttribute(name: "a")])?.outcome == .done(errno: 2))
    }

    @Test func whatIsMadeAndRemovedInOneRequestIsNothing() {
        let script = Script()
        let reply = answer(script, [.create(exclusive: true), .write(offset: 0, data: Bytes("x")), .remove])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(script.read(0) == nil && answer(script, [.stat])?.outcome == .done(errno: 2))
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
