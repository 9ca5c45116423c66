import Testing
import Wire

import Messenger

@Suite struct FrameTests {
    private func frame(_ kind: FrameKind, _ payload: Bytes, sequence: UInt64 = 0) -> [UInt8] {
        let header = FrameHeader(
            kind, payload: payload, payloadChecksum: Checksum.crc32c(payload), sequence: sequence, acknowledged: 7)
        let out = OutgoingFrame(header: header, payload: payload)
        var bytes = [UInt8](repeating: 0xff, count: out.byteCount)
        bytes.withUnsafeMutableBytes { out.encode(into: $0) }
        return bytes
    }

    /// Feeds `bytes` in pieces and returns what came out.
    private func parse(
        _ bytes: [UInt8], piece: () -> Int, limit: Int = MessengerLimits.payloadBytes
    ) throws -> [(header: FrameHeader, payload: Bytes)] {
        var parser = FrameParser()
        parser.payloadLimit = limit
        var frames: [(header: FrameHeader, payload: Bytes)] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + max(1, piece()))
            let result: Result<Void, WireError> = bytes[start..<end].withUnsafeBytes { raw in
                var input = raw
                do throws(WireError) {
                    while let frame = try parser.next(&input) { frames.append(frame) }
                    return .success(())
                } catch { return .failure(error) }
            }
            try result.get()
            start = end
        }
        return frames
    }

    @Test func framesComeOutWholeHoweverTheyAreCut() throws {
        var random = Seeded.fromEnvironment()
        for _ in 0..<300 {
            var stream: [UInt8] = []
            var payloads: [Bytes] = []
            for sequence in 1...UInt64.random(in: 1...6, using: &random) {
                let payload = Bytes(repeating: UInt8(sequence), count: Int.random(in: 0...500, using: &random))
                payloads.append(payload)
                stream += frame(.message, payload, sequence: sequence)
            }
            let frames = try parse(stream, piece: { Int.random(in: 1...200, using: &random) })
            #expect(frames.map(\.payload) == payloads)
            #expect(frames.map(\.header.sequence) == (1...UInt64(payloads.count)).map { $0 })
            #expect(frames.allSatisfy { $0.header.acknowledged == 7 })
        }
    }

    @Test func everyFlippedBitIsAnError() {
        let whole = frame(.message, Bytes("perlmutt"), sequence: 3)
        for bit in 0..<whole.count * 8 {
            var broken = whole
            broken[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: WireError.self, "bit \(bit)") { try parse(broken, piece: { 1000 }) }
        }
    }

    @Test func lengthsOverTheLimitAreRefusedBeforeTheirBytes() {
        let header = Array(frame(.hello, Bytes(repeating: 1, count: 5000))[..<64])
        #expect(throws: WireError.self) { try parse(header, piece: { 64 }, limit: 4096) }
    }

    @Test func strangersAreToldByTheirFirstBytes() {
        #expect(throws: WireError.self) { try parse(Array("GET ".utf8), piece: { 1 }) }
    }

    @Test func garbageNeverStopsTheProgram() {
        var random = Seeded.fromEnvironment()
        let seeds = [
            frame(.message, Bytes(repeating: 9, count: 100), sequence: 1),
            frame(.hello, sampleHello().encoded()),
        ]
        for _ in 0..<5000 {
            var bytes = seeds.randomElement(using: &random)!
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? parse(bytes, piece: { Int.random(in: 1...300, using: &random) })
            let payload = Bytes(Array(bytes.dropFirst(64)))
            _ = try? Hello(decoding: payload)
            _ = try? Welcome(decoding: payload)
            _ = try? Refusal.reason(decoding: payload)
        }
    }

    private func sampleHello() -> Hello {
        Hello(
            method: .none,
            identity: Identity(cluster: UniqueID(high: 1, low: 2), entity: .client("nbd@host:1"), incarnation: 5),
            cookie: 9, acceptorCookie: 0, attempt: 1, lastReceived: 4)
    }

    @Test func handshakesRoundTrip() throws {
        #expect(try Hello(decoding: sampleHello().encoded()) == sampleHello())
        let welcome = Welcome(
            identity: Identity(cluster: nil, entity: .osd(OSDID(3)), incarnation: 8), cookie: 11, lastReceived: 12)
        #expect(try Welcome(decoding: welcome.encoded()) == welcome)
        #expect(try Refusal.reason(decoding: Refusal.encoded("two\nlines")) == "two lines")
        let whole = sampleHello().encoded()
        for length in 0..<whole.count {
            #expect(throws: WireError.self) { try Hello(decoding: whole[0..<length]) }
        }
    }
}

/// SplitMix64 from a seed that is printed, and taken from NACRE_SEED when that is set.
struct Seeded: RandomNumberGenerator {
    let seed: UInt64
    private var state: UInt64

    init(_ seed: UInt64) {
        self.seed = seed
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
