import NBD
import NIOCore
import Testing
import Wire

/// Transcripts of the transmission phase: requests, what the export is asked, what the client hears.
@Suite struct TransmissionTests {
    let mebibyte: UInt64 = 1 << 20

    @Test func commandsReachTheExportAndAreAnsweredInOrderOfCompletion() {
        let session = Session()
        session.send(
            Say.read(4096, 3, cookie: 1) + Say.write(0, [1, 2, 3, 4], cookie: 2)
                + Say.request(Command.flush, cookie: 3) + Say.request(Command.trim, cookie: 4, offset: 8, length: 16)
                + Say.request(Command.writeZeroes, cookie: 5, offset: 24, length: 8))
        let sum = String(Checksum.crc32c(Bytes([1, 2, 3, 4])), radix: 16)
        #expect(session.export.calls == ["read 4096+3", "write 0+4 \(sum)", "flush", "trim 8+16", "zero 24+8"])
        #expect(session.hear() == [])
        session.export.answer(4)
        session.export.answer(1)
        session.export.answer(0, fill: 9)
        #expect(session.hear() == Hear.reply(5) + Hear.reply(2) + Hear.reply(1, data: [9, 9, 9]))
        session.export.answerAll()
        #expect(session.hear() == Hear.reply(3) + Hear.reply(4))
    }

    @Test func fuaIsAcceptedOnEveryCommand() {
        let session = Session()
        session.send(
            Say.request(Command.read, flags: 1, length: 1) + Say.write(0, [0], flags: 1)
                + Say.request(Command.flush, flags: 1) + Say.request(Command.trim, flags: 1, length: 1)
                + Say.request(Command.writeZeroes, flags: 1, length: 1)
                + Say.request(Command.cache, flags: 1, cookie: 6, length: 1))
        let sum = String(Checksum.crc32c(Bytes([0])), radix: 16)
        #expect(session.export.calls == ["read 0+1", "write 0+1 fua \(sum)", "flush", "trim 0+1 fua", "zero 0+1 fua"])
        #expect(session.hear() == Hear.reply(6), "CACHE is a hint: answered without the export")
    }

    @Test func zeroFlagsReachTheExport() {
        let session = Session()
        session.send(
            Say.request(Command.writeZeroes, flags: 2, length: 1)
                + Say.request(Command.writeZeroes, flags: 0x13, length: 1))
        #expect(session.export.calls == ["zero 0+1 nohole", "zero 0+1 fua nohole fast"])
        session.export.fail(1, .notSupported)
        #expect(session.hear() == Hear.reply(0, .notSupported))
    }

    @Test func boundsErrorsByCommand() {
        let end = mebibyte
        let cases: [(UInt16, IOFailure)] = [
            (Command.read, .invalid), (Command.trim, .invalid), (Command.cache, .invalid),
            (Command.writeZeroes, .noSpace),
        ]
        for (command, failure) in cases {
            let session = Session()
            for (offset, length) in [(end, 1), (end - 1, 2), (.max, 1), (.max, .max), (0, 0x10_0001), (end + 1, 0)]
                as [(UInt64, UInt32)]
            {
                let expected = command == Command.read && length > Limits.payloadBytes ? .overflow : failure
                session.send(Say.request(command, cookie: 7, offset: offset, length: length))
                #expect(session.hear() == Hear.reply(7, expected), "\(command) at \(offset)+\(length)")
            }
            #expect(session.export.calls == [])
            session.send(Say.request(command, cookie: 8, offset: end, length: 0))
            #expect(session.hear() == Hear.reply(8), "nothing at the end is nothing")
        }
    }

    @Test func writePastTheEndIsNoSpaceAndItsPayloadSkipped() {
        let session = Session()
        for offset in [mebibyte - 3, mebibyte, .max] {
            session.send(Say.write(offset, [1, 2, 3, 4], cookie: 1) + Say.read(0, 1, cookie: 2))
            #expect(session.hear() == Hear.reply(1, .noSpace))
            session.export.answer(fill: 5)
            #expect(session.hear() == Hear.reply(2, data: [5]))
        }
    }

