import ObjectStore

/// A generator of pseudorandom numbers that gives the same for the same seed, everywhere (SplitMix64).
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator that gives the sequence of `seed`.
    public init(seed: UInt64) { state = seed }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// A disk in memory that forgets what was not flushed. Operations finish one by one in any order, as `step` decides; a crash
/// keeps any subset of the 512-byte sectors that were written and not flushed, or were being written.
public final class SimulatedDevice: BlockDevice {
    private enum Operation {
        case write(offset: UInt64, bytes: [UInt8], durable: Bool)
        case read(UnsafeMutableRawBufferPointer, offset: UInt64)
        /// Covers the writes that had completed when it began.
        case flush(covering: Int)
        case grow(UInt64)
    }

    /// Bytes of a sector, which is written whole or not at all.
    public static let sector = 512

    /// Bytes of the file.
    public private(set) var size: UInt64 = 0
    private let capacity: UInt64
    /// What reads see.
    private var current: [UInt8] = []
    /// What a crash leaves for sure.
    private var stable: [UInt8] = []
    /// Completed since the last flush, in order of completion. Durable ones stay for sure, and are here so that an older
    /// write to their place cannot come back over them.
    private var unflushed: [(offset: UInt64, bytes: [UInt8], isDurable: Bool)] = []
    /// How many have left the front of `unflushed`.
    private var settled = 0
    private var queued: [(tag: IOTag, operation: Operation)] = []
    private var pending: [(tag: IOTag, operation: Operation)] = []
    private var finished: [IOCompletion] = []

    /// Waiting calls that may still succeed before the machine crashes under them; nil for no crash.
    public var callsUntilCrash: Int?
    /// Leaves out flushes of what lies from here on: what a store without them would lose. nil for an honest disk.
    public var liesFrom: UInt64?
    /// Writes and flushes that may still succeed before one fails with EIO, its data half written; nil for none.
    public var writesUntilFailure: Int?
    /// The space is gone although `growable` says otherwise, as when others fill the file system.
    public var isFull = false
    /// The space is gone, and `growable` says so.
    public var isTaken = false
    /// Bytes that reads fail on with EIO, as those of a bad sector.
    public var unreadable: Range<UInt64> = 0..<0
    /// Writes that begin here do not finish until they are let go: an order of completions that a test wants.
    public var heldBack: Range<UInt64> = 0..<0
    /// Finished operations so far, of all kinds.
    public private(set) var finishedOperations = 0

    /// A disk that can hold `capacity` bytes.
    public init(capacity: UInt64) {
        self.capacity = capacity
        // Memory that is not touched costs nothing, growing by copies would be a good part of a simulation's time.
        current.reserveCapacity(Int(capacity))
        stable.reserveCapacity(Int(capacity))
    }

    /// Bytes left of the capacity; none while others have taken them.
    public var growable: UInt64 { isTaken ? 0 : capacity - min(capacity, size - punchedBytes) }
    private var punchedBytes: UInt64 { punched.reduce(0) { $0 + UInt64($1.count) } }
    /// Where nothing is allocated; a write there is a mistake of whoever owns the device.
    private var punched: [Range<UInt64>] = []

    private func isAllocated(_ offset: UInt64, _ count: Int) -> Bool {
        !punched.contains { $0.overlaps(offset..<offset + UInt64(count)) }
    }

    /// Punches at once; the range holds anything afterwards.
    public func punchNow(at offset: UInt64, count: Int) throws(DeviceError) {
        try countCall()
        guard !punched.contains(offset..<offset + UInt64(count)) else { return }
        guard isFree(offset, count) else {
            precondition(mayHaveForgotten, "a hole at \(offset)+\(count) of \(size) bytes, where none can be")
            throw DeviceError(code: 5, "a hole at \(offset) where none can be")
        }
        punched.append(offset..<offset + UInt64(count))
        let junk = [UInt8](repeating: 0x5a, count: count)
        put(junk, at: offset, into: &current)
        put(junk, at: offset, into: &stable)
    }

    /// Allocates at once.
    public func fillNow(at offset: UInt64, count: Int) throws(DeviceError) {
        try countCall()
        guard let index = punched.firstIndex(of: offset..<offset + UInt64(count)) else { return }
        guard growable >= UInt64(count) && !isFull else { throw DeviceError(code: 28, "the simulated disk is full") }
        punched.remove(at: index)
    }
    /// Operations that `step` can finish.
    public var pendingOperations: Int { pending.count }

    /// Queues a write; traps on one that overlaps another in flight, whose order would be left to chance.
    public func write(_ parts: [UnsafeRawBufferPointer], at offset: UInt64, durable: Bool, tag: IOTag) {
        let bytes = parts.flatMap { [UInt8]($0) }
        precondition(
            offset % 4096 == 0 && bytes.count % 4096 == 0, "write at \(offset)+\(bytes.count) is not whole blocks")
        guard isFree(offset, bytes.count) else {
            precondition(
                mayHaveForgotten,
                "write at \(offset)+\(bytes.count) of \(size) bytes: outside, into a hole, or beside one in flight")
            finished.append(IOCompletion(tag: tag, result: -5))
            return
        }
        queued.append((tag, .write(offset: offset, bytes: bytes, durable: durable)))
    }

