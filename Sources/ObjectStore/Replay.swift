import KeyValueStore
import Protocol
import Wire

/// Brings device and metadata store to the state of the last complete record, and finds where to go on.
///
/// First the chain of records is followed from the position in the superblock, which also finds the highest mark. Above
/// it the blocks written beside a record are checked, and the chain ends where one does not match: that record was
/// never complete; so is one with a journalled block that does not verify. A record whose header or keys fail at or below a
/// mark found later is damage, and is refused: what it changed is known to nobody. A journalled block that fails there is
/// left out: the keys say what it was of and what its checksum must be, so that reads of it fail, and it is reported
/// (`unvouched`). What the device cannot read counts as what does not verify.
///
/// Then keys and blocks are applied.
///
/// Order of writes: before any block goes home the superblock says, durably, that the records up to the end are
/// complete. Otherwise a crash during replay could leave a block, written home here over one that lies beside an
/// earlier record, that fails the next replay's check. At the end device and metadata store are flushed, then the
/// superblock moves the start to the end and begins a new incarnation.
struct Replay<Device: BlockDevice, Keys: KeyValueStore> {
    let device: Device
    let keys: Keys
    var superblock: Superblock
    private(set) var counters = StoreCounters()
    /// Numbers in the file of blocks whose newest content is lost, unless they were home already.
    private(set) var unvouched: Set<UInt64> = []

    private struct Record {
        var header: RecordHeader
        var checksum: UInt32
        var keys: KeyBatch
        var journalled: [BlockEntry]
        var beside: [BlockEntry]
        /// Which of the journalled blocks do not verify.
        var damaged: Set<Int>

        var end: JournalPosition {
            JournalPosition(
                lsn: header.lsn + 1, offset: header.offset + UInt64(header.totalBytes), previous: checksum)
        }
    }

    init(device: Device, keys: Keys, superblock: Superblock) {
        self.device = device
        self.keys = keys
        self.superblock = superblock
    }

    /// Replays, and returns the superblock that the store goes on with, written durably.
    mutating func run() throws(StoreError) -> Superblock {
        try checkBinding()
        let records = try completeRecords()
        let end = records.last?.end ?? superblock.position
        counters.replayedRecords = UInt64(records.count)
        if !records.isEmpty {
            superblock.mark = end.lsn - 1
            try writeSuperblock()
        }
        var newest: [UInt64: UInt64] = [:]
        var changes = KeyTable()
        for record in records {
            superblock.nextObject = record.header.nextObject
            record.keys.forEach { key, value in
                changes.set(Bytes(copying: key), value.map { Bytes(copying: $0) })
            } removingRange: { lower, upper in
                changes.removeRange(KeyRange(Bytes(copying: lower), Bytes(copying: upper)))
            }
            // A unit written beside was fresh: what the same record journals for it came later.
            for entry in record.beside {
                newest[entry.block] = nil
                unvouched.remove(entry.block)
            }
            for (n, entry) in record.journalled.enumerated() {
                if record.damaged.contains(n) {
                    newest[entry.block] = nil
                    unvouched.insert(entry.block)
                } else {
                    newest[entry.block] =
                        record.header.offset + UInt64(record.header.metaBytes + n * StoreLimits.blockSize)
                    unvouched.remove(entry.block)
                }
            }
        }
        let holes = try holes(changes)
        if !holes.isEmpty {
            // What was there is nobody's any more, and writing it would take space that may not be had.
            newest = newest.filter { !holes.contains(stretch(of: $0.key)) }
            unvouched = unvouched.filter { !holes.contains(stretch(of: $0)) }
        }
        try writeHome(newest)
        try attempt { () throws(DeviceError) in try device.flushNow() }
        changes.set(StoreKeys.binding, Binding(store: superblock.identity.store, lsn: end.lsn).encoded())
        do throws(KeyValueError) {
            try keys.write([changes.encoded()], .atFlush)
            try keys.flush()
        } catch {
            throw StoreError(.failed, error.description)
        }
        superblock.position = end
        superblock.incarnation += 1
        try writeSuperblock()
        return superblock
    }

    /// The stretches of units that are holes at the end.
    private func holes(_ changes: KeyTable) throws(StoreError) -> Set<UInt32> {
        var result: Set<UInt32> = []
        let first = Bytes([StoreKeys.holeTag]), end = StoreKeys.end(ofPrefix: Bytes([StoreKeys.holeTag]))
        do {
            var found: [Bytes] = []
            try keys.scan(from: first, to: end) { key, _ in
                found.append(key)
                return true
            }
            for key in found { result.insert(try StoreKeys.referencedUnit(key)) }
            for change in changes.changes(from: first, to: end) {
                let hole = try StoreKeys.referencedUnit(change.key)
                if change.value == nil { result.remove(hole) } else { result.insert(hole) }
            }
        } catch {
            throw StoreError(.failed, "metadata store: \(error)")
        }
        return result
    }

