import ClusterMap
import Foundation
import PlacementGroup
import Protocol
import Testing
import Wire

/// Snapshots in a group: what a write under a context does to head and clones on every member, what reads give, and how
/// removed snapshots are trimmed.
@Suite struct SnapshotGroupTests {
    /// What does not fit together of what a host has of a group.
    static func problems(in host: GroupHost, _ group: PGID, trimmed: SnapIntervals) -> [String] {
        let objects = host.store.durable.objects.filter { host.cluster.pool.group(ofHash: $0.key.hash) == group }
        return VersionCheck.problems(
            attributes: objects.mapValues(\.attributes),
            keys: (host.store.durable.groups[group] ?? [:]).map { KeyValue($0.key, $0.value) }, trimmed: trimmed)
    }

    /// A group with a pool's snapshots, in a test's hands.
    final class Setup {
        let script = Script()
        var books = PoolSnapshots()
        private(set) var live: [SnapID] = []

        var context: SnapContext { SnapContext(sequence: books.sequence, snaps: live) ?? .none }

        func makeSnapshot() -> SnapID {
            guard let snap = books.create() else { preconditionFailure("no snapshot") }
            live.insert(snap, at: 0)
            publish()
            return snap
        }

        func remove(_ snap: SnapID) {
            live.removeAll { $0 == snap }
            _ = books.remove(snap)
            publish()
        }

        private func publish() {
            script.cluster.newEpoch { $0.snapshots = books }
            script.drain()
        }

        @discardableResult
        func run(
            _ steps: [ObjectOperation], at snap: SnapID = .head, on object: ObjectID? = nil,
            _ context: SnapContext? = nil
        )
            -> OperationReply?
        {
            var request = script.request(steps, on: object)
            request.snap = snap
            if request.isWrite { request.context = context ?? self.context }
            let number = script.send(request)
            script.drain()
            return script.answers[number]
        }

        func write(_ text: String, _ context: SnapContext? = nil) {
            #expect(run([.writeFull(data: Bytes(text))], context)?.outcome == .done(errno: 0))
        }

        func read(at snap: SnapID = .head) -> String? {
            let reply = run([.read(offset: 0, length: 100)], at: snap)
            guard reply?.outcome == .done(errno: 0) else {
                #expect(reply?.outcome == .done(errno: 2))
                return nil
            }
            return reply?.outputs.first.map { String($0) }
        }

        /// All versions of the first object that there are on a member.
        func versions(_ osd: Int32 = 0) -> [SnapID] {
            script.host(osd).store.durable.objects.keys.filter { $0.isSameObject(as: script.objects[0]) }.map(\.snap)
                .sorted()
        }

        /// Keys of the index of snapshots.
        func index(_ osd: Int32 = 0) -> Int {
            (script.host(osd).store.durable.groups[script.group] ?? [:]).keys.count {
                $0 >= Bytes("s") && $0 < Bytes("t")
            }
        }

        func checkMembersAgree() {
            for osd: Int32 in [0, 1, 2] {
                #expect(script.host(osd).store.durable.objects == script.host(0).store.durable.objects)
                let problems = SnapshotGroupTests.problems(in: script.host(osd), script.group, trimmed: SnapIntervals())
                #expect(problems.isEmpty)
            }
        }
    }

    @Test func theFirstWriteAfterASnapshotKeepsTheObject() {
        let setup = Setup()
        setup.write("one")
        let snap = setup.makeSnapshot()
        #expect(setup.read(at: snap) == "one", "nothing was written since")
        setup.write("two")
        setup.write("three")
        #expect(setup.read() == "three" && setup.read(at: snap) == "one")
        #expect(setup.versions() == [snap, .head] && setup.index() == 1)
        #expect(setup.script.member(0).log.entries.map(\.kind) == [.modify, .clone, .modify, .modify])
        setup.checkMembersAgree()
    }

