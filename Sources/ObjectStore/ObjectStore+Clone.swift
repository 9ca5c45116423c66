import KeyValueStore
import Protocol
import Wire

/// Clones: units that several objects share until one of them changes.
///
/// A shared unit is never written to. Whoever wants to change a part of it gets a fresh one with a copy of what it keeps,
/// written beside the record like any large write, and gives up its reference. References are counted in memory, and for
/// shared units under a key of their own, so that a restart can tell sharing from two objects that were given one unit.
/// What waits in memory for its home location is found by its place, and so by all who share it.
///
/// A unit's checksums are seeded by its object and position: a clone's are those of the original with one seed taken out
/// and another put in, so that a block that could not be vouched for stays so in all clones.
extension ObjectStore {
    /// Makes `target` equal to the object.
    func clone(_ id: ObjectID, to target: ObjectID, _ batch: Batch, _ writer: inout KeyBatchWriter) throws(StoreError) {
        guard id != target else { return }
        let source = try cached(id)
        guard let record = source.record else { return try remove(target, batch, &writer) }
        try loadUnits(source)
        try remove(target, batch, &writer)
        let copy = try existing(target)
        let number = number(of: copy)
        copy.record?.size = record.size
        copy.record?.attributes = record.attributes
        if record.mayHaveOmap {
            copy.record?.mayHaveOmap = true
            let prefix = StoreKeys.omap(record.number, .empty)
            for entry in try entries(
                from: prefix, to: StoreKeys.end(ofPrefix: prefix), prefix: StoreKeys.omapPrefix, limit: .max)
            {
                put(StoreKeys.omap(number, entry.key), entry.value.compacted(), &writer)
            }
        }
        for (index, unit) in source.units.enumerated() {
            guard let unit else { continue }
            copy.setUnit(index, share(unit, of: record.number, index, with: number, index))
        }
    }

    /// Puts a range of the object, as it is now, into `target`.
    func cloneRange(
        _ id: ObjectID, to target: ObjectID, offset: UInt64, length: UInt64, at: UInt64, _ batch: Batch
    ) throws(StoreError) {
        let source = try cached(id)
        guard let record = source.record else { return }
        try loadUnits(source)
        let copy = try existing(target)
        try loadUnits(copy)
        let end = min(record.size, offset + length)
        guard offset < end else { return }
        let from = Source(number: record.number, size: record.size, units: source.units)
        let unitSize = UInt64(StoreLimits.unitSize)
        // Onto itself a unit may lose its place before it is copied from.
        var held: [UInt32] = []
        if source === copy {
            for index in Int(offset / unitSize)...Int((end - 1) / unitSize) {
                if let unit = from.unit(index) { held.append(unit.place) }
            }
        }
        for place in held { units.share(place) }
        let last = at + (end - offset)
        precondition(last <= StorageLimits.objectSize, "\(id) \(offset)..<\(end) to \(target) at \(at)")
        var next = at
        while next < last {
            let index = Int(next / unitSize)
            let stop = min(last, UInt64(index + 1) * unitSize)
            try cloneUnit(from, at: offset + (next - at), count: Int(stop - next), to: copy, index, at: next, batch)
            next = stop
        }
        for place in held { release(place, batch) }
        if last > copy.record?.size ?? 0 { copy.record?.size = last }
    }

    /// What a range is cloned from: the object as it was before.
    private struct Source {
        var number: UInt64
        var size: UInt64
        var units: [UnitRecord?]

        func unit(_ index: Int) -> UnitRecord? { index < units.count ? units[index] : nil }
    }

    /// Clones what belongs into one unit of `copy`: by sharing if that is all the unit will hold and all that the original's
    /// holds, else by a copy.
    private func cloneUnit(
        _ source: Source, at from: UInt64, count: Int, to copy: CachedObject, _ index: Int, at: UInt64, _ batch: Batch
    ) throws(StoreError) {
        let unitSize = UInt64(StoreLimits.unitSize)
        let owner = number(of: copy)
        let isAll = at % unitSize == 0 && (count == Int(unitSize) || at + UInt64(count) >= copy.record?.size ?? 0)
        if isAll, from % unitSize == 0, count == Int(unitSize) || from + UInt64(count) == source.size {
            let before = copy.unit(index)
            let unit = source.unit(Int(from / unitSize)).map {
                share($0, of: source.number, Int(from / unitSize), with: owner, index)
            }
            if let before { release(before.place, batch) }
            if before != nil || unit != nil { copy.setUnit(index, unit) }
            return
        }
        let buffer = BlockBuffer(count: StoreLimits.unitSize, from: buffers)
        _ = buffer.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        let start = Int(at % unitSize), stop = start + count
        var content = UnitContent()
        if let before = copy.unit(index) {
            // What lies outside the range stays.
            content.present = before.present & ~Self.blocks(wholeIn: start, stop)
            content.unsound = load(before, content.present, of: owner, index, into: buffer)
            (buffer.base + start).initializeMemory(as: UInt8.self, repeating: 0, count: count)
        }
        copyRange(source, from: from, count: count, to: start, of: buffer, &content)
        if content.present == 0 {
            if let before = copy.unit(index) {
                release(before.place, batch)
                copy.setUnit(index, nil)
            }
        } else {
            try putUnit(copy, index, buffer, content, batch)
        }
    }

