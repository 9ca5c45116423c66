import PlacementGroup
import Protocol
import Testing
import Wire

extension Script {
    /// Sends a request and gives its answer.
    func answer(_ steps: [ObjectOperation], on object: ObjectID? = nil, client: UInt64 = 1) -> OperationReply? {
        let request = request(steps, on: object, client: client)
        send(request)
        drain()
        return answers[request.id.number]
    }

    func errno(_ steps: [ObjectOperation], on object: ObjectID? = nil, client: UInt64 = 1) -> Int32? {
        guard case .done(let errno)? = answer(steps, on: object, client: client)?.outcome else { return nil }
        return errno
    }
}

/// Every operation, by what it gives and what it leaves on all members.
@Suite struct OperationTests {
    @Test func appendGoesOnBehindWhatIsNotDurableYet() {
        let script = Script()
        script.slowDisks = [2]
        for text in ["ab", "cd", "ef"] { script.send(script.request([.append(data: Bytes(text))])) }
        script.drain()
        #expect(script.answers.isEmpty)
        script.slowDisks = []
        script.drain()
        for osd in [Int32(0), 1, 2] { #expect(script.read(osd) == "abcdef") }
        #expect(script.errno([.truncate(size: StorageLimits.objectSize), .append(data: Bytes("x"))]) == 27)
    }

    @Test func writeSameRepeatsItsPattern() {
        let script = Script()
        #expect(script.errno([.writeSame(offset: 1, length: 6, data: Bytes("ab"))]) == 0)
        #expect(script.read(2) == "\0ababab")
        #expect(script.errno([.writeSame(offset: 0, length: 5, data: Bytes("ab"))]) == 22)
        #expect(script.errno([.writeSame(offset: 0, length: 0, data: .empty)]) == 22)
    }

    @Test func compareExtentSaysWhereTheFirstDifferenceIs() {
        let script = Script()
        script.write("hello")
        script.drain()
        #expect(script.errno([.compareExtent(offset: 1, data: Bytes("ello"))]) == 0)
        #expect(script.errno([.compareExtent(offset: 1, data: Bytes("elLo"))]) == 4097)
        // What is not there counts as zeros.
        #expect(script.errno([.compareExtent(offset: 3, data: Bytes("lo\0\0"))]) == 0)
        #expect(script.errno([.compareExtent(offset: 3, data: Bytes("lo\0x"))]) == 4098)
        #expect(script.errno([.compareExtent(offset: 0, data: Bytes("x"))], on: script.objects[1]) == 2)
    }

    @Test func aGuardOnDataGuardsTheWriteBehindIt() {
        let script = Script()
        script.write("old")
        script.drain()
        let first: [ObjectOperation] = [.compareExtent(offset: 0, data: Bytes("old")), .writeFull(data: Bytes("new"))]
        // Both come before the data that the first compares has been read.
        let one = script.send(script.request(first))
        let two = script.send(script.request(first, client: 2))
        let plain = script.send(script.request([.append(data: Bytes("er"))]))
        #expect(script.host(0).reads.count == 1)
        script.drain()
        #expect(script.answers[one]?.outcome == .done(errno: 0))
        #expect(script.answers[two]?.outcome == .done(errno: 4095))
        #expect(script.answers[plain]?.outcome == .done(errno: 0))
        for osd in [Int32(0), 1, 2] { #expect(script.read(osd) == "newer") }
        #expect(script.isClean, script.summary)
    }

    @Test func dataIsReadAsTheStepsBeforeLeaveIt() {
        let script = Script()
        script.write("0123456789")
        script.drain()
        let reply = script.answer([
            .read(offset: 2, length: 3), .write(offset: 3, data: Bytes("ab")), .zero(offset: 6, length: 1),
            .read(offset: 2, length: 20), .truncate(size: 5), .truncate(size: 7), .read(offset: 0, length: 20),
            .remove, .write(offset: 1, data: Bytes("z")), .read(offset: 0, length: 9),
        ])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(reply?.outputs[0] == Bytes("234") && reply?.outputs[3] == Bytes("2ab5\0789"))
        #expect(reply?.outputs[6] == Bytes("012ab\0\0") && reply?.outputs[9] == Bytes("\0z"))
        #expect(script.read(1) == "\0z")
    }

    @Test func aChangeThatReadsBadDataFailsAndHoldsNothing() {
        let script = Script()
        script.write("x")
        script.drain()
        for osd: Int32 in [0, 1, 2] { script.host(osd).store.rot(script.objects[0], .data) }
        #expect(script.errno([.compareExtent(offset: 0, data: Bytes("x")), .append(data: Bytes("y"))]) == 5)
        #expect(script.errno([.writeFull(data: Bytes("z"))]) == 0)
        #expect(script.read(1) == "z")
    }

    /// A fill that reaches the object while a change waits for what it reads gives the member the object first.
    @Test func aChangeThatReadsBeginsAgainWhenItsObjectHasToBeSent() throws {
        let script = Script(osds: 4)
        for object in script.objects { script.write("x", on: object) }
        script.drain()
        script.fillLog()
        let object = try #require(script.objects.min())
        script.holdsReads = true
        script.place([0, 1, 3])
        // The member is going to be filled, and what its window holds is not known yet.
        script.drain { script.primary.phase == .active && script.summary.rawValue.contains("fill waiting") }
        let steps: [ObjectOperation] = [.compareExtent(offset: 0, data: Bytes("x")), .append(data: Bytes("y"))]
        let number = script.send(script.request(steps, on: object))
        script.drain()
        #expect(script.summary.rawValue.contains("fill running osd.3"), script.summary)
        #expect(script.answers[number] == nil)
        script.holdsReads = false
        script.drain()
        #expect(script.answers[number]?.outcome == .done(errno: 0) && script.isClean, script.summary)
        for osd in [Int32(0), 1, 3] { #expect(script.read(osd, object) == "xy") }
    }

    @Test func sparseReadsLeaveOutBlocksOfZeros() throws {
        let script = Script()
        script.send(script.request([.write(offset: 5000, data: Bytes("abc")), .truncate(size: 20000)]))
        script.drain()
        let reply = try #require(script.answer([.sparseRead(offset: 100, length: 10000)]))
        let sparse = try SparseData(decoding: try #require(reply.outputs.first))
        #expect(sparse.extents == [SparseData.Extent(offset: 4096, length: 4096)])
        #expect(sparse.data[904..<907] == Bytes("abc"))
    }

    @Test func attributes() throws {
        let script = Script()
        let set: [ObjectOperation] = [
            .setAttribute(name: "b", value: Bytes("2")), .setAttribute(name: "a", value: Bytes("10")),
            .setAttribute(name: "c", value: .empty), .removeAttribute(name: "c"), .removeAttribute(name: "d"),
        ]
        #expect(script.errno(set) == 0)
        var reader = ByteReader(try #require(script.answer([.getAttributes])?.outputs.first))
        let found = try reader.readArray(atMost: 9) { r throws(WireError) in try Attribute(from: &r) }
        #expect(found == [Attribute("a", Bytes("10")), Attribute("b", Bytes("2"))])
        #expect(script.errno([.getAttribute(name: "_")]) == 61 && script.errno([.getAttribute(name: "c")]) == 61)
        for name in ["_", "watchers"] {
            #expect(script.errno([.removeAttribute(name: name)]) == 22)
            #expect(script.errno([.setAttribute(name: name, value: .empty)]) == 22)
        }
        // The operand stands on the left: as text "9" is more than "10", as a number it is less.
        #expect(script.errno([.compareAttribute(name: "a", .greater, value: .bytes(Bytes("9")))]) == 0)
        #expect(script.errno([.compareAttribute(name: "a", .greater, value: .number(9))]) == 125)
        #expect(script.errno([.compareAttribute(name: "a", .equal, value: .number(10))]) == 0)
        #expect(script.errno([.compareAttribute(name: "none", .equal, value: .number(0))]) == 0)
        #expect(script.errno([.compareAttribute(name: "none", .notEqual, value: .bytes(.empty))]) == 125)
    }

    @Test func clearOmapLeavesTheRest() throws {
        let script = Script()
        _ = script.answer([
            .writeFull(data: Bytes("x")), .setOmap(entries: [KeyValue(Bytes("k"), Bytes("v"))]),
        ])
        let reply = script.answer([
            .clearOmap, .setOmap(entries: [KeyValue(Bytes("l"), Bytes("w"))]),
            .listOmap(after: .empty, prefix: .empty, limit: 5),
        ])
        var reader = ByteReader(try #require(reply?.outputs.last))
        let entries = try reader.readArray(atMost: 9) { r throws(WireError) in try KeyValue(from: &r) }
        #expect(entries == [KeyValue(Bytes("l"), Bytes("w"))])
        let stored = script.host(2).store.durable.objects[script.objects[0]]
        #expect(stored?.omap == [Bytes("l"): Bytes("w")] && script.read(2) == "x")
    }

    /// Version and time of an object, also after it was sent to a member that was away.
    @Test func statTellsVersionAndTime() throws {
        let script = Script()
        script.cluster.now = 5000
        script.write("abc")
        script.drain()
        let status = try ObjectStatus(decoding: try #require(script.answer([.stat])?.outputs.first))
        #expect(status.size == 3 && status.modified == 1_700_000_005_000_000_000)
        #expect(script.errno([.assertVersion(status.version)]) == 0)
        var other = status.version
        other.counter -= 1
        #expect(script.errno([.assertVersion(other)]) == 34)
        other.counter += 2
        #expect(script.errno([.assertVersion(other)]) == 75)
        script.kill(2)
        script.drain()
        script.cluster.now = 9000
        script.write("abcd")
        script.drain()
        script.start(2)
        script.drain()
        #expect(script.isClean)
        let object = script.objects[0]
        #expect(script.host(2).store.durable.objects[object] == script.host(0).store.durable.objects[object])
        script.place([2, 0, 1])
        script.drain()
        let later = try ObjectStatus(decoding: try #require(script.answer([.stat])?.outputs.first))
        #expect(script.placement.primary == OSDID(2) && later.modified == 1_700_000_009_000_000_000)
    }

    @Test func stepsThatStandAloneAreRefusedAmongOthers() {
        let script = Script()
        script.write("x")
        script.drain()
        let alone: [ObjectOperation] = [
            .notify(payload: .empty, timeoutMilliseconds: 1), .acknowledge(notification: 1, cookie: 1, payload: .empty),
            .listObjects(after: nil, prefix: .empty, limit: 1),
        ]
        for step in alone {
            #expect(script.errno([.stat, step]) == 22, "\(step)")
            #expect(script.errno([step, .stat]) == 22, "\(step)")
            #expect(script.errno([.append(data: .empty), step]) == 22, "\(step)")
        }
        #expect(script.isClean)
    }
}
