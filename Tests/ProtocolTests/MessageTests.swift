import ClusterMap
import Foundation
import Protocol
import Testing
import Wire

@Suite struct MessageTests {
    let object = ObjectID(pool: PoolID(3), hash: 0x1234_5678, name: ObjectName("rbd_data.1.0000000000000000"))
    let group = PGID(pool: PoolID(3), seed: 5)
    let clone = ObjectID(pool: PoolID(3), hash: 7, name: ObjectName("rbd_data.1.0"), snap: SnapID(4))
    func v(_ counter: UInt64) -> Version { Version(epoch: Epoch(4), counter: counter) }

    /// One of everything that can be said.
    var samples: [Message] {
        let entry = LogEntry(
            kind: .modify, object: object, version: v(2), prior: v(1), request: RequestID(client: 1, number: 2))
        var info = GroupInfo(group: group, cutAt: Epoch(8))
        info.lastUpdate = v(2)
        var part = ObjectPart(object: object, version: v(2), exists: true, size: 100)
        part.data = Bytes(repeating: 7, count: 50)
        part.attributes = [Attribute("_", Bytes("x"))]
        part.omap = [KeyValue(Bytes("k"), Bytes("v"))]
        let transaction = Transaction([
            .touch(object), .write(object, offset: 5, data: Bytes("data")), .zero(object, offset: 0, length: 9),
            .truncate(object, size: 3), .remove(object), .setAttribute(object, name: "a", value: Bytes("b")),
            .removeAttribute(object, name: "a"), .setOmap(object, entries: [KeyValue(Bytes("k"), Bytes("v"))]),
            .removeOmap(object, keys: [Bytes("k")]), .clearOmap(object),
            .removeOmapRange(object, from: Bytes("a"), to: Bytes("b")),
            .removeOmapRange(object, from: .empty, to: nil), .clone(object, to: clone),
            .cloneRange(object, to: clone, offset: 1, length: 2, at: 3),
            .setGroupKeys(group, entries: [KeyValue(Bytes("k"), Bytes("v"))]),
            .removeGroupKeys(group, from: Bytes("a"), to: Bytes("b")), .removeGroup(group),
        ])
        let missing = [MissingObject(object: object, need: v(2), have: v(1))]
        let bodies: [GroupMessage.Body] =
            [
                .replicate(entry: entry, operations: transaction, trimTo: v(1)), .replicated(v(2), isFull: true),
                .queryInfo,
                .info(info, leases: [LeasePromise(primary: OSDID(1), remaining: 5)]), .queryLog(since: v(1)),
                .log(info, entries: [entry], missing: missing),
                .activate(
                    Activation(
                        info: info, rewindTo: v(1), entries: [entry], missing: missing, removals: [object],
                        requests: [RecordedRequest(request: RequestID(client: 1, number: 2), version: v(1), errno: 17)])
                ),
                .activated(isFull: true), .pull(object, need: v(2)), .push(part), .pushed(object, v(2)),
                .cannotPush(object, need: v(2)), .noRoom(object), .scan(after: object, limit: 10),
                .scanned([ObjectVersion(object, v(2))], more: true), .backfillProgress(object), .backfilled,
                .backfillStored, .reserve, .reserved(true), .started(Epoch(4)), .clean(Epoch(4)), .remove,
            ] + scrubBodies
        let steps: [ObjectOperation] = [
            .read(offset: 1, length: 2), .stat, .getAttribute(name: "a"), .getOmap(keys: [Bytes("k")]),
            .listOmap(after: .empty, prefix: Bytes("p"), limit: 5), .listWatchers, .assertExists,
            .compareOmap(key: Bytes("k"), expected: nil), .compareOmap(key: Bytes("k"), expected: Bytes("v")),
            .create(exclusive: true), .write(offset: 1, data: Bytes("d")), .writeFull(data: Bytes("d")),
            .zero(offset: 1, length: 2), .truncate(size: 3), .remove, .setAttribute(name: "a", value: Bytes("v")),
            .setOmap(entries: [KeyValue(Bytes("k"), Bytes("v"))]), .removeOmap(keys: [Bytes("k")]),
            .watch(cookie: 1, timeoutMilliseconds: 2), .unwatch(cookie: 1),
            .listObjects(after: object, prefix: Bytes("rbd"), limit: 3), .administer(.scrub), .administer(.deepScrub),
            .administer(.repair), .administer(.query), .administer(.listInconsistent(after: object)),
        ]
        let rarer: [ObjectOperation] = [
            .sparseRead(offset: 1, length: 2), .getAttributes,
            .compareAttribute(name: "a", .less, value: .bytes(Bytes("v"))),
            .compareAttribute(name: "a", .equal, value: .number(5)), .compareExtent(offset: 1, data: Bytes("d")),
            .assertVersion(v(3)), .assertUnwatched, .append(data: Bytes("d")),
            .writeSame(offset: 1, length: 4, data: Bytes("dd")), .removeAttribute(name: "a"), .clearOmap,
            .removeOmapRange(from: Bytes("a"), to: nil), .removeOmapRange(from: Bytes("a"), to: Bytes("b")),
            .call(ClassCall("lock", "get_info", input: Bytes("i"), changes: false)),
            .notify(payload: Bytes("p"), timeoutMilliseconds: 5),
            .acknowledge(notification: 1, cookie: 2, payload: Bytes("p")),
        ]
        let uuid = UniqueID(high: 1, low: 2)
        let endpoint = Endpoint(host: "127.0.0.1", port: 1)
        var statistics = OSDStatistics(
            id: OSDID(1), incarnation: 5, epoch: Epoch(3), capacity: 10, used: 5,
            groups: [GroupStatistics(group: group, state: .down, waitingFor: [OSDID(2)], lastUpdate: v(2))])
        statistics.slowPeers = [OSDStatistics.SlowPeer(osd: OSDID(2), milliseconds: 1500)]
        (statistics.slowWrites, statistics.oldestWrite) = (3, 31)
        let monitor: [MonitorMessage] = [
            .subscribe(have: Epoch(3)), .maps(MapUpdate(cluster: uuid, full: Bytes("f"), increments: [Bytes("i")])),
            .boot(OSDBoot(id: OSDID(1), uuid: uuid, incarnation: 5, endpoint: endpoint)),
            .failure(OSDFailure(reporter: OSDID(1), target: OSDID(2), incarnation: 5)),
            .statistics(statistics),
            .leaving(OSDID(1), incarnation: 5), .alive(OSDID(1), incarnation: 5, epoch: Epoch(3)),
            .failureWithdrawn(
                OSDFailure(
                    reporter: OSDID(1), target: OSDID(2), incarnation: 5, evidence: .silent(milliseconds: 7))),
            .acting(OSDID(1), incarnation: 5, [ActingRequest(group: group, osds: [OSDID(2)])]),
            .command(CommandRequest(number: 1, words: ["osd", "tree"], arguments: ["format": "json"])),
            .commandReply(CommandReply(number: 1, errno: 2, message: "no", output: Bytes("{}"))),
        ]
        return bodies.map { .group(GroupMessage(group: group, interval: Epoch(4), body: $0)) }
            + monitor.map { .monitor($0) } + [
                .operation(
                    OperationRequest(
                        id: RequestID(client: 1, number: 2), epoch: Epoch(4), group: group, object: object, steps: steps
                    )),
                .operation(
                    OperationRequest(
                        id: RequestID(client: 1, number: 2), epoch: Epoch(4), group: group, object: object, steps: rarer
                    )),
                .watchEvent(
                    WatchEvent(
                        object: object, cookie: 2, kind: .notification(1, notifier: 3, payload: Bytes("payload")))),
                .watchEvent(WatchEvent(object: object, cookie: 2, kind: .disconnected(errno: 2))),
                .heartbeat(Heartbeat(isReply: true, stamp: 1, epoch: Epoch(2), lease: 3)),
                .operationReply(OperationReply(number: 1, outcome: .misdirected(Epoch(9)))),
                .operationReply(
                    OperationReply(number: 1, outcome: .done(errno: 0), version: v(2), outputs: [Bytes("o")])),
            ]
    }

