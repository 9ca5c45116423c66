import NBD
import NIOCore
import Testing

/// Transcripts of the handshake: what a client says and what it hears, by the rule of the protocol they show.
@Suite struct NegotiationTests {
    let disk = ExportDescription(
        name: "pool/image", summary: "a disk", size: 0x1122_3344, flags: [.hasFlags, .sendFlush],
        blockSizes: BlockSizes())

    /// The parts of an INFO or GO reply that are always there.
    func information(_ code: UInt32, extra: [[UInt8]] = []) -> [UInt8] {
        let export = be(0 as UInt16) + be(disk.size) + be(disk.flags.rawValue)
        let blocks = be(3 as UInt16) + be(1 as UInt32) + be(4096 as UInt32) + be(33_554_432 as UInt32)
        return ([export] + extra + [blocks]).flatMap { Hear.option(code, .info, $0) } + Hear.option(code, .ack)
    }

    @Test func greetingIsFixedNewstyleWithNoZeroes() {
        var handshake = Handshake(flags: nil)
        #expect(handshake.hear() == Hear.greeting)
    }

    @Test(arguments: [4, 0x8000_0000, 0xffff_ffff] as [UInt32])
    func unknownClientFlagCloses(flags: UInt32) {
        var handshake = Handshake(flags: nil)
        guard case .close(.violation) = handshake.send(Say.flags(flags)) else {
            Issue.record("flags \(flags) were accepted")
            return
        }
    }

    @Test func unknownOptionIsUnsupportedAndItsPayloadConsumed() {
        var handshake = Handshake()
        let codes = [
            OptionCode.startTLS, OptionCode.structuredReply, OptionCode.listMetaContext, OptionCode.setMetaContext,
            OptionCode.extendedHeaders, 4, 77, 0xffff_ffff,
        ]
        for code in codes {
            #expect(handshake.send(Say.option(code, [UInt8](repeating: 0x49, count: 100))) == .wait)
            #expect(handshake.replies() == [.unsupported])
        }
        #expect(handshake.send(Say.option(OptionCode.list)) == .list)
    }

    @Test func goBeginsTransmissionWithInformation() {
        var handshake = Handshake()
        #expect(handshake.send(Say.go("pool/image") + [1, 2, 3]) == .open(name: "pool/image"))
        #expect(handshake.machine.opened(disk, &handshake.output) == .beginTransmission)
        #expect(handshake.hear() == information(OptionCode.go))
        #expect(Array(handshake.input.readableBytesView) == [1, 2, 3], "bytes behind GO belong to the transmission")
    }

    @Test func infoAndGoAgreeAndInfoLeavesTheNegotiationOpen() {
        var handshake = Handshake()
        #expect(handshake.send(Say.info(OptionCode.info, "a")) == .open(name: "a"))
        #expect(handshake.machine.opened(disk, &handshake.output) == .wait)
        #expect(handshake.hear() == information(OptionCode.info))
        #expect(handshake.send(Say.go("a")) == .open(name: "a"))
        #expect(handshake.machine.opened(disk, &handshake.output) == .beginTransmission)
        #expect(handshake.hear() == information(OptionCode.go))
    }

    @Test func nameAndDescriptionAreSentWhenAskedAndUnknownInfosIgnored() {
        var handshake = Handshake()
        _ = handshake.send(Say.info(OptionCode.go, "a", [1, 2, 3, 99, 0xffff, 1]))
        _ = handshake.machine.opened(disk, &handshake.output)
        let extra = [be(1 as UInt16) + Array("pool/image".utf8), be(2 as UInt16) + Array("a disk".utf8)]
        #expect(handshake.hear() == information(OptionCode.go, extra: extra))
    }

