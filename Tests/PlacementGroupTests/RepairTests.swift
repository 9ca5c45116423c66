import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

@Suite struct RepairTests {
    @Test(arguments: MemoryStore.Rot.allCases, [Int32(0), 2]) func repairHealsOneBadCopy(
        _ rot: MemoryStore.Rot, _ osd: Int32
    ) {
        let script = Script()
        script.fill()
        // Some objects are in the log, and some are older than it.
        script.fillLog(script.objects[5], count: 30)
        script.write("recent", on: script.objects[4])
        script.drain()
        for object in [script.objects[1], script.objects[4]] {
            let stray = ObjectID(pool: object.pool, hash: object.hash, name: ObjectName("stray-\(object.name)"))
            script.host(osd).store.rot(rot == .extra ? stray : object, rot)
        }
        script.administer(.deepScrub)
        #expect(script.inconsistent.count == 2, "\(script.inconsistent)")
        script.administer(.repair)
        #expect(script.inconsistent.isEmpty && script.isClean, script.summary)
        script.expectEqual()
        #expect(script.read(osd, script.objects[4]) == "recent")
        script.administer(.deepScrub)
        #expect(script.inconsistent.isEmpty)
        #expect(script.report?.scrub.repaired == 2)
    }

    /// Omission 14: two copies that are bad in the same way are no better for being two.
    @Test func omission14TheOneCopyThatVerifiesWinsOverTwoThatAgree() {
        for rot in [MemoryStore.Rot.omap, .attribute, .data, .info, .missing] {
            for good: Int32 in [0, 1, 2] {
                let script = Script()
                script.fill()
                let object = script.objects[0]
                let wanted = script.content(good)[object]
                for osd: Int32 in [0, 1, 2] where osd != good { script.host(osd).store.rot(object, rot) }
                script.administer(.repair)
                #expect(script.isClean && script.inconsistent.isEmpty, script.summary)
                script.expectEqual()
                #expect(script.content(0)[object] == wanted, "\(rot), good on osd.\(good)")
            }
        }
    }

