import NBD
import NIOCore
import Testing
import Wire

/// Random input for both machines, from a seed that is printed. Whatever a client says, and however it is cut into pieces,
/// the machines neither stop the program nor break their promises.
@Suite struct FuzzTests {
    // MARK: Negotiation

    /// Says `bytes` in pieces and answers for the directory by what is asked: the export named `yes` exists. The output and
    /// every action but `.wait`.
    private func negotiate(_ bytes: [UInt8], cuts: [Int]) -> (output: [UInt8], actions: [Negotiation.Action], rest: Int)
    {
        let disk = ExportDescription(
            name: "yes", summary: "", size: 9, flags: .hasFlags, blockSizes: BlockSizes())
        var handshake = Handshake(flags: nil)
        var actions: [Negotiation.Action] = []
        var start = 0
        for end in cuts + [bytes.count] {
            var action = handshake.send(Array(bytes[start..<end]))
            start = end
            while action != .wait {
                actions.append(action)
                switch action {
                case .open(let name):
                    action =
                        name == "yes"
                        ? handshake.machine.opened(disk, &handshake.output)
                        : handshake.machine.refused(OpenFailure(.notFound, "no \(name)"), &handshake.output)
                case .list:
                    action = handshake.machine.listed(["yes"], &handshake.output)
                case .beginTransmission, .close:
                    return (handshake.hear(), actions, bytes.count - start + handshake.input.readableBytes)
                case .wait:
                    break
                }
                if action == .wait { action = handshake.send([]) }
            }
        }
        return (handshake.hear(), actions, handshake.input.readableBytes)
    }