    @Test func readOnlyExportsArePermissionErrors() {
        let export = HeldExport()
        export.isReadOnly = true
        let session = Session(export)
        session.send(
            Say.write(0, [1, 2, 3], cookie: 1) + Say.request(Command.trim, cookie: 2, length: 1)
                + Say.request(Command.writeZeroes, cookie: 3, length: 1) + Say.request(Command.flush, cookie: 4))
        #expect(
            session.hear() == Hear.reply(1, .notPermitted) + Hear.reply(2, .notPermitted) + Hear.reply(3, .notPermitted)
        )
        #expect(export.calls == ["flush"])
        #expect(
            TransmissionFlags(of: export) == [
                .hasFlags, .readOnly, .sendFlush, .sendFUA, .sendCache, .multipleConnections,
            ])
    }

    @Test func unknownCommandsAndFlagsAreInvalid() {
        let session = Session()
        let bad: [[UInt8]] = [
            Say.request(8, cookie: 1), Say.request(7, cookie: 1, length: 1), Say.request(0xffff, cookie: 1, length: 9),
            Say.request(Command.read, flags: 4, cookie: 1, length: 1), Say.write(0, [1, 2], cookie: 1, flags: 2),
            Say.request(Command.cache, flags: 2, cookie: 1, length: 1),
            Say.request(Command.trim, flags: 0x8000, cookie: 1, length: 1),
            Say.request(Command.flush, cookie: 1, length: 1), Say.request(Command.flush, cookie: 1, offset: 1),
        ]
        for request in bad {
            session.send(request)
            #expect(session.hear() == Hear.reply(1, .invalid))
        }
        #expect(session.export.calls == [])
    }

    @Test func featuresThatAreNotOfferedAreInvalid() {
        let export = HeldExport()
        export.features = []
        let session = Session(export)
        session.send(
            Say.request(Command.trim, cookie: 1, length: 1) + Say.request(Command.writeZeroes, cookie: 2, length: 1))
        #expect(session.hear() == Hear.reply(1, .invalid) + Hear.reply(2, .invalid))
        export.features = [.writeZeroes]
        let slow = Session(export)
        slow.send(Say.request(Command.writeZeroes, flags: 0x10, cookie: 3, length: 1))
        #expect(slow.hear() == Hear.reply(3, .invalid), "unadvertised FAST_ZERO")
        #expect(!TransmissionFlags(of: export).contains(.multipleConnections))
    }

    @Test func misalignedRequestsAreInvalid() {
        let export = HeldExport()
        export.blockSizes = BlockSizes(minimum: 512, preferred: 4096)
        let session = Session(export)
        session.send(Say.read(1, 512, cookie: 1) + Say.read(512, 511, cookie: 2) + Say.write(0, [1, 2], cookie: 3))
        #expect(session.hear() == Hear.reply(1, .invalid) + Hear.reply(2, .invalid) + Hear.reply(3, .invalid))
        session.send(Say.read(512, 1024))
        #expect(export.calls == ["read 512+1024"])
    }

    @Test func zeroLengthRequestsSucceedWithoutDisconnecting() {
        let session = Session()
        for command in [Command.read, Command.write, Command.trim, Command.writeZeroes, Command.cache] {
            session.send(Say.request(command, cookie: UInt64(command)))
            #expect(session.hear() == Hear.reply(UInt64(command)))
        }
        #expect(session.machine.end == nil && session.export.calls == [])
    }

    @Test func trimsAndZeroesOfFourGibibytesAreOneRequest() {
        let session = Session(HeldExport(size: 1 << 40))
        session.send(
            Say.request(Command.trim, offset: 1 << 33, length: .max) + Say.request(Command.writeZeroes, length: .max))
        #expect(session.export.calls == ["trim 8589934592+4294967295", "zero 0+4294967295"])
    }

    @Test func payloadsUpToTheLimitAreServed() {
        let session = Session(HeldExport(size: 1 << 30))
        let data = [UInt8](repeating: 0x5a, count: Limits.payloadBytes)
        session.send(Say.write(0, data, cookie: 1))
        session.export.answer()
        #expect(session.hear() == Hear.reply(1))
        session.send(Say.read(0, UInt32(Limits.payloadBytes), cookie: 2))
        session.export.answer(fill: 0x5a)
        #expect(session.hear() == Hear.reply(2, data: data))
    }

    @Test func largerReadsOverflowAndLargerWritesClose() {
        let session = Session(HeldExport(size: 1 << 40))
        session.send(Say.read(0, UInt32(Limits.payloadBytes) + 1, cookie: 1))
        #expect(session.hear() == Hear.reply(1, .overflow))
        for length in [UInt32(Limits.payloadBytes) + 1, .max] {
            let attacked = Session(HeldExport(size: 1 << 40))
            attacked.send(Say.request(Command.write, length: length))
            guard case .violation = attacked.machine.end else {
                Issue.record("a write of \(length) bytes is awaited")
                continue
            }
        }
    }

    @Test func badMagicCloses() {
        let session = Session()
        session.send(Say.request(Command.read, length: 1, magic: 0x2560_9514) + Say.read(0, 1))
        guard case .violation = session.machine.end else {
            Issue.record("bad magic was accepted")
            return
        }
        #expect(session.export.calls == [])
    }

    @Test func failuresOfTheExportReachTheClient() {
        let session = Session()
        let failures: [IOFailure] = [
            .notPermitted, .inputOutput, .outOfMemory, .invalid, .noSpace, .overflow, .notSupported, .shutdown,
        ]
        for failure in failures {
            session.send(Say.read(0, 512, cookie: 3))
            session.export.fail(0, failure)
            #expect(session.hear() == Hear.reply(3, failure))
        }
        session.send(Say.read(0, 5, cookie: 4))
        session.export.answerWithZeroes()
        #expect(session.hear() == Hear.reply(4, data: [0, 0, 0, 0, 0]))
    }

    @Test func sizeIsThatOfTheMoment() {
        let session = Session()
        session.send(Say.read(mebibyte, 1, cookie: 1))
        session.export.size += 1
        session.send(Say.read(mebibyte, 1, cookie: 2))
        #expect(session.hear() == Hear.reply(1, .invalid))
        #expect(session.export.takeCalls() == ["read 1048576+1"])
        let write = Say.write(mebibyte - 8, [UInt8](repeating: 1, count: 8), cookie: 3)
        session.send(Array(write[..<30]))
        session.export.size = mebibyte - 1
        session.send(Array(write[30...]))
        #expect(session.hear() == Hear.reply(3, .noSpace), "it shrank while the payload was on its way")
        #expect(session.export.calls == [])
    }

    @Test func duplicateCookiesAreEachAnswered() {
        let session = Session()
        session.send(Say.read(0, 1, cookie: 9) + Say.read(1, 1, cookie: 9))
        session.export.answer(1, fill: 2)
        session.export.answer(0, fill: 1)
        #expect(session.hear() == Hear.reply(9, data: [2]) + Hear.reply(9, data: [1]))
    }

    @Test func aStreamDribbledByteByByteIsTheSame() {
        let session = Session()
        let data = (0..<200).map { UInt8($0) }
        for byte in Say.write(100, data) + Say.read(1, 2) + Say.request(99, cookie: 5) { session.send([byte]) }
        let sum = String(Checksum.crc32c(Bytes(data)), radix: 16)
        #expect(session.export.calls == ["write 100+200 \(sum)", "read 1+2"])
        #expect(session.hear() == Hear.reply(5, .invalid))
    }
}
