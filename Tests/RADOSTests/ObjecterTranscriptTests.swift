import ClientTestSupport
import ClusterMap
import Protocol
import RADOS
import Testing
import Wire

/// What the objecter says, line by line, for a story told event by event.
@Suite struct ObjecterTranscriptTests {
    @Test func sendsToThePrimaryAndCompletesByToken() {
        let story = Story()
        story.submit("a")
        story.reply(1, from: 1)
        #expect(story.lines == ["1 → osd.1 @1", "done 1: 0"])
    }

    @Test func waitsWhileThereIsNoPrimary() {
        let story = Story()
        story.map { $0.acting[0] = [] }
        story.submit("a")
        story.submit("b")
        story.map { $0.acting[0] = [OSDID(2)] }
        #expect(story.lines == ["1 → osd.2 @3", "2 → osd.2 @3"])
    }

    @Test func newIntervalResendsOldestFirstUnderTheSameNumber() {
        let story = Story()
        story.submit("a")
        story.submit("b")
        story.map { $0.acting[0] = [OSDID(2), OSDID(1)] }
        // The old primary's answer no longer counts, the new one's does.
        story.reply(1, from: 1)
        story.reply(1, from: 2)
        #expect(
            story.lines == ["1 → osd.1 @1", "2 → osd.1 @1", "1 → osd.2 @2", "2 → osd.2 @2", "done 1: 0"])
    }

    @Test func aMapThatLeavesTheGroupAloneResendsNothing() {
        let story = Story()
        story.submit("a")
        story.map { $0.pools[PoolID(2)] = nil }
        #expect(story.lines == ["1 → osd.1 @1"])
    }

    @Test func aReplicasRestartIsANewInterval() {
        let story = Story()
        story.submit("a")
        story.map { $0.upFrom[OSDID(2)] = $0.epoch }
        #expect(story.lines == ["1 → osd.1 @1", "1 → osd.1 @2"])
    }

    @Test func aGapInTheMapsResendsEverything() {
        let story = Story()
        story.submit("a")
        story.map(epochs: 3) { _ in }
        #expect(story.lines == ["1 → osd.1 @1", "1 → osd.1 @4"])
    }

    /// A blocklisted client does nothing any more, however it learns it, and also when its entry is over.
    @Test(arguments: [false, true]) func aFencedClientFailsEverythingForGood(isToldByMap: Bool) {
        let story = Story()
        for name in ["a", "b"] { story.submit(name) }
        if isToldByMap {
            story.map { $0.blocklist = [1] }
        } else {
            story.reply(2, from: 1, errno: 108)
        }
        story.submit("c")
        // What was under way may still be answered; nobody waits for it.
        story.reply(1, from: 1)
        story.map { $0.blocklist = [] }
        story.submit("d")
        #expect(story.objecter.isFenced && story.objecter.inFlight == 0)
        #expect(
            story.lines == [
                "1 → osd.1 @1", "2 → osd.1 @1", "done 1: 108", "done 2: 108", "done 3: 108", "done 4: 108",
            ])
    }

    @Test func someoneElsesEntryFencesNobody() {
        let story = Story()
        story.submit("a")
        story.map { $0.blocklist = [2] }
        story.reply(1, from: 1)
        #expect(story.lines == ["1 → osd.1 @1", "done 1: 0"])
    }

    @Test func sessionResetResendsInOrder() {
        let story = Story()
        story.submit("a")
        story.submit("b")
        story.objecter.sessionReset(with: OSDID(2))
        story.objecter.sessionReset(with: OSDID(1))
        #expect(story.lines == ["1 → osd.1 @1", "2 → osd.1 @1", "1 → osd.1 @1", "2 → osd.1 @1"])
    }

    @Test func misdirectedWaitsForThatMapAndHoldsBackWhatFollows() {
        let story = Story()
        story.submit("a")
        story.misdirect(1, from: 1, epoch: 3)
        story.submit("a")
        story.map { _ in }
        story.map { $0.acting[0] = [OSDID(3)] }
        #expect(story.lines == ["1 → osd.1 @1", "want map 3", "1 → osd.3 @3", "2 → osd.3 @3"])
    }

    @Test func misdirectedUnderAMapThatHasComeIsSentAgain() {
        let story = Story()
        story.submit("a")
        story.map { _ in }
        story.misdirect(1, from: 1, epoch: 2)
        // The answer to the first copy comes after the second was sent: it says nothing new.
        story.misdirect(1, from: 1, epoch: 2)
        #expect(story.lines == ["1 → osd.1 @1", "1 → osd.1 @2"])
    }

    @Test func anOSDWithoutRoomIsAskedAgainInOrder() {
        let story = Story()
        story.submit("a")
        story.submit("a")
        story.reply(1, from: 1, errno: Errno.tryAgain)
        story.submit("a")
        story.objecter.retry()
        story.reply(1, from: 1)
        #expect(
            story.lines == [
                "1 → osd.1 @1", "2 → osd.1 @1", "want retry", "1 → osd.1 @1", "2 → osd.1 @1", "3 → osd.1 @1",
                "done 1: 0",
            ])
    }

    @Test func aRemovedPoolFailsForGood() {
        let story = Story()
        story.submit("a")
        story.map { $0.pools[PoolID(1)] = nil }
        story.submit("b")
        story.reply(1, from: 1)
        #expect(story.lines == ["1 → osd.1 @1", "done 1: 2", "done 2: 2"])
        #expect(story.objecter.open(PoolID(1)) == nil)
    }

    @Test func splittingDealsRequestsAnewInOrder() {
        let story = Story()
        for name in ["a", "b", "c", "d", "e"] { story.submit(name) }
        story.map { map in
            map.pools[PoolID(1)] = MemoryMap.pool(groups: 2)
            map.acting = [0: [OSDID(1)], 1: [OSDID(2)]]
        }
        let again = story.lines.dropFirst(5)
        #expect(again.count == 5)
        for osd in ["osd.1", "osd.2"] {
            let numbers = again.filter { $0.contains(osd) }.map { $0.prefix(1) }
            #expect(!numbers.isEmpty && numbers == numbers.sorted())
        }
    }

    @Test func groupOperationsNameTheirGroup() {
        let story = Story()
        story.objecter.submit(
            .listObjects(after: nil, prefix: .empty, limit: 1), onGroup: 0, in: story.slot,
            token: RequestToken(owner: 0, value: 1))
        story.objecter.submit(
            .listObjects(after: nil, prefix: .empty, limit: 1), onGroup: 9, in: story.slot,
            token: RequestToken(owner: 0, value: 2))
        #expect(story.lines == ["1 → osd.1 @1", "done 2: 2"])
    }

    /// When answers are lost everything in flight is sent again; what a group no longer knows it would do twice.
    @Test func noMoreIsInFlightThanAGroupRemembers() {
        let story = Story()
        for _ in 0..<GroupLimits.logEntriesKept { story.submit("a") }
        #expect(story.lines.count < GroupLimits.logEntriesKept)
    }

    @Test func whatIsInFlightIsBoundedAndOrderIsKept() {
        let story = Story()
        for _ in 0..<ClientLimits.requestsInFlight + 2 { story.submit("a") }
        #expect(story.objecter.inFlight == ClientLimits.requestsInFlight)
        #expect(!story.objecter.hasRoom)
        story.lines = []
        let last = ClientLimits.requestsInFlight
        story.reply(1, from: 1)
        story.reply(2, from: 1)
        #expect(
            story.lines == ["done 1: 0", "\(last + 1) → osd.1 @1", "done 2: 0", "\(last + 2) → osd.1 @1"])
    }

    @Test func aRequestOverTheBytesInFlightGoesAlone() {
        let story = Story()
        let big = Bytes(repeating: 1, count: 32 << 20)
        for _ in 0..<9 { story.submit("a", [.writeFull(data: big)]) }
        #expect(story.lines.count == 7)
        story.reply(1, from: 1)
        #expect(story.lines.suffix(2) == ["done 1: 0", "8 → osd.1 @1"])
    }
}

