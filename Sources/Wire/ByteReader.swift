/// A cursor that decodes little-endian values from `Bytes`. Every read checks the bounds once and throws `WireError`.
public struct ByteReader: Sendable {
    @usableFromInline let bytes: Bytes
    @usableFromInline var position: Int
    @usableFromInline var end: Int

    @inlinable
    public init(_ bytes: Bytes) {
        self.bytes = bytes
        position = 0
        end = bytes.count
    }

    /// Bytes not read yet (inside the innermost versioned section).
    @inlinable public var remaining: Int { end - position }

    /// Throws unless everything has been read.
    public func expectEnd() throws(WireError) {
        guard remaining == 0 else { throw WireError("\(remaining) bytes left over") }
    }

    @inlinable
    mutating func load<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(WireError) -> T {
        let size = MemoryLayout<T>.size
        guard end - position >= size else { throw .short(size, end - position) }
        let value = UnsafeRawPointer(bytes.storage.base + bytes.start + position).loadUnaligned(as: T.self)
        position += size
        return T(littleEndian: value)
    }

    @inlinable public mutating func readU8() throws(WireError) -> UInt8 { try load(UInt8.self) }
    @inlinable public mutating func readU16() throws(WireError) -> UInt16 { try load(UInt16.self) }
    @inlinable public mutating func readU32() throws(WireError) -> UInt32 { try load(UInt32.self) }
    @inlinable public mutating func readU64() throws(WireError) -> UInt64 { try load(UInt64.self) }
    @inlinable public mutating func readI32() throws(WireError) -> Int32 { try load(Int32.self) }
    @inlinable public mutating func readI64() throws(WireError) -> Int64 { try load(Int64.self) }

    /// A byte that must be 0 or 1.
    @inlinable
    public mutating func readBool() throws(WireError) -> Bool {
        let value = try readU8()
        guard value <= 1 else { throw WireError("\(value) is not a boolean") }
        return value == 1
    }

    /// The next `count` bytes, sharing the storage.
    @inlinable
    public mutating func readRaw(_ count: Int) throws(WireError) -> Bytes {
        guard count >= 0, end - position >= count else { throw .short(count, end - position) }
        let slice = Bytes(storage: bytes.storage, start: bytes.start + position, count: count)
        position += count
        return slice
    }

    /// A u32 length of at most `limit`, then that many bytes.
    @inlinable
    public mutating func readBytes(atMost limit: Int) throws(WireError) -> Bytes {
        let count = Int(try readU32())
        guard count <= limit else { throw WireError("length \(count) is over the limit of \(limit)") }
        return try readRaw(count)
    }

    /// A u32 length of at most `limit` bytes, then UTF-8. Bytes that are not UTF-8 are refused.
    public mutating func readString(atMost limit: Int) throws(WireError) -> String {
        let raw = try readBytes(atMost: limit)
        guard let text = raw.withUnsafeBytes({ String(validating: $0.bindMemory(to: UInt8.self), as: UTF8.self) })
        else {
            throw WireError("text is not UTF-8")
        }
        return text
    }

    /// A u32 count of at most `limit`, then that many elements.
    @inlinable
    public mutating func readArray<Element>(
        atMost limit: Int, _ element: (inout ByteReader) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        let count = Int(try readU32())
        guard count <= limit else { throw WireError("count \(count) is over the limit of \(limit)") }
        // An element takes at least one byte, so a lying count cannot reserve more than the message holds.
        guard count <= remaining else { throw .short(count, remaining) }
        var result: [Element] = []
        result.reserveCapacity(count)
        for _ in 0..<count { result.append(try element(&self)) }
        return result
    }

    /// A byte for presence, then the value.
    @inlinable
    public mutating func readOptional<Value>(
        _ value: (inout ByteReader) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        try readBool() ? try value(&self) : nil
    }

    /// A section written by `ByteWriter.versioned`. `body` reads what this build knows; what a newer writer appended is
    /// skipped. Refused when the writer says that a reader needs more than `supported`.
    @inlinable
    public mutating func versioned<Value>(
        _ name: StaticString, supported: UInt8, _ body: (inout ByteReader, UInt8) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        let version = try readU8()
        let compatible = try readU8()
        let length = Int(try readU32())
        guard compatible <= supported else {
            throw WireError("\(name) needs version \(compatible), this build reads up to \(supported): upgrade it")
        }
        guard length <= remaining else { throw .short(length, remaining) }
        let outer = end
        end = position + length
        let value = try body(&self, version)
        position = end
        end = outer
        return value
    }
}
