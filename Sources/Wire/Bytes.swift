import Glibc

/// Storage behind `Bytes`: one allocation that holds the count of used bytes and the bytes themselves.
@usableFromInline
final class ByteStorage: ManagedBuffer<Int, UInt8> {
    @inlinable
    static func allocate(_ capacity: Int) -> ByteStorage {
        // `create` returns an instance of the class it was called on.
        unsafeDowncast(Self.create(minimumCapacity: capacity) { _ in 0 }, to: ByteStorage.self)
    }

    @inlinable
    var base: UnsafeMutablePointer<UInt8> { withUnsafeMutablePointerToElements { $0 } }
}

/// An immutable run of bytes that shares its storage with its slices.
///
/// Sendable because nobody can write to the storage once it is behind a `Bytes`. Slicing and passing on never copies; `compacted()` does, where a small slice would keep a large buffer alive.
public struct Bytes: @unchecked Sendable {
    @usableFromInline let storage: ByteStorage
    @usableFromInline let start: Int
    /// Number of bytes.
    public let count: Int

    @inlinable
    init(storage: ByteStorage, start: Int, count: Int) {
        self.storage = storage
        self.start = start
        self.count = count
    }

    /// No bytes; shares one storage.
    public static let empty = Bytes(storage: .allocate(0), start: 0, count: 0)

    /// A copy of `source`.
    @inlinable
    public init(copying source: UnsafeRawBufferPointer) {
        let storage = ByteStorage.allocate(source.count)
        if let from = source.baseAddress, source.count > 0 {
            UnsafeMutableRawPointer(storage.base).copyMemory(from: from, byteCount: source.count)
        }
        self.init(storage: storage, start: 0, count: source.count)
    }

    /// A copy of `source`.
    @inlinable
    public init(_ source: [UInt8]) {
        self = source.withUnsafeBytes { Bytes(copying: $0) }
    }

    /// The UTF-8 of `text`.
    @inlinable
    public init(_ text: String) {
        var text = text
        self = text.withUTF8 { Bytes(copying: UnsafeRawBufferPointer($0)) }
    }

    /// `count` bytes, filled in by `body` before anyone else can see them. `body` must write all of them.
    @inlinable
    public init(count: Int, fillingWith body: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
        let storage = ByteStorage.allocate(count)
        try body(UnsafeMutableRawBufferPointer(start: storage.base, count: count))
        self.init(storage: storage, start: 0, count: count)
    }

    /// `count` times the byte `value`.
    public init(repeating value: UInt8, count: Int) {
        self.init(count: count) { _ = $0.initializeMemory(as: UInt8.self, repeating: value) }
    }

    @inlinable public var isEmpty: Bool { count == 0 }

    /// Gives `body` the bytes; the pointer is good for that call only.
    @inlinable
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafeRawBufferPointer(start: storage.base + start, count: count))
    }

    @inlinable
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < count, "index \(index) outside \(count) bytes")
        return storage.base[start + index]
    }

    /// The bytes of `range`, sharing this storage.
    @inlinable
    public subscript(range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "range \(range) outside \(count) bytes")
        return Bytes(storage: storage, start: start + range.lowerBound, count: range.count)
    }

    /// The same bytes in storage of their own, so that keeping them does not keep a larger buffer.
    public func compacted() -> Bytes {
        storage.capacity <= count + 64 ? self : withUnsafeBytes { Bytes(copying: $0) }
    }

    /// A copy as an array.
    public var array: [UInt8] { withUnsafeBytes { [UInt8]($0) } }

    /// True when every byte is zero (and for no bytes).
    public var isAllZero: Bool {
        withUnsafeBytes { bytes in
            var offset = 0
            while offset + 8 <= bytes.count {
                if bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
                offset += 8
            }
            while offset < bytes.count {
                if bytes[offset] != 0 { return false }
                offset += 1
            }
            return true
        }
    }
}

extension Bytes: Hashable {
    public static func == (left: Bytes, right: Bytes) -> Bool {
        guard left.count == right.count else { return false }
        guard left.count > 0 else { return true }
        return memcmp(left.storage.base + left.start, right.storage.base + right.start, left.count) == 0
    }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension Bytes: Comparable {
    /// Lexicographic by unsigned byte, the order of keys in the ordered stores.
    public static func < (left: Bytes, right: Bytes) -> Bool {
        let shared = min(left.count, right.count)
        let order = memcmp(left.storage.base + left.start, right.storage.base + right.start, shared)
        return order == 0 ? left.count < right.count : order < 0
    }
}

extension Bytes: CustomStringConvertible {
    public var description: String { "\(count) bytes" }
}

extension String {
    /// The bytes read as UTF-8; what is not UTF-8 becomes replacement characters, so the result is fit for messages only
    /// where the bytes were not checked before.
    public init(_ bytes: Bytes) {
        self = bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}
