import KeyValueStore
import Wire

extension ObjectStore {
    /// The journal's bytes not taken by records that a restart would replay.
    var journalFree: UInt64 { superblock.journalLength - (head.offset - superblock.position.offset) }

    // MARK: - Writing a record

    /// Whether a batch has to wait for the checkpoint of those before it: its keys would be too many to keep in memory.
    private func hasTooManyKeys(_ batch: Batch) -> Bool {
        guard let oldest = closed.first?.lastLSN, batch.lsn > oldest else { return false }
        return closed.reduce(young.table.count) { $0 + $1.table.count } > StoreLimits.mostKeys
    }

    /// Writes the batch as the next record. False when the journal, or memory for its keys, has no room for it yet.
    func seal(_ batch: Batch) -> Bool {
        precondition(batch.lsn == head.lsn, "batch \(batch.lsn) after record \(head.lsn)")
        guard UInt64(batch.recordBytes) <= journalFree, !hasTooManyKeys(batch) else {
            counters.journalFull += 1
            return false
        }
        let meta = encodeMeta(batch)
        batch.meta = meta
        batch.isSealed = true
        head = batch.end
        counters.records += 1
        counters.journalBytes += UInt64(batch.recordBytes)
        inFlight.append(batch)
        writeToRing(batch, parts: parts(of: batch, meta))
        return true
    }

    private func encodeMeta(_ batch: Batch) -> BlockBuffer {
        let body = batch.bodyBytes
        let meta = BlockBuffer(count: RecordHeader.metaBytes(body: body), from: buffers)
        var at = meta.base + RecordHeader.size
        for keys in batch.keyBatches {
            keys.bytes.withUnsafeBytes { bytes in
                guard let from = bytes.baseAddress, bytes.count > 0 else { return }
                at.copyMemory(from: from, byteCount: bytes.count)
                at += bytes.count
            }
        }
        func store(_ entry: BlockEntry) {
            at.storeBytes(of: entry.block.littleEndian, as: UInt64.self)
            at.storeBytes(of: entry.checksum.littleEndian, toByteOffset: 8, as: UInt32.self)
            at += 12
        }
        for block in batch.blocks { store(block.entry) }
        for entry in batch.beside { store(entry) }
        let used = RecordHeader.size + body
        (meta.base + used).initializeMemory(as: UInt8.self, repeating: 0, count: meta.count - used)
        batch.mark = committed.lsn - 1
        let header = RecordHeader(
            store: superblock.journalID, incarnation: superblock.incarnation, lsn: batch.lsn,
            offset: head.offset,
            mark: batch.mark, nextObject: batch.nextObject, previous: head.previous, keyBytes: UInt32(batch.keyBytes),
            journalled: UInt32(batch.blocks.count), beside: UInt32(batch.beside.count),
            bodyChecksum: Checksum.crc32c(UnsafeRawBufferPointer(start: meta.base + RecordHeader.size, count: body)))
        let checksum = header.encode(into: meta.base)
        batch.end = JournalPosition(
            lsn: batch.lsn + 1, offset: head.offset + UInt64(batch.recordBytes), previous: checksum)
        return meta
    }

    /// The memory of the record in order; blocks that lie side by side are one part.
    private func parts(of batch: Batch, _ meta: BlockBuffer) -> [UnsafeRawBufferPointer] {
        var parts = [UnsafeRawBufferPointer(meta.bytes)]
        for block in batch.blocks {
            let bytes = block.content.bytes
            let last = parts[parts.count - 1]
            if parts.count > 1, last.baseAddress! + last.count == UnsafeRawPointer(bytes.baseAddress!) {
                parts[parts.count - 1] = UnsafeRawBufferPointer(
                    start: last.baseAddress, count: last.count + bytes.count)
            } else {
                parts.append(UnsafeRawBufferPointer(bytes))
            }
        }
        return parts
    }

    /// One durable write, two when the record runs over the end of the ring.
    private func writeToRing(_ batch: Batch, parts: [UnsafeRawBufferPointer]) {
        let length = superblock.journalLength
        let offset = (batch.end.offset - UInt64(batch.recordBytes)) % length
        let tag = IOTag(.journal, batch.lsn)
        let room = Int(length - offset)
        if batch.recordBytes <= room {
            batch.outstanding += 1
            device.write(parts, at: StoreLimits.journalStart + offset, durable: true, tag: tag)
            return
        }
        counters.wraps += 1
        var first: [UnsafeRawBufferPointer] = []
        var second: [UnsafeRawBufferPointer] = []
        var left = room
        for part in parts {
            if part.count <= left {
                first.append(part)
            } else {
                if left > 0 { first.append(UnsafeRawBufferPointer(rebasing: part[0..<left])) }
                second.append(UnsafeRawBufferPointer(rebasing: part[left...]))
            }
            left = max(0, left - part.count)
        }
        batch.outstanding += 2
        device.write(first, at: StoreLimits.journalStart + offset, durable: true, tag: tag)
        device.write(second, at: StoreLimits.journalStart, durable: true, tag: tag)
    }

