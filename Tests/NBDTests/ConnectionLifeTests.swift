import NBD
import NIOCore
import Testing

/// How a connection fills up, takes leave, is stopped and dies.
@Suite struct ConnectionLifeTests {
    @Test func disconnectFinishesWhatIsOutstandingAndSaysNothing() {
        let session = Session()
        session.send(Say.read(0, 1, cookie: 1) + Say.disconnect + Say.read(5, 1, cookie: 2))
        #expect(session.machine.end == .disconnected && !session.machine.isFinished && !session.machine.wantsBytes)
        #expect(session.export.takeCalls() == ["read 0+1"])
        session.export.answer()
        #expect(session.machine.isFinished)
        #expect(session.hear() == Hear.reply(1, data: [0xaa]))
        session.machine.connectionClosed(for: session.export)
        #expect(session.export.calls == [], "taking leave is no loss")
    }

    @Test func requestsBeyondTheLimitWaitAndAreNotDropped() {
        let session = Session()
        let count = Limits.requestsInFlight + 10
        session.send((0..<count).flatMap { Say.read(UInt64($0), 1, cookie: UInt64($0)) })
        #expect(session.export.pending.count == Limits.requestsInFlight)
        #expect(!session.machine.wantsBytes)
        var heard: [UInt8] = []
        while !session.export.pending.isEmpty {
            session.export.answer()
            heard += session.hear()
        }
        #expect(session.export.calls == (0..<count).map { "read \($0)+1" }, "in order")
        #expect(heard == (0..<count).flatMap { Hear.reply(UInt64($0), data: [0xaa]) })
        #expect(session.machine.wantsBytes)
    }

    @Test func bytesInFlightAreBounded() {
        let session = Session(HeldExport(size: 1 << 30))
        let large = UInt32(Limits.payloadBytes)
        for _ in 0..<5 { session.send(Say.read(0, large)) }
        #expect(session.export.pending.count == Limits.bytesInFlight / Limits.payloadBytes)
        #expect(!session.machine.wantsBytes)
        session.export.fail(0, .inputOutput)
        _ = session.hear()
        #expect(session.export.pending.count == Limits.bytesInFlight / Limits.payloadBytes)
    }

    @Test func bytesInFlightOfAllConnectionsAreBoundedAndNoneStarves() {
        let budget = ByteBudget()
        let large = UInt32(Limits.payloadBytes), each = Limits.bytesInFlight / Limits.payloadBytes
        let count = Limits.serverBytesInFlight / Limits.bytesInFlight
        let sessions = (0..<count + 1).map { _ in Session(HeldExport(size: 1 << 30), budget: budget) }
        for session in sessions {
            for _ in 0..<3 { session.send(Say.read(0, large)) }
        }
        #expect(sessions.map(\.export.pending.count) == [Int](repeating: each, count: count) + [1])
        #expect(budget.held == Limits.serverBytesInFlight + Limits.payloadBytes)
        let last = sessions[count]
        last.export.fail(0, .inputOutput)
        _ = last.hear()
        #expect(last.export.pending.count == 1, "its own answer brings its next request")
        // Those of a connection that is gone count until they are answered.
        sessions[0].machine.connectionClosed(for: sessions[0].export)
        last.send(Say.read(0, 1))
        #expect(last.export.pending.count == 1)
        while !sessions[0].export.pending.isEmpty { sessions[0].export.fail(0, .inputOutput) }
        last.export.fail(0, .inputOutput)
        _ = last.hear()
        #expect(last.export.pending.count == 2, "there is room for all of it")
        for session in sessions {
            while !session.export.pending.isEmpty {
                session.export.fail(0, .inputOutput)
                _ = session.hear()
            }
        }
        #expect(budget.held == 0)
    }

    @Test func aClientThatNeverReadsIsHeldBack() {
        let session = Session(HeldExport(size: 1 << 30))
        session.send(Say.read(0, UInt32(Limits.replyBytes)))
        session.export.answer()
        session.send(Say.read(0, 1) + Say.read(0, 1))
        #expect(session.export.pending.isEmpty && !session.machine.wantsBytes)
        _ = session.hear(isSocketFull: true)
        #expect(session.export.pending.isEmpty && !session.machine.wantsBytes)
        _ = session.hear(isSocketFull: false)
        #expect(session.export.pending.isEmpty && session.machine.needsLifeSign)
        _ = session.hear(isSocketFull: false)
        #expect(session.export.pending.count == 2 && session.machine.wantsBytes)
    }

    @Test func answersOutsideAnEventAskForOneTurn() {
        let session = Session()
        session.send(Say.read(0, 1) + Say.read(0, 1) + Say.read(0, 1))
        #expect(session.turns == 0)
        session.export.answer()
        session.export.answer()
        #expect(session.turns == 1)
        _ = session.hear()
        session.export.answer()
        #expect(session.turns == 2)
    }

    @Test func aDeadConnectionsOperationsGoOnAndTheirAnswersGoNowhere() {
        let session = Session()
        session.send(Say.write(0, [1], cookie: 1) + Say.read(0, 1, cookie: 2))
        _ = session.export.takeCalls()
        session.machine.connectionClosed(for: session.export)
        #expect(session.export.takeCalls() == ["lost 1"])
        #expect(session.machine.end == .lost && !session.machine.isFinished)
        session.export.answerAll()
        #expect(session.machine.isFinished && session.turns == 1, "the shell learns that the export can be closed")
        #expect(session.hear() == [])
    }

