import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// Two groups become one: what each member has of both, what clients see, and what a crash leaves.
@Suite struct MergeTests {
    private final class Setup {
        let script: Script
        var cluster: GroupCluster { script.cluster }
        var groups: [PGID] { cluster.groups }

        init(osds: Int = 3) { script = Script(osds: osds) }

        func objects(of group: PGID) -> [ObjectID] {
            cluster.objects.filter { cluster.pool.group(ofHash: $0.hash) == group }
        }

        @discardableResult
        func write(_ text: String, on object: ObjectID, in group: PGID, number: UInt64? = nil) -> UInt64 {
            var request = script.request([.writeFull(data: Bytes(text))], on: object, number: number)
            request.group = group
            return script.send(request)
        }

        /// Every object says its name.
        func writeAll() {
            for group in groups {
                for object in objects(of: group) { write("\(object)", on: object, in: group) }
            }
            script.drain()
        }

        func makeQuiet() {
            cluster.newEpoch {
                $0.lowering = Pool.Lowering(target: 1)
                $0.lowering?.pending = 1
            }
        }

        /// Where the groups stand, as their primaries tell the monitor; nil when they are not ready.
        var versions: [UInt32: Version]? {
            let said = script.host(0).groups.map(\.statistics)
            guard said.allSatisfy({ $0.state.isSuperset(of: [.active, .clean, .premerge]) }) else { return nil }
            return Dictionary(uniqueKeysWithValues: said.map { ($0.group.seed, $0.lastUpdate) })
        }

        func merge(_ versions: [UInt32: Version]) {
            let epoch = Epoch(UInt32(cluster.epochs.count))
            cluster.newEpoch {
                ($0.groupCount, $0.lowering) = (1, nil)
                $0.merge = Pool.Merge(epoch: epoch, versions: versions)
            }
        }

        /// True when every object of both groups is on the OSD as it was written.
        func hasAll(_ osd: Int32) -> Bool { cluster.objects.allSatisfy { script.read(osd, $0) == "\($0)" } }
    }

    @Test func theWholeHasWhatItsPartsHad() throws {
        let setup = Setup()
        setup.writeAll()
        let other = setup.groups[1]
        let known = setup.write("once", on: setup.objects(of: other)[0], in: other)
        setup.script.drain()
        let answer = try #require(setup.script.answers[known])
        setup.makeQuiet()
        setup.script.drain()
        let versions = try #require(setup.versions)
        setup.merge(versions)
        setup.script.drain()
        let whole = setup.script.primary
        #expect(setup.script.isClean, setup.script.summary)
        #expect(whole.info.lastUpdate.counter == versions.values.map(\.counter).max())
        #expect(whole.log.entries.isEmpty && whole.info.isComplete)
        // What was answered by a group that is no more is not done again.
        #expect(setup.write("twice", on: setup.objects(of: other)[0], in: setup.groups[0], number: known) == known)
        setup.script.drain()
        #expect(setup.script.answers[known]?.version == answer.version)
        #expect(setup.script.read(0, setup.objects(of: other)[0]) == "once")
        setup.write("new", on: setup.objects(of: other)[1], in: setup.groups[0])
        setup.script.drain()
        for osd in Int32(0)..<3 {
            #expect(setup.script.read(osd, setup.objects(of: other)[1]) == "new")
            #expect(setup.script.host(osd).store.durable.groups[other, default: [:]].isEmpty)
        }
    }

    @Test func quietGroupsWriteNothing() throws {
        let setup = Setup()
        setup.writeAll()
        let before = setup.script.host(0).groups.map(\.info.lastUpdate)
        #expect(setup.versions == nil, "groups are ready that clients write to")
        setup.makeQuiet()
        setup.script.drain()
        let late = setup.groups.map { setup.write("late", on: setup.objects(of: $0)[0], in: $0) }
        setup.script.drain()
        #expect(late.allSatisfy { setup.script.answers[$0] == nil })
        #expect(setup.script.host(0).groups.map(\.info.lastUpdate) == before)
        #expect(setup.versions?.count == 2)
        // Let go, they serve again: clients send what was not answered under the new map.
        setup.cluster.newEpoch { $0.lowering = nil }
        setup.script.drain()
        for (number, group) in zip(late, setup.groups) {
            setup.write("late", on: setup.objects(of: group)[0], in: group, number: number)
        }
        setup.script.drain()
        #expect(late.allSatisfy { setup.script.answers[$0]?.outcome == .done(errno: 0) })
    }

