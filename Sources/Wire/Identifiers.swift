/// An integer with a meaning. Each identifier of the cluster is a type of its own, so that none can stand for another.
public protocol Identifier: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue: FixedWidthInteger & Sendable {
    init(rawValue: RawValue)
}

extension Identifier {
    @inlinable public init(_ rawValue: RawValue) { self.init(rawValue: rawValue) }
    @inlinable public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    @inlinable public var description: String { "\(rawValue)" }
}

/// An object storage daemon: a small number from 0, also its CRUSH device id.
public struct OSDID: Identifier {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
    public var description: String { "osd.\(rawValue)" }
}

/// A pool; numbers are never used twice.
public struct PoolID: Identifier {
    public var rawValue: Int64
    @inlinable public init(rawValue: Int64) { self.rawValue = rawValue }
}

/// The version of a cluster map. 0 means "none yet"; the first map is 1.
public struct Epoch: Identifier {
    public var rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Before any map.
    public static let none = Epoch(0)
    /// The epoch after this one.
    @inlinable public var next: Epoch { Epoch(rawValue + 1) }
    /// The epoch before this one; that of 0 is 0.
    @inlinable public var previous: Epoch { Epoch(rawValue == 0 ? 0 : rawValue - 1) }
}

/// A snapshot of a pool's objects. Numbers go up with time and are never used twice; the head, the version being written,
/// is larger than all of them.
public struct SnapID: Identifier {
    public var rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Before any snapshot.
    public static let none = SnapID(0)
    /// The newest number that a snapshot can have.
    public static let last = SnapID(UInt64.max - 3)
    /// The object as it is now.
    public static let head = SnapID(UInt64.max - 1)
    public var description: String { self == .head ? "head" : "\(rawValue)" }
}

/// A number of bytes, where it is a size that people set or see.
public struct ByteCount: Identifier {
    public var rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let zero = ByteCount(0)
}

/// A placement group: a shard of a pool.
public struct PGID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var pool: PoolID
    /// Which of the pool's groups, below its pg_num.
    public var seed: UInt32

    @inlinable
    public init(pool: PoolID, seed: UInt32) {
        self.pool = pool
        self.seed = seed
    }

    @inlinable
    public static func < (left: PGID, right: PGID) -> Bool {
        left.pool == right.pool ? left.seed < right.seed : left.pool < right.pool
    }

    /// The group of the form that administrators know; nil when `text` is not of it.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let pool = Int64(parts[0]), pool >= 0, parts[1].allSatisfy(\.isHexDigit),
            let seed = UInt32(parts[1], radix: 16)
        else { return nil }
        self.init(pool: PoolID(pool), seed: seed)
    }

    /// The form administrators know: pool number, dot, seed in hexadecimal.
    public var description: String { "\(pool).\(String(seed, radix: 16))" }

    public init(from reader: inout ByteReader) throws(WireError) {
        pool = PoolID(try reader.readI64())
        seed = try reader.readU32()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeI64(pool.rawValue)
        writer.writeU32(seed)
    }
}

/// The name of an object inside its pool: 1 to 512 bytes, any value, compared bytewise. That is room for an image's name of
/// 255 bytes and what the layout of images puts before it.
public struct ObjectName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The bytes of the name.
    public let bytes: [UInt8]

    /// The longest name in bytes.
    public static let limit = 512

    /// Nil when the name is empty or longer than `limit`.
    public init?(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, bytes.count <= Self.limit else { return nil }
        self.bytes = bytes
    }

    /// For names made by this program; stops when the name is empty or too long.
    public init(_ text: String) {
        bytes = Array(text.utf8)
        precondition(!bytes.isEmpty && bytes.count <= Self.limit, "object name of \(bytes.count) bytes")
    }

    public static func < (left: ObjectName, right: ObjectName) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    public var description: String { String(decoding: bytes, as: UTF8.self) }

    @inlinable
    public init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.readBytes(atMost: Self.limit)
        guard let name = ObjectName(raw.array) else { throw WireError("empty object name") }
        self = name
    }

    @inlinable
    public func encode(into writer: inout ByteWriter) {
        writer.writeU32(UInt32(bytes.count))
        bytes.withUnsafeBytes { writer.writeRaw($0) }
    }
}

/// 128 random bits that tell apart clusters, OSDs and incarnations of processes.
public struct UniqueID: Hashable, Sendable, CustomStringConvertible {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A random (version 4) UUID drawn from `generator`.
    public init(using generator: inout some RandomNumberGenerator) {
        high = (generator.next() & ~0xf000) | 0x4000
        low = (generator.next() & ~(3 << 62)) | (2 << 62)
    }

    /// The text form with hyphens; nil when `text` is not one.
    public init?(_ text: String) {
        let digits = text.replacing("-", with: "")
        guard text.utf8.count == 36, digits.utf8.count == 32,
            let high = UInt64(digits.prefix(16), radix: 16), let low = UInt64(digits.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    public var description: String {
        func hex(_ value: UInt64) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let h = Array(hex(high)), l = Array(hex(low))
        return String(h[0..<8]) + "-" + String(h[8..<12]) + "-" + String(h[12..<16]) + "-" + String(l[0..<4]) + "-"
            + String(l[4..<16])
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        high = try reader.readU64()
        low = try reader.readU64()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(high)
        writer.writeU64(low)
    }
}
