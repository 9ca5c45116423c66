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

    private var allocatedBytes: UInt64 { UInt64(units.count) * UInt64(StoreLimits.unitSize) }

    /// Bytes the data region could still gain.
    private var remainingGrowth: UInt64 {
        let byCapacity = capacityLimit > allocatedBytes ? capacityLimit - allocatedBytes : 0
        return min(byCapacity, growable) / UInt64(StoreLimits.unitSize) * UInt64(StoreLimits.unitSize)
    }

    private func nextSize() -> UInt64? {
        let more = min(options.growth, remainingGrowth)
        return more == 0 ? nil : superblock.dataStart + allocatedBytes + more
    }

    /// Units up to the size of the device are there.
    func takeGrowth() {
        takeUnits()
        refreshGrowable()
    }

    /// Asks the device, which is a system call: at growth and at checkpoints, never for an operation. A part stays for
    /// the metadata store, which shares the file system and must be able to compact when data has filled the rest.
    func refreshGrowable() {
        let all = device.growable
        let reserve = min(StoreLimits.largestReserve, (allocatedBytes + all) / StoreLimits.reserveShare)
        growable = all - min(all, reserve)
    }

    private func takeUnits() {
        let bytes = device.size > superblock.dataStart ? device.size - superblock.dataStart : 0
        units.grow(to: max(units.count, Int(min(bytes, capacityLimit)) / StoreLimits.unitSize))
    }

    /// Grows the device before space runs out, so that no write waits for it.
    func growAhead() {
        guard !isGrowing, UInt64(units.free * StoreLimits.unitSize) < options.growth, let size = nextSize() else {
            return
        }
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
            checkpointRequested = true
        }
    }

    /// How full the store is.
    public var usage: StoreUsage {
        let unitSize = UInt64(StoreLimits.unitSize)
        let used = UInt64(units.used) * unitSize
        let total = min(capacityLimit, allocatedBytes + remainingGrowth)
        return StoreUsage(
            total: total, used: used, available: total > used ? total - used : 0, allocated: allocatedBytes)
    }

    /// Whether a transaction that writes `bytes` of data in `writes` pieces may be submitted: false means ENOSPC to
    /// whoever asked for it. Counts a whole unit for every piece's ends.
    ///
    /// True is a promise for the next transaction: the space is physically there. It costs no system call but where
    /// growth ahead of use has not kept up, and then waits for it.
    public func canAccept(_ bytes: Int, writes: Int = 1, as space: SpaceClass = .client) -> Bool {
        let usage = usage
        let needed = UInt64(bytes + writes * 2 * StoreLimits.unitSize)
        guard needed <= usage.available else { return false }
        let ratio =
            switch space {
            case .client: StoreLimits.fullRatio
            case .recovery: StoreLimits.recoveryRatio
            case .essential: 1.0
            }
        guard Double(usage.used + needed) <= Double(usage.total) * ratio else { return false }
        return freeBytes >= needed || gain(needed)
    }

    private var freeBytes: UInt64 { UInt64(units.free * StoreLimits.unitSize) }

    /// Waits for growth until `needed` bytes are free; false when others have taken the space.
    private func gain(_ needed: UInt64) -> Bool {
        takeUnits()
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