    private var scrubBodies: [GroupMessage.Body] {
        let digests = MetadataDigests(attributes: 1, omap: 2)
        let entries = [
            ScrubEntry(object: object, size: 5, info: .known(v(2), digests), found: digests, data: 7),
            ScrubEntry(object: object, size: 5, info: .corrupt, found: digests, isUnreadable: true),
            ScrubEntry(object: object, size: 5, info: .none, found: digests),
        ]
        let found = InconsistentObject(
            object: object, version: v(2), errors: [.dataMismatch],
            shards: [
                InconsistentObject.Shard(osd: OSDID(1), errors: [], entry: entries[0]),
                InconsistentObject.Shard(osd: OSDID(2), errors: .missing, entry: nil),
            ], good: OSDID(1))
        var record = ScrubRecord()
        record.lastDeep = ScrubRecord.Stamp(version: v(2), seconds: 99)
        let messages: [ScrubMessage] = [
            .reserve, .reserved, .release, .examine(serial: 3, .object(object), isDeep: true),
            .examine(serial: 3, .range(after: object, through: nil), isDeep: false),
            .examined(serial: 3, entries, through: object),
            .spoiled(MissingObject(object: object, need: v(2), have: v(1))), .state(record, [found]),
        ]
        return messages.map { .scrub($0) }
    }

