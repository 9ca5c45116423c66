import Protocol
import Wire

/// Where a record begins: its LSN, the offset that counts on around the ring, and the checksum of the header before it.
struct JournalPosition: Hashable {
    var lsn: UInt64
    var offset: UInt64
    var previous: UInt32
}

/// What the store is and where replay begins. There are two copies, each one block; a change goes to the copy that the
/// generation's lowest bit names, so a torn write leaves the other. Open takes the valid one with the higher
/// generation.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 8 | `NACREOSD` |
/// | 8 | 4 | format version, 2 since clones and the metadata store's binding; a reader refuses any other |
/// | 12 | 4 | OSD number |
/// | 16 | 16 | cluster |
/// | 32 | 16 | store |
/// | 48 | 8 | generation, one more with each write |
/// | 56 | 8 | incarnation: of the store's opening; records carry it, so what an earlier one left is never replayed |
/// | 64 | 8 | journal length |
/// | 72 | 8 | capacity for data, 0 = what the file system has |
/// | 80 | 8 | LSN of the first record to replay |
/// | 88 | 8 | its offset |
/// | 96 | 4 | header checksum of the record before it |
/// | 100 | 8 | mark: highest LSN known complete when this was written |
/// | 108 | 8 | next object number |
/// | 116 | 8 | salt, or 0 in stores that were made without one |
/// | 4092 | 4 | CRC32C of the bytes before |
struct Superblock: Equatable {
    /// 1: first format.
    static let version: UInt32 = 2
    private static let magic: UInt64 = 0x44534f_455243414e

    var identity: StoreIdentity
    var generation: UInt64
    var incarnation: UInt64
    var journalLength: UInt64
    var capacity: UInt64
    var position: JournalPosition
    var mark: UInt64
    var nextObject: UInt64
    /// Known to nobody else.
    var salt: UInt64

    /// What records carry as the store they belong to. The store's id is in the map that every client has: with it alone
    /// a client could write data that looks like a record, and have a replay find damage where there is none.
    var journalID: UInt64 { identity.store.low ^ salt }

    /// Where the first data unit begins.
    var dataStart: UInt64 { StoreLimits.journalStart + journalLength }

    /// Which copy this generation is written to.
    var offset: UInt64 { StoreLimits.superblockOffsets[Int(generation & 1)] }

    func encode(into buffer: UnsafeMutableRawBufferPointer) {
        let bytes = Bytes.encoding { writer in
            writer.writeU64(Self.magic)
            writer.writeU32(Self.version)
            writer.writeI32(identity.osd.rawValue)
            identity.cluster.encode(into: &writer)
            identity.store.encode(into: &writer)
            for value in [generation, incarnation, journalLength, capacity, position.lsn, position.offset] {
                writer.writeU64(value)
            }
            writer.writeU32(position.previous)
            writer.writeU64(mark)
            writer.writeU64(nextObject)
            writer.writeU64(salt)
        }
        _ = buffer.initializeMemory(as: UInt8.self, repeating: 0)
        bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
        let checksum = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer[0..<4092]))
        buffer.storeBytes(of: checksum.littleEndian, toByteOffset: 4092, as: UInt32.self)
    }

    /// Nil when the block is no valid superblock; throws when it is one of another format.
    init?(_ block: UnsafeRawBufferPointer) throws(StoreError) {
        let checksum = UInt32(littleEndian: block.load(fromByteOffset: 4092, as: UInt32.self))
        guard checksum == Checksum.crc32c(UnsafeRawBufferPointer(rebasing: block[0..<4092])) else { return nil }
        var reader = ByteReader(Bytes(copying: block))
        do {
            guard try reader.readU64() == Self.magic else { return nil }
            let version = try reader.readU32()
            guard version == Self.version else {
                throw version > Self.version
                    ? StoreError(
                        .newerFormat,
                        "store format \(version) is newer than \(Self.version), which this build reads: upgrade it")
                    : StoreError(
                        .olderFormat,
                        "store format \(version) is older than \(Self.version), the only one that this build reads: "
                            + "recreate this OSD from its peers")
            }
            let osd = OSDID(try reader.readI32())
            let cluster = try UniqueID(from: &reader)
            identity = StoreIdentity(cluster: cluster, osd: osd, store: try UniqueID(from: &reader))
            generation = try reader.readU64()
            incarnation = try reader.readU64()
            journalLength = try reader.readU64()
            capacity = try reader.readU64()
            let lsn = try reader.readU64()
            position = JournalPosition(lsn: lsn, offset: try reader.readU64(), previous: try reader.readU32())
            mark = try reader.readU64()
            nextObject = try reader.readU64()
            salt = try reader.readU64()
        } catch let error as StoreError {
            throw error
        } catch {
            return nil
        }
        guard journalLength >= StoreLimits.smallestJournal, journalLength <= StoreLimits.largestJournal,
            journalLength % UInt64(StoreLimits.unitSize) == 0
        else { return nil }
    }

    init(identity: StoreIdentity, journalLength: UInt64, capacity: UInt64, salt: UInt64) {
        self.identity = identity
        generation = 1
        incarnation = 1
        self.journalLength = journalLength
        self.capacity = capacity
        self.salt = salt
        position = JournalPosition(lsn: 1, offset: 0, previous: 0)
        mark = 0
        nextObject = 1
    }
}