    /// A client that gives a connection up sends its write again on another one, and something newer after it. What the dead
    /// connection still holds must never be executed then.
    @Test func nothingOfADeadConnectionReachesTheExportAfterIt() {
        let export = HeldExport()
        let old = Session(export, connection: 1), new = Session(export, connection: 2)
        old.send((0..<Limits.requestsInFlight).flatMap { Say.read(UInt64($0), 1) })
        old.send(Say.write(0, [1]))
        _ = export.takeCalls()
        old.machine.connectionClosed(for: export)
        new.send(Say.write(0, [1]))
        new.send(Say.write(0, [2]))
        let calls = export.takeCalls()
        #expect(calls.count == 3 && calls[0] == "lost 1")
        old.send(Say.write(0, [3]))
        export.answerAll()
        _ = old.hear()
        #expect(export.calls == [])
    }

    /// What waited while there was no room may be of a connection that the client has given up, which does not show.
    @Test func aClientLeftWaitingIsNotServedBeforeItShowsLife() {
        let session = Session()
        let count = Limits.requestsInFlight
        session.send((0..<count).flatMap { Say.read(UInt64($0), 1, cookie: UInt64($0)) } + Say.write(0, [1], cookie: 7))
        _ = session.hear(isSilent: true)
        _ = session.export.takeCalls()
        #expect(!session.machine.wantsBytes && !session.machine.needsLifeSign, "there is no room to begin with")
        session.export.answer()
        #expect(session.machine.needsLifeSign && !session.machine.wantsBytes)
        let reply = session.hear(isSilent: true)
        session.machine.clientTook(allBut: reply.count)
        session.send(Say.write(0, [2], cookie: 8))
        _ = session.hear(isSilent: true)
        #expect(session.export.takeCalls() == [], "nothing sent since has been taken")
        session.machine.clientTook(allBut: reply.count - 1)
        _ = session.hear(isSilent: true)
        #expect(session.export.takeCalls().count == 1, "one place was free, the second write waits")
        session.export.answerAll()
        _ = session.hear()
        #expect(session.export.takeCalls().count == 1 && session.machine.wantsBytes)
    }

    @Test func aWriteLeftWaitingDiesWithItsConnection() {
        let export = HeldExport()
        let old = Session(export, connection: 1), new = Session(export, connection: 2)
        old.send((0..<Limits.requestsInFlight).flatMap { Say.read(UInt64($0), 1) })
        // Its payload is not complete when room runs out.
        old.send(Array(Say.write(0, [1, 1]).dropLast()))
        _ = old.hear(isSilent: true)
        new.send(Say.write(0, [1, 1]))
        new.send(Say.write(0, [2, 2]))
        _ = export.takeCalls()
        for _ in 0..<10 { export.answer() }
        _ = old.hear(isSilent: true)
        old.send([1] + Say.write(0, [1, 1]))
        _ = old.hear(isSilent: true)
        #expect(export.takeCalls() == [])
        old.machine.connectionClosed(for: export)
        #expect(export.takeCalls() == ["lost 1"])
        export.answerAll()
        _ = old.hear()
        #expect(export.calls == [])
    }

    @Test func aClientWithAFullSocketShowsLifeByEmptyingIt() {
        let session = Session(HeldExport(size: 1 << 30))
        session.send(Say.read(0, UInt32(Limits.replyBytes)))
        session.export.answer()
        session.send(Say.read(0, 1))
        _ = session.hear(isSocketFull: true, isSilent: true)
        _ = session.hear(isSocketFull: false, isSilent: true)
        session.machine.clientTook(allBut: 1)
        _ = session.hear(isSilent: true)
        #expect(session.export.pending.isEmpty)
        session.machine.clientTook(allBut: 0)
        _ = session.hear(isSilent: true)
        #expect(session.export.pending.count == 1)
    }

    @Test func halfAPayloadIsNoWrite() {
        let session = Session()
        session.send(Array(Say.write(0, [UInt8](repeating: 1, count: 100)).prefix(80)))
        session.machine.connectionClosed(for: session.export)
        #expect(session.export.calls == ["lost 1"])
        #expect(session.machine.isFinished)
    }

    @Test func stoppingFinishesWhatTheExportHasAndTakesNoMore() {
        let session = Session()
        session.send(Say.read(0, 1, cookie: 1))
        session.machine.stop()
        session.send(Say.read(0, 1, cookie: 2))
        #expect(!session.machine.isFinished && session.export.takeCalls() == ["read 0+1"])
        session.export.answer()
        #expect(session.machine.isFinished && session.hear() == Hear.reply(1, data: [0xaa]))
        session.machine.connectionClosed(for: session.export)
        #expect(session.export.calls == [])
    }

    @Test func cutOffWhileStoppingIsALoss() {
        let session = Session()
        session.send(Say.read(0, 1))
        session.machine.stop()
        session.machine.connectionClosed(for: session.export)
        #expect(session.export.calls == ["read 0+1", "lost 1"])
    }

    @Test func repliesAreGatheredIntoFewBuffers() {
        let session = Session()
        session.send((0..<32).flatMap { Say.read(0, 4096, cookie: UInt64($0)) })
        session.export.answerAll()
        var buffers = 0
        session.machine.replies.drain { _ in buffers += 1 }
        #expect(buffers == 3, "32 replies of 4112 bytes in buffers of 64 KiB")
    }
}