    /// Copies bytes of the source to `start` of `buffer`, and notes which of its blocks get any.
    private func copyRange(
        _ source: Source, from: UInt64, count: Int, to start: Int, of buffer: BlockBuffer, _ content: inout UnitContent
    ) {
        let unitSize = UInt64(StoreLimits.unitSize), blockSize = StoreLimits.blockSize
        let piece = BlockBuffer(count: StoreLimits.unitSize, from: buffers)
        var at = from
        while at < from + UInt64(count) {
            let index = Int(at / unitSize)
            let stop = min(from + UInt64(count), UInt64(index + 1) * unitSize)
            let within = Int(at % unitSize)
            let target = start + Int(at - from)
            if let unit = source.unit(index) {
                let wanted = unit.present & Self.blocks(touching: within, within + Int(stop - at))
                let unsound = load(unit, wanted, of: source.number, index, into: piece)
                for block in 0..<StoreLimits.blocksPerUnit where wanted & (1 << UInt16(block)) != 0 {
                    let first = max(within, block * blockSize)
                    let end = min(within + Int(stop - at), (block + 1) * blockSize)
                    let place = target + (first - within)
                    (buffer.base + place).copyMemory(from: piece.base + first, byteCount: end - first)
                    let touched = Self.blocks(touching: place, place + end - first)
                    content.present |= touched
                    if unsound & (1 << UInt16(block)) != 0 { content.unsound |= touched }
                }
            }
            at = stop
        }
    }

    // MARK: - Units

    /// Which blocks of a unit hold something, and which of them cannot be vouched for.
    struct UnitContent {
        var present: UInt16 = 0
        var unsound: UInt16 = 0
    }

    /// The blocks of a unit that `start ..< end` covers wholly.
    static func blocks(wholeIn start: Int, _ end: Int) -> UInt16 {
        let first = (start + StoreLimits.blockSize - 1) / StoreLimits.blockSize
        return mask(first, end / StoreLimits.blockSize)
    }

    /// The blocks of a unit that `start ..< end` touches.
    static func blocks(touching start: Int, _ end: Int) -> UInt16 {
        mask(start / StoreLimits.blockSize, (end + StoreLimits.blockSize - 1) / StoreLimits.blockSize)
    }

    private static func mask(_ first: Int, _ end: Int) -> UInt16 {
        guard first < end else { return 0 }
        return UInt16(truncatingIfNeeded: (UInt32(1) << UInt32(end)) - (UInt32(1) << UInt32(first)))
    }

    /// The record of a unit for one more who shares it.
    private func share(_ unit: UnitRecord, of owner: UInt64, _ index: Int, with other: UInt64, _ place: Int)
        -> UnitRecord
    {
        units.share(unit.place)
        changedShares.append(unit.place)
        counters.sharedUnits += 1
        var shared = unit
        for block in 0..<StoreLimits.blocksPerUnit where unit.has(block) {
            shared.checksums[block] ^=
                UnitRecord.seed(object: owner, block: blockNumber(index, block))
                ^ UnitRecord.seed(object: other, block: blockNumber(place, block))
        }
        return shared
    }

    /// Gives up a reference to a unit; with the last one it is freed.
    func release(_ place: UInt32, _ batch: Batch) {
        if units.isShared(place) {
            units.unshare(place)
            changedShares.append(place)
        } else {
            batch.freed.append(place)
        }
    }

    /// Puts the keys of the units whose references the transaction has changed.
    func putShares(into batch: Batch, _ writer: inout KeyBatchWriter) {
        for place in Set(changedShares).sorted() {
            let count = units.references(place)
            if count > 1 {
                put(StoreKeys.references(place), Bytes.encoding(capacity: 4) { $0.writeU32(count) }, &writer)
            } else {
                removeKey(StoreKeys.references(place), &writer)
            }
        }
        changedShares.removeAll(keepingCapacity: true)
    }

    /// A unit of the object that nobody else has, with the blocks `keeping` of the shared one that it replaces.
    func ownUnit(
        _ object: CachedObject, _ index: Int, insteadOf shared: UnitRecord, keeping: UInt16, _ batch: Batch
    ) throws(StoreError) -> UnitRecord {
        let kept = shared.present & keeping
        if kept == 0 {
            let place = try allocate(1).first
            release(shared.place, batch)
            object.setUnit(index, UnitRecord(place: place))
        } else {
            let buffer = BlockBuffer(count: StoreLimits.unitSize, from: buffers)
            let unsound = load(shared, kept, of: number(of: object), index, into: buffer)
            try putUnit(object, index, buffer, UnitContent(present: kept, unsound: unsound), batch)
        }
        guard let unit = object.unit(index) else { preconditionFailure("unit \(index) of \(object.id) is not there") }
        return unit
    }