    private func stretch(of block: UInt64) -> UInt32 {
        let offset = block * UInt64(StoreLimits.blockSize) - superblock.dataStart
        return UInt32(offset / UInt64(StoreLimits.unitsPerHole * StoreLimits.unitSize))
    }

    /// The metadata store has all that the superblock says it has. Before the first start it has nothing.
    private func checkBinding() throws(StoreError) {
        var found: Binding?
        do {
            if let bytes = try keys.value(StoreKeys.binding) { found = try Binding(bytes) }
        } catch let error as KeyValueError {
            throw StoreError(.failed, error.description)
        } catch {
            throw StoreError(.failed, "metadata store: binding: \(error)")
        }
        guard found != nil || superblock.incarnation > 1 else { return }
        guard let found, found.store == superblock.identity.store else {
            throw StoreError(
                .foreign, "the metadata store belongs to another store than the block file: put the right one back")
        }
        guard found.lsn >= superblock.position.lsn else {
            throw StoreError(
                .failed,
                "the metadata store is older than the block file: it ends before record \(found.lsn), the journal begins with "
                    + "\(superblock.position.lsn). Recreate this OSD from its peers")
        }
    }

    private mutating func writeSuperblock() throws(StoreError) {
        superblock.generation += 1
        let buffer = BlockBuffer(count: StoreLimits.blockSize)
        superblock.encode(into: buffer.bytes)
        let offset = superblock.offset
        try attempt { () throws(DeviceError) in
            try device.writeNow(UnsafeRawBufferPointer(buffer.bytes), at: offset)
            try device.flushNow()
        }
    }

    private func attempt(_ body: () throws(DeviceError) -> Void) throws(StoreError) {
        do throws(DeviceError) {
            try body()
        } catch {
            throw StoreError(.failed, "replay: \(error)")
        }
    }

    // MARK: - The chain of records

    private func completeRecords() throws(StoreError) -> [Record] {
        var records: [Record] = []
        var position = superblock.position
        var mark = superblock.mark
        while let record = try record(at: position) {
            records.append(record)
            mark = max(mark, record.header.mark)
            position = record.end
        }
        guard mark < position.lsn else { throw damage(at: position, mark: mark) }
        if let later = try markBehind(position) { throw damage(at: position, mark: later) }
        // Only above the mark may blocks of a record be missing because it was never complete.
        for (n, record) in records.enumerated() where record.header.lsn > mark {
            guard record.damaged.isEmpty, try besideIsComplete(record) else { return Array(records[0..<n]) }
        }
        return records
    }

    private func damage(at position: JournalPosition, mark: UInt64) -> StoreError {
        StoreError(
            .failed,
            "the journal is damaged at record \(position.lsn) (offset \(position.offset % superblock.journalLength)), which "
                + "was complete: a later one vouches for all up to \(mark). Recreate this OSD from its peers")
    }

    private func record(at position: JournalPosition) throws(StoreError) -> Record? {
        let first = BlockBuffer(count: StoreLimits.blockSize)
        try readRing(first.bytes, at: position.offset)
        guard let (header, checksum) = RecordHeader.decode(UnsafeRawBufferPointer(first.bytes)),
            header.store == superblock.journalID, header.incarnation == superblock.incarnation,
            header.lsn == position.lsn, header.offset == position.offset, header.previous == position.previous,
            UInt64(header.totalBytes) <= superblock.journalLength
        else { return nil }
        let whole = BlockBuffer(count: header.totalBytes)
        try readRing(whole.bytes, at: position.offset)
        let body = UnsafeRawBufferPointer(start: whole.base + RecordHeader.size, count: header.bodyBytes)
        guard Checksum.crc32c(body) == header.bodyChecksum else { return nil }
        do throws(WireError) {
            var reader = ByteReader(Bytes(copying: body))
            let batch = try KeyBatch(checking: try reader.readRaw(Int(header.keyBytes)))
            var journalled: [BlockEntry] = []
            var damaged: Set<Int> = []
            for n in 0..<Int(header.journalled) {
                let entry = BlockEntry(block: try reader.readU64(), checksum: try reader.readU32())
                let bytes = UnsafeRawBufferPointer(
                    start: whole.base + header.metaBytes + n * StoreLimits.blockSize, count: StoreLimits.blockSize)
                if Checksum.crc32c(bytes) != entry.checksum { damaged.insert(n) }
                journalled.append(entry)
            }
            var beside: [BlockEntry] = []
            for _ in 0..<header.beside {
                beside.append(BlockEntry(block: try reader.readU64(), checksum: try reader.readU32()))
            }
            return Record(
                header: header, checksum: checksum, keys: batch, journalled: journalled, beside: beside,
                damaged: damaged)
        } catch {
            throw StoreError(.failed, "record \(header.lsn) of the journal verifies and is not understood: \(error)")
        }
    }