    @Test func groupsThatLackMembersAreNotReady() {
        let setup = Setup()
        setup.writeAll()
        setup.makeQuiet()
        setup.script.drain()
        setup.script.kill(2)
        setup.script.drain()
        #expect(setup.versions == nil)
    }

    /// The copies change with one transaction; before that is on the disk, the next start merges again and comes to the same.
    @Test(arguments: 0...5) func aMergeThatACrashCutsShortIsDoneAgain(stored: Int) throws {
        let setup = Setup()
        setup.writeAll()
        setup.makeQuiet()
        setup.script.drain()
        let versions = try #require(setup.versions)
        setup.script.slowDisks = [2]
        setup.merge(versions)
        setup.script.drain()
        #expect(!setup.script.host(2).store.pending.isEmpty)
        setup.script.kill(2, keeping: stored)
        setup.script.slowDisks = []
        setup.script.drain()
        setup.script.start(2)
        setup.script.drain()
        #expect(setup.script.isClean, setup.script.summary)
        #expect(setup.hasAll(2))
        #expect(setup.script.host(2).store.durable.groups[setup.groups[1], default: [:]].isEmpty)
        #expect(setup.cluster.branches[.backfillStarted, default: 0] == 0, "a copy that was in step was filled")
    }

    /// A copy that missed writes before the merge does not count, whichever of the parts it missed them in.
    @Test(arguments: [0, 1]) func aCopyOutOfStepIsFilled(part: Int) throws {
        let setup = Setup(osds: 4)
        setup.writeAll()
        setup.script.kill(2)
        setup.script.drain()
        setup.cluster.newEpoch { record in
            for group in setup.groups { record.raw[group] = [OSDID(0), OSDID(1), OSDID(3)] }
        }
        setup.script.drain()
        let group = setup.groups[part]
        let object = setup.objects(of: group)[0]
        setup.write("changed", on: object, in: group)
        setup.script.drain()
        setup.makeQuiet()
        setup.script.drain()
        let versions = try #require(setup.versions)
        setup.merge(versions)
        setup.script.drain()
        setup.cluster.newEpoch { $0.raw[setup.groups[0]] = [OSDID(0), OSDID(1), OSDID(2)] }
        setup.script.start(2)
        setup.script.drain()
        #expect(setup.script.isClean, setup.script.summary)
        #expect(setup.cluster.branches[.mergedOutOfStep, default: 0] > 0)
        #expect(setup.script.read(2, object) == "changed")
        for other in setup.cluster.objects where other != object { #expect(setup.script.read(2, other) == "\(other)") }
    }

    /// An OSD that was away during the merge and missed nothing before it has a whole copy when it comes back.
    @Test func aCopyInStepThatWasAwayIsWhole() throws {
        let setup = Setup()
        setup.writeAll()
        setup.makeQuiet()
        setup.script.drain()
        let versions = try #require(setup.versions)
        setup.script.kill(2)
        setup.merge(versions)
        setup.script.drain()
        setup.script.start(2)
        setup.script.drain()
        #expect(setup.script.isClean, setup.script.summary)
        #expect(setup.hasAll(2) && setup.cluster.branches[.backfillStarted, default: 0] == 0)
    }

    /// A newer split is on the disk already when the maps of the past are gone through.
    @Test func olderMergesLeaveNewerCopiesAlone() throws {
        let setup = Setup()
        setup.writeAll()
        setup.makeQuiet()
        setup.script.drain()
        setup.merge(try #require(setup.versions))
        setup.script.drain()
        let before = setup.script.member(2).info
        setup.script.kill(2)
        setup.script.drain()
        setup.script.start(2)
        setup.script.drain()
        #expect(setup.script.isClean && setup.script.member(2).info.cutAt >= before.cutAt)
        #expect(setup.hasAll(2) && setup.cluster.branches[.mergedOutOfStep, default: 0] == 0)
    }
}