    @Test func exportNameHonoursNoZeroes() {
        for (flags, zeroes) in [(3, 0), (1, 124), (0, 124)] as [(UInt32, Int)] {
            var handshake = Handshake(flags: flags)
            #expect(handshake.send(Say.option(OptionCode.exportName, Array("x".utf8))) == .open(name: "x"))
            #expect(handshake.machine.opened(disk, &handshake.output) == .beginTransmission)
            #expect(handshake.hear() == be(disk.size) + be(disk.flags.rawValue) + [UInt8](repeating: 0, count: zeroes))
        }
    }

    @Test func exportNameRefusedCloses() {
        var handshake = Handshake()
        _ = handshake.send(Say.option(OptionCode.exportName, Array("x".utf8)))
        let action = handshake.machine.refused(OpenFailure(.notFound, "no x"), &handshake.output)
        #expect(action == .close(.refused("no x")))
        #expect(handshake.hear() == [])
    }

    @Test func goRefusedSaysWhyAndLeavesTheNegotiationOpen() {
        let kinds: [(OpenFailure.Kind, OptionReply)] = [
            (.notFound, .unknown), (.refused, .policy), (.invalid, .invalid), (.unavailable, .unknown),
            (.shutdown, .shutdown),
        ]
        var handshake = Handshake()
        for (kind, reply) in kinds {
            for code in [OptionCode.info, OptionCode.go] {
                #expect(handshake.send(Say.info(code, "x")) == .open(name: "x"))
                #expect(handshake.machine.refused(OpenFailure(kind, "because"), &handshake.output) == .wait)
                #expect(handshake.hear() == Hear.option(code, reply, Array("because".utf8)))
            }
        }
    }

    @Test func errorTextsAreCutToWhatQemuBears() {
        var handshake = Handshake()
        for text in [String(repeating: "n", count: 4096), String(repeating: "é", count: 2000)] {
            _ = handshake.send(Say.go("x"))
            _ = handshake.machine.refused(OpenFailure(.notFound, text), &handshake.output)
            let heard = handshake.hear()
            #expect(heard.count <= 20 + 255 && heard.count >= 20 + 252)
            #expect(String(validating: heard[20...], as: UTF8.self) != nil)
        }
    }

    @Test func abortIsAcknowledgedAndCloses() {
        var handshake = Handshake()
        #expect(handshake.send(Say.option(OptionCode.abort, [1, 2])) == .close(.aborted))
        #expect(handshake.hear() == Hear.option(OptionCode.abort, .ack))
    }

    @Test func listNamesEveryExport() {
        var handshake = Handshake()
        #expect(handshake.send(Say.option(OptionCode.list)) == .list)
        let long = String(repeating: "l", count: 1024)
        #expect(handshake.machine.listed(["a", "pool/b", long], &handshake.output) == .wait)
        let expected =
            Hear.option(3, .server, be(1 as UInt32) + Array("a".utf8))
            + Hear.option(3, .server, be(6 as UInt32) + Array("pool/b".utf8)) + Hear.option(3, .ack)
        #expect(handshake.hear() == expected, "a name that kills nbd-client is left out")
        #expect(handshake.send(Say.option(OptionCode.list)) == .list)
        #expect(handshake.machine.refused(OpenFailure(.unavailable, "down"), &handshake.output) == .wait)
        #expect(handshake.replies() == [.unknown])
        #expect(handshake.send(Say.option(OptionCode.list)) == .list)
        let many = [String](repeating: "x", count: Limits.listedNames + 1)
        #expect(handshake.machine.listed(many, &handshake.output) == .wait)
        #expect(handshake.replies() == [.tooBig])
    }

    @Test func listWithDataIsInvalid() {
        var handshake = Handshake()
        #expect(handshake.send(Say.option(OptionCode.list, [0])) == .wait)
        #expect(handshake.replies() == [.invalid])
    }

    @Test func shutdownRefusesToOpenAndStillAcknowledgesAbort() {
        var handshake = Handshake()
        handshake.machine.stop()
        for bytes in [Say.go("x"), Say.info(OptionCode.info, "x"), Say.option(OptionCode.list)] {
            #expect(handshake.send(bytes) == .wait)
            #expect(handshake.replies() == [.shutdown])
        }
        #expect(handshake.send(Say.option(OptionCode.abort)) == .close(.aborted))
    }

