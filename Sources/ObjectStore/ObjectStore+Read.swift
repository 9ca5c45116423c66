import Protocol
import Wire

/// A data read that waits for the device.
final class ReadOperation {
    let object: ObjectID
    let offset: UInt64
    let length: Int
    let token: UInt64
    /// Whether the cache is asked and filled. By what was asked for, so that whoever wants to see the disk can: a scrub reads
    /// small objects too.
    var isCached: Bool { length <= StoreLimits.cachedRead * StoreLimits.blockSize }
    /// Where it ends in the object: at most at the size.
    var end: UInt64 = 0
    var attempt = 1
    var buffer: BlockBuffer?
    var outstanding = 0
    var failure: Int64 = 0
    /// A block in memory did not verify: how the read ends when the device is done with its buffer.
    var corruption: StoreError?
    /// Blocks that come from the device: index in the buffer, and the checksum they must have once unseeded.
    var expected: [(index: Int, place: UInt64, checksum: UInt32)] = []

    init(object: ObjectID, offset: UInt64, length: Int, token: UInt64) {
        self.object = object
        self.offset = offset
        self.length = length
        self.token = token
    }
}

extension ObjectStore {
    /// Reads up to `length` bytes of the object from `offset`: fewer at its end, zeros for holes. The completion
    /// carries `token`; it may be there at once. Every block is verified against its checksum.
    public func read(_ object: ObjectID, offset: UInt64, length: Int, token: UInt64) {
        if let stopReason {
            completions.append(.read(token, .failure(stopReason)))
            return
        }
        begin(ReadOperation(object: object, offset: offset, length: length, token: token))
    }

    private func begin(_ read: ReadOperation) {
        do throws(StoreError) {
            let object = try cached(read.object)
            guard let record = object.record else {
                throw StoreError(.notFound, "object \(read.object) does not exist")
            }
            guard read.offset < record.size, read.length > 0 else {
                completions.append(.read(read.token, .success(.empty)))
                return
            }
            try loadUnits(object)
            read.end = min(record.size, read.offset + UInt64(read.length))
            try gather(read, object, record.number)
        } catch {
            completions.append(.read(read.token, .failure(error)))
        }
    }

    /// Copies what is in memory and issues reads for the rest, one for each run of blocks that lie side by side.
    private func gather(_ read: ReadOperation, _ object: CachedObject, _ number: UInt64) throws(StoreError) {
        let blockSize = UInt64(StoreLimits.blockSize)
        let first = read.offset / blockSize
        let count = Int((read.end + blockSize - 1) / blockSize - first)
        let buffer = BlockBuffer(count: count * StoreLimits.blockSize, from: buffers)
        read.buffer = buffer
        var run: (place: UInt64, index: Int, count: Int)?
        nextRead += 1
        func issue() {
            guard let found = run else { return }
            read.outstanding += 1
            let target = UnsafeMutableRawBufferPointer(
                start: buffer.base + found.index * StoreLimits.blockSize, count: found.count * StoreLimits.blockSize)
            device.read(into: target, at: found.place * blockSize, tag: IOTag(.read, nextRead))
            run = nil
        }
        for index in 0..<count {
            let block = first + UInt64(index)
            let within = Int(block) % StoreLimits.blocksPerUnit
            guard let unit = object.unit(Int(block) / StoreLimits.blocksPerUnit), unit.has(within) else {
                _ = buffer.block(index).initializeMemory(as: UInt8.self, repeating: 0)
                continue
            }
            let place = firstBlock(of: unit.place) + UInt64(within)
            let plain = unit.checksums[within] ^ UnitRecord.seed(object: number, block: block)
            if let content = newest(place) {
                buffer.block(index).copyMemory(from: UnsafeRawBufferPointer(content.bytes))
                guard Checksum.crc32c(UnsafeRawBufferPointer(buffer.block(index))) == plain else {
                    counters.corruptBlocks += 1
                    let reason = StoreError.corrupt(
                        read.object, block: block, "checksum does not match; repair it from another copy")
                    guard read.outstanding > 0 else { throw reason }
                    // The device writes into the buffer still.
                    read.corruption = reason
                    reads[nextRead] = read
                    return
                }
                continue
            }
            if read.isCached, let content = cache?.find(place) {
                buffer.block(index).copyMemory(from: content)
                // Another block may have taken the place since.
                if Checksum.crc32c(UnsafeRawBufferPointer(buffer.block(index))) == plain {
                    counters.cachedBlocks += 1
                    continue
                }
            }
            read.expected.append((index, place, plain))
            if let found = run, found.place + UInt64(found.count) == place, found.index + found.count == index {
                run = (found.place, found.index, found.count + 1)
            } else {
                issue()
                run = (place, index, 1)
            }
        }
        issue()
        if read.outstanding == 0 { finish(read) } else { reads[nextRead] = read }
    }

    func completeRead(_ number: UInt64, result: Int64) {
        guard let read = reads[number] else { preconditionFailure("read \(number) completes and is not in flight") }
        if result < 0 { read.failure = result }
        read.outstanding -= 1
        guard read.outstanding == 0 else { return }
        reads[number] = nil
        if let reason = read.corruption {
            completions.append(.read(read.token, .failure(reason)))
            return
        }
        guard let buffer = read.buffer else { preconditionFailure("read \(number) has no buffer") }
        let bad = read.expected.first {
            Checksum.crc32c(UnsafeRawBufferPointer(buffer.block($0.index))) != $0.checksum
        }
        guard bad != nil || read.failure != 0 else {
            if let cache, read.isCached {
                for block in read.expected {
                    cache.keep(block.place, UnsafeRawBufferPointer(buffer.block(block.index)))
                }
            }
            finish(read)
            return
        }
        // Its blocks may have been written or moved since it was issued; what is there now decides.
        if read.attempt < StoreLimits.readAttempts {
            read.attempt += 1
            read.failure = 0
            read.expected.removeAll(keepingCapacity: true)
            begin(read)
            return
        }
        counters.corruptBlocks += 1
        let block = read.offset / UInt64(StoreLimits.blockSize) + UInt64(bad?.index ?? 0)
        let reason =
            read.failure != 0
            ? "the device cannot read it (errno \(-read.failure))"
            : "checksum does not match; repair it from another copy"
        completions.append(.read(read.token, .failure(.corrupt(read.object, block: block, reason))))
    }

    private func finish(_ read: ReadOperation) {
        guard let buffer = read.buffer else { preconditionFailure("read of \(read.object) has no buffer") }
        let skip = Int(read.offset) % StoreLimits.blockSize
        let count = Int(read.end - read.offset)
        let bytes = Bytes(
            copying: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.bytes)[skip..<skip + count]))
        completions.append(.read(read.token, .success(bytes)))
    }
}
