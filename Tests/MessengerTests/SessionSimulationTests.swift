import ClusterMap
import Testing
import Wire

import Messenger

@Suite struct SessionSimulationTests {
    private let address = Endpoint(host: "127.0.0.1", port: 1)

    private func pair(
        _ random: Seeded, clusters: (UniqueID?, UniqueID?) = (nil, nil)
    ) -> (SimulatedNetwork, Node, Node) {
        let network = SimulatedNetwork(random)
        let a = Node("a", .client("a"), incarnation: 1, cluster: clusters.0, in: network)
        let b = Node("b", .osd(OSDID(0)), incarnation: 2, cluster: clusters.1, in: network)
        network.listening[1] = b
        return (network, a, b)
    }

    private func run(_ network: SimulatedNetwork, milliseconds: Int) {
        let end = network.now + milliseconds
        while network.step(until: end) {}
    }

    /// Cuts come at any point; everything arrives once and in order on both sides, and nothing is ever reset.
    @Test func cutsLoseNothingDoubleNothing() {
        var seeds = Seeded.fromEnvironment()
        for _ in 0..<150 {
            let (network, a, b) = pair(Seeded(seeds.next()))
            let session = a.core.connect(to: address, expecting: .osd(OSDID(0)))
            var sent: UInt64 = 0, answered: UInt64 = 0
            while sent < 300 {
                for _ in 0..<Int.random(in: 1...20, using: &network.random) {
                    sent += 1
                    a.send(sent, to: session)
                }
                if let back = b.openSessions.first, Bool.random(using: &network.random) {
                    answered += 1
                    b.send(answered, to: back)
                }
                for _ in 0..<Int.random(in: 0...40, using: &network.random) {
                    _ = network.step(until: network.now + 50)
                }
                if UInt8.random(in: 0..<4, using: &network.random) == 0 { network.cut(a) }
            }
            run(network, milliseconds: 30_000)
            #expect(b.openSessions.count == 1)
            #expect(b.received[b.openSessions[0]] == (1...sent).map { $0 }, "seed \(network.random.seed)")
            #expect((a.received[session] ?? []) == (0..<answered).map { $0 + 1 }, "seed \(network.random.seed)")
            #expect(a.resets.isEmpty && a.reports.isEmpty && b.reports.isEmpty)
            // Acknowledged down to the last, without traffic in the other direction.
            #expect(a.core.sessions[session.key]?.session.waitingMessages == 0)
        }
    }

    /// The acceptor's process dies at any point: a reset is seen, and what comes after it arrives once and in order.
    @Test func aRestartIsSeenAsReset() {
        var seeds = Seeded.fromEnvironment()
        for _ in 0..<100 {
            let (network, a, b) = pair(Seeded(seeds.next()))
            let session = a.core.connect(to: address, expecting: nil)
            run(network, milliseconds: 100)
            for number in 1...20 as ClosedRange<UInt64> { a.send(number, to: session) }
            for _ in 0..<Int.random(in: 0...20, using: &network.random) { _ = network.step(until: network.now + 50) }
            b.kill()
            network.listening[1] = nil
            run(network, milliseconds: 500)
            let c = Node("c", .osd(OSDID(0)), incarnation: 3, in: network)
            network.listening[1] = c
            // The first welcome may be lost, and the second is not a resumption all the same.
            for _ in 0..<Int.random(in: 0...200, using: &network.random) { _ = network.step(until: network.now + 20) }
            network.cut(a)
            run(network, milliseconds: 20_000)
            #expect(a.resets[session] == 1, "seed \(network.random.seed)")
            for number in 101...120 as ClosedRange<UInt64> { a.send(number, to: session) }
            run(network, milliseconds: 1_000)
            #expect(c.received[c.openSessions[0]] == (101...120).map { $0 }, "seed \(network.random.seed)")
            let delivered = b.received[b.openSessions.first ?? session] ?? []
            #expect(delivered == (0..<UInt64(delivered.count)).map { $0 + 1 })
        }
    }

