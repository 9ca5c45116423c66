import PlacementGroup
import Protocol
import Testing
import Wire

/// Methods of object classes as steps of requests, and the class `lock`.
@Suite struct ClassTests {
    private func state(_ script: Script, _ name: String) throws -> ObjectLock.State {
        let reply = try #require(script.answer([ObjectLock.information(of: name)]))
        return try ObjectLock.State(decoding: try #require(reply.outputs.first))
    }

    @Test func aMethodIsPartOfItsRequest() throws {
        let script = Script()
        let take = ObjectLock.take(.init("l", .exclusive, cookie: "c"))
        let failing = script.answer([take, .compareOmap(key: Bytes("k"), expected: Bytes("v"))])
        #expect(failing?.outcome == .done(errno: 125) && script.errno([.stat]) == 2)
        let reply = script.answer([take, ObjectLock.information(of: "l"), .append(data: Bytes("x"))])
        #expect(reply?.outcome == .done(errno: 0))
        #expect(try ObjectLock.State(decoding: try #require(reply?.outputs[1])).holders.first?.cookie == "c")
        for osd in [Int32(0), 1, 2] {
            #expect(script.host(osd).store.durable.objects[script.objects[0]]?.attributes["lock.l"] != nil)
        }
    }

    @Test func callsThatCannotBeAreRefused() {
        let script = Script()
        #expect(script.errno([.call(ClassCall("none", "lock", input: .empty, changes: true))]) == 95)
        #expect(script.errno([.call(ClassCall("lock", "none", input: .empty, changes: false))]) == 95)
        #expect(script.errno([.call(ClassCall("lock", "lock", input: Bytes("junk"), changes: true))]) == 22)
        guard case .call(var call) = ObjectLock.take(.init("l", .exclusive, cookie: "c")) else { return }
        call.changes = false
        #expect(script.errno([.call(call)]) == 22, "a method that changes, called as one that does not")
    }

    @Test func anExclusiveLockHasOneHolder() throws {
        let script = Script()
        var request = ObjectLock.Request("l", .exclusive, cookie: "c")
        #expect(script.errno([ObjectLock.take(request)]) == 0)
        #expect(script.errno([ObjectLock.take(request)]) == 17, "held already")
        #expect(script.errno([ObjectLock.take(request)], client: 2) == 16)
        #expect(script.errno([ObjectLock.take(.init("l", .shared, cookie: "c"))], client: 2) == 16)
        #expect(script.errno([ObjectLock.take(.init("other", .exclusive, cookie: "c"))], client: 2) == 0)
        request.mustRenew = true
        #expect(script.errno([ObjectLock.take(request)]) == 0)
        #expect(script.errno([ObjectLock.take(request)], client: 2) == 2)
        request.mayRenew = true
        #expect(script.errno([ObjectLock.take(request)]) == 22, "may and must")
        #expect(script.errno([ObjectLock.take(.init("", .exclusive, cookie: "c"))]) == 22)
        #expect(script.errno([ObjectLock.assertLocked(.init("l", .exclusive, cookie: "c"))]) == 0)
        #expect(script.errno([ObjectLock.assertLocked(.init("l", .exclusive, cookie: "c"))], client: 2) == 16)
        #expect(script.errno([ObjectLock.unlock("l", cookie: "other")]) == 2)
        #expect(script.errno([ObjectLock.unlock("l", cookie: "c")], client: 2) == 2)
        #expect(script.errno([ObjectLock.unlock("l", cookie: "c")]) == 0)
        #expect(try state(script, "l").holders.isEmpty)
        var reader = ByteReader(try #require(script.answer([ObjectLock.list])?.outputs.first))
        #expect(try reader.readArray(atMost: 9) { r throws(WireError) in try ObjectLock.text(&r) } == ["l", "other"])
    }

    @Test func aSharedLockHasAllWhoGiveItsTag() throws {
        let script = Script()
        var request = ObjectLock.Request("l", .shared, cookie: "")
        request.tag = "t"
        for client in UInt64(1)...3 { #expect(script.errno([ObjectLock.take(request)], client: client) == 0) }
        #expect(script.errno([ObjectLock.take(.init("l", .shared, cookie: ""))], client: 4) == 16, "another tag")
        request.kind = .exclusive
        #expect(script.errno([ObjectLock.take(request)], client: 4) == 16)
        #expect(try state(script, "l").holders.map(\.client) == [1, 2, 3])
        #expect(script.errno([ObjectLock.breakLock("l", client: 2, cookie: "")], client: 4) == 0)
        #expect(script.errno([ObjectLock.breakLock("l", client: 2, cookie: "")], client: 4) == 2)
        #expect(try state(script, "l").holders.map(\.client) == [1, 3])
    }

    @Test func aLockForATimeEndsWithIt() throws {
        let script = Script()
        var request = ObjectLock.Request("l", .exclusive, cookie: "c")
        request.duration = 1_000_000_000
        #expect(script.errno([ObjectLock.take(request)]) == 0)
        script.cluster.now += 999
        #expect(script.errno([ObjectLock.take(request)], client: 2) == 16)
        script.cluster.now += 1
        #expect(try state(script, "l").holders.isEmpty)
        #expect(script.errno([ObjectLock.unlock("l", cookie: "c")]) == 2)
        #expect(script.errno([ObjectLock.take(request)], client: 2) == 0)
    }

    @Test func anObjectGoesWithItsEphemeralLock() {
        let script = Script()
        #expect(script.errno([ObjectLock.take(.init("l", .ephemeral, cookie: "c"))]) == 0)
        #expect(script.errno([.stat]) == 0)
        #expect(script.errno([ObjectLock.unlock("l", cookie: "c")]) == 0)
        #expect(script.errno([.stat]) == 2)
    }

    /// A method that reads data is run again when the data is there, and what it did before counts once.
    @Test func aMethodCanReadData() {
        let script = Script()
        var classes = ObjectClasses()
        classes.register("test", "double", changes: true) { context, _ throws(ClassFailure) in
            try context.perform(.append(data: Bytes("-")))
            let data = try context.perform(.read(offset: 0, length: 100))
            try context.perform(.append(data: data))
            return data
        }
        classes.register("test", "endless", changes: false) { context, _ throws(ClassFailure) in
            for length in UInt32(1)... { try context.perform(.read(offset: 0, length: length)) }
            return .empty
        }
        for osd in [Int32(0), 1, 2] { script.host(osd).classes = classes }
        script.write("ab")
        script.drain()
        let reply = script.answer([.call(ClassCall("test", "double", input: .empty, changes: true))])
        #expect(reply?.outputs == [Bytes("ab-")] && script.read(2) == "ab-ab-")
        #expect(script.errno([.call(ClassCall("test", "endless", input: .empty, changes: false))]) == 22)
        #expect(script.errno([.append(data: Bytes("c"))]) == 0)
    }
}
