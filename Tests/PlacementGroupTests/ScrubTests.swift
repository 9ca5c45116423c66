import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

extension Script {
    /// Sends a command to the group's primary and lets everything happen; its output.
    @discardableResult
    func administer(_ command: GroupCommand) -> Bytes {
        let number = send(request([.administer(command)]))
        drain()
        return answers[number]?.outputs.first ?? .empty
    }

    /// Lets time pass, so that the groups look at their schedules.
    func tick(seconds: UInt64 = 1) {
        cluster.now += seconds * 1000
        for host in cluster.hosts where host.isRunning && host.isServing { for group in host.groups { group.tick() } }
        drain()
    }

    var inconsistent: [InconsistentObject] {
        let output = administer(.listInconsistent(after: nil))
        return (try? InconsistencyListing(decoding: output))?.objects ?? []
    }

    var report: GroupReport? { try? GroupReport(decoding: administer(.query)) }

    func errors(of osd: Int32, in found: InconsistentObject) -> [String] {
        found.shards.first { $0.osd == OSDID(osd) }?.errors.words ?? ["no shard"]
    }

    /// Gives every object data, an attribute and an omap.
    func fill() {
        for object in objects {
            send(
                request(
                    [
                        .writeFull(data: Bytes("data of \(object.name)")),
                        .setAttribute(name: "a", value: Bytes("good")),
                        .setOmap(entries: [KeyValue(Bytes("k"), Bytes("v")), KeyValue(Bytes("l"), Bytes("w"))]),
                    ], on: object))
        }
        drain()
    }

    /// Everything that members have of the group's objects.
    func content(_ osd: Int32) -> [ObjectID: MemoryStore.Object] {
        host(osd).store.durable.objects.filter { cluster.pool.group(ofHash: $0.key.hash) == group }
    }

