import KeyValueStore
import Protocol
import Wire

/// Applying operations to the objects in memory. What results goes into the batch as keys and blocks.
extension ObjectStore {
    func apply(_ operation: Transaction.Operation, to batch: Batch, _ writer: inout KeyBatchWriter) throws(StoreError) {
        switch operation {
        case .touch(let id):
            _ = try existing(id)
        case .write(let id, let offset, let data):
            try write(id, offset: offset, data: data, to: batch)
        case .zero(let id, let offset, let length):
            let object = try cached(id)
            guard let size = object.record?.size, offset < size else { return }
            try zero(object, from: offset, to: min(size, offset + length), batch)
        case .truncate(let id, let size):
            try truncate(id, to: size, batch)
        case .remove(let id):
            try remove(id, batch, &writer)
        case .setAttribute(let id, let name, let value):
            try existing(id).record?.set(name, value.compacted())
        case .removeAttribute(let id, let name):
            let object = try cached(id)
            guard object.record?.attribute(name) != nil else { return }
            object.record?.attributes.removeAll { $0.name == name }
            markChanged(object)
        case .setOmap(let id, let entries):
            let object = try existing(id)
            object.record?.mayHaveOmap = true
            let number = number(of: object)
            for entry in entries { put(StoreKeys.omap(number, entry.key), entry.value.compacted(), &writer) }
        case .removeOmap(let id, let keys):
            guard let number = try cached(id).record?.number else { return }
            for key in keys { removeKey(StoreKeys.omap(number, key), &writer) }
        case .removeOmapRange(let id, let from, let to):
            guard let record = try cached(id).record, record.mayHaveOmap else { return }
            let end = StoreKeys.end(ofPrefix: StoreKeys.omap(record.number, .empty))
            try removeKeys(
                from: StoreKeys.omap(record.number, from), to: to.map { StoreKeys.omap(record.number, $0) } ?? end,
                &writer)
        case .clone(let id, let target):
            try clone(id, to: target, batch, &writer)
        case .cloneRange(let id, let target, let offset, let length, let at):
            try cloneRange(id, to: target, offset: offset, length: length, at: at, batch)
        case .clearOmap(let id):
            try clearOmap(try cached(id), &writer)
        case .setGroupKeys(let group, let entries):
            for entry in entries { put(StoreKeys.group(group, entry.key), entry.value.compacted(), &writer) }
        case .removeGroupKeys(let group, let from, let to):
            try removeKeys(from: StoreKeys.group(group, from), to: StoreKeys.group(group, to), &writer)
        case .removeGroup(let group):
            let prefix = StoreKeys.group(group, .empty)
            try removeKeys(from: prefix, to: StoreKeys.end(ofPrefix: prefix), &writer)
        }
    }

    // MARK: - Keys

    func put(_ key: Bytes, _ value: Bytes, _ writer: inout KeyBatchWriter) {
        young.table.set(key, value)
        writer.put(key, value)
    }

    func removeKey(_ key: Bytes, _ writer: inout KeyBatchWriter) {
        young.table.set(key, nil)
        writer.remove(key)
    }

    /// Removes the keys of the range: a few of them one by one, which costs the metadata store least; many as a range, so that
    /// what is logged does not depend on their number.
    private func removeKeys(from lower: Bytes, to upper: Bytes, _ writer: inout KeyBatchWriter)
        throws(StoreError)
    {
        guard lower < upper else { return }
        var found: [Bytes] = []
        try scan(from: lower, to: upper) { key, _ in
            found.append(key)
            return found.count <= StoreLimits.keysRemovedSingly
        }
        guard found.count > StoreLimits.keysRemovedSingly else {
            for key in found { removeKey(key, &writer) }
            return
        }
        young.table.removeRange(KeyRange(lower, upper))
        writer.removeRange(lower, upper)
    }

    private func clearOmap(_ object: CachedObject, _ writer: inout KeyBatchWriter) throws(StoreError) {
        guard let record = object.record, record.mayHaveOmap else { return }
        let prefix = StoreKeys.omap(record.number, .empty)
        try removeKeys(from: prefix, to: StoreKeys.end(ofPrefix: prefix), &writer)
        object.record?.mayHaveOmap = false
        markChanged(object)
    }

    // MARK: - Objects

