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
        var replay = Replay(device: device, keys: keys, superblock: try readSuperblock(device))
        let superblock = try replay.run()
        let store = ObjectStore(device: device, keys: keys, options: options, superblock: superblock)
        store.counters = replay.counters
        try store.findUnits()
        return store
    }

    private func findUnits() throws(StoreError) {
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
            throw StoreError(
                .failed, "metadata store: unit \(place) belongs to two objects; recreate this OSD from its peers")
        }
    }
}

extension DeviceError {
    /// The disk is full.
    var isNoSpace: Bool { code == 28 }
}
