import Wire

/// How two values are compared; the numbers are those of RADOS.
public enum Comparison: UInt8, Sendable, CaseIterable {
    case equal = 1, notEqual, greater, greaterOrEqual, less, lessOrEqual

    /// Whether `left` stands so to `right`.
    public func holds<Value: Comparable>(_ left: Value, _ right: Value) -> Bool {
        switch self {
        case .equal: left == right
        case .notEqual: left != right
        case .greater: left > right
        case .greaterOrEqual: left >= right
        case .less: left < right
        case .lessOrEqual: left <= right
        }
    }
}

/// What an attribute is compared with: the left side is the operand, the right side the attribute, as in RADOS.
public enum AttributeOperand: Hashable, Sendable {
    /// Compared byte by byte.
    case bytes(Bytes)
    /// Compared as numbers: the attribute holds one in decimal digits, and anything else counts as 0.
    case number(UInt64)

    public init(from reader: inout ByteReader) throws(WireError) {
        switch try reader.readU8() {
        case 1: self = .bytes(try reader.readBytes(atMost: StorageLimits.attributeValue))
        case 2: self = .number(try reader.readU64())
        case let other: throw WireError("unknown kind of operand \(other)")
        }
    }

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .bytes(let bytes):
            writer.writeU8(1)
            writer.writeBytes(bytes)
        case .number(let number):
            writer.writeU8(2)
            writer.writeU64(number)
        }
    }
}

/// A call of a method of an object class.
public struct ClassCall: Hashable, Sendable {
    /// The class, such as `lock`.
    public var className: String
    public var method: String
    public var input: Bytes
    /// True when the method may change the object: such a request is ordered like a write.
    public var changes: Bool

    public init(_ className: String, _ method: String, input: Bytes, changes: Bool) {
        self.className = className
        self.method = method
        self.input = input
        self.changes = changes
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        className = try reader.readString(atMost: OperationLimits.className)
        method = try reader.readString(atMost: OperationLimits.className)
        input = try reader.readBytes(atMost: OperationLimits.classData)
        changes = try reader.readBool()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeString(className)
        writer.writeString(method)
        writer.writeBytes(input)
        writer.writeBool(changes)
    }
}

/// What `ObjectOperation.stat` gives.
public struct ObjectStatus: Hashable, Sendable {
    /// Bytes of the object.
    public var size: UInt64
    public var version: Version
    /// When the object was changed last, by its primary's clock: nanoseconds since 1970.
    public var modified: UInt64

    public init(size: UInt64, version: Version, modified: UInt64) {
        self.size = size
        self.version = version
        self.modified = modified
    }

    public init(decoding output: Bytes) throws(WireError) {
        var reader = ByteReader(output)
        size = try reader.readU64()
        version = try Version(from: &reader)
        modified = try reader.readU64()
        try reader.expectEnd()
    }

    public var encoded: Bytes {
        .encoding(capacity: 40) { writer in
            writer.writeU64(size)
            version.encode(into: &writer)
            writer.writeU64(modified)
        }
    }
}

/// What `ObjectOperation.sparseRead` gives: the ranges that are there, and their bytes one after the other. Between them, and
/// up to the object's end, are zeros.
public struct SparseData: Hashable, Sendable {
    /// A range of the object, in bytes.
    public struct Extent: Hashable, Sendable {
        public var offset: UInt64
        public var length: UInt64

        public init(offset: UInt64, length: UInt64) {
            self.offset = offset
            self.length = length
        }
    }

    /// In order, without overlap.
    public var extents: [Extent]
    public var data: Bytes

    public init(extents: [Extent], data: Bytes) {
        self.extents = extents
        self.data = data
    }

    /// What of `data`, which stands at `offset`, is not blocks of zeros. Blocks are those of the object.
    public init(_ data: Bytes, at offset: UInt64, block: UInt64 = 4096) {
        var extents: [Extent] = []
        var parts: [Bytes] = []
        var position = 0
        while position < data.count {
            let start = offset + UInt64(position)
            let length = min(Int(block - start % block), data.count - position)
            let part = data[position..<position + length]
            if !part.isAllZero {
                if let last = extents.last, last.offset + last.length == start {
                    extents[extents.count - 1].length += UInt64(length)
                } else {
                    extents.append(Extent(offset: start, length: UInt64(length)))
                }
                parts.append(part)
            }
            position += length
        }
        self.extents = extents
        self.data = .encoding(capacity: parts.reduce(0) { $0 + $1.count } + 8) { writer in
            for part in parts { writer.writeRaw(part) }
        }
    }

    /// The extents of `data`, which stands at `offset` and reaches to the end of the last.
    public init(_ data: Bytes, at offset: UInt64, _ ranges: [Range<UInt64>]) {
        extents = ranges.map { Extent(offset: $0.lowerBound, length: $0.upperBound - $0.lowerBound) }
        self.data =
            ranges.count == 1
            ? data
            : .encoding(capacity: data.count + 8) { writer in
                for range in ranges {
                    writer.writeRaw(data[Int(range.lowerBound - offset)..<Int(range.upperBound - offset)])
                }
            }
    }

    public init(decoding output: Bytes) throws(WireError) {
        var reader = ByteReader(output)
        extents = try reader.readArray(atMost: Int(StorageLimits.objectSize / 4096) + 1) { r throws(WireError) in
            Extent(offset: try r.readU64(), length: try r.readU64())
        }
        data = try reader.readBytes(atMost: MessageLimits.payload)
        try reader.expectEnd()
        var (end, sum): (UInt64, UInt64) = (0, 0)
        for extent in extents {
            try StorageLimits.check(offset: extent.offset, length: extent.length)
            guard extent.offset >= end else { throw WireError("extents of a sparse read overlap") }
            end = extent.offset + extent.length
            sum += extent.length
        }
        guard sum == UInt64(data.count) else { throw WireError("extents of \(sum) bytes with \(data.count)") }
    }

    public var encoded: Bytes {
        .encoding(capacity: data.count + 16 * extents.count + 16) { writer in
            writer.writeArray(extents) { writer, extent in
                writer.writeU64(extent.offset)
                writer.writeU64(extent.length)
            }
            writer.writeBytes(data)
        }
    }
}