    /// Queues a read.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, tag: IOTag) {
        precondition(offset + UInt64(buffer.count) <= size, "read at \(offset)+\(buffer.count) of \(size) bytes")
        queued.append((tag, .read(buffer, offset: offset)))
    }

    /// Queues a flush of the writes completed so far.
    public func flush(tag: IOTag) { queued.append((tag, .flush(covering: settled + unflushed.count))) }

    /// Queues a growth.
    public func grow(to size: UInt64, tag: IOTag) { queued.append((tag, .grow(size))) }

    /// Hands queued operations to `step`.
    public func submit() {
        pending.append(contentsOf: queued)
        queued.removeAll(keepingCapacity: true)
    }

    /// Takes what `step` has finished.
    public func poll(_ completions: inout [IOCompletion]) {
        completions.append(contentsOf: finished)
        finished.removeAll(keepingCapacity: true)
    }

    /// Finishes one operation that `generator` picks. False when there is none.
    @discardableResult
    public func step(using generator: inout some RandomNumberGenerator) -> Bool {
        var index = 0
        if heldBack.isEmpty {
            guard !pending.isEmpty else { return false }
            index = Int.random(in: 0..<pending.count, using: &generator)
        } else {
            let free = pending.indices.filter { !isHeldBack(pending[$0].operation) }
            guard let picked = free.randomElement(using: &generator) else { return false }
            index = picked
        }
        let (tag, operation) = pending.remove(at: index)
        var result: Int64 = 0
        if fails(operation) {
            if case .write(let offset, let bytes, _) = operation {
                let half = Array(bytes.prefix(bytes.count / 2 / Self.sector * Self.sector))
                put(half, at: offset, into: &current)
                unflushed.append((offset, half, false))
            }
            finished.append(IOCompletion(tag: tag, result: -5))
            return true
        }
        switch operation {
        case .write(let offset, let bytes, let durable):
            put(bytes, at: offset, into: &current)
            unflushed.append((offset, bytes, durable && !lies(about: offset)))
            result = Int64(bytes.count)
        case .read(let buffer, let offset):
            if isReadable(offset, buffer.count) {
                get(buffer, at: offset)
                result = Int64(buffer.count)
            } else {
                result = -5
            }
        case .flush(let covering):
            settle(covering)
        case .grow(let size):
            if size - punchedBytes <= capacity && !isFull && !isTaken { extend(to: size) } else { result = -28 }
        }
        finishedOperations += 1
        finished.append(IOCompletion(tag: tag, result: result))
        return true
    }

    private func isHeldBack(_ operation: Operation) -> Bool {
        if case .write(let offset, _, _) = operation { heldBack.contains(offset) } else { false }
    }

    private func fails(_ operation: Operation) -> Bool {
        switch operation {
        case .read, .grow: return false
        case .write, .flush:
            guard let left = writesUntilFailure else { return false }
            writesUntilFailure = left > 0 ? left - 1 : nil
            return left == 0
        }
    }

    /// The machine loses power: sectors that were not flushed stay or go as `generator` decides. Everything in flight ends.
    public func crash(using generator: inout some RandomNumberGenerator) {
        var writes = unflushed
        for case (_, .write(let offset, let bytes, _)) in pending { writes.append((offset, bytes, false)) }
        // Some crashes keep all, some nothing, most a part.
        let kept = [0, 1, 2, 3, 4, 4, 2, 2].randomElement(using: &generator) ?? 2
        for write in writes {
            if write.isDurable {
                put(write.bytes, at: write.offset, into: &stable)
                continue
            }
            for start in stride(from: 0, to: write.bytes.count, by: Self.sector) {
                guard Int.random(in: 0..<4, using: &generator) < kept else { continue }
                let end = min(write.bytes.count, start + Self.sector)
                put(Array(write.bytes[start..<end]), at: write.offset + UInt64(start), into: &stable)
            }
        }
        // Nothing else makes the two differ, and copying them whole would be most of a test's time.
        for write in writes {
            let range = Int(write.offset)..<Int(write.offset) + write.bytes.count
            current.replaceSubrange(range, with: stable[range])
        }
        unflushed = []
        settled = 0
        queued = []
        pending = []
        finished = []
        callsUntilCrash = nil
        writesUntilFailure = nil
    }

    /// The process is killed: what it had submitted is written, wholly, in part or not at all, as `generator` decides. Whoever
    /// opens the device next reads it, and a crash after that loses it all the same.
    public func kill(using generator: inout some RandomNumberGenerator) {
        for case (_, .write(let offset, let bytes, _)) in pending.shuffled(using: &generator) {
            let kept = Int.random(in: 0...4, using: &generator)
            for start in stride(from: 0, to: bytes.count, by: Self.sector) {
                guard Int.random(in: 0..<4, using: &generator) < kept else { continue }
                let part = Array(bytes[start..<min(bytes.count, start + Self.sector)])
                put(part, at: offset + UInt64(start), into: &current)
                unflushed.append((offset + UInt64(start), part, false))
            }
        }
        queued = []
        pending = []
        finished = []
        callsUntilCrash = nil
        writesUntilFailure = nil
    }

    /// What a read of these bytes would give.
    public func bytes(at offset: UInt64, count: Int) -> [UInt8] { Array(current[Int(offset)..<Int(offset) + count]) }

    /// Flips one bit, as a failing disk does.
    public func flipBit(at offset: UInt64, bit: Int) {
        current[Int(offset)] ^= 1 << UInt8(bit)
        stable[Int(offset)] ^= 1 << UInt8(bit)
    }

    /// Flips a bit of something that lies behind `start`, as a failing disk does. False when nothing was found there.
    func rot(behind start: UInt64, using random: inout some RandomNumberGenerator) -> Bool {
        guard start < size else { return false }
        let from = Int.random(in: Int(start)..<Int(size), using: &random)
        let end = min(from + Self.rotSearch, Int(size))
        guard let place = (from..<end).first(where: { stable[$0] != 0 && current[$0] == stable[$0] }) else {
            return false
        }
        flipBit(at: UInt64(place), bit: Int.random(in: 0..<8, using: &random))
        return true
    }

    /// Bytes in which something to flip is looked for.
    private static let rotSearch = 1 << 20

    // MARK: - Calls that wait

    private func countCall() throws(DeviceError) {
        guard let left = callsUntilCrash else { return }
        guard left > 0 else { throw DeviceError(code: 125, "simulated crash") }
        callsUntilCrash = left - 1
    }

    /// Reads at once.
    public func readNow(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        try countCall()
        guard offset + UInt64(buffer.count) <= size else { throw DeviceError(code: 5, "read beyond the end") }
        guard isReadable(offset, buffer.count) else { throw DeviceError(code: 5, "a bad sector at \(offset)") }
        get(buffer, at: offset)
    }

    /// Writes at once, without flushing.
    public func writeNow(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        try countCall()
        guard isAllocated(offset, buffer.count) else {
            precondition(mayHaveForgotten, "write at \(offset)+\(buffer.count), where there is a hole")
            throw DeviceError(code: 5, "a write at \(offset), where there is a hole")
        }
        extend(to: max(size, offset + UInt64(buffer.count)))
        put([UInt8](buffer), at: offset, into: &current)
        unflushed.append((offset, [UInt8](buffer), false))
    }

    /// Flushes at once.
    public func flushNow() throws(DeviceError) {
        try countCall()
        settle(settled + unflushed.count)
    }

    /// Grows at once.
    public func growNow(to size: UInt64) throws(DeviceError) {
        try countCall()
        guard size > self.size else { return }
        guard size - punchedBytes <= capacity && !isFull && !isTaken else {
            throw DeviceError(code: 28, "the simulated disk is full")
        }
        extend(to: size)
    }

    // MARK: - Memory

    private func settle(_ covering: Int) {
        let count = max(0, min(covering - settled, unflushed.count))
        for index in 0..<count where !lies(about: unflushed[index].offset) {
            put(unflushed[index].bytes, at: unflushed[index].offset, into: &stable)
            unflushed[index].isDurable = true
        }
        guard liesFrom == nil else { return }
        unflushed.removeFirst(count)
        settled += count
    }

    /// True when the disk has lied: a store may have forgotten what it had written of holes and of space, and hears so. One that
    /// was told the truth makes no such mistake.
    private var mayHaveForgotten: Bool { liesFrom != nil }

    /// True when something can be put there, and nothing is on its way there.
    private func isFree(_ offset: UInt64, _ count: Int) -> Bool {
        guard offset + UInt64(count) <= size, isAllocated(offset, count) else { return false }
        for case (_, .write(let other, let content, _)) in pending + queued
        where other < offset + UInt64(count) && offset < other + UInt64(content.count) {
            return false
        }
        return true
    }

    private func lies(about offset: UInt64) -> Bool { liesFrom.map { offset >= $0 } ?? false }

    private func extend(to size: UInt64) {
        guard size > self.size else { return }
        // Fresh space holds anything: nobody may rely on zeros.
        let junk = [UInt8](repeating: 0xa5, count: Int(size - self.size))
        current.append(contentsOf: junk)
        stable.append(contentsOf: junk)
        self.size = size
    }

    private func put(_ bytes: [UInt8], at offset: UInt64, into image: inout [UInt8]) {
        image.replaceSubrange(Int(offset)..<Int(offset) + bytes.count, with: bytes)
    }

    private func isReadable(_ offset: UInt64, _ count: Int) -> Bool {
        !unreadable.overlaps(offset..<offset + UInt64(count))
    }

    private func get(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        current.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + buffer.count]))
        }
    }
}
