import Wire

/// Changes to an ordered store that are applied together, in order, as one flat run of bytes that can also be logged.
///
/// Format, repeated:
///
/// | bytes | what |
/// |---|---|
/// | 1 | 2 = remove a range, 1 = put, 0 = remove |
/// | 4 | length of the key, or of the first key of the range |
/// | 4 | length of the value (0 for remove), or of the first key behind the range |
/// | … | the two |
public struct KeyBatch: Sendable {
    /// The encoded changes.
    public let bytes: Bytes

    /// Nothing.
    public static let empty = KeyBatch(trusted: .empty)

    /// For bytes made by `KeyBatchWriter`.
    @inlinable
    init(trusted bytes: Bytes) { self.bytes = bytes }

    /// Bytes from a disk; throws when they are not a sequence of changes.
    public init(checking bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        while reader.remaining > 0 {
            let tag = try reader.readU8()
            let key = Int(try reader.readU32())
            let value = Int(try reader.readU32())
            guard tag == 1 || tag == 2 || (tag == 0 && value == 0) else {
                throw WireError("unknown change \(tag) of a key")
            }
            _ = try reader.readRaw(key)
            _ = try reader.readRaw(value)
        }
        self.bytes = bytes
    }

    /// Gives `body` each change in order: the key, and the value or nil for a removal; and `removingRange` each removal of a
    /// range, its first key and the first behind it. The pointers are good for that call only.
    ///
    /// Who leaves out `removingRange` says that there are none in the batch.
    @inlinable
    public func forEach(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Void,
        removingRange: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void = { lower, upper in
            preconditionFailure("a removal of a range of keys (\(lower.count) and \(upper.count) bytes) nobody expects")
        }
    ) {
        bytes.withUnsafeBytes { all in
            var at = 0
            while at < all.count {
                let tag = all[at]
                let key = Int(UInt32(littleEndian: all.loadUnaligned(fromByteOffset: at + 1, as: UInt32.self)))
                let value = Int(UInt32(littleEndian: all.loadUnaligned(fromByteOffset: at + 5, as: UInt32.self)))
                let start = at + 9
                at = start + key + value
                let keyBytes = UnsafeRawBufferPointer(rebasing: all[start..<start + key])
                let rest = UnsafeRawBufferPointer(rebasing: all[start + key..<at])
                if tag == 2 { removingRange(keyBytes, rest) } else { body(keyBytes, tag == 1 ? rest : nil) }
            }
        }
    }
}

/// Gathers changes into a `KeyBatch`.
public struct KeyBatchWriter: ~Copyable {
    @usableFromInline var writer: ByteWriter

    /// A batch that grows when it exceeds `capacity` bytes.
    public init(capacity: Int = 1024) { writer = ByteWriter(capacity: capacity) }

    /// Bytes so far.
    @inlinable public var count: Int { writer.count }

    /// Sets `key` to `value`.
    @inlinable
    public mutating func put(_ key: Bytes, _ value: Bytes) {
        writer.writeU8(1)
        writer.writeU32(UInt32(key.count))
        writer.writeU32(UInt32(value.count))
        writer.writeRaw(key)
        writer.writeRaw(value)
    }

    /// Removes `key`; an absent key is no error.
    @inlinable
    public mutating func remove(_ key: Bytes) {
        writer.writeU8(0)
        writer.writeU32(UInt32(key.count))
        writer.writeU32(0)
        writer.writeRaw(key)
    }

    /// Removes the keys in `lower ..< upper`.
    @inlinable
    public mutating func removeRange(_ lower: Bytes, _ upper: Bytes) {
        writer.writeU8(2)
        writer.writeU32(UInt32(lower.count))
        writer.writeU32(UInt32(upper.count))
        writer.writeRaw(lower)
        writer.writeRaw(upper)
    }

    /// Adds a change as `KeyBatch.forEach` gives it: nil removes the key.
    @inlinable
    public mutating func put(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) {
        writer.writeU8(value == nil ? 0 : 1)
        writer.writeU32(UInt32(key.count))
        writer.writeU32(UInt32(value?.count ?? 0))
        writer.writeRaw(key)
        if let value { writer.writeRaw(value) }
    }

    /// The batch. The writer is used up.
    @inlinable
    public consuming func finish() -> KeyBatch { KeyBatch(trusted: writer.finish()) }
}