    func markChanged(_ object: CachedObject) {
        object.recordChanged = true
        markTouched(object)
    }

    private func markTouched(_ object: CachedObject) {
        guard !object.touched else { return }
        object.touched = true
        touchedObjects.append(object)
    }

    /// The object, which comes into being when it does not exist; its record will be written.
    func existing(_ id: ObjectID) throws(StoreError) -> CachedObject {
        let object = try cached(id)
        if object.record == nil {
            object.record = ObjectRecord(number: nextObject)
            object.units = []
            object.unitsLoaded = true
            nextObject += 1
        }
        markChanged(object)
        return object
    }

    func number(of object: CachedObject) -> UInt64 {
        guard let record = object.record else { preconditionFailure("object \(object.id) does not exist") }
        return record.number
    }

    /// Puts what the transaction changed of the objects' records and units.
    func putTouched(into batch: Batch, _ writer: inout KeyBatchWriter) {
        for object in touchedObjects {
            if let record = object.record {
                for index in object.changedUnits {
                    let key = StoreKeys.unit(record.number, UInt32(index))
                    if let unit = object.unit(index) {
                        put(key, unit.encoded(), &writer)
                    } else {
                        removeKey(key, &writer)
                    }
                }
                if object.recordChanged { put(object.key, record.encoded(), &writer) }
            }
            if object.units.count != object.countedUnits { countUnits(of: object) }
            object.changedUnits.removeAll(keepingCapacity: true)
            object.recordChanged = false
            object.touched = false
        }
        touchedObjects.removeAll(keepingCapacity: true)
        if !changedShares.isEmpty { putShares(into: batch, &writer) }
    }

    func remove(_ id: ObjectID, _ batch: Batch, _ writer: inout KeyBatchWriter) throws(StoreError) {
        let object = try cached(id)
        guard let record = object.record else { return }
        try loadUnits(object)
        try clearOmap(object, &writer)
        for (index, unit) in object.units.enumerated() {
            guard let unit else { continue }
            release(unit.place, batch)
            removeKey(StoreKeys.unit(record.number, UInt32(index)), &writer)
        }
        // Units that were punched out earlier in this transaction have their old keys still.
        for index in object.changedUnits where object.unit(index) == nil {
            removeKey(StoreKeys.unit(record.number, UInt32(index)), &writer)
        }
        removeKey(object.key, &writer)
        object.record = nil
        object.units = []
        object.changedUnits = []
        object.recordChanged = false
    }

    private func truncate(_ id: ObjectID, to size: UInt64, _ batch: Batch) throws(StoreError) {
        precondition(size <= StorageLimits.objectSize, "object \(id) to \(size) bytes")
        let object = try existing(id)
        let before = object.record?.size ?? 0
        if size < before { try zero(object, from: size, to: before, batch) }
        object.record?.size = size
    }

    /// Makes `start ..< end` read as zeros: whole blocks lose their place, parts of blocks are merged. The bytes from
    /// the object's size to the end of its last block are zeros always, so `end` may be taken up to there.
    private func zero(_ object: CachedObject, from start: UInt64, to end: UInt64, _ batch: Batch) throws(StoreError) {
        guard start < end, let size = object.record?.size else { return }
        try loadUnits(object)
        let blockSize = UInt64(StoreLimits.blockSize)
        let end = end == size ? (end + blockSize - 1) / blockSize * blockSize : end
        let unitSize = UInt64(StoreLimits.unitSize)
        let last = min(UInt64(object.units.count), (end + unitSize - 1) / unitSize)
        var index = Int(start / unitSize)
        while index < Int(last) {
            if let unit = object.unit(index) {
                let base = UInt64(index) * unitSize
                let from = Int(max(start, base) - base), to = Int(min(end, base + unitSize) - base)
                try zero(object, unit: unit, index: index, from: from, to: to, batch)
            }
            index += 1
        }
    }

