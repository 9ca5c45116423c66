import PlacementGroup
import Protocol
import Testing
import Wire

/// Writes to objects that a member lacks: it logs them and has nothing of them, so what it says must never count for data.
@Suite struct LoggedOnlyTests {
    /// A group of osd.0, 1 and 3, or of other `members`, of which those that are new lack all objects. The first are on their
    /// way to it and do not get further, as long as `holdsReads`.
    private static func lacking(members: [Int32] = [0, 1, 3], minSize: UInt8? = nil) -> Script {
        let script = Script(osds: 5)
        script.cluster.minSize = minSize
        for object in script.objects { script.write("old", on: object) }
        script.drain()
        script.holdsReads = true
        script.place(members)
        script.drain()
        return script
    }

    /// An object of the group that osd.3 lacks and that is not on its way.
    private static func far(_ script: Script) -> ObjectID { script.objects.sorted()[script.objects.count - 1] }

    private func text(_ script: Script, _ object: ObjectID) -> Set<String?> {
        Set([Int32(0), 1, 3].map { script.read($0, object) })
    }

    @Test func aWriteIsAnsweredWhenEnoughHaveItAndTheRestHaveLoggedIt() {
        let script = Self.lacking()
        let object = Self.far(script)
        #expect(script.primary.phase == .active && script.member(3).missing[object] != nil, script.summary)
        let write = script.write("new", on: object)
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0), script.summary)
        #expect(script.read(0, object) == "new" && script.read(1, object) == "new" && script.read(3, object) == nil)
        #expect(script.member(3).missing[object]?.need == script.member(0).info.lastUpdate)
        #expect(script.member(3).info.lastUpdate == script.member(0).info.lastUpdate)
        // One that is on its way is waited for.
        let waits = script.write("new", on: script.objects.sorted()[0])
        script.drain()
        #expect(script.answers[waits] == nil)
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && script.answers[waits]?.outcome == .done(errno: 0), script.summary)
        #expect(text(script, object) == ["new"])
    }

    /// With `min_size` 1 the acknowledgement would hang on the primary's disk alone: such a write waits for the object.
    @Test func oneHolderIsNotEnoughWhateverThePoolSays() {
        let script = Self.lacking(members: [0, 3, 4], minSize: 1)
        #expect(script.primary.intervals.current.minSize == 1)
        let object = Self.far(script)
        #expect(script.primary.phase == .active, script.summary)
        #expect(script.member(3).missing[object] != nil && script.member(4).missing[object] != nil, script.summary)
        let write = script.write("new", on: object)
        script.drain()
        #expect(script.answers[write] == nil && script.read(0, object) == "old")
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && script.answers[write]?.outcome == .done(errno: 0), script.summary)
        for osd in [Int32(0), 3, 4] { #expect(script.read(osd, object) == "new") }
    }

    /// The entry alone must not be anywhere before the data is wherever it has to be: the entry's log would be the newest.
    @Test(arguments: [false, true]) func anEntryNeverOutlivesItsData(losesPrimary: Bool) {
        let script = Self.lacking()
        let object = Self.far(script)
        script.slowDisks = [0, 1]
        let write = script.write("new", on: object)
        script.drain()
        #expect(script.answers[write] == nil)
        script.kill(0, keeping: 0)
        if !losesPrimary { script.kill(1, keeping: 0) }
        script.slowDisks = []
        script.holdsReads = false
        script.drain()
        if !losesPrimary {
            script.start(0)
            script.start(1)
        }
        script.place(losesPrimary ? [1, 3, 4] : [0, 1, 3])
        script.drain()
        #expect(script.isClean, script.summary)
        #expect(script.answers[write] == nil)
        // Either is right: it was never acknowledged. But not nothing.
        let found = Set((losesPrimary ? [Int32(1), 3, 4] : [0, 1, 3]).map { script.read($0, object) })
        #expect(found == ["old"] || found == ["new"], "\(found)")
    }

    /// What was answered survives the loss of the primary, and of every member but one that has it.
    @Test(arguments: [Int32(0), 1]) func whatWasAnsweredSurvivesTheLossOfAHolder(lost: Int32) {
        let script = Self.lacking()
        let object = Self.far(script)
        let write = script.write("new", on: object)
        script.drain { script.answers[write] != nil }
        script.kill(lost, keeping: 0)
        script.holdsReads = false
        script.place(lost == 0 ? [3, 1, 4] : [0, 3, 4])
        script.drain()
        #expect(script.isClean, script.summary)
        for osd in lost == 0 ? [Int32(1), 3, 4] : [0, 3, 4] { #expect(script.read(osd, object) == "new") }
    }

    /// While those who have it are away nobody takes the entry for the object, and nothing older either.
    @Test func withoutAHolderTheObjectIsMissedAndFoundAgain() {
        let script = Self.lacking()
        let object = Self.far(script)
        let write = script.write("new", on: object)
        script.drain { script.answers[write] != nil }
        script.kill(0)
        script.kill(1)
        script.holdsReads = false
        script.place([3, 4])
        script.drain()
        let read = script.send(script.request([.read(offset: 0, length: 8)], on: object))
        let late = script.write("late", on: object)
        script.drain()
        #expect(script.answers[read] == nil && script.answers[late] == nil, script.summary)
        #expect(script.read(3, object) == nil && script.read(4, object) == nil)
        script.start(1)
        script.drain()
        script.place([3, 4, 1])
        script.drain()
        #expect(script.isClean, script.summary)
        for osd in [Int32(1), 3, 4] { #expect(script.read(osd, object) == "late", script.summary) }
    }

    /// With fewer that have it than the pool's min_size, a write waits until there are enough.
    @Test func aWriteThatTooFewWouldHaveWaits() {
        let script = Self.lacking()
        let object = Self.far(script)
        script.kill(2)
        script.kill(1)
        script.drain()
        #expect(script.placement.acting == [OSDID(0), OSDID(3)] && script.primary.phase == .active, script.summary)
        let write = script.write("new", on: object)
        script.drain()
        #expect(script.answers[write] == nil && script.read(0, object) == "old")
        script.holdsReads = false
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0) && script.read(3, object) == "new", script.summary)
    }

    // MARK: Objects on their way

    /// Like `lacking`, with one object of several parts that is on its way to osd.3: its first part is being read.
    private static func sending() -> (script: Script, big: ObjectID) {
        let script = Script(osds: 5)
        let big = script.objects.sorted()[0]
        for object in script.objects { script.write("old", on: object) }
        let data = Bytes((0..<Int(2.5 * Double(GroupLimits.partSize))).map { UInt8($0 % 251) })
        script.send(script.request([.writeFull(data: data), .setAttribute(name: "a", value: Bytes("1"))], on: big))
        script.drain()
        script.holdsReads = true
        script.place([0, 1, 3])
        script.drain()
        return (script, big)
    }

    /// Lets so many reads end.
    private func read(_ count: Int, _ script: Script) {
        for _ in 0..<count {
            guard !script.host(0).reads.isEmpty else { return }
            script.host(0).completeRead(at: 0)
            script.drain()
        }
    }

    private func isEverywhereTheSame(_ script: Script, _ object: ObjectID) -> Bool {
        let first = script.host(0).store.durable.objects[object]
        return [Int32(1), 3].allSatisfy { script.host($0).store.durable.objects[object] == first }
    }

    @Test func anObjectIsWrittenToWhileItIsSent() {
        let (script, big) = Self.sending()
        let part = UInt64(GroupLimits.partSize)
        // Under the read, behind it, and over its end; zeros too, since zeros do not travel.
        let writes = [0, part - 2, part + 7, 2 * part + 9].map { offset in
            script.send(script.request([.write(offset: offset, data: Bytes("new"))], on: big))
        }
        script.drain()
        for number in writes { #expect(script.answers[number]?.outcome == .done(errno: 0), script.summary) }
        read(script.host(0).reads.count, script)
        let later = [
            script.send(script.request([.write(offset: 100, data: Bytes("newer"))], on: big)),
            script.send(script.request([.zero(offset: 4096, length: 8192)], on: big)),
            script.send(script.request([.write(offset: 3 * part, data: Bytes("longer"))], on: big)),
        ]
        script.drain()
        for number in later { #expect(script.answers[number]?.outcome == .done(errno: 0), script.summary) }
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && isEverywhereTheSame(script, big), script.summary)
        #expect(script.host(3).store.durable.objects[big]?.data.count == Int(3 * part) + 6)
        #expect(script.cluster.branches[.writtenWhileSent, default: 0] > 0)
    }

    /// What more than data changes waits until the member has the object.
    @Test(arguments: [
        ObjectOperation.remove, .truncate(size: 5), .setAttribute(name: "a", value: Bytes("2")),
        .setOmap(entries: [KeyValue(Bytes("k"), Bytes("v"))]), .writeFull(data: Bytes("x")),
    ])
    func whatMoreThanDataChangesWaits(step: ObjectOperation) {
        let (script, big) = Self.sending()
        read(script.host(0).reads.count, script)
        script.send(script.request([.write(offset: 1, data: Bytes("new"))], on: big))
        let write = script.send(script.request([step], on: big))
        script.drain()
        #expect(script.answers[write] == nil, script.summary)
        script.holdsReads = false
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0), script.summary)
        #expect(script.isClean && isEverywhereTheSame(script, big), script.summary)
    }

    /// Too many places to name are sent again as one.
    @Test func manyPlacesAreSentAgain() {
        let (script, big) = Self.sending()
        read(script.host(0).reads.count, script)
        for place in 0..<100 {
            script.send(
                script.request([.write(offset: UInt64(place * 5000 + 8000), data: Bytes("n\(place)"))], on: big))
        }
        script.drain()
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && isEverywhereTheSame(script, big), script.summary)
    }

    @Test(arguments: 0..<5) func aPushIsBegunAnewAfterALostSession(reads: Int) {
        let (script, big) = Self.sending()
        for turn in 0..<reads {
            script.send(script.request([.write(offset: UInt64(turn * 3000), data: Bytes("new"))], on: big))
            read(script.host(0).reads.count, script)
        }
        script.reset(0, 3)
        script.send(script.request([.write(offset: 77, data: Bytes("newest"))], on: big))
        script.drain()
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && isEverywhereTheSame(script, big), script.summary)
    }

    /// The word about a push from before the session was lost says nothing about the one that was begun then, and the half that
    /// this one leaves behind is known to be one.
    @Test(arguments: [false, true]) func aLateWordIsNotTakenForAnother(crashes: Bool) {
        let (script, big) = Self.sending()
        script.holdsReads = false
        script.drain { !script.primary.pushesUnderway(of: big) }
        script.slowDisks = [3]
        script.drain()
        script.holdsReads = true
        script.reset(0, 3)
        script.drain()
        script.slowDisks = []
        script.drain()
        read(script.host(0).reads.count, script)
        let write = script.send(script.request([.write(offset: 5, data: Bytes("after"))], on: big))
        script.drain()
        if crashes {
            script.kill(3)
            script.drain()
            script.start(3)
        }
        script.holdsReads = false
        script.drain()
        // With a new interval the client has to send it again.
        #expect(crashes || script.answers[write]?.outcome == .done(errno: 0), script.summary)
        #expect(script.isClean && isEverywhereTheSame(script, big), script.summary)
    }

    /// What follows an entry that is withheld is withheld, too, also when the session is begun anew.
    @Test(arguments: [false, true]) func theOrderIsKept(resets: Bool) {
        let script = Self.lacking()
        let far = Self.far(script)
        let fresh = ObjectID(pool: far.pool, hash: far.hash, name: ObjectName("fresh"))
        script.slowDisks = [1]
        let first = script.write("new", on: far)
        let second = script.write("made", on: fresh)
        script.drain()
        let before = script.member(3).info.lastUpdate
        if resets {
            script.reset(0, 3)
            script.drain()
        }
        #expect(script.member(3).info.lastUpdate == before && before < script.member(0).info.lastUpdate)
        script.slowDisks = []
        script.drain()
        #expect(script.answers[first] != nil && script.answers[second] != nil, script.summary)
        #expect(script.read(3, far) == nil && script.read(3, fresh) == "made")
        #expect(script.member(3).info.lastUpdate == script.member(0).info.lastUpdate)
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && text(script, far) == ["new"] && text(script, fresh) == ["made"], script.summary)
    }

    /// A lacking member takes part in what happens to the object without it: it ends, and begins again.
    @Test func anObjectThatIsLackedIsRemovedAndMadeAgain() {
        let script = Self.lacking()
        let far = Self.far(script)
        script.write("new", on: far)
        script.send(script.request([.setOmap(entries: [KeyValue(Bytes("k"), Bytes("v"))])], on: far))
        script.drain()
        let removal = script.send(script.request([.remove], on: far))
        script.drain()
        #expect(script.answers[removal]?.outcome == .done(errno: 0) && script.member(3).missing[far] == nil)
        script.write("again", on: far)
        script.drain()
        #expect(text(script, far) == ["again"], script.summary)
        script.holdsReads = false
        script.drain()
        #expect(script.isClean && isEverywhereTheSame(script, far), script.summary)
    }
}