    @Test func handshakeTimeCountsOnlyWhileTheClientIsToMove() {
        var idle = Handshake(flags: nil)
        #expect(idle.machine.timeExpired() == .close(.tooSlow))
        var opening = Handshake()
        _ = opening.send(Say.go("x"))
        #expect(opening.machine.timeExpired() == .wait)
        _ = opening.machine.refused(OpenFailure(.notFound, "no"), &opening.output)
        #expect(opening.machine.timeExpired() == .close(.tooSlow))
    }

    // MARK: Attacks

    @Test(arguments: [OptionCode.info, OptionCode.go])
    func lyingLengthsInsideAnOptionAreInvalid(code: UInt32) {
        let lies = [
            Say.info(code, "name", nameLength: 0xffff_ffff), Say.info(code, "name", nameLength: 5),
            Say.info(code, "name", [1], nameLength: 7), Say.info(code, "name", [1, 2], count: 0xffff),
            Say.info(code, "name", [1, 2], count: 1), Say.option(code, []), Say.option(code, [0, 0, 0, 0, 0]),
            Say.info(code, "na\0me"), Say.option(code, be(2 as UInt32) + [0xc3, 0x28] + be(0 as UInt16)),
            Say.info(code, String(repeating: "n", count: 4097)),
        ]
        var handshake = Handshake()
        for lie in lies {
            #expect(handshake.send(lie) == .wait)
            #expect(handshake.replies() == [.invalid])
        }
        #expect(handshake.send(Say.go(String(repeating: "n", count: 4096))) != .wait, "the longest name is taken")
    }

    @Test func oversizedOptionsAreConsumedWithoutBeingKept() {
        var handshake = Handshake()
        _ = handshake.send(Say.option(99, length: .max))
        _ = handshake.send([])
        let chunk = [UInt8](repeating: 7, count: 1 << 20)
        var left = Int(UInt32.max)
        while left > 0 {
            #expect(handshake.output.readableBytes == 0)
            #expect(handshake.send(left >= chunk.count ? chunk : Array(chunk[..<left])) == .wait)
            #expect(handshake.input.readableBytes == 0)
            handshake.input.clear()
            left -= min(left, chunk.count)
        }
        #expect(handshake.replies() == [.unsupported])
        _ = handshake.send(Say.option(OptionCode.go, [UInt8](repeating: 0, count: 20_000)))
        #expect(handshake.replies() == [.tooBig])
    }

    @Test func exportNameThatCannotBeANameCloses() {
        let names: [[UInt8]] = [[UInt8](repeating: 0x61, count: 4097), [0x61, 0], [0xff]]
        for name in names {
            var handshake = Handshake()
            guard case .close = handshake.send(Say.option(OptionCode.exportName, name)) else {
                Issue.record("a name of \(name.count) bytes was accepted")
                continue
            }
        }
    }

    @Test func badMagicAndOptionFloodsClose() {
        var bad = Handshake()
        guard case .close(.violation) = bad.send(be(0 as UInt64) + be(7 as UInt32) + be(0 as UInt32)) else {
            Issue.record("bad magic was accepted")
            return
        }
        var flood = Handshake()
        for _ in 0..<Limits.options { #expect(flood.send(Say.option(99)) == .wait) }
        guard case .close(.violation) = flood.send(Say.option(99)) else {
            Issue.record("the flood goes on")
            return
        }
    }

    @Test func aHandshakeDribbledByteByByteIsTheSame() {
        var handshake = Handshake(flags: nil)
        let bytes = Say.flags() + Say.option(77, [1, 2, 3]) + Say.info(OptionCode.go, "pool/image", [1, 3])
        var last = Negotiation.Action.wait
        for byte in bytes {
            #expect(last == .wait)
            last = handshake.send([byte])
        }
        #expect(last == .open(name: "pool/image"))
    }
}