    /// Omission 14: where no copy verifies nothing is made up, and nobody is given what may be wrong.
    @Test func omission14WhereNoCopyVerifiesTheObjectStaysListedAndReadsFail() {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        let before = script.content(0)
        for osd: Int32 in [0, 1, 2] { script.host(osd).store.rot(object, .data) }
        script.administer(.repair)
        for _ in 0..<2 {
            let found = script.inconsistent
            #expect(found.map(\.object) == [object] && found.first?.good == nil)
            let read = script.send(script.request([.read(offset: 0, length: 4)], on: object))
            script.drain()
            #expect(script.answers[read]?.outcome == .done(errno: 5))
            script.tick()
        }
        for osd: Int32 in [0, 1, 2] { #expect(script.content(osd) == before) }
        #expect(script.primary.statistics.state.contains(.inconsistent))
        #expect(script.cluster.branches[.nothingToRepairFrom, default: 0] > 0)
        // A client that writes it anew has healed it.
        script.write("new", on: object)
        script.drain()
        let read = script.send(script.request([.read(offset: 0, length: 3)], on: object))
        script.administer(.deepScrub)
        #expect(script.answers[read]?.outputs == [Bytes("new")] && script.inconsistent.isEmpty && script.isClean)
    }

    /// Copies that differ though each vouches for itself: nothing says which is right.
    @Test func copiesThatVouchForThemselvesAndDifferAreListedOnly() {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        script.host(1).store.replaceData(of: object, with: Array("other".utf8))
        let before = (0..<3).map { script.content($0) }
        script.administer(.repair)
        let found = script.inconsistent.first
        #expect(found?.errors.words == ["size_mismatch", "data_digest_mismatch"] && found?.good == nil)
        #expect((0..<3).map { script.content($0) } == before)
    }

    // MARK: Reads

    /// Not only plain reads: whatever needs the data of a bad copy waits until there is a good one.
    @Test(
        arguments: [
            [.sparseRead(offset: 0, length: 4)], [.assertExists, .compareExtent(offset: 0, data: Bytes("data"))],
            [.compareExtent(offset: 0, data: Bytes("data")), .write(offset: 1, data: Bytes("u"))],
        ] as [[ObjectOperation]])
    func whateverReadsABadCopyIsDoneWithAGoodOne(_ steps: [ObjectOperation]) {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        script.host(0).store.rot(object, .data)
        let number = script.send(script.request(steps, on: object))
        script.drain()
        #expect(script.answers[number]?.outcome == .done(errno: 0))
        #expect(script.isClean && script.inconsistent.isEmpty && script.host(0).store.rotten.isEmpty)
        script.expectEqual()
    }

    @Test func aBadCloneIsReplacedWhenTheSnapshotIsRead() throws {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        script.cluster.newEpoch {
            $0.snapshots = PoolSnapshots()
            _ = $0.snapshots?.create()
        }
        script.drain()
        var write = script.request([.writeFull(data: Bytes("new"))], on: object)
        write.context = try #require(SnapContext(sequence: SnapID(1), snaps: [SnapID(1)]))
        script.send(write)
        script.drain()
        script.host(0).store.rot(object.at(SnapID(1)), .data)
        var read = script.request([.read(offset: 0, length: 4)], on: object)
        read.snap = SnapID(1)
        script.send(read)
        script.drain()
        #expect(script.answers[read.id.number]?.outputs == [Bytes("data")])
        #expect(script.isClean && script.inconsistent.isEmpty && script.host(0).store.rotten.isEmpty)
        script.expectEqual()
    }

    @Test func aReadOfABadCopyIsAnsweredFromAGoodOneAndTheBadOneReplaced() {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        script.host(0).store.rot(object, .data)
        let read = script.send(script.request([.read(offset: 0, length: 4)], on: object))
        let write = script.write("written while it is looked into", on: object)
        var states: Set<Bool> = []
        script.drain {
            states.insert(script.member(0).statistics.state.contains(.inconsistent))
            return false
        }
        #expect(script.answers[read]?.outputs == [Bytes("data")])
        #expect(script.answers[write]?.outcome == .done(errno: 0))
        #expect(states == [true, false], "it is listed until it is healed")
        #expect(script.isClean && script.inconsistent.isEmpty && script.report?.scrub.repaired == 1)
        #expect(script.cluster.branches[.readRepaired] == 1)
        script.expectEqual()
    }

    @Test func manyReadsOfManyBadObjectsAreAllAnswered() {
        let script = Script()
        script.fill()
        for object in script.objects { script.host(0).store.rot(object, .data) }
        var reads: [UInt64] = []
        for _ in 0..<3 {
            for object in script.objects {
                reads.append(script.send(script.request([.read(offset: 0, length: 4)], on: object)))
            }
        }
        script.drain()
        for read in reads { #expect(script.answers[read]?.outputs == [Bytes("data")]) }
        script.expectEqual()
    }

    @Test func aReadThatFailsOnceIsDoneAgain() {
        let script = Script()
        script.fill()
        script.host(0).failingReads = 1
        let read = script.send(script.request([.read(offset: 0, length: 4)]))
        script.drain()
        #expect(script.answers[read]?.outputs == [Bytes("data")])
        #expect(script.inconsistent.isEmpty && script.report?.scrub.repaired == 0)
    }

    @Test func aReadRepairGoesOnOverACrashOfThePrimary() {
        let script = Script()
        script.fill()
        let object = script.objects[0]
        script.host(0).store.rot(object, .data)
        script.send(script.request([.read(offset: 0, length: 4)], on: object))
        script.held = [[1, 0], [2, 0]]
        script.drain()
        script.held = []
        script.drain { script.member(0).missing[object] != nil && script.host(0).store.pending.isEmpty }
        #expect(script.member(0).missing[object] != nil)
        script.kill(0)
        script.drain()
        script.write("newer", on: script.objects[1])
        script.drain()
        script.start(0)
        script.drain()
        #expect(script.isClean && script.inconsistent.isEmpty, script.summary)
        script.expectEqual()
    }

    /// A copy that is bad in its metadata must not become the one that others are filled from.
    @Test func badMetadataIsNotMultiplied() {
        let script = Script(osds: 4)
        script.fill()
        let wanted = script.content(1)
        script.host(0).store.rot(script.objects[0], .omap)
        script.host(0).store.rot(script.objects[1], .attribute)
        script.fillLog(script.objects[5])
        script.place([0, 1, 3])
        script.drain()
        #expect(script.isClean, script.summary)
        for object in [script.objects[0], script.objects[1]] {
            for osd: Int32 in [0, 1, 3] { #expect(script.content(osd)[object] == wanted[object], "osd.\(osd)") }
        }
    }

    // MARK: What a store says it has lost

    /// A store that cannot vouch for an object says so when it starts: nobody has to read it before it is fetched.
    @Test(arguments: [Int32(0), 2]) func whatAStoreLostIsFetchedFromAPeer(_ osd: Int32) {
        let script = Script()
        script.fill()
        script.fillLog(script.objects[5], count: 30)
        script.write("recent", on: script.objects[4])
        script.drain()
        script.kill(osd)
        script.drain()
        // One that is older than the log, one in it, one that is written meanwhile, and one that is gone.
        let lost = [script.objects[1], script.objects[4], script.objects[5]]
        for object in lost { script.host(osd).store.rot(object, .data) }
        script.write("meanwhile", on: script.objects[5])
        script.drain()
        let unknown = ObjectID(pool: lost[0].pool, hash: lost[0].hash, name: ObjectName("unknown"))
        script.host(osd).damaged = lost + [unknown]
        script.start(osd)
        var most = 0
        script.drain {
            most = max(most, script.member(osd).missing.count)
            return false
        }
        #expect(most == 3)
        #expect(script.isClean && script.inconsistent.isEmpty, script.summary)
        script.expectEqual()
        #expect(script.read(osd, script.objects[4]) == "recent" && script.read(osd, script.objects[5]) == "meanwhile")
        #expect(script.cluster.branches[.readRepaired] == nil)
    }

    /// What every store has lost a part of is still there: what can be read of it can be read.
    @Test func whatAllStoresLostStaysWhatItIs() {
        let script = Script()
        script.fill()
        let wanted = script.content(0)
        for osd: Int32 in [0, 1, 2] { script.kill(osd) }
        for osd: Int32 in [0, 1, 2] {
            script.host(osd).damaged = [script.objects[1]]
            script.start(osd)
        }
        script.drain()
        let read = script.send(script.request([.read(offset: 0, length: 4)], on: script.objects[1]))
        script.drain()
        #expect(script.answers[read]?.outputs == [Bytes("data")])
        #expect(script.content(0) == wanted)
    }
}