    // MARK: - Committing

    /// A write of the record, or beside it, is complete.
    func completeBatchWrite(_ lsn: UInt64) {
        let batch: Batch
        if let found = inFlight.first(where: { $0.lsn == lsn }) {
            batch = found
        } else if let gathering, gathering.lsn == lsn {
            batch = gathering
        } else if let found = waiting.first(where: { $0.lsn == lsn }) {
            batch = found
        } else {
            preconditionFailure("a write of batch \(lsn) completes, in flight are \(inFlight.map(\.lsn))")
        }
        batch.outstanding -= 1
        precondition(batch.outstanding >= 0, "batch \(lsn) has \(batch.outstanding) writes outstanding")
        while stopReason == nil, let first = inFlight.first, first.outstanding == 0 {
            inFlight.removeFirst()
            commit(first)
        }
    }

    /// The record and everything before it is durable: tells the owner, and lets keys and blocks go on their way.
    private func commit(_ batch: Batch) {
        for token in batch.tokens { completions.append(.committed(token)) }
        committed = batch.end
        committedNextObject = batch.nextObject
        durableMark = max(durableMark, batch.mark)
        for index in closed.indices where closed[index].lastLSN == batch.lsn { closed[index].end = batch.end }
        for unit in batch.besideUnits { uncommittedUnits[unit] = nil }
        for block in batch.blocks {
            let number = block.entry.block
            if uncommitted[number]?.lsn == batch.lsn { uncommitted[number] = nil }
            becomeDirty(number, lsn: batch.lsn, block.content)
        }
        for unit in batch.freed {
            dropDirty(unit)
            pendingFree.append((batch.lsn, unit))
        }
        for hole in batch.holes { pendingHoles.append((batch.lsn, hole)) }
    }

    private func becomeDirty(_ block: UInt64, lsn: UInt64, _ content: BlockReference) {
        var entry = DirtyBlock(lsn: lsn, content: content)
        if let before = dirty[block] {
            entry.isBusy = before.isBusy
            forgetForCheckpoint(before)
        }
        dirty[block] = entry
        dirtyQueue.append((block, lsn))
    }

    /// The blocks of a freed unit need no home any more.
    private func dropDirty(_ unit: UInt32) {
        let first = firstBlock(of: unit)
        for block in first..<first + UInt64(StoreLimits.blocksPerUnit) {
            guard let entry = dirty[block] else { continue }
            forgetForCheckpoint(entry)
            if entry.isBusy {
                dirty[block]?.isDropped = true
            } else {
                dirty[block] = nil
            }
        }
    }

    /// Counts a dirty block out of the checkpoint under way: it is home, or something newer and durable replaces it.
    func forgetForCheckpoint(_ entry: DirtyBlock) {
        switch checkpoint {
        case .writingMark(let target, _), .writingHome(let target):
            if entry.lsn < target.lsn, !entry.isDropped { checkpointRemaining -= 1 }
        case .idle, .flushing, .writingSuperblock:
            break
        }
    }

    // MARK: - Home locations

    /// Begins writes of dirty blocks, oldest first, while there are more than may wait or a checkpoint wants them.
    func writeHome() {
        if dirty.isEmpty, !dirtyQueue.isEmpty || !dirtyAgain.isEmpty {
            // All were freed before they went anywhere.
            dirtyQueue = Queue()
            dirtyAgain = Queue()
        }
        guard homeWrites.count <= StoreLimits.homeWritesInFlight - StoreLimits.homeWriteBurst else { return }
        let wanted = homeBlocksWanted
        guard wanted > 0 else { return }
        let goal = homeBlocksBegun + wanted
        var isWanted: Bool { homeBlocksBegun < goal }
        // Those that had to wait for an older write of their block come first. Behind newer ones, whose mark may never
        // come, they would keep the checkpoint, and with it a full journal, waiting for ever.
        for _ in 0..<dirtyAgain.count where isWanted && homeWrites.count < StoreLimits.homeWritesInFlight {
            guard let (block, lsn) = dirtyAgain.popFirst() else { break }
            if lsn <= durableMark { sendHome(block, lsn) } else { dirtyAgain.append((block, lsn)) }
        }
        while isWanted, homeWrites.count < StoreLimits.homeWritesInFlight, let (block, lsn) = dirtyQueue.first {
            // Only a checkpoint waits for the mark; otherwise the next record brings it.
            guard lsn <= durableMark else { break }
            dirtyQueue.popFirst()
            sendHome(block, lsn)
        }
    }

