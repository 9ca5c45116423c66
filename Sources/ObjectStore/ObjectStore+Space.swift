import Protocol

/// Units: where they are, who gets them, and how full the store may get.
extension ObjectStore {
    /// Where a unit begins in the file.
    func offset(of unit: UInt32) -> UInt64 { superblock.dataStart + UInt64(unit) * UInt64(StoreLimits.unitSize) }

    /// The number in the file of a unit's first block.
    func firstBlock(of unit: UInt32) -> UInt64 { offset(of: unit) / UInt64(StoreLimits.blockSize) }

    /// Up to `wanted` units side by side, at least one; all of them physically allocated.
    func allocate(_ wanted: Int) throws(StoreError) -> (first: UInt32, count: Int) {
        if let found = units.allocate(wanted) { return found }
        // Growth ahead of use did not keep up: what it has gained so far may do, else it is waited for.
        takeUnits()
        if let found = units.allocate(wanted) { return found }
        if fillHoles(), let found = units.allocate(wanted) { return found }
        if let size = nextSize() {
            do throws(DeviceError) {
                try device.growNow(to: size)
                takeGrowth()
                if let found = units.allocate(wanted) { return found }
            } catch {
                growable = 0
            }
        }
        throw StoreError(
            .noSpace, "no space left for data: \(units.count) units of 64 KiB are in use; add OSDs or free space")
    }

    /// The most bytes of data the store may hold by its own capacity.
    private var capacityLimit: UInt64 { superblock.capacity == 0 ? .max : superblock.capacity }

    /// Bytes of the data region, with the holes in it, and of what is physically allocated of it.
    private var regionBytes: UInt64 { UInt64(units.count) * UInt64(StoreLimits.unitSize) }
    private var allocatedBytes: UInt64 { regionBytes - holeBytes }

    /// Bytes the data region could still gain, in its holes and at its end.
    private var remainingGrowth: UInt64 {
        let byCapacity = capacityLimit > allocatedBytes ? capacityLimit - allocatedBytes : 0
        return min(byCapacity, growable) / UInt64(StoreLimits.unitSize) * UInt64(StoreLimits.unitSize)
    }

    private func nextSize() -> UInt64? {
        let more = min(options.growth, remainingGrowth, capacityLimit - min(capacityLimit, regionBytes))
        return more == 0 ? nil : superblock.dataStart + regionBytes + more
    }

    /// Units up to the size of the device are there.
    func takeGrowth() {
        takeUnits()
        refreshGrowable()
    }

    /// Looks whether others have freed or taken space of the file system; to be called every second or so. A full store is
    /// asked for nothing that would make it look by itself.
    public func lookForSpace() {
        refreshGrowable()
        guard isMetadataShort, checkpoint == .idle, stopReason == nil else { return }
        // It brings the mark that the holes wait for.
        if pendingHoles.first.map({ $0.lsn > durableMark }) ?? chooseHoles() { requestCheckpoint() }
    }

    /// Asks the device, which is a system call: at growth and at checkpoints, never for an operation. A part stays for
    /// the metadata store, which shares the file system and must be able to compact when data has filled the rest.
    func refreshGrowable() {
        // Its ballast comes before data: what a start gives it is at most what the journal holds.
        let wanted = UInt64(keys.holdReserve(Int(StoreLimits.ballast(journal: superblock.journalLength))))
        let all = device.growable
        let share = min(StoreLimits.largestReserve, (allocatedBytes + all) / StoreLimits.reserveShare)
        growable = all - min(all, max(share, wanted))
        // Data leaves that much: others, or the metadata store itself, have taken it.
        let least = max(share / 4, wanted)
        missingForMetadata = least - min(all, least)
    }

    private func takeUnits() {
        let bytes = device.size > superblock.dataStart ? device.size - superblock.dataStart : 0
        let before = units.count
        units.grow(to: max(before, Int(min(bytes, capacityLimit)) / StoreLimits.unitSize))
        growable -= min(growable, UInt64((units.count - before) * StoreLimits.unitSize))
    }

