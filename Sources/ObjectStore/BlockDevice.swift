/// Memory of whole blocks at an address that direct I/O accepts. Freed with its last reference.
public final class BlockBuffer {
    /// The first byte.
    public let base: UnsafeMutableRawPointer
    /// Bytes.
    public let count: Int

    /// Where the memory came from and goes back to.
    private let pool: BufferPool?

    /// Uninitialised memory of `count` bytes, a multiple of the block size.
    public convenience init(count: Int) { self.init(count: count, from: nil) }

    /// The same with memory from a pool; the buffer belongs to the pool's thread.
    init(count: Int, from pool: BufferPool?) {
        precondition(count > 0 && count % StoreLimits.blockSize == 0, "a buffer of \(count) bytes")
        self.count = count
        if let pool, let size = BufferPool.size(count) {
            self.pool = pool
            base = pool.take(size)
        } else {
            self.pool = nil
            base = .allocate(byteCount: count, alignment: StoreLimits.blockSize)
        }
    }

    deinit {
        if let pool, let size = BufferPool.size(count) { pool.give(base, size: size) } else { base.deallocate() }
    }

    /// The bytes of block `index`.
    @inlinable
    func block(_ index: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + index * StoreLimits.blockSize, count: StoreLimits.blockSize)
    }

    /// All bytes.
    @inlinable
    public var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: count) }
}

/// Names an operation in flight: what the store gave, given back with the result.
public typealias IOTag = UInt64

/// A finished operation: bytes moved, or a negative errno.
public struct IOCompletion: Sendable {
    /// What the operation was given as its name.
    public var tag: IOTag
    /// Bytes moved, or a negative errno.
    public var result: Int64

    /// The completion of the operation `tag`.
    public init(tag: IOTag, result: Int64) {
        self.tag = tag
        self.result = result
    }
}

/// A call to the device failed.
public struct DeviceError: Error, CustomStringConvertible {
    /// The errno.
    public let code: Int32
    /// One line that names the call and the file.
    public let description: String

    /// The medium does not give these bytes, though it may give others: EIO, ENODATA or EILSEQ.
    var isOfMedium: Bool { [5, 61, 84].contains(code) }

    /// A failure with its errno.
    public init(code: Int32, _ description: String) {
        self.code = code
        self.description = description
    }
}

/// A write and where it goes: its parts one after the other.
public struct PlacedWrite {
    /// Where the first part begins.
    public var offset: UInt64
    /// Whole blocks; their memory stays its owner's.
    public var parts: [UnsafeRawBufferPointer]

    /// A write of `parts` at `offset`.
    public init(offset: UInt64, parts: [UnsafeRawBufferPointer]) {
        self.offset = offset
        self.parts = parts
    }
}

/// The block file of a store. Offsets and lengths are whole blocks. Buffers must stay until their completion.
///
/// Operations are queued by the calls and go out with `submit`, once per turn of the owner's loop. They run in any
/// order and finish in any order. What was not written with `durable` is stable only after a `flush` that was begun
/// after the write completed.
public protocol BlockDevice: AnyObject {
    /// Bytes that are physically allocated: within them a write cannot fail for want of space.
    var size: UInt64 { get }
    /// Bytes by which the device could still grow.
    var growable: UInt64 { get }

    /// Writes the parts one after the other. With `durable` the completion says that they are on stable storage.
    func write(_ parts: [UnsafeRawBufferPointer], at offset: UInt64, durable: Bool, tag: IOTag)
    /// The same for one part.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, durable: Bool, tag: IOTag)
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, tag: IOTag)
    func flush(tag: IOTag)
    /// Allocates space physically up to `size`, which `self.size` has reached at the completion, if not before in parts.
    func grow(to size: UInt64, tag: IOTag)

    /// Hands the queued operations over.
    func submit() throws(DeviceError)
    /// Appends what has finished.
    func poll(_ completions: inout [IOCompletion])

    /// The same, waiting for the end: for open and format, and where a write has to be merged with what is on the disk.
    func readNow(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError)
    func writeNow(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(DeviceError)
    /// Writes all of these, in any order.
    func writeNow(_ writes: [PlacedWrite]) throws(DeviceError)
    func flushNow() throws(DeviceError)
    /// Allocates too, but while a `grow` is under way only waits until that has gained something.
    func growNow(to size: UInt64) throws(DeviceError)

    /// Gives the space of a range within `size` back to the file system: until `fillNow` nobody writes there, and reads give
    /// anything.
    func punchNow(at offset: UInt64, count: Int) throws(DeviceError)
    /// Allocates the space of a range that was punched, which is durable after a flush. One that was not stays as it is.
    func fillNow(at offset: UInt64, count: Int) throws(DeviceError)
}

extension BlockDevice {
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, durable: Bool, tag: IOTag) {
        write([bytes], at: offset, durable: durable, tag: tag)
    }

    /// One after the other, where nothing is gained by more.
    public func writeNow(_ writes: [PlacedWrite]) throws(DeviceError) {
        for write in writes {
            var offset = write.offset
            for part in write.parts {
                try writeNow(part, at: offset)
                offset += UInt64(part.count)
            }
        }
    }
}