    func expectEqual(_ osds: [Int32] = [0, 1, 2]) {
        for osd in osds.dropFirst() { #expect(content(osd) == content(osds[0]), "osd.\(osd) is not as osd.\(osds[0])") }
        for osd in osds { #expect(host(osd).store.rotten.isEmpty, "osd.\(osd) still has bad data") }
    }
}

@Suite struct ScrubTests {
    // MARK: Finding

    @Test func aScrubOfAWholeGroupFindsNothing() {
        let script = Script()
        script.fill()
        script.administer(.scrub)
        script.administer(.deepScrub)
        #expect(script.inconsistent.isEmpty && script.isClean)
        #expect(script.cluster.branches[.scrubbedClean, default: 0] == 2)
        let scrub = script.report?.scrub
        #expect(scrub?.lastDeep.version == script.primary.info.lastUpdate)
    }

    @Test(arguments: [
        (MemoryStore.Rot.omap, ["omap_digest_mismatch_info"]), (.attribute, ["attr_digest_mismatch_info"]),
        (.info, ["info_corrupted"]), (.missing, ["missing"]),
    ]) func aShallowScrubFindsBadMetadata(_ rot: MemoryStore.Rot, _ expected: [String]) {
        for osd: Int32 in [0, 2] {
            let script = Script()
            script.fill()
            let object = script.objects[2]
            script.host(osd).store.rot(object, rot)
            script.administer(.scrub)
            let found = script.inconsistent
            #expect(found.map(\.object) == [object] && found.first?.good != OSDID(osd), "\(found)")
            #expect(found.first.map { script.errors(of: osd, in: $0) } == expected)
            #expect(found.first.map { script.errors(of: 1, in: $0) } == [])
            #expect(script.primary.statistics.state.contains(.inconsistent))
        }
    }

    @Test func onlyADeepScrubFindsBadDataAndAShallowOneKeepsIt() {
        let script = Script()
        script.fill()
        script.host(1).store.rot(script.objects[1], .data)
        script.administer(.scrub)
        #expect(script.inconsistent.isEmpty)
        script.administer(.deepScrub)
        let found = script.inconsistent
        #expect(found.map(\.object) == [script.objects[1]])
        #expect(found.first.map { script.errors(of: 1, in: $0) } == ["read_error"])
        script.administer(.scrub)
        #expect(script.inconsistent == found, "a shallow scrub says nothing of data")
        // Written anew it is good again, and the next scrub says so.
        script.write("new", on: script.objects[1])
        script.drain()
        script.administer(.scrub)
        #expect(script.inconsistent.isEmpty && script.read(1, script.objects[1]) == "new")
    }

    @Test func anObjectThatWasRemovedAndIsStillThereIsFound() {
        let script = Script()
        script.fill()
        let object = script.objects[3]
        script.send(script.request([.remove], on: object))
        script.drain()
        script.host(1).store.rot(object, .extra)
        script.administer(.scrub)
        #expect(script.inconsistent.first.map { script.errors(of: 1, in: $0) } == ["unexpected"])
        script.administer(.repair)
        #expect(script.inconsistent.isEmpty && script.read(1, object) == nil && script.isClean)
    }

    @Test func theListSurvivesRestartsAndANewPrimary() {
        let script = Script()
        script.fill()
        script.host(2).store.rot(script.objects[0], .missing)
        script.administer(.scrub)
        let found = script.inconsistent
        #expect(found.count == 1)
        for osd: Int32 in [0, 1, 2] { script.kill(osd) }
        for osd: Int32 in [0, 1, 2] { script.start(osd) }
        script.drain()
        #expect(script.isClean == false && script.inconsistent == found, script.summary)
        script.kill(0)
        script.drain()
        #expect(script.placement.primary == OSDID(1) && script.inconsistent == found)
    }

    // MARK: Beside clients

    @Test func aWriteToTheWindowWaitsAndOthersDoNot() {
        let script = Script()
        script.fill()
        let (first, last) = (script.objects.min()!, script.objects.max()!)
        script.send(script.request([.administer(.scrub)]))
        script.drain { script.member(0).isComparing }
        func here(_ object: ObjectID) -> String {
            String(decoding: script.host(0).store.current.objects[object]?.data ?? [], as: UTF8.self)
        }
        let inside = script.write("inside", on: first)
        #expect(here(first) == "data of \(first.name)", "a write to the window waits")
        let outside = script.write("outside", on: last)
        #expect(here(last) == "outside", "a write beside it does not")
        let second = script.objects.sorted()[1]
        let read = script.send(script.request([.read(offset: 0, length: 4)], on: second))
        #expect(script.host(0).reads.count == 1, "nor does a read")
        script.drain()
        for number in [inside, outside, read] { #expect(script.answers[number]?.outcome == .done(errno: 0)) }
        #expect(script.answers[read]?.outputs == [Bytes("data")])
        #expect(script.cluster.branches[.waitedForScrub, default: 0] > 0 && script.inconsistent.isEmpty)
        script.expectEqual()
    }

    @Test func whatWaitedForAWindowGoesOnInTheNextInterval() {
        let script = Script(osds: 4)
        script.fill()
        let first = script.objects.min()!
        script.drain()
        script.send(script.request([.administer(.scrub)]))
        script.drain { script.member(0).isComparing }
        script.held = [[2, 0]]
        let write = script.write("inside", on: first)
        script.drain()
        #expect(script.answers[write] == nil)
        script.kill(2)
        script.drain()
        // The interval's requests are gone; the client sends again, as it does for every new interval.
        script.send(script.request([.writeFull(data: Bytes("inside"))], on: first, number: write))
        script.held = []
        script.drain()
        #expect(script.answers[write]?.outcome == .done(errno: 0) && script.read(0, first) == "inside")
        #expect(script.cluster.branches[.scrubPreempted, default: 0] > 0)
        script.start(2)
        script.drain()
        script.tick()
        #expect(script.cluster.branches[.scrubResumed, default: 0] > 0 && script.isClean)
        #expect(script.cluster.branches[.scrubbedClean, default: 0] > 0)
    }

    @Test func aLostSessionDuringAScrubIsMadeUpFor() {
        let script = Script()
        script.fill()
        for step in 0..<8 {
            script.send(script.request([.administer(.deepScrub)]))
            var count = 0
            script.drain {
                count += 1
                return count > step
            }
            script.reset(0, 2)
            script.drain()
            script.tick()
            #expect(script.inconsistent.isEmpty && script.isClean)
        }
        #expect(script.cluster.branches[.scrubbedClean, default: 0] >= 8)
    }

    @Test func groupsAreScrubbedOnScheduleAndNotAllAtOnce() {
        let script = Script()
        script.fill()
        script.tick()
        let begun = script.report?.scrub.last.seconds
        var times: [UInt64] = []
        for hour in 1...(24 * 12) {
            script.tick(seconds: 3600)
            if script.cluster.branches[.scrubbedClean, default: 0] > times.count { times.append(UInt64(hour)) }
        }
        #expect(begun == 1_700_000_000)
        #expect(times.first.map { (24...36).contains($0) } == true, "\(times)")
        #expect(Set(times).count > 8, "two groups, each every day to every day and a half: \(times)")
        let scrub = script.report?.scrub
        #expect((scrub?.lastDeep.seconds ?? 0) > 1_700_000_000 + 7 * 24 * 3600)
    }
}