    /// Grows the device before space runs out, so that no write waits for it.
    func growAhead() {
        guard !isGrowing, freeBytes < options.growth else { return }
        if !holes.isEmpty, growable > 0, fillHoles() { return }
        guard let size = nextSize() else { return }
        isGrowing = true
        device.grow(to: size, tag: IOTag(.grow, 0))
    }

    func completeGrowth(_ result: Int64) {
        isGrowing = false
        if result < 0 { growable = 0 }
        takeGrowth()
        if result < 0 { growable = 0 }
    }

    /// Gives freed units back to the allocator when nothing can need what is on them.
    func releaseFreed() {
        while let (lsn, unit) = pendingFree.first, lsn <= durableMark {
            let first = firstBlock(of: unit)
            for block in first..<first + UInt64(StoreLimits.blocksPerUnit) where dirty[block] != nil { return }
            pendingFree.popFirst()
            // A disk that lost what it had said was flushed may give an object's number to another, and both their units.
            guard !units.isFree(unit) else {
                return stop(
                    StoreError(
                        .failed, "metadata store: unit \(unit) is freed twice; recreate this OSD from its peers"))
            }
            units.release(unit)
        }
        // With work under way the next record brings the mark. Without, and short of space, nothing would: whoever was
        // refused waits for these units, so a checkpoint brings it.
        guard let first = pendingFree.first, first.lsn < committed.lsn, checkpoint == .idle, gathering == nil,
            inFlight.isEmpty, waiting.isEmpty
        else { return }
        let usage = usage
        if Double(usage.used) > Double(usage.total) * StoreLimits.eagerRatio || usage.available < options.growth
            || freeBytes < options.growth
        {
            requestCheckpoint()
        }
    }

    /// How full the store is.
    public var usage: StoreUsage {
        let unitSize = UInt64(StoreLimits.unitSize)
        let used = UInt64(units.used) * unitSize - holeBytes
        let total = min(capacityLimit, allocatedBytes + remainingGrowth)
        return StoreUsage(
            total: total, used: used, available: total > used ? total - used : 0, allocated: allocatedBytes)
    }

    /// How full the store is, in the steps that the cluster acts on.
    public var fullness: StoreFullness {
        let usage = usage
        if isMetadataShort || usage.used >= limit(for: .client, of: usage.total) { return .full }
        let share = Double(usage.used) / Double(max(1, usage.total))
        if share >= StoreLimits.backfillfullRatio { return .backfillfull }
        return share >= StoreLimits.nearfullRatio ? .nearfull : .ok
    }

    /// The bytes in use up to which a class may fill the store. Clients and recovery leave a share of it, and at least enough
    /// for what is on its way when an OSD is found full.
    private func limit(for space: SpaceClass, of total: UInt64) -> UInt64 {
        let reserve = min(total / StoreLimits.clientReserveShare, StoreLimits.largestClientReserve)
        switch space {
        case .client: return total - max(reserve, UInt64(Double(total) * (1 - StoreLimits.fullRatio)))
        case .recovery: return total - max(reserve / 2, UInt64(Double(total) * (1 - StoreLimits.recoveryRatio)))
        case .essential: return total
        }
    }

    /// What no hole is made of, however short the metadata store is: requests on their way, what frees space and what keeps the
    /// log must find their units, or this OSD stops.
    var keptForRequests: UInt64 {
        // Of a store with little data that share would be a few units.
        let share = min(regionBytes / StoreLimits.clientReserveShare, StoreLimits.largestClientReserve)
        return max(share, min(options.growth, regionBytes / 4))
    }

