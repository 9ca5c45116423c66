import KeyValueStore

/// How far a checkpoint is, for who looks at the store from outside.
public enum CheckpointStep: CaseIterable, Sendable {
    /// None is under way.
    case idle
    /// The mark is being written.
    case mark
    /// Blocks are being written home.
    case home
    /// Device and metadata store are being flushed.
    case flush
    /// The superblock with the new start is being written.
    case superblock
}

/// How far a checkpoint is. The position is where replay will begin.
enum CheckpointPhase: Equatable {
    case idle
    /// The mark is being written, so that those blocks may go home.
    case writingMark(JournalPosition, Superblock)
    /// Blocks of records before the position are being written home.
    case writingHome(JournalPosition)
    /// The device and the metadata store are being flushed.
    case flushing(JournalPosition, deviceDone: Bool, keysDone: Bool)
    /// The superblock with the position is being written.
    case writingSuperblock(Superblock)
}

/// A checkpoint moves the start of replay. Order: the mark is durable, which lets blocks go home; the blocks of all
/// records before the new start are home; then the device is flushed, and the metadata store takes the keys of those
/// records and is flushed; then the superblock says so, durably; only then are the records' places used again. A crash between
/// any two leaves the old start, from which replay gives the same result, since it writes results and runs to the end.
extension ObjectStore {
    /// How far the checkpoint under way is.
    public var checkpointStep: CheckpointStep {
        switch checkpoint {
        case .idle: .idle
        case .writingMark: .mark
        case .writingHome: .home
        case .flushing: .flush
        case .writingSuperblock: .superblock
        }
    }

    func advanceCheckpoint() {
        switch checkpoint {
        case .idle:
            guard
                isCheckpointWanted || journalFree < superblock.journalLength / 2 || !closed.isEmpty
                    || young.table.count > StoreLimits.settledKeys
            else { return }
            if closed.isEmpty { closeGeneration() }
            // It begins when the last record of the oldest generation is committed.
            guard let target = closed.first?.end else { return }
            checkpointRemaining = dirty.values.reduce(0) { $0 + ($1.lsn < target.lsn && !$1.isDropped ? 1 : 0) }
            checkpointPace = (head.offset, checkpointRemaining, homeBlocksBegun)
            if durableMark < target.lsn - 1 {
                checkpoint = .writingMark(target, writeSuperblock(position: superblock.position))
            } else {
                checkpoint = .writingHome(target)
                advanceCheckpoint()
            }
        case .writingHome(let target):
            guard checkpointRemaining == 0 else { return }
            precondition(
                dirty.values.allSatisfy { $0.lsn >= target.lsn || $0.isDropped }, "blocks before \(target) are not home"
            )
            device.flush(tag: IOTag(.flush, 0))
            closed[0].table.set(
                StoreKeys.binding, Binding(store: superblock.identity.store, lsn: target.lsn).encoded())
            let changes = closed[0].table, before = retired
            retired = nil
            keys.beginFlush(of: {
                _ = before
                return [changes.encoded()]
            })
            checkpoint = .flushing(target, deviceDone: false, keysDone: false)
        case .flushing(let target, let deviceDone, false):
            switch keys.pollFlush() {
            case .idle, .running: return
            case .failed(let error): stop(StoreError(.failed, error.description))
            case .done:
                retired = closed.removeFirst().table
                continueFlushing(target, deviceDone: deviceDone, keysDone: true)
            }
        case .flushing, .writingSuperblock, .writingMark:
            break
        }
    }

    /// Ends the generation of keys that takes changes, unless nothing has changed.
    func closeGeneration() {
        closeBatch()
        guard let last = young.lastLSN else { return }
        if committed.lsn == last + 1 { young.end = committed }
        closed.append(young)
        young = KeyGeneration()
    }

    func completeFlush() {
        guard case .flushing(let target, false, let keysDone) = checkpoint else {
            preconditionFailure("a flush completes while the checkpoint is \(checkpoint)")
        }
        continueFlushing(target, deviceDone: true, keysDone: keysDone)
    }

    private func continueFlushing(_ target: JournalPosition, deviceDone: Bool, keysDone: Bool) {
        checkpoint = .flushing(target, deviceDone: deviceDone, keysDone: keysDone)
        guard deviceDone && keysDone else { return }
        checkpoint = .writingSuperblock(writeSuperblock(position: target))
    }

    /// Begins to write the next superblock, with what is known by now.
    private func writeSuperblock(position: JournalPosition) -> Superblock {
        var next = superblock
        next.generation += 1
        next.position = position
        next.mark = committed.lsn - 1
        next.nextObject = committedNextObject
        let buffer = BlockBuffer(count: StoreLimits.blockSize, from: buffers)
        next.encode(into: buffer.bytes)
        superblockBuffer = buffer
        device.write(
            [UnsafeRawBufferPointer(buffer.bytes)], at: next.offset, durable: true, tag: IOTag(.superblock, 0))
        return next
    }

    func completeSuperblock() {
        superblockBuffer = nil
        switch checkpoint {
        case .writingMark(let target, let next):
            superblock = next
            durableMark = max(durableMark, next.mark)
            checkpoint = .writingHome(target)
        case .writingSuperblock(let next):
            superblock = next
            durableMark = max(durableMark, next.mark)
            checkpoint = .idle
            counters.checkpoints += 1
            refreshGrowable()
            chooseHoles()
        case .idle, .writingHome, .flushing:
            preconditionFailure("a superblock completes while the checkpoint is \(checkpoint)")
        }
    }
}
