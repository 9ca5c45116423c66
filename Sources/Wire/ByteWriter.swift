/// Encodes little-endian values into growing storage; `finish()` hands the storage over without a copy.
public struct ByteWriter: ~Copyable {
    @usableFromInline var storage: ByteStorage
    @usableFromInline var capacity: Int
    /// Bytes written so far.
    public private(set) var count: Int

    /// A writer with room for `capacity` bytes before it grows.
    public init(capacity: Int = 256) {
        storage = ByteStorage.allocate(capacity)
        self.capacity = storage.capacity
        count = 0
    }

    @usableFromInline
    mutating func grow(_ needed: Int) {
        let larger = ByteStorage.allocate(max(capacity * 2, count + needed))
        UnsafeMutableRawPointer(larger.base).copyMemory(from: storage.base, byteCount: count)
        storage = larger
        capacity = larger.capacity
    }

    @inlinable
    mutating func advance(_ size: Int) -> UnsafeMutableRawPointer {
        if capacity - count < size { grow(size) }
        let place = UnsafeMutableRawPointer(storage.base + count)
        setCount(count + size)
        return place
    }

    @usableFromInline
    mutating func setCount(_ value: Int) { count = value }

    @inlinable
    mutating func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        advance(MemoryLayout<T>.size).storeBytes(of: value.littleEndian, as: T.self)
    }

    @inlinable public mutating func writeU8(_ value: UInt8) { store(value) }
    @inlinable public mutating func writeU16(_ value: UInt16) { store(value) }
    @inlinable public mutating func writeU32(_ value: UInt32) { store(value) }
    @inlinable public mutating func writeU64(_ value: UInt64) { store(value) }
    @inlinable public mutating func writeI32(_ value: Int32) { store(value) }
    @inlinable public mutating func writeI64(_ value: Int64) { store(value) }
    @inlinable public mutating func writeBool(_ value: Bool) { store(value ? 1 as UInt8 : 0) }

    /// The bytes alone, without a length.
    @inlinable
    public mutating func writeRaw(_ bytes: Bytes) {
        bytes.withUnsafeBytes { writeRaw($0) }
    }

    /// The bytes alone, without a length.
    @inlinable
    public mutating func writeRaw(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress, bytes.count > 0 else { return }
        advance(bytes.count).copyMemory(from: from, byteCount: bytes.count)
    }

    /// A u32 length, then the bytes.
    @inlinable
    public mutating func writeBytes(_ bytes: Bytes) {
        writeU32(UInt32(bytes.count))
        writeRaw(bytes)
    }

    /// A u32 length, then UTF-8.
    public mutating func writeString(_ text: String) {
        var text = text
        text.withUTF8 { utf8 in
            writeU32(UInt32(utf8.count))
            writeRaw(UnsafeRawBufferPointer(utf8))
        }
    }

    /// A u32 count, then the elements.
    @inlinable
    public mutating func writeArray<Elements: Collection>(
        _ elements: Elements, _ element: (inout ByteWriter, Elements.Element) -> Void
    ) {
        writeU32(UInt32(elements.count))
        for each in elements { element(&self, each) }
    }

    /// A byte for presence, then the value.
    @inlinable
    public mutating func writeOptional<Value>(_ value: Value?, _ body: (inout ByteWriter, Value) -> Void) {
        writeBool(value != nil)
        if let value { body(&self, value) }
    }

    /// A section with its version, the least version a reader needs, and its length, so that older readers can skip what
    /// they do not know.
    @inlinable
    public mutating func versioned(_ version: UInt8, compatible: UInt8 = 1, _ body: (inout ByteWriter) -> Void) {
        writeU8(version)
        writeU8(compatible)
        let place = count
        writeU32(0)
        body(&self)
        patchU32(UInt32(count - place - 4), at: place)
    }

    /// Overwrites four bytes written before, for a length or checksum known only later.
    @inlinable
    public mutating func patchU32(_ value: UInt32, at position: Int) {
        precondition(position >= 0 && position + 4 <= count, "patch at \(position) of \(count) bytes")
        UnsafeMutableRawPointer(storage.base + position).storeBytes(of: value.littleEndian, as: UInt32.self)
    }

    /// What has been written. The writer is used up.
    @inlinable
    public consuming func finish() -> Bytes {
        Bytes(storage: storage, start: 0, count: count)
    }
}

extension Bytes {
    /// The bytes that `body` writes.
    @inlinable
    public static func encoding(capacity: Int = 256, _ body: (inout ByteWriter) -> Void) -> Bytes {
        var writer = ByteWriter(capacity: capacity)
        body(&writer)
        return writer.finish()
    }
}