    /// The welcome of a restarted acceptor is lost: its second one is a reset as well, and what it sent meanwhile arrives.
    @Test func aLostWelcomeIsNoResumption() {
        var seeds = Seeded.fromEnvironment()
        for _ in 0..<30 {
            let (network, a, b) = pair(Seeded(seeds.next()))
            let session = a.core.connect(to: address, expecting: nil)
            run(network, milliseconds: 100)
            for number in 1...5 as ClosedRange<UInt64> { b.send(number, to: b.openSessions[0]) }
            run(network, milliseconds: 100)
            b.kill()
            let c = Node("c", .osd(OSDID(0)), incarnation: 3, in: network)
            network.listening[1] = c
            while c.openSessions.isEmpty { _ = network.step(until: network.now + 100) }
            c.send(77, to: c.openSessions[0])
            network.cut(a)
            run(network, milliseconds: 20_000)
            #expect(a.resets[session] == 1 && a.received[session] == [77], "seed \(network.random.seed)")
            #expect(c.openSessions.count == 1 && a.reports.isEmpty && c.reports.isEmpty)
        }
    }

    @Test func aProcessThatIsGoneIsProofOfDeath() {
        let (network, a, b) = pair(Seeded(1))
        var reasons: [Interruption] = []
        a.onInterrupted = { reasons.append($1) }
        _ = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        b.kill()
        network.listening[1] = nil
        run(network, milliseconds: 300)
        #expect(reasons.prefix(2) == [.closedByPeer, .connectionRefused])
    }

    @Test func anInterruptedSessionIsForgottenAfterItsTime() {
        let (network, a, b) = pair(Seeded(2))
        let session = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        b.send(1, to: b.openSessions[0])
        network.listening[1] = nil
        network.cut(a)
        run(network, milliseconds: MessengerLimits.keepMilliseconds + 10_000)
        #expect(b.openSessions.isEmpty && b.core.sessions.count == 0)
        network.listening[1] = b
        run(network, milliseconds: 10_000)
        #expect(a.resets[session] == 1 && b.openSessions.count == 1)
    }