    private func zero(
        _ object: CachedObject, unit before: UnitRecord, index: Int, from start: Int, to end: Int, _ batch: Batch
    ) throws(StoreError) {
        var unit = before
        let whole = Self.blocks(wholeIn: start, end), touched = Self.blocks(touching: start, end)
        if touched & ~whole & unit.present != 0, units.isShared(unit.place) {
            unit = try ownUnit(object, index, insteadOf: unit, keeping: ~whole, batch)
        }
        var at = start
        while at < end {
            let block = at / StoreLimits.blockSize
            let next = min(end, (block + 1) * StoreLimits.blockSize)
            if next - at == StoreLimits.blockSize {
                unit.clear(block)
            } else if unit.has(block) {
                try writeBlock(object, &unit, index, block, from: at % StoreLimits.blockSize, .zeros(next - at), batch)
            }
            at = next
        }
        guard unit != before else { return }
        if unit.present == 0 {
            release(unit.place, batch)
            object.setUnit(index, nil)
        } else {
            object.setUnit(index, unit)
        }
        markTouched(object)
    }

    // MARK: - Data

    private func write(_ id: ObjectID, offset: UInt64, data: Bytes, to batch: Batch) throws(StoreError) {
        precondition(
            offset + UInt64(data.count) <= StorageLimits.objectSize, "write to \(id) at \(offset)+\(data.count)")
        let object = try existing(id)
        try loadUnits(object)
        let unitSize = StoreLimits.unitSize
        var done = 0
        while done < data.count {
            let at = Int(offset) + done
            let within = at % unitSize
            let whole = within == 0 ? (data.count - done) / unitSize : 0
            if whole > 0 {
                try writeUnits(object, at / unitSize, data[done..<done + whole * unitSize], batch)
                done += whole * unitSize
            } else {
                let count = min(unitSize - within, data.count - done)
                try writeBlocks(object, at / unitSize, within, data[done..<done + count], batch)
                done += count
            }
        }
        let end = offset + UInt64(data.count)
        if end > object.record?.size ?? 0 { object.record?.size = end }
    }

    /// Writes whole units: to fresh space, beside the record. The units that held the range before are freed.
    private func writeUnits(_ object: CachedObject, _ first: Int, _ data: Bytes, _ batch: Batch) throws(StoreError) {
        let unitSize = StoreLimits.unitSize
        let owner = number(of: object)
        var done = 0
        while done < data.count {
            let wanted = min((data.count - done) / unitSize, StoreLimits.besideWrite / unitSize)
            let (place, count) = try allocate(wanted)
            let buffer = BlockBuffer(count: count * unitSize, from: buffers)
            data[done..<done + count * unitSize].withUnsafeBytes { source in
                for n in 0..<count {
                    let index = first + done / unitSize + n
                    var unit = UnitRecord(place: place + UInt32(n))
                    let home = firstBlock(of: unit.place)
                    for block in 0..<StoreLimits.blocksPerUnit {
                        // Copied and summed block by block, while it is in the nearest cache.
                        let from = n * unitSize + block * StoreLimits.blockSize
                        let target = buffer.block(n * StoreLimits.blocksPerUnit + block)
                        target.copyMemory(
                            from: UnsafeRawBufferPointer(rebasing: source[from..<from + StoreLimits.blockSize]))
                        let plain = Checksum.crc32c(UnsafeRawBufferPointer(target))
                        batch.beside.append(BlockEntry(block: home + UInt64(block), checksum: plain))
                        unit.set(
                            block, checksum: plain ^ UnitRecord.seed(object: owner, block: blockNumber(index, block)))
                    }
                    // A smaller write may have to be merged with it before it is on the disk.
                    batch.besideUnits.append(unit.place)
                    uncommittedUnits[unit.place] = UncommittedUnit(
                        buffer: buffer, index: n * StoreLimits.blocksPerUnit, blocks: .max)
                    if let before = object.unit(index) { release(before.place, batch) }
                    object.setUnit(index, unit)
                }
            }
            batch.outstanding += 1
            batch.besideBuffers.append(buffer)
            batch.besideBytes += buffer.count
            counters.besideBytes += UInt64(buffer.count)
            device.write(
                [UnsafeRawBufferPointer(buffer.bytes)], at: offset(of: place), durable: true,
                tag: IOTag(.beside, batch.lsn))
            if buffer.count >= StoreLimits.besideAtOnce { submitToDevice() }
            done += count * unitSize
        }
    }