/// An objecter with its effects as lines of text, on a pool of one group.
private final class Story: ObjecterEnvironment {
    typealias Map = MemoryMap
    var objecter: Objecter<Story>!
    var slot: PoolSlot!
    var current = MemoryMap(
        epoch: Epoch(1), pools: [MemoryMap.pool(groups: 1)], acting: [0: [OSDID(1), OSDID(2), OSDID(3)]])
    var lines: [String] = []
    var count: UInt64 = 0

    init() {
        objecter = Objecter(client: 1, environment: self)
        objecter.mapChanged(to: current)
        slot = objecter.open(PoolID(1))
    }

    func submit(_ name: String, _ steps: [ObjectOperation] = [.stat]) {
        count += 1
        objecter.submit(steps, on: ObjectName(name), in: slot, token: RequestToken(owner: 0, value: count))
    }

    func map(epochs: UInt32 = 1, _ change: (inout MemoryMap) -> Void) {
        current.epoch = Epoch(current.epoch.rawValue + epochs)
        change(&current)
        objecter.mapChanged(to: current)
    }

    func reply(_ number: UInt64, from osd: Int32, errno: Int32 = 0) {
        objecter.received(OperationReply(number: number, outcome: .done(errno: errno)), from: OSDID(osd))
    }

    func misdirect(_ number: UInt64, from osd: Int32, epoch: UInt32) {
        objecter.received(OperationReply(number: number, outcome: .misdirected(Epoch(epoch))), from: OSDID(osd))
    }

    func send(_ request: OperationRequest, to osd: OSDID) {
        lines.append("\(request.id.number) → \(osd) @\(request.epoch)")
    }

    func wantRetry() { lines.append("want retry") }

    func wantMap(atLeast epoch: Epoch) { lines.append("want map \(epoch)") }

    func completed(_ token: RequestToken, _ reply: OperationReply) {
        guard case .done(let errno) = reply.outcome else { return }
        lines.append("done \(token.value): \(errno)")
    }
}