    /// Writes a fresh unit of the object beside the record, from its first block that holds something to its last. The unit
    /// that was there loses a reference.
    private func putUnit(
        _ object: CachedObject, _ index: Int, _ buffer: BlockBuffer, _ content: UnitContent, _ batch: Batch
    ) throws(StoreError) {
        let owner = number(of: object)
        var unit = UnitRecord(place: try allocate(1).first)
        let home = firstBlock(of: unit.place)
        for block in 0..<StoreLimits.blocksPerUnit where content.present & (1 << UInt16(block)) != 0 {
            let plain = Checksum.crc32c(UnsafeRawBufferPointer(buffer.block(block)))
            let seed = UnitRecord.seed(object: owner, block: blockNumber(index, block))
            let isVouchedFor = content.unsound & (1 << UInt16(block)) == 0
            batch.beside.append(BlockEntry(block: home + UInt64(block), checksum: plain))
            unit.set(block, checksum: isVouchedFor ? plain ^ seed : ~(plain ^ seed))
        }
        batch.besideUnits.append(unit.place)
        uncommittedUnits[unit.place] = UncommittedUnit(buffer: buffer, index: 0, blocks: content.present)
        if let before = object.unit(index) { release(before.place, batch) }
        object.setUnit(index, unit)
        let first = content.present.trailingZeroBitCount
        let end = StoreLimits.blocksPerUnit - content.present.leadingZeroBitCount
        // Between blocks that hold something there may be others, whose bytes are nobody's but must be some.
        for block in first..<end where content.present & (1 << UInt16(block)) == 0 {
            _ = buffer.block(block).initializeMemory(as: UInt8.self, repeating: 0)
        }
        let bytes = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(buffer.bytes)[first * StoreLimits.blockSize..<end * StoreLimits.blockSize])
        batch.outstanding += 1
        batch.besideBuffers.append(buffer)
        batch.besideBytes += bytes.count
        counters.besideBytes += UInt64(bytes.count)
        counters.copiedUnits += 1
        device.write(
            [bytes], at: (home + UInt64(first)) * UInt64(StoreLimits.blockSize), durable: true,
            tag: IOTag(.beside, batch.lsn))
    }

    /// Fills the places of `blocks` in `buffer` with the newest content of a unit's blocks; returns those that cannot be
    /// vouched for. Others that are read on the way become zeros. Waits for the device when one is in no memory.
    private func load(
        _ unit: UnitRecord, _ blocks: UInt16, of owner: UInt64, _ index: Int, into buffer: BlockBuffer
    ) -> UInt16 {
        let home = firstBlock(of: unit.place)
        var missing: UInt16 = 0, unreadable: UInt16 = 0
        for block in 0..<StoreLimits.blocksPerUnit where blocks & (1 << UInt16(block)) != 0 {
            if newest(home + UInt64(block)) == nil { missing |= 1 << UInt16(block) }
        }
        if missing != 0 {
            counters.mergeReads += 1
            let first = missing.trailingZeroBitCount
            let count = StoreLimits.blocksPerUnit - missing.leadingZeroBitCount - first
            if !readHome(home + UInt64(first), count, into: buffer, first) {
                // One bad block must not take the others with it.
                for block in first..<first + count where missing & (1 << UInt16(block)) != 0 {
                    guard !readHome(home + UInt64(block), 1, into: buffer, block) else { continue }
                    _ = buffer.block(block).initializeMemory(as: UInt8.self, repeating: 0)
                    unreadable |= 1 << UInt16(block)
                }
            }
            for block in first..<first + count where blocks & (1 << UInt16(block)) == 0 {
                _ = buffer.block(block).initializeMemory(as: UInt8.self, repeating: 0)
            }
        }
        var unsound = unreadable
        for block in 0..<StoreLimits.blocksPerUnit where blocks & (1 << UInt16(block)) != 0 {
            if let content = newest(home + UInt64(block)) {
                buffer.block(block).copyMemory(from: UnsafeRawBufferPointer(content.bytes))
            }
            let checksum = Checksum.crc32c(UnsafeRawBufferPointer(buffer.block(block)))
            let seed = UnitRecord.seed(object: owner, block: blockNumber(index, block))
            if checksum ^ seed != unit.checksums[block] { unsound |= 1 << UInt16(block) }
        }
        return unsound
    }

    private func readHome(_ block: UInt64, _ count: Int, into buffer: BlockBuffer, _ index: Int) -> Bool {
        let target = UnsafeMutableRawBufferPointer(
            start: buffer.base + index * StoreLimits.blockSize, count: count * StoreLimits.blockSize)
        do throws(DeviceError) {
            try device.readNow(into: target, at: block * UInt64(StoreLimits.blockSize))
            return true
        } catch {
            return false
        }
    }
}