    /// How many blocks should begin their way home now. Many at once, or none: a system call and a wake-up of the device
    /// for each would cost more than the writes.
    private var homeBlocksWanted: Int {
        guard case .writingHome = checkpoint else {
            let excess = dirty.count - homeWrites.count - options.dirtyBlocks
            return excess >= StoreLimits.homeWriteBurst ? excess : 0
        }
        // Under load a checkpoint keeps pace with the journal instead of holding up its writes: the journal's are flushed,
        // and would wait behind all that the device has been given.
        let isLoaded = gathering != nil || !inFlight.isEmpty
        guard isLoaded, journalFree > superblock.journalLength / 4 else { return .max / 2 }
        let share = Double(head.offset - checkpointPace.start) / Double(superblock.journalLength / 8)
        let due = Int(Double(checkpointPace.blocks) * share) - (homeBlocksBegun - checkpointPace.begun)
        return due >= StoreLimits.homeWriteBurst ? due : 0
    }

    /// Writes the block home unless it was overwritten or dropped, or an older write of it is in flight, whose completion
    /// sees to it.
    private func sendHome(_ block: UInt64, _ lsn: UInt64) {
        guard let entry = goesHome(block), entry.lsn == lsn else { return }
        beginHomeWrite(of: entry, at: block)
    }

    /// The content of a block that may be written home now.
    private func goesHome(_ block: UInt64) -> DirtyBlock? {
        guard let entry = dirty[block], !entry.isBusy, !entry.isDropped, entry.lsn <= durableMark else { return nil }
        return entry
    }

    /// Begins to write the block and those behind it that may go too.
    private func beginHomeWrite(of entry: DirtyBlock, at first: UInt64) {
        var write = HomeWrite(first: first, lsn: entry.lsn, buffer: entry.content.buffer)
        var others: [UnsafeRawBufferPointer] = []
        becomeBusy(first, entry)
        while write.count < StoreLimits.blocksPerHomeWrite, let next = goesHome(first + UInt64(write.count)) {
            becomeBusy(first + UInt64(write.count), next)
            write.others.append(next.lsn)
            write.otherBuffers.append(next.content.buffer)
            others.append(UnsafeRawBufferPointer(next.content.bytes))
        }
        nextHomeWrite += 1
        homeWrites[nextHomeWrite] = write
        homeBlocksBegun += write.count
        counters.homeWrites += 1
        counters.homeBytes += UInt64(write.count * StoreLimits.blockSize)
        let bytes = UnsafeRawBufferPointer(entry.content.bytes)
        let offset = first * UInt64(StoreLimits.blockSize), tag = IOTag(.home, nextHomeWrite)
        if others.isEmpty {
            device.write(bytes, at: offset, durable: false, tag: tag)
        } else {
            device.write([bytes] + others, at: offset, durable: false, tag: tag)
        }
    }

    private func becomeBusy(_ block: UInt64, _ entry: DirtyBlock) {
        var entry = entry
        entry.isBusy = true
        // As a whole: changing it in its place would cost an allocation.
        dirty[block] = entry
    }

    func completeHomeWrite(_ number: UInt64) {
        guard let write = homeWrites.removeValue(forKey: number) else {
            preconditionFailure("home write \(number) completes twice")
        }
        cameHome(write.first, write.lsn)
        for (n, lsn) in write.others.enumerated() { cameHome(write.first + 1 + UInt64(n), lsn) }
    }

    private func cameHome(_ block: UInt64, _ lsn: UInt64) {
        guard var entry = dirty[block], entry.isBusy else {
            preconditionFailure("block \(block) came home and nobody sent it")
        }
        if entry.isDropped {
            dirty[block] = nil
        } else if entry.lsn == lsn {
            forgetForCheckpoint(entry)
            dirty[block] = nil
        } else {
            // Written again meanwhile: the newer content has had to wait for this write.
            entry.isBusy = false
            dirty[block] = entry
            dirtyAgain.append((block, entry.lsn))
        }
    }
}
