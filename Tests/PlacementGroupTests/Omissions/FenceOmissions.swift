import PlacementGroup
import Protocol
import Testing
import Wire

/// What loses data when a dead owner is not shut out before its lock is given to another, by the numbers of the replication
/// rules.
@Suite struct FenceOmissions {
    private let old: UInt64 = 71
    private let new: UInt64 = 72

    private func lock(_ client: UInt64, _ script: Script) -> OperationRequest {
        script.request([ObjectLock.take(.init("l", .exclusive, cookie: ""))], client: client)
    }

    /// The owner's write waits at the OSD when the owner is blocklisted: from when the OSD has that map nothing of the owner
    /// begins, and what the next owner asks under that map waits until the OSD has it.
    @Test func omission15ALockIsBrokenOnlyWhenTheFenceIsInForceAtTheOSDs() {
        let script = Script()
        script.write("start")
        script.drain()
        script.send(lock(old, script))
        script.drain()
        // A slow read keeps the old owner's write waiting at the primary.
        script.send(script.request([.read(offset: 0, length: 5)], client: 5))
        let late = script.send(script.request([.writeFull(data: Bytes("late"))], client: old))
        #expect(script.host(0).reads.count == 1)
        // The monitors have committed the blocklist and the new owner knows; the primary does not.
        script.cluster.newEpoch { $0.blocklist = [71] }
        let broken = script.send(
            script.request(
                [
                    ObjectLock.breakLock("l", client: old, cookie: ""),
                    ObjectLock.take(.init("l", .exclusive, cookie: "")), .writeFull(data: Bytes("new")),
                ], client: new))
        #expect(script.host(0).earlyRequests.count == 1, "the fence must be in force before the lock is broken")
        script.drain()
        #expect(script.answers[broken]?.outcome == .done(errno: 0))
        #expect(script.answers[late]?.outcome == .done(errno: 108))
        for osd in [Int32(0), 1, 2] { #expect(script.read(osd) == "new") }
        // Neither what it sends now nor a repetition of what it had done before is answered otherwise.
        #expect(script.errno([.writeFull(data: Bytes("later"))], client: old) == 108)
        #expect(script.errno([.read(offset: 0, length: 1)], client: old) == 108)
        #expect(script.read(0) == "new" && script.isClean)
    }

    @Test func aChangeOfAFencedClientThatWaitsForDataIsNotMade() {
        let script = Script()
        script.write("start")
        script.drain()
        let steps: [ObjectOperation] = [.read(offset: 0, length: 5), .writeFull(data: Bytes("late"))]
        let late = script.send(script.request(steps, client: old))
        #expect(script.host(0).reads.count == 1)
        script.cluster.newEpoch { $0.blocklist = [71] }
        for osd in [Int32(0), 1, 2] { script.host(osd).advance() }
        script.drain()
        #expect(script.answers[late]?.outcome == .done(errno: 108) && script.read(0) == "start")
        #expect(script.errno([.append(data: Bytes("!"))], client: new) == 0)
    }

    @Test func watchesOfAFencedClientEnd() {
        let script = Script()
        script.write("x")
        script.drain()
        #expect(script.errno([.watch(cookie: 1, timeoutMilliseconds: 30000)], client: old) == 0)
        #expect(script.errno([.assertUnwatched], client: new) == 16)
        script.cluster.newEpoch { $0.blocklist = [71] }
        script.drain()
        #expect(script.errno([.assertUnwatched], client: new) == 0)
        script.primary.watchTick()
        #expect(script.cluster.events.map(\.event.kind) == [.disconnected(errno: 108)])
    }
}
