/// The ring of the journal in memory, for a start: read in large pieces, as far as it is asked for.
final class RingImage<Device: BlockDevice> {
    private let device: Device
    private let length: UInt64
    private let buffer: BlockBuffer
    private var isRead: [Bool]

    /// Bytes read at once.
    private static var piece: UInt64 { 1 << 20 }

    /// For a ring of `length` bytes.
    init(_ device: Device, length: UInt64) {
        self.device = device
        self.length = length
        // Memory that is not touched costs nothing.
        buffer = BlockBuffer(count: Int(length))
        isRead = Array(repeating: false, count: Int((length + Self.piece - 1) / Self.piece))
    }

    /// Gives `body` the bytes from `offset` on, counted around the ring: in two parts where they run over its end.
    private func forEachPart(at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) -> Void)
        throws(DeviceError)
    {
        let start = offset % length
        let first = min(count, Int(length - start))
        try load(from: start, count: first)
        body(UnsafeRawBufferPointer(start: buffer.base + Int(start), count: first))
        guard first < count else { return }
        try load(from: 0, count: count - first)
        body(UnsafeRawBufferPointer(start: buffer.base, count: count - first))
    }

    /// The bytes from `offset` on as one. They are good as long as the image and what is returned with them.
    func bytes(at offset: UInt64, count: Int) throws(DeviceError) -> (bytes: UnsafeRawBufferPointer, copy: BlockBuffer?)
    {
        var parts: [UnsafeRawBufferPointer] = []
        try forEachPart(at: offset, count: count) { parts.append($0) }
        guard parts.count > 1 else { return (parts[0], nil) }
        let blockSize = StoreLimits.blockSize
        let copy = BlockBuffer(count: (count + blockSize - 1) / blockSize * blockSize)
        copy.bytes.copyMemory(from: parts[0])
        (copy.base + parts[0].count).copyMemory(from: parts[1].baseAddress!, byteCount: parts[1].count)
        return (UnsafeRawBufferPointer(start: copy.base, count: count), copy)
    }

    private func load(from start: UInt64, count: Int) throws(DeviceError) {
        guard count > 0 else { return }
        let first = Int(start / Self.piece), last = Int((start + UInt64(count) - 1) / Self.piece)
        for piece in first...last where !isRead[piece] {
            let from = UInt64(piece) * Self.piece
            let target = UnsafeMutableRawBufferPointer(
                start: buffer.base + Int(from), count: Int(min(Self.piece, length - from)))
            try device.readWhatIsThere(into: target, at: StoreLimits.journalStart + from)
            isRead[piece] = true
        }
    }
}

extension BlockDevice {
    /// Reads whole blocks; those that the medium does not give become zeros, which verify as nothing.
    func readWhatIsThere(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        do throws(DeviceError) {
            try readNow(into: buffer, at: offset)
        } catch {
            guard error.isOfMedium else { throw error }
            guard buffer.count > StoreLimits.blockSize else {
                _ = buffer.initializeMemory(as: UInt8.self, repeating: 0)
                return
            }
            // By halves: one bad block must not cost a call for each good one.
            let half = buffer.count / StoreLimits.blockSize / 2 * StoreLimits.blockSize
            try readWhatIsThere(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<half]), at: offset)
            try readWhatIsThere(
                into: UnsafeMutableRawBufferPointer(rebasing: buffer[half...]), at: offset + UInt64(half))
        }
    }
}