    @Test func aWriteWithoutContextIsLoggedAndStoredAsEver() {
        let setup = Setup()
        setup.write("one", SnapContext.none)
        #expect(setup.script.host(0).store.durable.objects[setup.script.objects[0]]?.attributes.keys.sorted() == ["_"])
        _ = setup.makeSnapshot()
        // A writer that does not know of the snapshot changes what it sees.
        setup.write("two", SnapContext.none)
        #expect(setup.versions() == [.head])
        #expect(setup.read(at: setup.live[0]) == "two")
    }

    @Test func removedObjectsStandForTheirClones() {
        let setup = Setup()
        setup.write("one")
        let snap = setup.makeSnapshot()
        #expect(setup.run([.remove])?.outcome == .done(errno: 0))
        #expect(setup.read() == nil && setup.read(at: snap) == "one")
        #expect(setup.versions() == [snap, .head], "a whiteout keeps what is known of the clone")
        #expect(setup.run([.remove])?.outcome == .done(errno: 2))
        #expect(setup.run([.stat])?.outcome == .done(errno: 2))
        let names = { (at: SnapID) -> Int? in
            guard let output = setup.run([.listObjects(after: nil, prefix: .empty, limit: 10)], at: at)?.outputs.first
            else { return nil }
            var reader = ByteReader(output)
            return Int((try? reader.readU32()) ?? 99)
        }
        #expect(names(.head) == 0 && names(snap) == 1)
        // It comes back, and did not exist in between.
        let second = setup.makeSnapshot()
        #expect(
            setup.run([.create(exclusive: true), .write(offset: 0, data: Bytes("new"))])?.outcome == .done(errno: 0))
        #expect(setup.read() == "new" && setup.read(at: snap) == "one" && setup.read(at: second) == nil)
        #expect(names(.head) == 1 && names(second) == 0)
        setup.checkMembersAgree()
    }

    @Test func trimmingTakesAwayWhatNoSnapshotNeeds() {
        let setup = Setup()
        var snaps: [SnapID] = []
        for text in ["one", "two", "three"] {
            setup.write(text)
            snaps.append(setup.makeSnapshot())
        }
        snaps.append(setup.makeSnapshot())
        setup.write("four")
        #expect(setup.versions() == [snaps[0], snaps[1], snaps[3], .head])
        #expect(setup.index() == 4)
        // The newest clone stands for two snapshots.
        setup.remove(snaps[3])
        #expect(setup.versions().count == 4 && setup.index() == 3 && setup.read(at: snaps[2]) == "three")
        setup.remove(snaps[1])
        #expect(setup.versions() == [snaps[0], snaps[3], .head] && setup.index() == 2)
        #expect(setup.read(at: snaps[0]) == "one" && setup.read() == "four")
        #expect(setup.script.primary.statistics.trimmed.description == "2,4")
        #expect(setup.script.primary.statistics.state == .activeClean)
        #expect(setup.run([.remove])?.outcome == .done(errno: 0))
        for snap in [snaps[0], snaps[2]] { setup.remove(snap) }
        #expect(setup.versions().isEmpty && setup.index() == 0, "the whiteout goes with the last clone")
        setup.checkMembersAgree()
    }

    /// A record of what was trimmed that is lost makes the group look again, and no more.
    @Test func aLostRecordTrimsAgain() {
        let setup = Setup()
        setup.write("one")
        let snap = setup.makeSnapshot()
        setup.write("two")
        setup.remove(snap)
        #expect(setup.script.primary.statistics.trimmed.contains(snap))
        setup.script.kill(0)
        setup.script.drain()
        // Another primary has no record of its own.
        #expect(setup.script.placement.primary == OSDID(1))
        setup.script.start(0)
        setup.script.drain()
        #expect(setup.script.isClean && setup.script.primary.statistics.trimmed.contains(snap))
        #expect(setup.read() == "two" && setup.versions() == [.head])
    }

    @Test func rollbackBringsBackWhatWas() {
        let setup = Setup()
        setup.write("one")
        let first = setup.makeSnapshot()
        setup.write("two")
        let second = setup.makeSnapshot()
        #expect(setup.run([.rollback(to: first)])?.outcome == .done(errno: 0))
        #expect(setup.read() == "one" && setup.read(at: second) == "two" && setup.read(at: first) == "one")
        setup.write("three")
        #expect(setup.read(at: first) == "one")
        #expect(setup.run([.rollback(to: second)])?.outcome == .done(errno: 0))
        #expect(setup.read() == "two")
        // To before the object was.
        let empty = setup.run([.rollback(to: first)], on: setup.script.objects[1])
        #expect(empty?.outcome == .done(errno: 0))
        #expect(setup.run([.rollback(to: first), .stat])?.outcome == .done(errno: 22))
        setup.checkMembersAgree()
    }

    /// A clone of a large omap would not fit into a record: the write is refused, and its resend as well.
    @Test func whatDoesNotFitARecordIsNotCloned() {
        let setup = Setup()
        let value = Bytes(repeating: 7, count: 60_000)
        for part in 0..<SnapLimits.clonedOmap / 3_000_000 {
            let entries = (0..<50).map { KeyValue(Bytes("\(part)-\($0)"), value) }
            #expect(setup.run([.setOmap(entries: entries)])?.outcome == .done(errno: 0))
        }
        let snap = setup.makeSnapshot()
        setup.write("as large as may be")
        #expect(setup.versions() == [snap, .head])
        let entries = (0..<50).map { KeyValue(Bytes("more-\($0)"), value) }
        #expect(setup.run([.setOmap(entries: entries)])?.outcome == .done(errno: 0))
        _ = setup.makeSnapshot()
        #expect(setup.run([.writeFull(data: Bytes("larger"))])?.outcome == .done(errno: 27))
        #expect(setup.run([.rollback(to: snap)])?.outcome == .done(errno: 27))
        #expect(setup.read() == "as large as may be" && setup.versions() == [snap, .head])
        // What has been made smaller is kept again.
        #expect(setup.run([.clearOmap], SnapContext.none)?.outcome == .done(errno: 0))
        setup.write("small")
        #expect(setup.versions().count == 3)
        setup.checkMembersAgree()
    }

    @Test func listSnapsNamesVersionsAndWhereTheyAreTheSame() throws {
        let setup = Setup()
        #expect(setup.run([.write(offset: 0, data: Bytes(repeating: 1, count: 20000))])?.outcome == .done(errno: 0))
        let snap = setup.makeSnapshot()
        #expect(setup.run([.write(offset: 5000, data: Bytes("x"))])?.outcome == .done(errno: 0))
        let output = try #require(setup.run([.listSnaps])?.outputs.first)
        var reader = ByteReader(output)
        let versions = try ObjectSnapshots(from: &reader)
        let clone = ObjectSnapshots.Clone(id: snap, snaps: [snap], size: 20000, overlap: [0..<4096, 8192..<20000])
        #expect(versions == ObjectSnapshots(sequence: snap, clones: [clone], headSize: 20000))
    }

    /// A member that was away gets clones by its log, and by comparing objects.
    @Test func clonesAreBroughtBack() {
        for wasAwayForLong in [false, true] {
            let setup = Setup()
            setup.write("one")
            setup.script.kill(2)
            setup.script.drain()
            let snap = setup.makeSnapshot()
            setup.write("two")
            if wasAwayForLong { setup.script.fillLog() }
            setup.script.start(2)
            setup.script.drain()
            #expect(setup.script.isClean, setup.script.summary)
            setup.checkMembersAgree()
            #expect(setup.versions(2) == [snap, .head] && setup.index(2) == 1)
            // With it as the primary, reads and trimming find what they need.
            setup.script.place([2, 0, 1])
            setup.script.drain()
            #expect(setup.read(at: snap) == "one" && setup.read() == "two")
            setup.remove(snap)
            #expect(setup.versions(2) == [.head] && setup.index(2) == 0)
            setup.checkMembersAgree()
        }
    }

    /// A clone that only a dead primary made is undone with the write that made it.
    @Test func aDivergentCloneIsUndone() {
        let setup = Setup()
        setup.write("one")
        let snap = setup.makeSnapshot()
        let script = setup.script
        script.held = [[0, 1], [0, 2]]
        var request = script.request([.writeFull(data: Bytes("lost"))])
        request.context = setup.context
        script.send(request)
        script.drain()
        #expect(setup.versions(0) == [snap, .head])
        script.held = []
        script.kill(0)
        script.drain()
        #expect(setup.read(at: snap) == "one" && setup.read() == "one")
        script.fillLog(count: 3)
        script.start(0)
        script.drain()
        #expect(script.isClean)
        #expect(setup.versions(0) == [.head] && setup.index(0) == 0)
        setup.checkMembersAgree()
    }

    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["NACRE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(1...40)
    }

    @Test func snapshotsStayWhatTheyAreThroughCrashesAndMaps() {
        var branches: [RareBranch: Int] = [:]
        var (reads, rollbacks) = (0, 0)
        for seed in Self.seeds {
            let cluster = GroupCluster(seed: seed, osds: seed % 2 == 0 ? 3 : 5)
            let history = SnapshotHistory(seed: seed)
            cluster.history = history
            for step in 0..<8000 {
                if step % 250 == 249 { history.change(in: cluster) }
                cluster.step(faults: step % 4 == 0)
            }
            cluster.heal()
            cluster.checkEnd(seed: seed)
            checkVersions(cluster, seed)
            // Without snapshots nothing is left of them.
            for snap in history.snapshots.keys.sorted() {
                history.snapshots[snap] = nil
                _ = history.books.remove(snap)
            }
            cluster.newEpoch { $0.snapshots = history.books }
            cluster.heal()
            for step in 0..<40_000 where step % 100 != 0 || !isTrimmed(cluster, history) { cluster.step(faults: false) }
            cluster.heal()
            cluster.checkEnd(seed: seed)
            for host in cluster.hosts {
                let left = host.store.durable.objects.filter { object, content in
                    object.snap != .head || history.head[object] == nil
                }
                let isMember = cluster.groups.contains {
                    cluster.epochs[cluster.epochs.count - 1].placement($0).acting.contains(host.osd)
                }
                #expect(!isMember || left.isEmpty, "seed \(seed): \(host.osd) has \(left.keys.sorted())")
            }
            branches.merge(cluster.branches) { $0 + $1 }
            reads += history.readsAtSnapshots
            rollbacks += history.rollbacks
        }
        guard Self.seeds.count > 1 else { return }
        for branch in [RareBranch.cloned, .whiteout, .cloneTrimmed, .cloneRecovered, .rolledBack, .backfillFinished] {
            #expect(branches[branch, default: 0] > 0, "\(branch) never happened")
        }
        #expect(reads > Self.seeds.count && rollbacks > Self.seeds.count)
    }

    private func checkVersions(_ cluster: GroupCluster, _ seed: UInt64) {
        for group in cluster.groups {
            for osd in cluster.epochs[cluster.epochs.count - 1].placement(group).acting {
                let host = cluster.hosts[Int(osd.rawValue)]
                let problems = Self.problems(in: host, group, trimmed: SnapIntervals())
                #expect(problems.isEmpty, "seed \(seed), \(group) on \(osd): \(problems)")
            }
        }
    }

    private func isTrimmed(_ cluster: GroupCluster, _ history: SnapshotHistory) -> Bool {
        cluster.groups.allSatisfy { group in
            let primary = cluster.epochs[cluster.epochs.count - 1].placement(group).primary
            return primary.map {
                cluster.hosts[Int($0.rawValue)].groups[Int(group.seed)].statistics.trimmed == history.books.trimming
            } ?? false
        }
    }
}
