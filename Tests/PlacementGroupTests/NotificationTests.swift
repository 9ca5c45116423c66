import PlacementGroup
import Protocol
import Testing
import Wire

/// Watches, and what watchers are told.
@Suite struct NotificationTests {
    private let watch = ObjectOperation.watch(cookie: 7, timeoutMilliseconds: 1000)

    private func result(_ script: Script, _ number: UInt64) throws -> NotifyResult? {
        guard let reply = script.answers[number] else { return nil }
        #expect(reply.outcome == .done(errno: 0))
        return try NotifyResult(decoding: try #require(reply.outputs.first))
    }

    private func notify(_ script: Script, timeout: UInt32 = 500, client: UInt64 = 9) -> UInt64 {
        let request = script.request([.notify(payload: Bytes("hey"), timeoutMilliseconds: timeout)], client: client)
        script.send(request)
        script.drain()
        return request.id.number
    }

    /// The notifications that clients were told of, as client and number.
    private func told(_ script: Script) -> [(client: UInt64, number: UInt64)] {
        defer { script.cluster.events.removeAll() }
        return script.cluster.events.compactMap { event, client in
            guard case .notification(let number, 9, Bytes("hey")) = event.kind, event.cookie == 7 else { return nil }
            return (client.session, number)
        }
    }

    private func watched(by clients: [UInt64]) -> Script {
        let script = Script()
        script.write("x")
        script.drain()
        for client in clients { #expect(script.errno([watch], client: client) == 0) }
        return script
    }

    @Test func everyWatcherIsToldAndAnswers() throws {
        let script = watched(by: [1, 2])
        let number = notify(script)
        let told = told(script)
        #expect(told.map(\.client) == [1, 2] && script.answers[number] == nil)
        // The object can be changed meanwhile.
        #expect(script.errno([.append(data: Bytes("y"))]) == 0)
        for (client, id) in told {
            let step = ObjectOperation.acknowledge(notification: id, cookie: 7, payload: Bytes("ok \(client)"))
            #expect(script.errno([step], client: client) == 0)
        }
        let result = try #require(try result(script, number))
        #expect(result.answers.map(\.payload) == [Bytes("ok 1"), Bytes("ok 2")] && result.missed.isEmpty)
    }

    @Test func nobodyWatchingIsAnsweredAtOnce() throws {
        let script = watched(by: [])
        #expect(try result(script, notify(script)) == NotifyResult())
        #expect(script.errno([.notify(payload: .empty, timeoutMilliseconds: 1)], on: script.objects[1]) == 2)
    }

    @Test func whoDoesNotAnswerInTimeIsNamed() throws {
        let script = watched(by: [1, 2])
        let number = notify(script)
        let (_, id) = told(script)[0]
        // An answer under another cookie is nobody's.
        _ = script.errno([.acknowledge(notification: id, cookie: 8, payload: .empty)], client: 2)
        #expect(script.errno([.acknowledge(notification: id, cookie: 7, payload: .empty)], client: 1) == 0)
        script.cluster.now += 499
        script.primary.watchTick()
        #expect(script.answers[number] == nil)
        script.cluster.now += 1
        script.primary.watchTick()
        script.drain()
        let result = try #require(try result(script, number))
        #expect(result.answers.map(\.client) == [1] && result.missed.map(\.client) == [2])
        #expect(script.errno([.acknowledge(notification: id, cookie: 7, payload: .empty)], client: 2) == 0, "too late")
    }

    @Test func aNotificationOutlivesItsPrimary() throws {
        let script = watched(by: [1, 2])
        let request = script.request([.notify(payload: Bytes("hey"), timeoutMilliseconds: 500)], client: 9)
        script.send(request)
        script.drain()
        #expect(told(script).count == 2)
        script.kill(0)
        script.drain()
        // The client asks the new primary, which does not know yet where the watchers are.
        var again = request
        again.epoch = Epoch(UInt32(script.cluster.epochs.count - 1))
        script.send(again)
        script.drain()
        #expect(script.placement.primary == OSDID(1) && told(script).isEmpty)
        #expect(script.errno([watch], client: 1) == 0)
        let told = told(script)
        #expect(told.map(\.client) == [1])
        #expect(script.errno([.acknowledge(notification: told[0].number, cookie: 7, payload: .empty)], client: 1) == 0)
        #expect(script.errno([.unwatch(cookie: 7)], client: 2) == 0, "nobody waits for who has gone")
        let result = try #require(try result(script, request.id.number))
        #expect(result.answers.map(\.client) == [1] && result.missed.isEmpty)
    }

    @Test func anAskedAgainNotificationIsOne() throws {
        let script = watched(by: [1])
        let request = script.request([.notify(payload: Bytes("hey"), timeoutMilliseconds: 500)], client: 9)
        script.send(request)
        script.send(request)
        script.drain()
        #expect(told(script).count == 1)
    }

    @Test func watchesThatAreNotRenewedEndAndAreForgotten() throws {
        let script = watched(by: [1, 2])
        script.cluster.now += 600
        #expect(script.errno([watch], client: 2) == 0)
        let number = notify(script, timeout: 100_000)
        script.cluster.now += 600
        script.primary.watchTick()
        script.drain()
        let ends = script.cluster.events.filter {
            if case .disconnected(110) = $0.event.kind { true } else { false }
        }
        #expect(ends.map(\.to.session) == [1])
        #expect(script.answers[number] == nil)
        // What the next primary finds are those who live.
        script.cluster.events.removeAll()
        script.place([1, 0, 2])
        script.drain()
        var reader = ByteReader(try #require(script.answer([.listWatchers])?.outputs.first))
        let watchers = try reader.readArray(atMost: 9) { r throws(WireError) in try Watcher(from: &r) }
        #expect(watchers.map(\.client) == [2] && script.isClean)
    }

    @Test func watchersHearThatTheirObjectIsGone() {
        let script = watched(by: [1])
        #expect(script.errno([.assertUnwatched, .remove], client: 5) == 16)
        #expect(script.errno([.remove], client: 5) == 0)
        #expect(script.cluster.events.map(\.event.kind) == [.disconnected(errno: 2)])
        #expect(script.errno([.assertUnwatched], client: 5) == 0)
    }
}
