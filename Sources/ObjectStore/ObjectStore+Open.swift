import KeyValueStore
import Protocol
import Wire

extension ObjectStore {
    /// Writes an empty store on the device and the metadata store, whose keys must be empty. The superblock comes last,
    /// so an interrupted format is no store.
    public static func format(_ device: Device, identity: StoreIdentity, options: StoreOptions = StoreOptions())
        throws(StoreError)
    {
        StoreLimits.check()
        let unitSize = UInt64(StoreLimits.unitSize)
        let journal = options.journalSize / unitSize * unitSize
        precondition(
            journal >= StoreLimits.smallestJournal && journal <= StoreLimits.largestJournal,
            "a journal of \(journal) bytes")
        if let capacity = options.capacity, capacity.rawValue < unitSize {
            throw StoreError(
                .noSpace, "a store of \(capacity.rawValue) bytes holds nothing: give it at least \(unitSize)")
        }
        let superblock = Superblock(
            identity: identity, journalLength: journal,
            capacity: (options.capacity?.rawValue ?? 0) / unitSize * unitSize, salt: options.salt)
        do throws(DeviceError) {
            // Real zeros: a write into a hole has the file system's own journal wait, and can fail for want of space.
            let zeros = BlockBuffer(count: 1 << 20)
            _ = zeros.bytes.initializeMemory(as: UInt8.self, repeating: 0)
            let growth = options.growth / unitSize * unitSize
            let end = superblock.dataStart + (superblock.capacity == 0 ? growth : min(growth, superblock.capacity))
            var at: UInt64 = 0
            while at < end {
                let count = Int(min(UInt64(zeros.count), end - at))
                try device.writeNow(
                    UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(zeros.bytes)[0..<count]), at: at)
                at += UInt64(count)
            }
            try device.flushNow()
            let block = BlockBuffer(count: StoreLimits.blockSize)
            superblock.encode(into: block.bytes)
            try device.writeNow(UnsafeRawBufferPointer(block.bytes), at: superblock.offset)
            try device.flushNow()
        } catch {
            throw StoreError(error.isNoSpace ? .noSpace : .failed, "cannot format the store: \(error)")
        }
    }

    /// What the superblock says: whose store it is. Throws when there is none.
    static func readSuperblock(_ device: Device) throws(StoreError) -> Superblock {
        let block = BlockBuffer(count: StoreLimits.blockSize)
        var best: Superblock?
        var failure: DeviceError?
        for offset in StoreLimits.superblockOffsets where offset + UInt64(StoreLimits.blockSize) <= device.size {
            do throws(DeviceError) {
                try device.readNow(into: block.bytes, at: offset)
            } catch {
                // The other copy may do: when it is not the last that was written, the journal tells.
                failure = error
                continue
            }
            if let found = try Superblock(UnsafeRawBufferPointer(block.bytes)), found.generation > best?.generation ?? 0
            {
                best = found
            }
        }
        if best == nil, let failure { throw StoreError(.failed, "\(failure)") }
        guard let best else {
            throw StoreError(.foreign, "there is no store in the block file, or its format never finished")
        }
        guard device.size >= best.dataStart else {
            throw StoreError(
                .foreign, "the block file has \(device.size) bytes, less than its journal needs: truncated?")
        }
        return best
    }

    /// Opens a store: replays the journal, and finds which units are in use.
    public static func open(_ device: Device, _ keys: Keys, options: StoreOptions = StoreOptions()) throws(StoreError)
        -> ObjectStore
    {
        StoreLimits.check()
        let end = device.size
        var replay = Replay(device: device, keys: keys, superblock: try readSuperblock(device))
        let superblock = try replay.run()
        let store = ObjectStore(device: device, keys: keys, options: options, superblock: superblock)
        store.counters = replay.counters
        let isWhole = try store.findUnits() <= end
        if !replay.unvouched.isEmpty || !isWhole { try store.nameUnvouched(replay.unvouched, behind: end) }
        return store
    }

    /// Finds whose the blocks are that replay had to leave out, or that lie behind the end that the file had, and which of
    /// them do not verify where they are now. A crash may cut growth off, but only what the journal has again.
    private func nameUnvouched(_ blocks: Set<UInt64>, behind end: UInt64) throws(StoreError) {
        var found: [UInt64: [UInt64]] = [:]
        let buffer = BlockBuffer(count: StoreLimits.blockSize)
        try forEach(StoreKeys.unitTag) { key, value throws(WireError) in
            let unit = try UnitRecord(value)
            let home = firstBlock(of: unit.place)
            for within in 0..<StoreLimits.blocksPerUnit
            where unit.has(within)
                && (blocks.contains(home + UInt64(within))
                    || (home + UInt64(within) + 1) * UInt64(StoreLimits.blockSize) > end)
            {
                let number = try StoreKeys.objectNumber(key)
                let block = blockNumber(try StoreKeys.unitIndex(key), within)
                if !isVouchedFor(unit, within, of: number, block, buffer) { found[number, default: []].append(block) }
            }
        }
        guard !found.isEmpty else { return }
        try forEach(StoreKeys.objectTag) { key, value throws(WireError) in
            guard let blocks = found[try ObjectRecord(value).number] else { return }
            unvouched.append(UnvouchedObject(object: try StoreKeys.objectID(key), blocks: blocks))
        }
    }

    private func isVouchedFor(
        _ unit: UnitRecord, _ within: Int, of number: UInt64, _ block: UInt64, _ buffer: BlockBuffer
    ) -> Bool {
        do throws(DeviceError) {
            try device.readNow(
                into: buffer.bytes,
                at: (firstBlock(of: unit.place) + UInt64(within)) * UInt64(StoreLimits.blockSize))
        } catch {
            return false
        }
        let checksum = Checksum.crc32c(UnsafeRawBufferPointer(buffer.bytes))
        return checksum ^ UnitRecord.seed(object: number, block: block) == unit.checksums[within]
    }

    func forEach(_ tag: UInt8, _ body: (Bytes, Bytes) throws(WireError) -> Void) throws(StoreError) {
        var failure: WireError?
        let first = Bytes([tag])
        try scan(from: first, to: StoreKeys.end(ofPrefix: first)) { key, value in
            do throws(WireError) {
                try body(key, value)
            } catch {
                failure = error
            }
            return failure == nil
        }
        if let failure { throw StoreError(.failed, "metadata store: \(failure)") }
    }

    /// Finds the units that are in use, and holes. Returns where the last of the units ends in the file.
    private func findUnits() throws(StoreError) -> UInt64 {
        takeGrowth()
        let first = Bytes([StoreKeys.unitTag])
        var failure: StoreError?
        var highest = 0
        var places: [UInt32] = []
        try scan(from: first, to: StoreKeys.end(ofPrefix: first)) { key, value in
            do throws(WireError) {
                let place = try UnitRecord(value).place
                places.append(place)
                highest = max(highest, Int(place) + 1)
            } catch {
                failure = StoreError(.failed, "metadata store: unit record: \(error)")
            }
            return failure == nil
        }
        if let failure { throw failure }
        if highest > units.count {
            do throws(DeviceError) {
                try device.growNow(to: superblock.dataStart + UInt64(highest * StoreLimits.unitSize))
            } catch {
                throw StoreError(.noSpace, "\(error)")
            }
            takeGrowth()
        }
        for place in places where !units.take(place) {
            guard Int(place) < units.count else {
                throw StoreError(.failed, "metadata store: unit \(place) lies behind the end of the device")
            }
            units.share(place)
        }
        try checkReferences()
        try findHoles()
        return superblock.dataStart + UInt64(highest * StoreLimits.unitSize)
    }

    /// Units with several references are those that the metadata store says are shared.
    private func checkReferences() throws(StoreError) {
        let first = Bytes([StoreKeys.referencesTag])
        var counted = 0
        var failure: String?
        try scan(from: first, to: StoreKeys.end(ofPrefix: first)) { key, value in
            do throws(WireError) {
                var reader = ByteReader(value)
                let unit = try StoreKeys.referencedUnit(key), count = try reader.readU32()
                let found = Int(unit) < units.count && !units.isFree(unit) ? units.references(unit) : 0
                if count < 2 || found != count {
                    failure = "unit \(unit) has \(found) references, counted are \(count)"
                }
            } catch {
                failure = "count of references: \(error)"
            }
            counted += 1
            return failure == nil
        }
        if failure == nil, counted != units.shared {
            failure = "\(units.shared) units belong to several objects, \(counted) are shared"
        }
        if let failure {
            throw StoreError(.failed, "metadata store: \(failure); recreate this OSD from its peers")
        }
    }
}

extension DeviceError {
    /// The disk is full.
    var isNoSpace: Bool { code == 28 }
}