    /// What the reply, or the primary's word to the members, could not hold is refused when it is read.
    @Test func requestsWhoseAnswerFitsNoMessageAreRefused() {
        let half = Bytes(repeating: 1, count: 20 << 20)
        let long = Bytes(repeating: 1, count: StorageLimits.omapKey)
        let excessive: [[ObjectOperation]] = [
            [.read(offset: 0, length: 32 << 20), .read(offset: 0, length: 1)],
            [.write(offset: 0, data: half), .write(offset: 0, data: half)],
            [.writeFull(data: half), .write(offset: 0, data: half)],
            [.getOmap(keys: [Bytes](repeating: long, count: 1025))],
            [.removeOmap(keys: [Bytes](repeating: long, count: 1025))],
            [.append(data: half), .compareExtent(offset: 0, data: half)],
            [.writeSame(offset: 0, length: 40 << 20, data: Bytes("a"))],
            [.sparseRead(offset: 0, length: 32 << 20), .call(ClassCall("a", "b", input: .empty, changes: false))],
        ]
        for steps in excessive {
            let request = OperationRequest(
                id: RequestID(client: 1, number: 2), epoch: Epoch(4), group: group, object: object, steps: steps)
            #expect(throws: WireError.self) { try Message(decoding: Message.operation(request).encoded) }
        }
    }

    @Test func everyMessageRoundTrips() throws {
        for message in samples {
            let bytes = message.encoded
            #expect(try Message(decoding: bytes).encoded == bytes, "\(message)")
        }
    }

    /// What stands inside outputs of requests is decoded by clients: it is bounded like any message.
    @Test func damagedOutputsAreErrorsOrOtherOutputs() throws {
        let seed = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) } ?? 1
        var random = SplitMix(state: seed)
        var lock = ObjectLock.State()
        lock.kind = .shared
        lock.holders = [ObjectLock.Holder(client: 1, cookie: "c", expires: 2, name: "n", description: "d")]
        let sparse = SparseData(Bytes(repeating: 1, count: 300), at: 4000)
        var result = NotifyResult()
        result.answers = [NotifyResult.Answer(client: 1, cookie: 2, payload: Bytes("p"))]
        result.missed = [Watcher(client: 3, cookie: 4, name: "w", timeoutMilliseconds: 5)]
        let status = ObjectStatus(size: 1, version: v(2), modified: 3)
        #expect(try ObjectLock.State(decoding: lock.encoded) == lock)
        #expect(try SparseData(decoding: sparse.encoded) == sparse)
        #expect(try NotifyResult(decoding: result.encoded) == result)
        #expect(try ObjectStatus(decoding: status.encoded) == status)
        var errors = 0
        for bytes in [lock.encoded, sparse.encoded, result.encoded, status.encoded].map(\.array) {
            for _ in 0..<1000 {
                var damaged = Array(
                    bytes.prefix(random.next() % 4 == 0 ? Int.random(in: 0...bytes.count, using: &random) : bytes.count)
                )
                for _ in 0..<Int.random(in: 1...4, using: &random) where !damaged.isEmpty {
                    damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
                let output = Bytes(damaged)
                if (try? ObjectLock.State(decoding: output)) == nil { errors += 1 }
                if (try? SparseData(decoding: output)) == nil { errors += 1 }
                if (try? NotifyResult(decoding: output)) == nil { errors += 1 }
                if (try? ObjectStatus(decoding: output)) == nil { errors += 1 }
            }
        }
        #expect(errors > 1000, "seed \(seed): damage hardly ever noticed")
    }

    /// Whatever is done to a message, decoding ends with a message or an error.
    @Test func damagedMessagesAreErrorsOrOtherMessages() {
        let seed = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) } ?? 1
        var random = SplitMix(state: seed)
        var errors = 0
        for message in samples {
            let bytes = message.encoded.array
            for length in 0..<min(bytes.count, 200)
            where (try? Message(decoding: Bytes(Array(bytes[..<length])))) == nil {
                errors += 1
            }
            for _ in 0..<300 {
                var damaged = bytes
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
                if (try? Message(decoding: Bytes(damaged))) == nil { errors += 1 }
            }
        }
        #expect(errors > 1000, "seed \(seed): damage hardly ever noticed")
    }

    @Test func reversedHashOrderMakesGroupsRanges() {
        for bits in [0, 1, 5, 32] {
            let seed: UInt32 = bits == 0 ? 0 : bits == 32 ? 0xdead_beef : 1
            let range = ObjectRange(pool: PoolID(1), seed: seed, bits: bits)
            for hash in (0..<2000).map({ UInt32($0) &* 2_654_435_761 }) + [seed] {
                let inside = bits == 0 || hash & (UInt32.max >> UInt32(32 - bits)) == seed
                let object = ObjectID(pool: PoolID(1), hash: hash, name: ObjectName("o"))
                #expect(range.contains(object) == inside)
            }
        }
    }

    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }
}
