/// The version of an operation in a placement group: the epoch in which its primary ordered it, then a counter of the
/// group. Compared in that order, so what a later interval ordered is always newer.
public struct Version: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var epoch: Epoch
    public var counter: UInt64

    @inlinable
    public init(epoch: Epoch, counter: UInt64) {
        self.epoch = epoch
        self.counter = counter
    }

    /// Before every operation.
    public static let zero = Version(epoch: .none, counter: 0)

    @inlinable
    public static func < (left: Version, right: Version) -> Bool {
        left.epoch == right.epoch ? left.counter < right.counter : left.epoch < right.epoch
    }

    /// The form administrators know: epoch, apostrophe, counter.
    public var description: String { "\(epoch)'\(counter)" }

    /// Bytes of the encoding.
    public static let encodedSize = 12

    @inlinable
    public init(from reader: inout ByteReader) throws(WireError) {
        epoch = Epoch(try reader.readU32())
        counter = try reader.readU64()
    }

    @inlinable
    public func encode(into writer: inout ByteWriter) {
        writer.writeU32(epoch.rawValue)
        writer.writeU64(counter)
    }

    /// Twelve bytes, big-endian, that sort as versions do: the key of a log entry.
    public var sortableKey: Bytes {
        Bytes.encoding(capacity: 12) { writer in
            writer.writeU32(epoch.rawValue.byteSwapped)
            writer.writeU64(counter.byteSwapped)
        }
    }
}