    /// The mark of a record that vouches for the one missing at `position`, looked for in the whole ring. A record of a
    /// later incarnation proves that this superblock is not the last that was written.
    private func markBehind(_ position: JournalPosition) throws(StoreError) -> UInt64? {
        let step = StoreLimits.chunkSize
        let buffer = BlockBuffer(count: step)
        var at: UInt64 = 0
        while at < superblock.journalLength {
            try readRing(buffer.bytes, at: at)
            for block in 0..<step / StoreLimits.blockSize {
                guard let (header, _) = RecordHeader.decode(UnsafeRawBufferPointer(buffer.block(block))),
                    header.store == superblock.journalID,
                    header.offset % superblock.journalLength == at + UInt64(block * StoreLimits.blockSize)
                else { continue }
                guard header.incarnation <= superblock.incarnation else {
                    throw StoreError(
                        .failed,
                        "the newest superblock is damaged: the journal has records of opening \(header.incarnation), the "
                            + "superblock found is of opening \(superblock.incarnation). Recreate this OSD from its peers"
                    )
                }
                guard header.incarnation == superblock.incarnation, header.lsn > position.lsn,
                    header.mark >= position.lsn
                else { continue }
                return header.mark
            }
            at += UInt64(step)
        }
        return nil
    }

    private func besideIsComplete(_ record: Record) throws(StoreError) -> Bool {
        let buffer = BlockBuffer(count: StoreLimits.blockSize)
        for entry in record.beside {
            let offset = entry.block * UInt64(StoreLimits.blockSize)
            guard offset + UInt64(StoreLimits.blockSize) <= device.size else { return false }
            try attempt { () throws(DeviceError) in try readBlocks(buffer.bytes, at: offset) }
            guard Checksum.crc32c(UnsafeRawBufferPointer(buffer.bytes)) == entry.checksum else { return false }
        }
        return true
    }

    /// Reads from the ring, on from its beginning at its end. What cannot be read is zeros.
    private func readRing(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(StoreError) {
        let length = superblock.journalLength
        let start = offset % length
        let count = min(buffer.count, Int(length - start))
        try attempt { () throws(DeviceError) in
            try readBlocks(
                UnsafeMutableRawBufferPointer(rebasing: buffer[0..<count]), at: StoreLimits.journalStart + start)
            guard count < buffer.count else { return }
            try readBlocks(
                UnsafeMutableRawBufferPointer(rebasing: buffer[count...]), at: StoreLimits.journalStart)
        }
    }

    /// Reads whole blocks; those that the medium does not give become zeros, which verify as nothing.
    private func readBlocks(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        do throws(DeviceError) {
            try device.readNow(into: buffer, at: offset)
        } catch {
            guard error.isOfMedium else { throw error }
            guard buffer.count > StoreLimits.blockSize else {
                _ = buffer.initializeMemory(as: UInt8.self, repeating: 0)
                return
            }
            for start in stride(from: 0, to: buffer.count, by: StoreLimits.blockSize) {
                try readBlocks(
                    UnsafeMutableRawBufferPointer(rebasing: buffer[start..<start + StoreLimits.blockSize]),
                    at: offset + UInt64(start))
            }
        }
    }

    // MARK: - Home locations

    /// Writes each block's newest content home, runs of neighbours in one write.
    private func writeHome(_ newest: [UInt64: UInt64]) throws(StoreError) {
        let blockSize = StoreLimits.blockSize
        let blocks = newest.keys.sorted()
        guard let last = blocks.last else { return }
        try attempt { () throws(DeviceError) in try device.growNow(to: (last + 1) * UInt64(blockSize)) }
        let limit = StoreLimits.chunkSize / blockSize
        let buffer = BlockBuffer(count: StoreLimits.chunkSize)
        var start = 0
        while start < blocks.count {
            var count = 0
            while start + count < blocks.count, count < limit, blocks[start + count] == blocks[start] + UInt64(count) {
                try readRing(buffer.block(count), at: newest[blocks[start + count], default: 0])
                count += 1
            }
            let bytes = UnsafeRawBufferPointer(start: buffer.base, count: count * blockSize)
            let offset = blocks[start] * UInt64(blockSize)
            try attempt { () throws(DeviceError) in try device.writeNow(bytes, at: offset) }
            start += count
        }
    }
}
