import ClientTestSupport
import ClusterMap
import Protocol
import RADOS
import Testing
import Wire

import RBD

/// Snapshots of images: the header's entries, the monitors' numbers, and the objects.
@Suite struct SnapshotTests {
    private func errno(_ body: () async throws -> Void) async -> Int32 {
        do { try await body() } catch { return (error as? RBDError)?.errno ?? -1 }
        return 0
    }

    private func object(_ info: ImageInfo, _ number: UInt64) -> ObjectName {
        ImageNaming.dataObject(prefix: Array(info.header.objectPrefix.utf8), number: number)
    }

    /// Writes as an open image does that knows of all snapshots.
    private func write(_ byte: UInt8, _ number: UInt64, _ bench: ImageBench) async throws {
        let info = try await bench.images.info("x")
        _ = try await bench.pool.perform(
            [.writeFull(data: Bytes(repeating: byte, count: 100))], on: object(info, number),
            in: SnapshotScope(context: info.header.context))
    }

    private func content(_ info: ImageInfo, _ bench: ImageBench) -> [UInt64: UInt8] {
        var result: [UInt64: UInt8] = [:]
        for number in 0..<UInt64(8) {
            result[number] = bench.pool.objects.object(object(info, number).description)?.data.first
        }
        return result
    }

    @Test func snapshotsAreNamedListedAndRemoved() async throws {
        let bench = ImageBench()
        try await bench.images.create("x", size: ByteCount(1 << 25))
        let one = try await bench.images.createSnapshot("one", of: "x")
        try await bench.images.resize("x", to: ByteCount(1 << 26))
        let two = try await bench.images.createSnapshot("two", of: "x")
        #expect(try await bench.images.snapshots(of: "x") == [one, two])
        #expect([one.id, two.id] == [SnapID(1), SnapID(2)] && one.size.rawValue == 1 << 25)
        let header = bench.pool.objects.object("rbd_header.\(try await bench.images.info("x").id)")
        let keys = header?.omap.keys.map { String($0) }.filter { $0.hasPrefix("snap") }.sorted()
        #expect(keys == ["snap_seq", "snapshot_0000000000000001", "snapshot_0000000000000002"])

        #expect(await errno { try await bench.images.createSnapshot("one", of: "x") } == 17)
        #expect(await errno { try await bench.images.createSnapshot("a", of: "y") } == 2)
        #expect(await errno { try await bench.images.createSnapshot("a@b", of: "x") } == 22)
        #expect(await errno { try await bench.images.removeSnapshot("three", of: "x") } == 2)
        #expect(await errno { try await bench.images.remove("x") } == 39)
        try await bench.images.protectSnapshot("one", of: "x", true)
        #expect(await errno { try await bench.images.protectSnapshot("one", of: "x", true) } == 16)
        #expect(await errno { try await bench.images.removeSnapshot("one", of: "x") } == 16)
        #expect(await errno { try await bench.images.purgeSnapshots(of: "x") } == 16)
        #expect(try await bench.images.snapshots(of: "x").map(\.name) == ["one"])
        #expect(bench.pool.snapshots.removed.description == "2")
        try await bench.images.protectSnapshot("one", of: "x", false)
        try await bench.images.purgeSnapshots(of: "x")
        #expect(bench.pool.snapshots.removed.description == "1-2")
        // A number is never used again.
        #expect(try await bench.images.createSnapshot("one", of: "x").id == SnapID(3))
        try await bench.images.removeSnapshot("one", of: "x")
        try await bench.images.remove("x")
        try await bench.expectNothing("all removed")
    }