    @Test func transcriptOfACut() {
        let (network, a, b) = pair(Seeded(3))
        let session = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        network.cut(a)
        run(network, milliseconds: 10_000)
        a.core.close(session)
        run(network, milliseconds: 100)
        let told = network.transcript.filter { !$0.hasPrefix("b interrupted") }
        #expect(
            told == [
                "b opened client.a resumed=false", "a opened osd.0 resumed=false", "a interrupted: closed by the peer",
                "b opened client.a resumed=true", "a opened osd.0 resumed=true", "b closed",
            ])
        #expect(b.core.sessions.count == 0 && b.core.connections.count == 0 && b.core.accepted.isEmpty)
    }

    @Test func refusalsNameBothSides() {
        let one = UniqueID(high: 1, low: 1), other = UniqueID(high: 2, low: 2)
        let (network, a, _) = pair(Seeded(4), clusters: (one, other))
        var reasons: [Interruption] = []
        a.onInterrupted = { reasons.append($1) }
        let first = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 40)
        a.core.close(first)
        guard case .handshakeRefused(let text)? = reasons.first else {
            Issue.record("\(reasons)")
            return
        }
        #expect(text.contains("\(one)") && text.contains("\(other)"))

        let (network2, c, _) = pair(Seeded(5))
        c.onInterrupted = { reasons.append($1) }
        _ = c.core.connect(to: address, expecting: .osd(OSDID(7)))
        run(network2, milliseconds: 40)
        #expect(reasons.last == .handshakeRefused("127.0.0.1:1 is osd.0, not osd.7"))
        _ = c.core.connect(to: Endpoint(host: "10.0.0.1", port: 1), expecting: nil)
        run(network2, milliseconds: 0)
        guard case .unreachable(let reason)? = reasons.last else {
            Issue.record("\(reasons)")
            return
        }
        #expect(reason.contains("10.0.0.1:1"))
    }

    @Test func handshakesHaveTheirTime() {
        let (network, _, b) = pair(Seeded(6))
        let id = b.core.accepted(from: "127.0.0.1:9", isLocal: true)!
        run(network, milliseconds: MessengerLimits.handshakeMilliseconds - 1)
        #expect(b.core.connections[id.key] != nil)
        run(network, milliseconds: 2)
        #expect(b.core.connections[id.key] == nil && b.core.handshakeCount == 0)
    }

    @Test func pressureIsToldAndOverflowResets() {
        let (network, a, b) = pair(Seeded(7))
        let session = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        for number in 1...UInt64(MessengerLimits.unacknowledgedMessages + 1) { a.send(number, to: session) }
        run(network, milliseconds: 5_000)
        #expect(a.pressure == [true, false])
        #expect(b.received[b.openSessions[0]]?.count == MessengerLimits.unacknowledgedMessages + 1)
        network.listening[1] = nil
        network.cut(a)
        let over = MessengerLimits.unacknowledgedMessages * MessengerLimits.overflowFactor + 1
        for number in 1...UInt64(over) { a.send(number, to: session) }
        run(network, milliseconds: 1)
        #expect(a.resets[session] == 1)
        network.listening[1] = b
        run(network, milliseconds: 100_000)
        a.send(5, to: session)
        run(network, milliseconds: 1_000)
        #expect(b.openSessions.count == 1 && b.received[b.openSessions[0]] == [5])
    }

    /// A peer that has gone without a word is noticed, and one that only pauses is not taken for dead.
    @Test func silenceIsDeathButPausingIsNot() {
        let (network, a, b) = pair(Seeded(8))
        var reasons: [Interruption] = []
        a.onInterrupted = { reasons.append($1) }
        _ = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        b.core.setReading(false, from: b.openSessions[0])
        run(network, milliseconds: 60_000)
        #expect(reasons.isEmpty)
        b.isAlive = false
        network.listening[1] = nil
        run(network, milliseconds: 60_000)
        #expect(reasons.first == .timedOut)
    }

    /// Hellos that say they are no attempt at all leave nothing behind.
    @Test func aHelloWithoutAnAttemptLeavesNothing() {
        let (network, _, b) = pair(Seeded(9))
        for cookie in 1...50 as ClosedRange<UInt64> {
            let id = b.core.accepted(from: "127.0.0.1:9", isLocal: true)!
            let identity = Identity(cluster: nil, entity: .client("x"), incarnation: 1)
            let payload = Hello(
                method: .none, identity: identity, cookie: cookie, acceptorCookie: 0, attempt: 0, lastReceived: 0
            ).encoded()
            let frame = OutgoingFrame(header: FrameHeader(.hello, payload: payload), payload: payload)
            var bytes = [UInt8](repeating: 0, count: frame.byteCount)
            bytes.withUnsafeMutableBytes { frame.encode(into: $0) }
            bytes.withUnsafeBytes { b.core.receive($0, on: id) }
        }
        run(network, milliseconds: 2 * MessengerLimits.keepMilliseconds)
        #expect(b.core.sessions.count == 0 && b.core.accepted.isEmpty && b.core.handshakeCount == 0)
    }

    /// An owner that closes a session when it hears that it was superseded does not upset the count of those that wait.
    @Test func closingASupersededSessionKeepsTheCount() {
        let (network, a, b) = pair(Seeded(10))
        let session = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        var superseded = 0
        b.onInterrupted = { id, why in
            guard why == .superseded else { return }
            superseded += 1
            b.core.close(id)
        }
        // The initiator gives its connection up; the acceptor has not heard of it when the next one comes.
        let old = a.core.sessions[session.key]!.connection!
        a.pipes.removeValue(forKey: old.id)
        a.core.disconnected(old.id, why: .timedOut)
        run(network, milliseconds: 10_000)
        #expect(superseded == 1 && b.core.interruptedCount == 0)
    }

    /// A message too large for a frame ends its session, and neither the process nor other sessions.
    @Test func anOversizedMessageEndsItsSessionOnly() {
        let (network, a, b) = pair(Seeded(11))
        let session = a.core.connect(to: address, expecting: nil)
        let other = a.core.connect(to: address, expecting: nil)
        run(network, milliseconds: 100)
        a.core.send(Bytes(repeating: 0, count: MessengerLimits.payloadBytes + 1), to: session)
        a.send(1, to: other)
        run(network, milliseconds: 10_000)
        #expect(a.resets == [session: 1] && a.reports.count == 1)
        a.send(2, to: session)
        a.send(3, to: other)
        run(network, milliseconds: 1_000)
        #expect(b.received.values.map { $0 }.contains([1, 3]) && b.received.values.contains([2]))
        let back = b.openSessions[0]
        b.core.send(Bytes(repeating: 0, count: MessengerLimits.payloadBytes + 1), to: back)
        run(network, milliseconds: 10_000)
        #expect(!b.openSessions.contains(back) && b.openSessions.count >= 2)
    }
}
