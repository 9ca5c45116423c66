import PlacementGroup
import Protocol
import Testing
import Wire

/// Members that come back to objects they have no room for: nothing stops, and they get them when there is room.
@Suite struct FullMemberTests {
    /// A group of osd.0, 1 and 2, of which one comes back without room after everything was written anew without it; one object
    /// goes in several parts.
    private static func returned(_ osd: Int32) -> Script {
        let script = Script()
        script.cluster.sendsParts = true
        for object in script.objects { script.write("old", on: object) }
        script.drain()
        script.kill(osd)
        script.drain()
        for object in script.objects { script.write("new", on: object) }
        script.write(long, on: script.objects[0])
        script.drain()
        script.host(osd).isFull = true
        script.start(osd)
        script.drain()
        return script
    }

    private static let long = String(repeating: "parts ", count: 8)

    private func texts(_ script: Script, _ osd: Int32) -> [String?] { script.objects.map { script.read(osd, $0) } }
    private func expected(_ script: Script) -> [String?] {
        script.objects.map { $0 == script.objects[0] ? Self.long : "new" }
    }

    @Test func aMemberWithoutRoomGetsItsObjectsWhenThereIsSome() {
        let script = Self.returned(2)
        #expect(script.primary.phase == .active && !script.isClean, script.summary)
        #expect(script.primary.statistics.state.contains([.recoveryTooFull, .recovering]), script.summary)
        #expect(script.member(2).missing.count == script.objects.count, script.summary)
        #expect(texts(script, 2) == script.objects.map { _ in "old" })
        let read = script.send(script.request([.read(offset: 0, length: 3)], on: script.objects[1]))
        script.drain()
        #expect(script.answers[read]?.outputs.first == Bytes("new"))
        // Asked again in vain, from time to time.
        script.drain()
        #expect(!script.isClean && script.primary.statistics.state.contains(.recoveryTooFull))
        script.host(2).isFull = false
        script.drain()
        #expect(script.isClean && !script.primary.statistics.state.contains(.recoveryTooFull), script.summary)
        #expect(texts(script, 2) == expected(script))
    }

    /// Two are full, and one of them gets room: it does not wait for the other.
    @Test(arguments: [Int32(3), 4]) func oneThatStaysFullHoldsUpNoOther(freed: Int32) {
        let script = Script(osds: 5)
        for object in script.objects { script.write("old", on: object) }
        script.drain()
        for osd: Int32 in [3, 4] { script.host(osd).isFull = true }
        script.place([0, 3, 4])
        script.drain()
        #expect(script.primary.statistics.state.contains(.recoveryTooFull), script.summary)
        for osd: Int32 in [3, 4] { #expect(script.member(osd).missing.count == script.objects.count) }
        script.host(freed).isFull = false
        script.drain()
        #expect(texts(script, freed) == script.objects.map { _ in "old" }, script.summary)
        #expect(script.member(freed).missing.isEmpty && !script.isClean)
        for osd: Int32 in [3, 4] { script.host(osd).isFull = false }
        script.drain()
        #expect(script.isClean, script.summary)
    }

    /// Whoever waits for an object that the primary has no room for does not make it try for ever.
    @Test func aPrimaryWithoutRoomFetchesWhatItLacksWhenThereIsSome() {
        let script = Self.returned(0)
        guard script.placement.primary == OSDID(0) else {
            Issue.record("osd.0 does not lead: \(script.placement)")
            return
        }
        #expect(script.primary.statistics.state.contains(.recoveryTooFull), script.summary)
        let read = script.send(script.request([.read(offset: 0, length: 3)], on: script.objects[1]))
        script.drain()
        #expect(script.answers[read] == nil && texts(script, 0) == script.objects.map { _ in "old" }, script.summary)
        script.host(0).isFull = false
        script.drain()
        #expect(script.isClean && script.answers[read]?.outputs.first == Bytes("new"), script.summary)
        #expect(texts(script, 0) == expected(script))
    }

    /// A push that was begun, and is begun again when there is no room any more: what comes of it is not put to what was stored.
    @Test func whatIsLeftOfAnEarlierAttemptIsNotGoneOnWith() {
        let script = Script()
        script.cluster.sendsParts = true
        script.write("old")
        script.drain()
        script.kill(2)
        script.drain()
        script.write(Self.long)
        script.drain()
        script.start(2)
        script.drain { script.read(2) != "old" && script.member(2).missing[script.objects[0]]?.have == .zero }
        #expect(script.read(2) != Self.long && !script.isClean, script.summary)
        script.host(2).isFull = true
        script.reset(0, 2)
        script.drain()
        #expect(!script.isClean && script.member(2).missing[script.objects[0]] != nil, script.summary)
        script.host(2).isFull = false
        script.drain()
        #expect(script.isClean && script.read(2) == Self.long, script.summary)
    }
}