    /// Whether a transaction that writes `bytes` of data in `writes` pieces may be submitted: false means ENOSPC to
    /// whoever asked for it. Counts a whole unit for every piece's ends. Pieces are the ranges written, zeroed, cut off and
    /// cloned: any of them may take a unit of its own where it shared one.
    ///
    /// True is a promise for the next transaction: the space is physically there. It costs no system call but where
    /// growth ahead of use has not kept up, and then waits for it.
    public func canAccept(_ bytes: Int, writes: Int = 1, as space: SpaceClass = .client) -> Bool {
        let usage = usage
        let needed = UInt64(bytes + writes * 2 * StoreLimits.unitSize)
        guard needed <= usage.available, usage.used + needed <= limit(for: space, of: usage.total) else { return false }
        guard !isMetadataShort || space == .essential else { return false }
        return freeBytes >= needed || gain(needed)
    }

    /// The same for a transaction.
    public func canAccept(_ transaction: Transaction, as space: SpaceClass = .client) -> Bool {
        let (bytes, pieces) = transaction.spaceNeeded
        return canAccept(bytes, writes: pieces, as: space)
    }

    /// Refuses a transaction that would not find the units it may need, before any of it is applied or logged.
    func checkSpace(for transaction: Transaction) throws(StoreError) {
        let (bytes, pieces) = transaction.spaceNeeded
        let needed = UInt64(bytes + pieces * 2 * StoreLimits.unitSize)
        guard pieces > 0, freeBytes < needed, !gain(needed), freeBytes < least(of: transaction) else { return }
        throw StoreError(
            .noSpace,
            "no space left: \(bytes) bytes were to be stored and \(freeBytes) are free; nothing of it was logged. Add OSDs or "
                + "free space on the file system, and start this one again")
    }

    /// Bytes of the units that a transaction needs when parts of units that its objects have to themselves are overwritten in
    /// place.
    private func least(of transaction: Transaction) -> UInt64 {
        let unitSize = StoreLimits.unitSize
        var units = 0
        // What it clones itself shares every unit with the clone by then.
        var cloned: [ObjectID] = []
        for operation in transaction.operations {
            switch operation {
            case .clone(let id, let target):
                cloned += [id, target]
            case .write(let id, let offset, let data):
                let object = try? cached(id)
                if let object { try? loadUnits(object) }
                let own = cloned.contains(id) ? nil : object
                units += unitsNeeded(own, from: Int(offset), to: Int(offset) + data.count)
            case .zero(let id, let offset, let length):
                let edges = [Int(offset), Int(offset + length)]
                units += cloned.contains(id) ? edges.count : edgesShared(try? cached(id), edges)
            case .truncate(let id, let size):
                units += cloned.contains(id) ? 1 : edgesShared(try? cached(id), [Int(size)])
            case .cloneRange(_, _, _, let length, _):
                units += Int(length) / unitSize + 2
            default: break
            }
        }
        return UInt64(units * unitSize)
    }

    private func unitsNeeded(_ object: CachedObject?, from start: Int, to end: Int) -> Int {
        let unitSize = StoreLimits.unitSize
        guard start < end else { return 0 }
        var count = 0
        for index in start / unitSize...(end - 1) / unitSize {
            let isWhole = start <= index * unitSize && end >= (index + 1) * unitSize
            let own = object?.unit(index).map { !units.isShared($0.place) } ?? false
            if isWhole || !own { count += 1 }
        }
        return count
    }

    private func edgesShared(_ object: CachedObject?, _ edges: [Int]) -> Int {
        if let object { try? loadUnits(object) }
        return edges.count { edge in
            edge % StoreLimits.blockSize != 0
                && object?.unit(edge / StoreLimits.unitSize).map { units.isShared($0.place) } ?? false
        }
    }

    private var freeBytes: UInt64 { UInt64(units.free * StoreLimits.unitSize) }

    /// Waits for growth until `needed` bytes are free; false when others have taken the space.
    private func gain(_ needed: UInt64) -> Bool {
        takeUnits()
        while freeBytes < needed, stopReason == nil, fillHoles() {}
        while freeBytes < needed, let size = nextSize() {
            do throws(DeviceError) {
                try device.growNow(to: size)
                takeGrowth()
            } catch {
                growable = 0
            }
        }
        return freeBytes >= needed
    }
}
