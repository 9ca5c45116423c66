import KeyValueStore
import Wire

/// Space that is given back to the file system: aligned stretches of free units, 1 MiB each, lose their place in the file.
///
/// A hole has a key, so that a restart does not take it for space that is there. Order: the key is committed, and the mark has
/// reached it, so that no replay looks at what was there or writes to it; then the hole is punched, in the quiet moments of
/// the loop. The other way: the space is allocated, durably; then the units are free again, and the key goes with the record
/// of whatever uses them first, or an earlier one.
///
/// Holes are made after a checkpoint, and only of what is free beyond what is to be expected to be used again soon; of more
/// when the file system has nothing left for the metadata store.
extension ObjectStore {
    /// Bytes of the file that are holes, or about to be.
    var holeBytes: UInt64 { UInt64(holeCount * StoreLimits.unitsPerHole * StoreLimits.unitSize) }

    private func place(of hole: UInt32) -> UInt64 { offset(of: hole * UInt32(StoreLimits.unitsPerHole)) }

    private var bytesPerHole: Int { StoreLimits.unitsPerHole * StoreLimits.unitSize }

    /// Changes keys in a transaction of the store's own.
    private func log(_ body: (Batch, inout KeyBatchWriter) -> Void) {
        let batch = gathering ?? beginBatch()
        var writer = KeyBatchWriter(capacity: 256)
        body(batch, &writer)
        let keyBatch = writer.finish()
        batch.keyBatches.append(keyBatch)
        batch.keyBytes += keyBatch.bytes.count
        batch.nextObject = nextObject
    }

    /// Chooses what can be given back. False when that is nothing.
    @discardableResult
    func chooseHoles() -> Bool {
        let keep = Int(2 * options.growth + usage.allocated / 8) / StoreLimits.unitSize
        var most = (units.free - keep) / StoreLimits.unitsPerHole
        if isMetadataShort {
            // The metadata store must be able to go on, or nothing can; but so must what frees space.
            let missing = Int(missingForMetadata) / bytesPerHole + 1 - pendingHoles.count
            let spare = units.free - Int(keptForRequests) / StoreLimits.unitSize
            most = max(most, min(missing, spare / StoreLimits.unitsPerHole))
        }
        most = min(most, StoreLimits.holesPerCheckpoint)
        guard most > 0 else { return false }
        let chosen = units.takeStretches(atMost: most)
        guard !chosen.isEmpty else { return false }
        holeCount += chosen.count
        log { batch, writer in
            for hole in chosen { put(StoreKeys.hole(hole), .empty, &writer) }
            batch.holes.append(contentsOf: chosen)
        }
        return true
    }

    /// Punches some of the holes that may be by now.
    func punchHoles() {
        guard !pendingHoles.isEmpty, inFlight.isEmpty else { return }
        let before = holes.count
        // The ballast of the metadata store comes first where space is short.
        defer { if holes.count > before { refreshGrowable() } }
        for _ in 0..<StoreLimits.holesPerTurn {
            guard let (lsn, hole) = pendingHoles.first, lsn <= durableMark else { return }
            pendingHoles.popFirst()
            // A file system that cannot do it keeps the space, and the units can be had again all the same.
            do throws(DeviceError) {
                try device.punchNow(at: place(of: hole), count: bytesPerHole)
                counters.holes += 1
            } catch {
                counters.holesRefused += 1
            }
            holes.append(hole)
        }
    }

    /// Makes units of some holes again, which waits for the device. False when there are none, or no space for one.
    func fillHoles() -> Bool {
        var filled: [UInt32] = []
        // Not from what is left to the metadata store.
        let most = min(StoreLimits.holesFilledAtOnce, Int(growable) / bytesPerHole)
        while filled.count < most, let hole = holes.last {
            do throws(DeviceError) {
                try device.fillNow(at: place(of: hole), count: bytesPerHole)
            } catch {
                growable = 0
                break
            }
            holes.removeLast()
            filled.append(hole)
        }
        guard !filled.isEmpty else { return false }
        do throws(DeviceError) {
            try device.flushNow()
        } catch {
            stop(StoreError(.failed, "\(error)"))
            return false
        }
        holeCount -= filled.count
        growable -= min(growable, UInt64(filled.count * bytesPerHole))
        log { _, writer in
            for hole in filled { removeKey(StoreKeys.hole(hole), &writer) }
        }
        for hole in filled { units.release(stretch: hole) }
        return true
    }

    /// Finds the holes at open: none may be in use.
    func findHoles() throws(StoreError) {
        try forEach(StoreKeys.holeTag) { key, _ throws(WireError) in
            let hole = try StoreKeys.referencedUnit(key)
            guard units.take(stretch: hole) else {
                throw WireError("a unit is in use at \(hole) MiB, where the file has a hole")
            }
            holes.append(hole)
        }
        holeCount = holes.count
        guard !holes.isEmpty else { return }
        // The store may have ended before it had punched the last of them. Where that matters, they are now; doing it twice
        // changes nothing.
        refreshGrowable()
        guard isMetadataShort else { return }
        for hole in holes { try? device.punchNow(at: place(of: hole), count: bytesPerHole) }
        refreshGrowable()
    }

    /// Holes that have been chosen and not punched yet.
    package var unpunchedHoles: Int { holeCount - holes.count }
}
