import KeyValueStore
import Wire

/// The header of a journal record. A record is one batch of transactions: header, keys, tables, padding to a whole
/// block, then the journalled blocks. It may run over the end of the ring and on at its beginning.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 8 | `NACREJRN` |
/// | 8 | 8 | low half of the store's id, xored with the salt in the superblock |
/// | 16 | 8 | incarnation of the store's opening |
/// | 24 | 8 | LSN: one more than the record before |
/// | 32 | 8 | offset of this record, counted on around the ring |
/// | 40 | 8 | mark: highest LSN known complete (record and data beside it) when this was made |
/// | 48 | 8 | next object number after this record |
/// | 56 | 4 | header checksum of the record before |
/// | 60 | 4 | bytes of keys and values (`KeyBatch`) |
/// | 64 | 4 | number of journalled blocks |
/// | 68 | 4 | number of blocks written beside the record |
/// | 72 | 4 | CRC32C of keys and tables |
/// | 76 | 4 | CRC32C of the bytes before |
/// | 80 | … | keys and values |
/// | … | 12 each | per journalled block: block number in the file, CRC32C |
/// | … | 12 each | per block written beside: the same |
///
/// The checksum of the tables covers the checksums of all data, and the header's that of the tables: one value in the
/// next header vouches for everything before it. Order of writes: data beside the record and the record go out
/// together, both durable by themselves; the record counts when both are complete and every record before it counts. A
/// journalled block goes home, and a freed unit is used again, only when a complete record carries a mark at or above
/// it: replay checks blocks beside only above the mark, so nothing it checks can have been overwritten since.
struct RecordHeader: Equatable {
    static let size = 80
    private static let magic: UInt64 = 0x4e524a_455243414e

    var store: UInt64
    var incarnation: UInt64
    var lsn: UInt64
    var offset: UInt64
    var mark: UInt64
    var nextObject: UInt64
    var previous: UInt32
    var keyBytes: UInt32
    var journalled: UInt32
    var beside: UInt32
    var bodyChecksum: UInt32

    /// Bytes of keys and tables.
    var bodyBytes: Int { Int(keyBytes) + 12 * (Int(journalled) + Int(beside)) }
    /// Bytes of header, keys, tables and padding.
    var metaBytes: Int { Self.metaBytes(body: bodyBytes) }
    /// Bytes of the whole record.
    var totalBytes: Int { metaBytes + Int(journalled) * StoreLimits.blockSize }

    static func metaBytes(body: Int) -> Int {
        let blockSize = StoreLimits.blockSize
        return (size + body + blockSize - 1) / blockSize * blockSize
    }

    /// Writes the header and returns its checksum.
    func encode(into target: UnsafeMutableRawPointer) -> UInt32 {
        let longs = [Self.magic, store, incarnation, lsn, offset, mark, nextObject]
        for (n, value) in longs.enumerated() {
            target.storeBytes(of: value.littleEndian, toByteOffset: n * 8, as: UInt64.self)
        }
        for (n, value) in [previous, keyBytes, journalled, beside, bodyChecksum].enumerated() {
            target.storeBytes(of: value.littleEndian, toByteOffset: 56 + n * 4, as: UInt32.self)
        }
        let checksum = Checksum.crc32c(UnsafeRawBufferPointer(start: target, count: 76))
        target.storeBytes(of: checksum.littleEndian, toByteOffset: 76, as: UInt32.self)
        return checksum
    }

    /// The header at the start of `block` and its checksum; nil when there is none.
    static func decode(_ block: UnsafeRawBufferPointer) -> (header: RecordHeader, checksum: UInt32)? {
        func long(_ at: Int) -> UInt64 { UInt64(littleEndian: block.load(fromByteOffset: at, as: UInt64.self)) }
        func word(_ at: Int) -> UInt32 { UInt32(littleEndian: block.load(fromByteOffset: at, as: UInt32.self)) }
        guard long(0) == magic, word(76) == Checksum.crc32c(UnsafeRawBufferPointer(rebasing: block[0..<76])) else {
            return nil
        }
        let header = RecordHeader(
            store: long(8), incarnation: long(16), lsn: long(24), offset: long(32), mark: long(40),
            nextObject: long(48),
            previous: word(56), keyBytes: word(60), journalled: word(64), beside: word(68), bodyChecksum: word(72))
        return (header, word(76))
    }
}

/// A row of a record's tables.
struct BlockEntry: Hashable {
    /// The block's number in the file.
    var block: UInt64
    /// CRC32C of its bytes.
    var checksum: UInt32
}