    @Test func rollbackBringsBackDataAndSize() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 25))
        for number in [0, 1, 2] as [UInt64] { try await write(1, number, bench) }
        try await bench.images.createSnapshot("one", of: "x")
        try await write(2, 1, bench)
        try await write(2, 7, bench)
        try await bench.images.resize("x", to: ByteCount(1 << 23), allowShrink: true)
        #expect(content(info, bench) == [0: 1, 1: 2])
        try await bench.images.createSnapshot("two", of: "x")
        try await bench.images.rollBack("x", to: "one")
        #expect(content(info, bench) == [0: 1, 1: 1, 2: 1])
        #expect(try await bench.images.info("x").header.size.rawValue == 1 << 25)
        try await bench.images.rollBack("x", to: "two")
        #expect(content(info, bench) == [0: 1, 1: 2])
        #expect(try await bench.images.info("x").header.size.rawValue == 1 << 23)
        #expect(await errno { try await bench.images.rollBack("x", to: "three") } == 2)
    }

    @Test func anImageInUseIsNotRolledBack() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 25))
        try await bench.images.createSnapshot("one", of: "x")
        _ = try await bench.pool.perform(
            [.watch(cookie: 5, timeoutMilliseconds: 30_000)], on: ImageNaming.header(info.id))
        #expect(await errno { try await bench.images.rollBack("x", to: "one") } == 16)
        #expect(try await bench.images.info("x").header.size.rawValue == 1 << 25)
    }

    /// A command that dies anywhere, repeated, completes or undoes.
    @Test func commandsRepeatedCompleteInterruptedOnes() async throws {
        for command in ["create", "remove", "rollback"] {
            var stop = 0
            while true {
                let bench = ImageBench()
                let info = try await bench.images.create("x", size: ByteCount(1 << 25))
                for number in [0, 1, 2, 5] as [UInt64] { try await write(1, number, bench) }
                if command != "create" { try await bench.images.createSnapshot("one", of: "x") }
                for number in [1, 5, 6] as [UInt64] where command == "rollback" { try await write(2, number, bench) }
                let run = { () async throws -> Void in
                    switch command {
                    case "create": try await bench.images.createSnapshot("one", of: "x")
                    case "remove": try await bench.images.removeSnapshot("one", of: "x")
                    default: try await bench.images.rollBack("x", to: "one")
                    }
                }
                bench.pool.begin(stopsBefore: stop)
                let ended = await errno(run) == 0
                bench.pool.begin()
                bench.forgetWatchers()
                let again = await errno(run)
                let comment = Comment("\(command) stopped before request \(stop)")
                switch command {
                case "create":
                    #expect(again == 0 || again == 17, comment)
                    #expect(try await bench.images.snapshots(of: "x").map(\.name) == ["one"], comment)
                case "remove":
                    #expect(again == 0 || again == 2, comment)
                    #expect(try await bench.images.snapshots(of: "x").isEmpty, comment)
                    #expect(bench.pool.snapshots.removed.description == "1", comment)
                default:
                    #expect(again == 0, comment)
                    #expect(content(info, bench) == [0: 1, 1: 1, 2: 1, 5: 1], comment)
                    #expect(try await bench.images.info("x").header.snapshots.count == 1, comment)
                }
                try await bench.images.purgeSnapshots(of: "x")
                try await bench.images.remove("x")
                try await bench.expectNothing(comment.rawValue)
                if ended { break }
                stop += 1
            }
            #expect(stop >= 3, "\(command) took \(stop) requests")
        }
    }

    /// Who makes a snapshot waits for those who have the image open.
    @Test func aSnapshotWaitsForWatchersToKnowOfIt() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 25))
        let header = ImageNaming.header(info.id)
        for cookie: UInt64 in [5, 6] {
            _ = try await bench.pool.perform([.watch(cookie: cookie, timeoutMilliseconds: 30_000)], on: header)
        }
        let pool = bench.pool
        // One confirms after a while, the other's time is over then.
        pool.interpose(before: 14) {
            var objects = pool.objects
            let id = pool.id(of: header)
            objects.objects[id]?.watchers.removeAll { $0.cookie == 6 }
            objects.objects[id]?.omap[ImageNaming.seenKey(5)] = ImageNaming.number(1)
            pool.objects = objects
        }
        let snapshot = try await bench.images.createSnapshot("one", of: "x")
        #expect(snapshot.id == SnapID(1) && pool.requests >= 14)
    }

    /// Who has the image open and does not confirm makes the snapshot fail, and none is left of it.
    @Test func aWatcherThatDoesNotConfirmIsNamed() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 25))
        _ = try await bench.pool.perform(
            [.watch(cookie: 5, timeoutMilliseconds: 30_000)], on: ImageNaming.header(info.id))
        #expect(await errno { try await bench.images.createSnapshot("one", of: "x") } == 110)
        #expect(try await bench.images.snapshots(of: "x").isEmpty)
        #expect(bench.pool.snapshots.removed.description == "1")
    }

    // MARK: Open images

    /// Gives the rig's image a snapshot, as the command does.
    private func enter(_ snapshots: [ImageSnapshot], sequence: SnapID, _ rig: ImageRig) {
        rig.perform(
            [
                .setOmap(
                    entries: [KeyValue(ImageNaming.snapshotSequence, ImageNaming.number(sequence.rawValue))]
                        + snapshots.map { KeyValue(ImageNaming.snapshotKey($0.id), $0.encoded) })
            ], on: "rbd_header.1")
    }

    private func snapshot(_ id: UInt64, _ size: UInt64) -> ImageSnapshot {
        ImageSnapshot(
            id: SnapID(id), name: "s\(id)", size: ByteCount(size), created: Timestamp(seconds: 0, nanoseconds: 0))
    }

    private func seen(_ rig: ImageRig) -> Bytes? {
        rig.cluster.objects.object("rbd_header.1")?.omap[ImageNaming.seenKey(9)]
    }

    /// The word that a snapshot is known comes after the answers to the writes that were sent without it.
    @Test func aSnapshotIsConfirmedWhenOlderWritesHaveEnded() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        rig.isHolding = true
        let older = rig.write(0, [1])
        let held = rig.held
        rig.held = []
        rig.isHolding = false
        enter([snapshot(3, 1 << 20)], sequence: SnapID(3), rig)
        rig.image.look()
        rig.cluster.settle()
        #expect(seen(rig) == nil && rig.answers[older] == nil)
        let newer = rig.write(4096, [2])
        rig.cluster.settle()
        #expect(rig.answers[newer] == .done && seen(rig) == nil, "a newer one does not count")
        #expect(held[0].scope == .head)
        rig.image.received(OperationReply(number: 1, outcome: .done(errno: 0)), token: held[0].token)
        rig.cluster.settle()
        #expect(seen(rig) == ImageNaming.number(3) && rig.answers[older] == .done)
        rig.image.close()
        rig.cluster.settle()
        #expect(seen(rig) == nil)
    }

    @Test func aSnapshotThatIsReadIsNotWrittenToAndEndsWithItsRemoval() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        _ = rig.write(0, [1])
        rig.cluster.settle()
        let one = snapshot(1, 1 << 20)
        enter([one], sequence: SnapID(1), rig)
        var header = ImageHeader(
            size: ByteCount(1 << 22), order: 12, objectPrefix: "rbd_data.1",
            created: Timestamp(seconds: 0, nanoseconds: 0))
        header.size = ByteCount(1 << 22)
        rig.image = Image(ImageInfo(name: "x", id: "1", header: header), cookie: 9, snapshot: one, objects: rig)
        #expect(rig.image.size == 1 << 20)
        let (write, read) = (rig.write(0, [1]), rig.read(0, 1))
        rig.cluster.settle()
        #expect(rig.answers[write] == .failed(errno: 22) && rig.answers[read] == .data(Bytes([1])))
        rig.perform([.removeOmap(keys: [ImageNaming.snapshotKey(one.id)])], on: "rbd_header.1")
        rig.image.look()
        rig.cluster.settle()
        #expect(rig.events.last == "removed")
        let late = rig.read(0, 1)
        #expect(rig.answers[late] == .failed(errno: 2))
    }

    /// Random work and snapshots against copies of a flat array.
    @Test(arguments: testSeeds(6)) func snapshotsAgreeWithCopies(seed: UInt64) {
        let size = 60 * 4096
        let rig = ImageRig(seed: seed, size: UInt64(size), order: 12)
        var model = [UInt8](repeating: 0, count: size)
        var copies: [(ImageSnapshot, [UInt8])] = []
        for round in 0..<120 {
            let offset = Int(rig.cluster.generator.next() % UInt64(size))
            let length = min(size - offset, 1 + Int(rig.cluster.generator.next() % 20_000))
            switch rig.cluster.generator.next() % 8 {
            case 0..<4:
                let data = (0..<length).map { UInt8(truncatingIfNeeded: $0 + round + 1) }
                _ = rig.write(UInt64(offset), data)
                model.replaceSubrange(offset..<offset + length, with: data)
            case 4:
                rig.image.discard(offset: UInt64(offset), length: UInt64(length), reply: rig.next())
                model.replaceSubrange(offset..<offset + length, with: repeatElement(0, count: length))
            case 5 where copies.count < 8:
                // What was begun before is in it, since the word comes after it.
                // Without primaries there would be no word.
                rig.cluster.heal()
                let next = snapshot(UInt64(copies.count + 1), UInt64(size))
                enter(copies.map(\.0) + [next], sequence: next.id, rig)
                rig.image.look()
                rig.cluster.settle()
                #expect(seen(rig) == ImageNaming.number(next.id.rawValue), "seed \(seed)")
                copies.append((next, model))
            default: break
            }
            for _ in 0..<rig.cluster.generator.next() % 12 { _ = rig.cluster.step() }
            if rig.cluster.generator.oneIn(8) { rig.cluster.disturb() }
        }
        rig.cluster.heal()
        rig.cluster.settle()
        let info = ImageInfo(
            name: "x", id: "1",
            header: ImageHeader(
                size: ByteCount(UInt64(size)), order: 12, objectPrefix: "rbd_data.1",
                created: Timestamp(seconds: 0, nanoseconds: 0)))
        for (snapshot, copy) in copies {
            rig.image = Image(info, cookie: 9, snapshot: snapshot, objects: rig)
            let read = rig.read(0, size)
            rig.cluster.settle()
            let isEqual = rig.bytes(read, count: size) == copy
            #expect(isEqual, "seed \(seed), snapshot \(snapshot.id)")
        }
        #expect(!copies.isEmpty)
    }
}
