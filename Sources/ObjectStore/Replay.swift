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
        var journalled: [BlockEntry]
        var beside: [BlockEntry]
        /// Which of the journalled blocks do not verify.
        var damaged: Set<Int>

        var end: JournalPosition {
            JournalPosition(
                lsn: header.lsn + 1, offset: header.offset + UInt64(header.totalBytes), previous: checksum)
        }
    }

    private let ring: RingImage<Device>

    init(device: Device, keys: Keys, superblock: Superblock) {
        self.device = device
        self.keys = keys
        self.superblock = superblock
        ring = RingImage(device, length: superblock.journalLength)
    }

    /// Replays, and returns the superblock that the store goes on with, written durably.
    mutating func run() throws(StoreError) -> Superblock {
        try checkBinding()
        let records = try completeRecords()
        let end = records.last?.end ?? superblock.position
        counters.replayedRecords = UInt64(records.count)
        if let last = records.last {
            superblock.nextObject = last.header.nextObject
            superblock.mark = end.lsn - 1
            // Its flush puts the records on the disk for good, before keys that follow from them may get there.
            try writeSuperblock()
        }
        let holes = try applyKeys(of: records)
        var newest = newestBlocks(of: records)
        if !holes.isEmpty {
            // What was there is nobody's any more, and writing it would take space that may not be had.
            newest = newest.filter { !holes.contains(stretch(of: $0.key)) }
            unvouched = unvouched.filter { !holes.contains(stretch(of: $0)) }
        }
        try writeHome(newest)
        try attempt { () throws(DeviceError) in try device.flushNow() }
        try write { writer in
            writer.put(StoreKeys.binding, Binding(store: superblock.identity.store, lsn: end.lsn).encoded())
        }
        do throws(KeyValueError) {
            try keys.flush()
        } catch {
            throw StoreError(.failed, error.description)
        }
        superblock.position = end
        superblock.incarnation += 1
        try writeSuperblock()
        return superblock
    }

    /// Where in the ring the newest content of each journalled block is, by its number in the file.
    private mutating func newestBlocks(of records: [Record]) -> [UInt64: UInt64] {
        var newest: [UInt64: UInt64] = [:]
        for record in records {
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
        return newest
    }

    // MARK: - Keys

    private func write(_ body: (inout KeyBatchWriter) -> Void) throws(StoreError) {
        var writer = KeyBatchWriter()
        body(&writer)
        try write(writer.finish())
    }

    private func write(_ batch: KeyBatch) throws(StoreError) {
        do throws(KeyValueError) {
            try keys.write([batch], .atFlush)
        } catch {
            throw StoreError(.failed, error.description)
        }
    }

    /// Gives the metadata store what the records changed, some records at a time: a crash in between leaves what the next
    /// start makes the same of, since it begins at the same record. Returns the stretches of units that are holes at the end.
    private func applyKeys(of records: [Record]) throws(StoreError) -> Set<UInt32> {
        var holes = try storedHoles()
        var gathered = ReplayedKeys()
        for record in records {
            let batch = try keys(of: record)
            var failure: WireError?
            batch.forEach { key, value in
                guard key.first == StoreKeys.holeTag else { return }
                do throws(WireError) {
                    let hole = try StoreKeys.referencedUnit(Bytes(copying: key))
                    if value == nil { holes.remove(hole) } else { holes.insert(hole) }
                } catch {
                    failure = error
                }
            } removingRange: { _, _ in
            }
            if let failure { throw StoreError(.failed, "record \(record.header.lsn) of the journal: \(failure)") }
            gathered.take(batch)
            guard gathered.bytes >= StoreLimits.replayedKeys else { continue }
            try write(gathered.inOrder())
            gathered = ReplayedKeys()
        }
        try write(gathered.inOrder())
        return holes
    }

    private func storedHoles() throws(StoreError) -> Set<UInt32> {
        var result: Set<UInt32> = []
        let first = Bytes([StoreKeys.holeTag]), end = StoreKeys.end(ofPrefix: Bytes([StoreKeys.holeTag]))
        do {
            var found: [Bytes] = []
            try keys.scan(from: first, to: end) { key, _ in
                found.append(key)
                return true
            }
            for key in found { result.insert(try StoreKeys.referencedUnit(key)) }
        } catch {
            throw StoreError(.failed, "metadata store: \(error)")
        }
        return result
    }

    /// The keys of a record that was read before.
    private func keys(of record: Record) throws(StoreError) -> KeyBatch {
        let count = Int(record.header.keyBytes)
        let found = try ringBytes(record.header.offset + UInt64(RecordHeader.size), count)
        do throws(WireError) {
            return try withExtendedLifetime(found.copy) { () throws(WireError) in
                try KeyBatch(checking: Bytes(copying: found.bytes))
            }
        } catch {
            throw StoreError(.failed, "record \(record.header.lsn) of the journal: \(error)")
        }
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
        let first = try ringBytes(position.offset, StoreLimits.blockSize)
        guard let (header, checksum) = RecordHeader.decode(first.bytes),
            header.store == superblock.journalID, header.incarnation == superblock.incarnation,
            header.lsn == position.lsn, header.offset == position.offset, header.previous == position.previous,
            UInt64(header.totalBytes) <= superblock.journalLength
        else { return nil }
        let found = try ringBytes(position.offset, header.totalBytes)
        defer { withExtendedLifetime(found.copy) {} }
        let whole = found.bytes
        let body = UnsafeRawBufferPointer(rebasing: whole[RecordHeader.size..<RecordHeader.size + header.bodyBytes])
        guard Checksum.crc32c(body) == header.bodyChecksum else { return nil }
        do throws(WireError) {
            var reader = ByteReader(Bytes(copying: body))
            _ = try KeyBatch(checking: try reader.readRaw(Int(header.keyBytes)))
            var journalled: [BlockEntry] = []
            var damaged: Set<Int> = []
            for n in 0..<Int(header.journalled) {
                let entry = BlockEntry(block: try reader.readU64(), checksum: try reader.readU32())
                let start = header.metaBytes + n * StoreLimits.blockSize
                let bytes = UnsafeRawBufferPointer(rebasing: whole[start..<start + StoreLimits.blockSize])
                if Checksum.crc32c(bytes) != entry.checksum { damaged.insert(n) }
                journalled.append(entry)
            }
            var beside: [BlockEntry] = []
            for _ in 0..<header.beside {
                beside.append(BlockEntry(block: try reader.readU64(), checksum: try reader.readU32()))
            }
            return Record(
                header: header, checksum: checksum, journalled: journalled, beside: beside, damaged: damaged)
        } catch {
            throw StoreError(.failed, "record \(header.lsn) of the journal verifies and is not understood: \(error)")
        }
    }

    /// The mark of a record that vouches for the one missing at `position`, looked for in the whole ring. A record of a
    /// later incarnation proves that this superblock is not the last that was written.
    private func markBehind(_ position: JournalPosition) throws(StoreError) -> UInt64? {
        for at in stride(from: 0, to: superblock.journalLength, by: UInt64.Stride(StoreLimits.blockSize)) {
            let block = try ringBytes(at, StoreLimits.blockSize)
            guard let (header, _) = RecordHeader.decode(block.bytes), header.store == superblock.journalID,
                header.offset % superblock.journalLength == at
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
        return nil
    }

    private func besideIsComplete(_ record: Record) throws(StoreError) -> Bool {
        let buffer = BlockBuffer(count: StoreLimits.blockSize)
        for entry in record.beside {
            let offset = entry.block * UInt64(StoreLimits.blockSize)
            guard offset + UInt64(StoreLimits.blockSize) <= device.size else { return false }
            try attempt { () throws(DeviceError) in try device.readWhatIsThere(into: buffer.bytes, at: offset) }
            guard Checksum.crc32c(UnsafeRawBufferPointer(buffer.bytes)) == entry.checksum else { return false }
        }
        return true
    }

    /// Bytes of the ring, on from its beginning at its end. What cannot be read is zeros.
    private func ringBytes(_ offset: UInt64, _ count: Int) throws(StoreError) -> (
        bytes: UnsafeRawBufferPointer, copy: BlockBuffer?
    ) {
        do throws(DeviceError) {
            return try ring.bytes(at: offset, count: count)
        } catch {
            throw StoreError(.failed, "replay: \(error)")
        }
    }

    // MARK: - Home locations

    /// Writes each block's newest content home, runs of neighbours in one write and many at a time.
    private func writeHome(_ newest: [UInt64: UInt64]) throws(StoreError) {
        let blockSize = StoreLimits.blockSize
        let blocks = newest.keys.sorted()
        guard let last = blocks.last else { return }
        try attempt { () throws(DeviceError) in try device.growNow(to: (last + 1) * UInt64(blockSize)) }
        var writes: [PlacedWrite] = []
        var start = 0
        while start < blocks.count {
            var write = PlacedWrite(offset: blocks[start] * UInt64(blockSize), parts: [])
            while start < blocks.count, write.parts.count < StoreLimits.blocksPerHomeWrite,
                blocks[start] * UInt64(blockSize) == write.offset + UInt64(write.parts.count * blockSize)
            {
                // A block is never cut by the end of the ring.
                write.parts.append(try ringBytes(newest[blocks[start], default: 0], blockSize).bytes)
                start += 1
            }
            writes.append(write)
        }
        try attempt { () throws(DeviceError) in try device.writeNow(writes) }
        withExtendedLifetime(ring) {}
    }
}
