import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// What loses data when it is left out, by the numbers of the replication rules: taking writes, and bringing copies back.
@Suite struct WriteOmissions {
    @Test func omission05TheWholeActingSetCommitsBeforeTheClientHears() {
        let script = Script()
        script.slowDisks = [2]
        let write = script.write("x")
        script.drain()
        #expect(script.read(0) == "x" && script.read(1) == "x" && script.answers[write] == nil)
        script.slowDisks = []
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0) && script.read(2) == "x")
    }

    @Test func omission06DataAndLogEntryAreOneTransaction() {
        let script = Script()
        script.slowDisks = [0, 1, 2]
        for text in ["a", "b", "c"] { script.write(text) }
        script.drain()
        for osd in [Int32(0), 1, 2] {
            let pending = script.host(osd).store.pending
            #expect(pending.count == 3)
            for (transaction, _) in pending {
                let steps = transaction.operations
                #expect(steps.contains { if case .write = $0 { true } else { false } })
                let keys = steps.flatMap { step -> [KeyValue] in
                    if case .setGroupKeys(_, let entries) = step { entries } else { [] }
                }
                // Where the log ends says the last entry; the info goes with it when anything else in it has changed.
                #expect(keys.contains { $0.key.array.first == UInt8(ascii: "l") })
            }
        }
        // Whatever of them a crash leaves, log and object agree.
        script.kill(0, keeping: 2)
        script.start(0)
        #expect(script.read(0) == "b")
        #expect(script.member(0).log.entries.last?.version == script.member(0).info.lastUpdate)
    }

    @Test func omission07TheLogIsNotTrimmedPastWhatEveryMemberHas() {
        let script = Script()
        script.fillLog(count: 40)
        script.slowDisks = [2]
        let durable = script.member(0).info.lastUpdate
        script.fillLog(count: 40)
        #expect(script.member(0).log.entries.count > 20)
        for osd in [Int32(0), 1, 2] { #expect(script.member(osd).log.tail <= durable, "osd.\(osd)") }
        script.slowDisks = []
        script.drain()
        script.fillLog(count: 20)
        #expect(script.member(0).log.tail > durable && script.member(0).log.entries.count < 20)
    }

    @Test func omission09CopiesOutsideTheSetsStayUntilTheGroupIsClean() {
        let script = Script(osds: 4)
        script.write("x")
        script.drain()
        script.fillLog()
        script.place([0, 1, 3])
        script.drain { script.placement.acting.contains(OSDID(2)) && script.primary.phase == .active }
        script.held = [[0, 3]]
        script.drain()
        #expect(!script.isClean && script.read(2) == "x", script.summary)
        // Until the new member is filled the old ones serve.
        #expect(script.placement.acting == [OSDID(0), OSDID(1), OSDID(2)])
        let write = script.write("y")
        script.held = []
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0))
        #expect(script.isClean && script.read(3) == "y")
        #expect(script.read(2) == nil && script.member(2).info.isEmpty)
    }

    /// Also when another has taken its place already, and lacks objects still.
    @Test func omission09AStrayStaysWhileItsSuccessorLacksObjects() {
        let script = Script.withSuccessorThatLacksObjects()
        #expect(script.placement.acting == [OSDID(0), OSDID(1), OSDID(3)] && !script.isClean, script.summary)
        #expect(script.read(2) == "x" && !script.member(2).info.isEmpty)
        script.held = []
        script.drain()
        #expect(script.isClean && script.read(3) == "x")
        #expect(script.read(2) == nil && script.member(2).info.isEmpty)
    }

    /// Part of an object has the version of nothing, in a copy that is filled and in one that is missing it.
    @Test func omission11HalfAnObjectIsNoObject() {
        let script = Script(osds: 5)
        let big = script.objects[0]
        let entries = (0..<3000).map { number in KeyValue(.encoding { $0.writeU32(UInt32(number)) }, Bytes("v")) }
        script.send(script.request([.setOmap(entries: entries)], on: big))
        script.fillLog()
        let target = script.host(3)
        script.place([0, 1, 3])
        script.drain { (target.store.durable.objects[big]?.omap.count ?? 0) > 0 }
        #expect((target.store.durable.objects[big]?.omap.count ?? 0) < 3000, "the test did not catch it half-way")
        #expect(target.store.durable.objects[big]?.attributes["_"] == nil)
        script.kill(3)
        script.drain()
        script.start(3)
        script.drain()
        #expect(script.isClean)
        #expect(target.store.durable.objects[big] == script.host(0).store.durable.objects[big])
    }

    @Test func omission12WordsOfAnOlderIntervalAreDropped() {
        let script = Script()
        script.write("x")
        script.drain()
        let old = script.member(0).intervals.current.first
        let head = script.member(1).info.lastUpdate
        script.place([0, 2, 1])
        script.drain()
        let entry = LogEntry(
            kind: .modify, object: script.objects[0], version: Version(epoch: old, counter: head.counter + 1),
            prior: head,
            request: .none)
        let data = Transaction([.write(script.objects[0], offset: 0, data: Bytes("late"))])
        script.host(1).receive(
            GroupMessage(
                group: script.group, interval: old, body: .replicate(entry: entry, operations: data, trimTo: .zero)),
            from: OSDID(0))
        #expect(script.member(1).info.lastUpdate == head && script.read(1) == "x")
        // An acknowledgement of the older interval completes nothing of this one.
        script.slowDisks = [1]
        let write = script.write("y")
        script.drain()
        script.host(0).receive(
            GroupMessage(
                group: script.group, interval: old,
                body: .replicated(script.member(0).info.lastUpdate, isFull: false)), from: OSDID(1))
        script.drain()
        #expect(script.answers[write] == nil)
    }

    @Test(arguments: [false, true]) func omission13AResendIsKnownToTheNextPrimaryAndAfterTrimming(isTrimmed: Bool) {
        let script = Script()
        let first = script.request([.create(exclusive: true), .writeFull(data: Bytes("older"))])
        script.send(first)
        script.drain()
        let failing = script.request([.create(exclusive: true)])
        script.send(failing)
        script.drain()
        #expect(script.answers[failing.id.number]?.outcome == .done(errno: 17))
        script.write("newer")
        script.drain()
        if isTrimmed {
            script.fillLog(count: 20)
            #expect(script.member(1).log.entry(Version(epoch: Epoch(1), counter: 1)) == nil)
        }
        script.kill(0)
        script.drain()
        for request in [first, failing] {
            var again = request
            again.epoch = Epoch(UInt32(script.cluster.epochs.count - 1))
            script.send(again)
        }
        script.drain()
        #expect(script.placement.primary == OSDID(1) && script.read(1) == "newer")
        #expect(script.answers[first.id.number]?.outcome == .done(errno: 0))
        #expect(script.answers[failing.id.number]?.outcome == .done(errno: 17))
    }

    /// The first copy is refused for want of room, and its resend comes when there is room again: the client may have been told
    /// of the first (seed 51 of the whole cluster).
    @Test func aRefusalForWantOfRoomIsRememberedToo() {
        let script = Script()
        script.write("older")
        script.drain()
        script.host(0).isFull = true
        let refused = script.request([.writeFull(data: Bytes("refused"))])
        script.send(refused)
        script.drain()
        #expect(script.answers[refused.id.number]?.outcome == .done(errno: 28))
        script.host(0).isFull = false
        script.send(refused)
        script.drain()
        #expect(script.answers[refused.id.number]?.outcome == .done(errno: 28) && script.read(0) == "older")
        // And a member that was full is known to have room again.
        script.host(1).isFull = true
        script.write("fills it")
        script.drain()
        let held = script.write("refused")
        script.drain()
        #expect(script.answers[held]?.outcome == .done(errno: 28))
        script.host(1).isFull = false
        script.write("says so")
        script.drain()
        let taken = script.write("newest")
        script.drain()
        #expect(script.answers[taken]?.outcome == .done(errno: 0) && script.read(0) == "newest")
    }

    /// A member that comes up on a full disk says so before the first write, which it could only have stopped at (seed 169 of the
    /// whole cluster).
    @Test func aMemberThatComesUpFullIsKnownToBe() {
        let script = Script()
        script.kill(2)
        script.drain()
        script.host(2).isFull = true
        script.start(2)
        script.drain()
        let refused = script.write("refused")
        script.drain()
        #expect(script.answers[refused]?.outcome == .done(errno: 28) && script.read(2) == nil)
    }

    @Test func aResendThatWaitsBehindAReadIsDoneOnce() {
        let script = Script()
        script.write("first")
        script.drain()
        script.send(script.request([.read(offset: 0, length: 5)]))
        #expect(script.host(0).reads.count == 1)
        let older = script.request([.writeFull(data: Bytes("older"))])
        script.send(older)
        script.send(script.request([.writeFull(data: Bytes("newer"))], client: 2, number: 1))
        script.send(older)
        script.drain()
        #expect(script.read(0) == "newer")
    }

    /// What a member cannot read it takes from a copy of exactly that version, and from no other.
    @Test func omission14RepairTakesACopyKnownToBeGood() {
        let script = Script(osds: 4)
        script.write("good")
        script.drain()
        script.fillLog()
        script.host(0).store.rot(script.objects[0], .data)
        script.place([0, 1, 3])
        script.drain()
        #expect(script.isClean && script.read(3) == "good" && script.read(0) == "good", script.summary)
        #expect(script.host(0).store.rotten.isEmpty && script.inconsistent.isEmpty)
        #expect(script.cluster.branches[.readRepaired, default: 0] > 0)
        // Someone asked for a version that it does not have says so.
        var answered = false
        script.place([0, 1, 2])
        script.drain()
        let wrong = Version(epoch: Epoch(1), counter: 9999)
        let interval = script.member(1).intervals.current.first
        script.host(1).receive(
            GroupMessage(group: script.group, interval: interval, body: .pull(script.objects[0], need: wrong)),
            from: OSDID(0))
        for (message, _, _) in script.cluster.links[1 * 4 + 0] {
            if case .cannotPush(script.objects[0], wrong) = message.body { answered = true }
        }
        #expect(answered)
    }

    @Test func omission16AHalfRemovedCopyIsOneThatIsToBeFilled() {
        let script = Script(osds: 4)
        for object in script.objects { script.write("x", on: object) }
        script.drain()
        script.fillLog()
        script.place([0, 1, 3])
        script.drain {
            script.read(3) == "x" && script.member(3).info.isComplete && script.member(2).phase == .stray
                && script.placement.acting == [OSDID(0), OSDID(1), OSDID(3)]
        }
        // Everything but the removal itself: its first step is stored, the next is not.
        script.slowDisks = [2]
        script.drain { script.member(2).info.lastBackfill == .nothing }
        #expect(script.member(2).info.lastBackfill == .nothing)
        script.kill(2, keeping: 1)
        script.slowDisks = []
        script.drain()
        script.start(2)
        #expect(script.member(2).info.lastBackfill == .nothing && script.read(2) == "x")
        script.write("y")
        script.drain { script.answers.values.contains { $0.number == script.number } }
        script.place([2, 1, 0])
        script.drain()
        #expect(script.isClean && script.read(2) == "y")
        #expect(script.cluster.branches[.backfillStarted, default: 0] > 1)
    }

    // MARK: Serving while members lack something

    @Test func clientsAreServedWhileMembersAreBroughtBack() {
        let script = Script()
        for object in script.objects { script.write("old", on: object) }
        script.drain()
        script.kill(2)
        script.drain()
        for object in script.objects { script.write("new", on: object) }
        script.drain()
        script.held = [[0, 2]]
        script.start(2)
        script.drain { script.member(0).phase == .activating }
        script.held = []
        script.drain { script.member(0).phase == .active }
        script.held = [[2, 0]]
        let (first, last) = (script.objects[0], script.objects[script.objects.count - 1])
        let read = script.send(script.request([.read(offset: 0, length: 3)], on: last))
        let write = script.write("newest", on: first)
        script.drain()
        #expect(script.answers[read]?.outputs.first == Bytes("new"), "a read needs only the primary's copy")
        #expect(script.answers[write] == nil, "a write waits for the object to be everywhere")
        script.held = []
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0))
        #expect(script.isClean && script.read(2, first) == "newest" && script.read(2, last) == "new")
    }

    @Test func recoveryGoesOnAfterALostSession() {
        let script = Script(osds: 4)
        for object in script.objects { script.write("x", on: object) }
        script.drain()
        script.fillLog()
        script.place([0, 1, 3])
        script.drain { !script.host(0).reads.isEmpty }
        script.reset(0, 3)
        script.drain()
        #expect(script.isClean && script.read(3) == "x")
    }

    @Test func whatNobodyHasIsWaitedForAndFoundAgain() {
        let script = Script()
        let object = script.objects[0]
        script.write("x", on: object)
        script.drain()
        // Only osd.1 and osd.2 have the newest; 0 comes back as primary while their copies are away in turn.
        script.kill(0)
        script.drain()
        script.write("y", on: object)
        script.drain()
        script.held = [[1, 0], [2, 0]]
        script.start(0)
        script.drain()
        script.held = []
        script.drain()
        #expect(script.isClean && script.read(0, object) == "y")
    }
}
