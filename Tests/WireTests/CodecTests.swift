import Testing
import Wire

@Suite struct CodecTests {
    @Test func integersRoundTripLittleEndian() throws {
        let bytes = Bytes.encoding(capacity: 1) { writer in
            writer.writeU8(0x01)
            writer.writeU16(0x0203)
            writer.writeU32(0x0405_0607)
            writer.writeU64(0x0809_0a0b_0c0d_0e0f)
            writer.writeI32(-2)
            writer.writeString("perlmutt")
        }
        #expect(bytes.array.prefix(7) == [0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04])
        var reader = ByteReader(bytes)
        #expect(try reader.readU8() == 0x01)
        #expect(try reader.readU16() == 0x0203)
        #expect(try reader.readU32() == 0x0405_0607)
        #expect(try reader.readU64() == 0x0809_0a0b_0c0d_0e0f)
        #expect(try reader.readI32() == -2)
        #expect(try reader.readString(atMost: 8) == "perlmutt")
        try reader.expectEnd()
    }

    @Test func everyTruncationIsAnError() {
        let whole = Bytes.encoding { writer in
            writer.versioned(2) { inner in
                inner.writeU64(7)
                inner.writeArray([1, 2, 3] as [UInt16]) { $0.writeU16($1) }
                inner.writeOptional("x") { $0.writeString($1) }
            }
        }
        func decode(_ bytes: Bytes) throws(WireError) {
            var reader = ByteReader(bytes)
            _ = try reader.versioned("thing", supported: 2) { inner, _ throws(WireError) in
                _ = try inner.readU64()
                _ = try inner.readArray(atMost: 3) { r throws(WireError) in try r.readU16() }
                _ = try inner.readOptional { r throws(WireError) in try r.readString(atMost: 4) }
            }
            try reader.expectEnd()
        }
        #expect(throws: Never.self) { try decode(whole) }
        for length in 0..<whole.count {
            #expect(throws: WireError.self, "cut to \(length)") { try decode(whole[0..<length]) }
        }
    }

    @Test func newerFieldsAreSkippedAndNewerFormatsRefused() throws {
        func section(version: UInt8, compatible: UInt8) -> Bytes {
            Bytes.encoding { writer in
                writer.versioned(version, compatible: compatible) { inner in
                    inner.writeU32(5)
                    inner.writeU64(99)
                }
                writer.writeU8(0xee)
            }
        }
        var reader = ByteReader(section(version: 3, compatible: 1))
        let value = try reader.versioned("thing", supported: 1) { inner, _ throws(WireError) in try inner.readU32() }
        #expect(value == 5)
        #expect(try reader.readU8() == 0xee)
        var refusing = ByteReader(section(version: 3, compatible: 2))
        #expect(throws: WireError.self) {
            try refusing.versioned("thing", supported: 1) { inner, _ throws(WireError) in try inner.readU32() }
        }
    }

    @Test func aLyingCountReservesNothing() {
        let bytes = Bytes.encoding { $0.writeU32(1_000_000) }
        var reader = ByteReader(bytes)
        #expect(throws: WireError.self) {
            try reader.readArray(atMost: 2_000_000) { r throws(WireError) in try r.readU8() }
        }
    }

    /// Check values from RFC 3720, B.4.
    @Test func checksumAgreesWithPublishedVectors() {
        #expect(Checksum.crc32c(Bytes("123456789")) == 0xE306_9283)
        #expect(Checksum.crc32c(Bytes(repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(Checksum.crc32c(Bytes(repeating: 0xff, count: 32)) == 0x62A8_AB43)
        #expect(Checksum.crc32c(Bytes((0..<32).map { UInt8($0) })) == 0x46DD_794E)
        let whole = Bytes((0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        for cut in [0, 1, 7, 8, 31, 32, 33, 999, 1000] {
            let first = Checksum.crc32c(whole[0..<cut])
            #expect(Checksum.crc32c(whole[cut..<1000], after: first) == Checksum.crc32c(whole))
        }
    }

    /// Long runs are summed in lanes side by side, short ones are not: both must agree.
    @Test func checksumOfLongRunsIsThatOfTheirParts() {
        let whole = Bytes((0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) })
        for count in [4079, 4080, 4081, 4096, 8160, 8192, 12_345, 20_000] {
            for start in [0, 1, 7] where start + count <= whole.count {
                let run = whole[start..<start + count]
                var parts: UInt32 = 0
                for at in stride(from: 0, to: count, by: 1000) {
                    parts = Checksum.crc32c(run[at..<min(count, at + 1000)], after: parts)
                }
                #expect(Checksum.crc32c(run) == parts)
            }
        }
    }

    @Test func bytesShareCompareAndCompact() {
        let all = Bytes("abcdef")
        #expect(all[1..<3] == Bytes("bc"))
        #expect(Bytes("ab") < Bytes("abc") && Bytes("abc") < Bytes("b"))
        #expect(Bytes(repeating: 0, count: 19).isAllZero)
        #expect(!Bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).isAllZero)
        let slice = Bytes(repeating: 7, count: 100_000)[10..<20].compacted()
        #expect(slice == Bytes(repeating: 7, count: 10))
    }

    @Test func identifiersPrintAsAdministratorsKnowThem() {
        #expect("\(OSDID(3))" == "osd.3")
        #expect("\(PGID(pool: PoolID(2), seed: 0x1f))" == "2.1f")
        let id = UniqueID(high: 0x0123_4567_89ab_4def, low: 0x8011_2233_4455_6677)
        #expect("\(id)" == "01234567-89ab-4def-8011-223344556677")
        #expect(UniqueID("\(id)") == id)
        #expect(UniqueID("01234567-89ab") == nil)
        #expect(ObjectName([]) == nil)
        #expect(ObjectName([UInt8](repeating: 1, count: 513)) == nil)
    }
}