    private func randomOption(_ random: inout Seeded) -> [UInt8] {
        let name = ["yes", "no", "", "na\0me", String(repeating: "x", count: Int.random(in: 0...5000, using: &random))]
            .randomElement(using: &random)!
        let codes: [UInt32] = [1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 8, 9, 10, 11, 0, .max]
        let code = codes.randomElement(using: &random)!
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
            return Say.option(
                code,
                (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        case 1: return Say.option(code)
        case 2: return Say.option(OptionCode.exportName, Array(name.utf8))
        default:
            let types = (0..<Int.random(in: 0...6, using: &random)).map { _ in UInt16.random(in: 0...5, using: &random)
            }
            return Say.info(Bool.random(using: &random) ? 6 : 7, name, types)
        }
    }

    @Test func negotiationsDoNotDependOnHowTheyAreCut() {
        var random = Seeded(seed: Seeded.ofThisRun(#function))
        for _ in 0..<3000 {
            var bytes = Say.flags(
                Int.random(in: 0..<20, using: &random) == 0 ? 7 : UInt32.random(in: 0...3, using: &random))
            for _ in 0..<Int.random(in: 0...8, using: &random) { bytes += randomOption(&random) }
            if Int.random(in: 0..<3, using: &random) == 0 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            let whole = negotiate(bytes, cuts: [])
            let cuts = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                Int.random(in: 0...bytes.count, using: &random)
            }
            let cut = negotiate(bytes, cuts: cuts.sorted())
            #expect(cut.output == whole.output && cut.actions == whole.actions)
            if whole.actions.last == .beginTransmission { #expect(cut.rest == whole.rest, "bytes behind GO are kept") }
        }
    }

    // MARK: Transmission

    /// A request and what must come of it.
    private struct Expected {
        var bytes: [UInt8]
        var failure: IOFailure?
        /// What the export must be asked; nil when it is answered without it.
        var call: String?
        var dataLength = 0
    }

    private func randomRequest(cookie: UInt64, size: UInt64, _ random: inout Seeded) -> Expected {
        let type = UInt16.random(in: 0...8, using: &random)
        let command = type == Command.disconnect ? Command.write : type
        let flags: UInt16 =
            Int.random(in: 0..<4, using: &random) == 0 ? 1 << UInt16.random(in: 0...5, using: &random) : 0
        let lengths: [UInt32] = [0, 1, 512, 4096, 70_000, UInt32.random(in: 0...200_000, using: &random)]
        var length = lengths.randomElement(using: &random)!
        var offset = UInt64.random(in: 0...size + 1000, using: &random)
        if Int.random(in: 0..<20, using: &random) == 0 { offset = .max - UInt64.random(in: 0...9, using: &random) }
        if command == Command.flush, Int.random(in: 0..<8, using: &random) != 0 { (offset, length) = (0, 0) }
        var data: [UInt8] = []
        if command == Command.write { data = [UInt8](repeating: UInt8(truncatingIfNeeded: cookie), count: Int(length)) }
        let bytes = Say.request(
            command, flags: flags, cookie: cookie, offset: offset, length: length, data: data)
        let inside = offset <= size && UInt64(length) <= size - offset
        let fua = flags == 1 ? " fua" : ""
        var expected = Expected(bytes: bytes)
        switch command {
        case Command.read:
            expected.failure = flags & ~1 != 0 || !inside ? .invalid : nil
            expected.call = "read \(offset)+\(length)"
            expected.dataLength = expected.failure == nil ? Int(length) : 0
        case Command.write:
            expected.failure = flags & ~1 != 0 ? .invalid : inside ? nil : .noSpace
            expected.call = "write \(offset)+\(length)\(fua) \(String(Checksum.crc32c(Bytes(data)), radix: 16))"
        case Command.flush:
            expected.failure = flags & ~1 != 0 || offset != 0 || length != 0 ? .invalid : nil
            expected.call = "flush"
        case Command.trim:
            expected.failure = flags & ~1 != 0 || !inside ? .invalid : nil
            expected.call = "trim \(offset)+\(length)\(fua)"
        case Command.writeZeroes:
            expected.failure = flags & ~0x13 != 0 ? .invalid : inside ? nil : .noSpace
            let words = (flags & 2 != 0 ? " nohole" : "") + (flags & 16 != 0 ? " fast" : "")
            expected.call = "zero \(offset)+\(length)\(fua)\(words)"
        case Command.cache:
            expected.failure = flags & ~1 != 0 || !inside ? .invalid : nil
        default:
            expected.failure = .invalid
        }
        if expected.failure != nil || (length == 0 && command != Command.flush) { expected.call = nil }
        return expected
    }

    @Test func everyRequestIsAnsweredOnceAsItDeserves() {
        var random = Seeded(seed: Seeded.ofThisRun(#function))
        for _ in 0..<150 {
            let session = Session(HeldExport(size: UInt64.random(in: 0...300_000, using: &random)))
            let requests = (0..<Int.random(in: 1...400, using: &random)).map {
                randomRequest(cookie: UInt64($0), size: session.export.size, &random)
            }
            var stream = requests.flatMap(\.bytes)[...]
            var heard: [UInt8] = []
            var isSocketFull = false
            while !stream.isEmpty || !session.export.pending.isEmpty || !session.machine.wantsBytes {
                switch Int.random(in: 0..<3, using: &random) {
                case 0 where session.machine.wantsBytes:
                    let largest = [1, 30, 3000, 300_000].randomElement(using: &random)!
                    let count = min(stream.count, Int.random(in: 0...largest, using: &random))
                    session.send(Array(stream.prefix(count)))
                    stream = stream.dropFirst(count)
                case 1 where !session.export.pending.isEmpty:
                    let index = Int.random(in: 0..<session.export.pending.count, using: &random)
                    session.export.answer(index, fill: 0x77)
                default:
                    isSocketFull = Int.random(in: 0..<4, using: &random) == 0
                    heard += session.hear(isSocketFull: isSocketFull)
                }
                #expect(session.machine.outstanding == session.export.pending.count)
                #expect(session.machine.outstanding <= Limits.requestsInFlight)
            }
            heard += session.hear()
            check(heard, against: requests)
            #expect(session.export.calls == requests.compactMap(\.call), "the export is asked in order of arrival")
            #expect(session.machine.end == nil)
        }
    }

    private func check(_ heard: [UInt8], against requests: [Expected]) {
        var replies = ByteBuffer(bytes: heard)
        var answered: Set<UInt64> = []
        while let (magic, error, cookie) = replies.readMultipleIntegers(as: (UInt32, UInt32, UInt64).self) {
            let request = requests[Int(cookie)]
            #expect(magic == Magic.simpleReply && answered.insert(cookie).inserted)
            #expect(error == request.failure?.rawValue ?? 0, "request \(cookie)")
            let data = replies.readBytes(length: request.dataLength)
            #expect(data == [UInt8](repeating: 0x77, count: request.dataLength))
        }
        #expect(replies.readableBytes == 0 && answered.count == requests.count)
    }

    @Test func garbageEndsInAViolationOrGoesOnButNeverCrashes() {
        var random = Seeded(seed: Seeded.ofThisRun(#function))
        for _ in 0..<2000 {
            let session = Session()
            var bytes = (0..<Int.random(in: 1...20, using: &random)).flatMap { cookie in
                randomRequest(cookie: UInt64(cookie), size: session.export.size, &random).bytes.prefix(5000)
            }
            for _ in 0..<Int.random(in: 1...10, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            while !bytes.isEmpty {
                let count = Int.random(in: 1...bytes.count, using: &random)
                session.send(Array(bytes.prefix(count)))
                bytes.removeFirst(count)
                if Bool.random(using: &random) { session.export.answerAll() }
                if Bool.random(using: &random) { _ = session.hear() }
            }
            if Bool.random(using: &random) { session.machine.stop() }
            session.machine.connectionClosed(for: session.export)
            session.export.answerAll()
            #expect(session.machine.isFinished && session.hear() == [])
        }
    }
}
