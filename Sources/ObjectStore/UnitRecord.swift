import Wire

/// One allocation unit of an object: where it is and the checksums of its blocks.
///
/// | bytes | what |
/// |---|---|
/// | 4 | unit number in the data region |
/// | 2 | which of the 16 blocks are present; others read as zeros |
/// | 4 each | per present block its CRC32C, xored with the seed of object number and block number |
struct UnitRecord: Equatable {
    /// The unit's number in the data region.
    var place: UInt32
    /// Bit n: block n holds data.
    var present: UInt16 = 0
    /// Of its blocks; those of blocks that are not present mean nothing. Many thousands of these are kept in memory.
    var checksums = InlineArray<16, UInt32>(repeating: 0)

    init(place: UInt32) { self.place = place }

    static func == (left: UnitRecord, right: UnitRecord) -> Bool {
        guard left.place == right.place, left.present == right.present else { return false }
        for block in 0..<StoreLimits.blocksPerUnit
        where left.has(block) && left.checksums[block] != right.checksums[block] {
            return false
        }
        return true
    }

    func has(_ block: Int) -> Bool { present & (1 << UInt16(block)) != 0 }

    mutating func set(_ block: Int, checksum: UInt32) {
        present |= 1 << UInt16(block)
        checksums[block] = checksum
    }

    mutating func clear(_ block: Int) { present &= ~(1 << UInt16(block)) }

    func encoded() -> Bytes {
        Bytes.encoding(capacity: 6 + 4 * present.nonzeroBitCount) { writer in
            writer.writeU32(place)
            writer.writeU16(present)
            for block in 0..<StoreLimits.blocksPerUnit where has(block) { writer.writeU32(checksums[block]) }
        }
    }

    init(_ bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        place = try reader.readU32()
        present = try reader.readU16()
        for block in 0..<StoreLimits.blocksPerUnit where has(block) { checksums[block] = try reader.readU32() }
        try reader.expectEnd()
    }

    /// What a block's checksum is xored with, so that a block written to or read from the wrong place does not verify.
    static func seed(object: UInt64, block: UInt64) -> UInt32 {
        var mixed = (object &* 0x9e37_79b9_7f4a_7c15) ^ (block &* 0xc2b2_ae3d_27d4_eb4f)
        mixed ^= mixed >> 29
        mixed = mixed &* 0xbf58_476d_1ce4_e5b9
        return UInt32(truncatingIfNeeded: mixed >> 32)
    }
}