    /// Writes a part of a unit, in place: through the journal.
    private func writeBlocks(_ object: CachedObject, _ index: Int, _ start: Int, _ data: Bytes, _ batch: Batch)
        throws(StoreError)
    {
        var unit: UnitRecord
        if let found = object.unit(index) {
            unit = found
            if units.isShared(unit.place) {
                let whole = Self.blocks(wholeIn: start, start + data.count)
                unit = try ownUnit(object, index, insteadOf: unit, keeping: ~whole, batch)
            }
        } else {
            unit = UnitRecord(place: try allocate(1).first)
        }
        var done = 0
        while done < data.count {
            let block = (start + done) / StoreLimits.blockSize
            let within = (start + done) % StoreLimits.blockSize
            let count = min(StoreLimits.blockSize - within, data.count - done)
            try writeBlock(object, &unit, index, block, from: within, .bytes(data[done..<done + count]), batch)
            done += count
        }
        object.setUnit(index, unit)
    }

    enum Content {
        case bytes(Bytes)
        case zeros(Int)

        var count: Int {
            switch self {
            case .bytes(let bytes): bytes.count
            case .zeros(let count): count
            }
        }
    }

    /// Journals one block with `content` merged into it at `within`.
    private func writeBlock(
        _ object: CachedObject, _ unit: inout UnitRecord, _ index: Int, _ block: Int, from within: Int,
        _ content: Content,
        _ batch: Batch
    ) throws(StoreError) {
        if chunkUsed == StoreLimits.chunkSize / StoreLimits.blockSize {
            chunk = BlockBuffer(count: StoreLimits.chunkSize, from: buffers)
            chunkUsed = 0
        }
        let reference = BlockReference(buffer: chunk, index: chunkUsed)
        chunkUsed += 1
        let target = reference.bytes
        let place = firstBlock(of: unit.place) + UInt64(block)
        let seed = UnitRecord.seed(object: number(of: object), block: blockNumber(index, block))
        var isVouchedFor = true
        if content.count < StoreLimits.blockSize {
            isVouchedFor = try fill(target, with: unit, block, place, seed)
        }
        switch content {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[within...]).copyMemory(from: $0) }
        case .zeros(let count):
            (target.baseAddress! + within).initializeMemory(as: UInt8.self, repeating: 0, count: count)
        }
        let plain = Checksum.crc32c(UnsafeRawBufferPointer(target))
        // A block whose old content did not verify stays unreadable: the part not written now is unknown.
        unit.set(block, checksum: isVouchedFor ? plain ^ seed : ~(plain ^ seed))
        batch.blocks.append(Batch.Block(entry: BlockEntry(block: place, checksum: plain), content: reference))
        uncommitted[place] = UncommittedBlock(lsn: batch.lsn, content: reference)
    }

    /// Fills `target` with the newest content of a block; false when that cannot be vouched for. Waits for the device
    /// when the block is in no memory: writes smaller than a block are rare.
    private func fill(
        _ target: UnsafeMutableRawBufferPointer, with unit: UnitRecord, _ block: Int, _ place: UInt64, _ seed: UInt32
    ) throws(StoreError) -> Bool {
        guard unit.has(block) else {
            _ = target.initializeMemory(as: UInt8.self, repeating: 0)
            return true
        }
        if let content = newest(place) {
            target.copyMemory(from: UnsafeRawBufferPointer(content.bytes))
        } else {
            counters.mergeReads += 1
            do throws(DeviceError) {
                try device.readNow(into: target, at: place * UInt64(StoreLimits.blockSize))
            } catch {
                _ = target.initializeMemory(as: UInt8.self, repeating: 0)
                return false
            }
        }
        return Checksum.crc32c(UnsafeRawBufferPointer(target)) ^ seed == unit.checksums[block]
    }

    /// The content of a block that is newer than its home location.
    func newest(_ place: UInt64) -> BlockReference? {
        if let found = uncommitted[place] { return found.content }
        if !uncommittedUnits.isEmpty, place >= firstBlock(of: 0) {
            let number = place - firstBlock(of: 0)
            let within = Int(number) % StoreLimits.blocksPerUnit
            if let unit = uncommittedUnits[UInt32(Int(number) / StoreLimits.blocksPerUnit)],
                unit.blocks & (1 << UInt16(within)) != 0
            {
                return BlockReference(buffer: unit.buffer, index: unit.index + within)
            }
        }
        return dirty[place]?.content
    }

    func blockNumber(_ index: Int, _ block: Int) -> UInt64 {
        UInt64(index) * UInt64(StoreLimits.blocksPerUnit) + UInt64(block)
    }
}
