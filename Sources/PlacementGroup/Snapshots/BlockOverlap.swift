import Protocol
import Wire

/// Which blocks of a version of an object are known to be the same as in the next older version. What is not in it may be the
/// same or not.
///
/// A bit for each block: a standard object of 4 MiB has 128 bytes of them, however scattered its writes are.
package struct BlockOverlap: Hashable, Sendable {
    /// Bit n of byte n / 8 is block n; no zero bytes at the end.
    private var bits: [UInt8] = []

    /// Nothing is known to be the same.
    package static let nothing = BlockOverlap()

    private init() {}

    /// All of an object of `size` bytes.
    package init(wholeOf size: UInt64) {
        let blocks = Int((size + SnapLimits.overlapBlock - 1) / SnapLimits.overlapBlock)
        bits = [UInt8](repeating: 0xff, count: blocks / 8)
        if blocks % 8 > 0 { bits.append(UInt8(1 << (blocks % 8)) - 1) }
    }

    /// True when no block is known to be the same.
    package var isEmpty: Bool { bits.isEmpty }

    /// True when the block is known to be the same.
    package func contains(block: Int) -> Bool {
        block / 8 < bits.count && bits[block / 8] & (1 << UInt8(block % 8)) != 0
    }

    /// These bytes change: their blocks are no longer known to be the same. True when that is news.
    @discardableResult
    package mutating func remove(offset: UInt64, length: UInt64) -> Bool {
        guard length > 0, !bits.isEmpty else { return false }
        let first = Int(offset / SnapLimits.overlapBlock)
        let last = min(bits.count * 8 - 1, Int((offset + (length - 1)) / SnapLimits.overlapBlock))
        var isNews = false
        var block = first
        while block <= last {
            if contains(block: block) {
                bits[block / 8] &= ~(1 << UInt8(block % 8))
                isNews = true
            }
            block += 1
        }
        if isNews { normalize() }
        return isNews
    }

    /// Everything from `offset` on changes, the block with it included. True when that is news.
    @discardableResult
    package mutating func remove(from offset: UInt64) -> Bool {
        let end = UInt64(bits.count) * 8 * SnapLimits.overlapBlock
        return offset < end ? remove(offset: offset, length: end - offset) : false
    }

    /// What is in both.
    package func intersection(_ other: BlockOverlap) -> BlockOverlap {
        var result = BlockOverlap()
        result.bits = zip(bits, other.bits).map { $0 & $1 }
        result.normalize()
        return result
    }

    private mutating func normalize() {
        while bits.last == 0 { bits.removeLast() }
    }

    /// The blocks as ranges of bytes, none of which goes beyond `size`.
    package func ranges(upTo size: UInt64) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        for block in 0..<bits.count * 8 where contains(block: block) {
            let from = UInt64(block) * SnapLimits.overlapBlock
            let to = min(size, from + SnapLimits.overlapBlock)
            guard from < to else { break }
            if let last = result.last, last.upperBound == from {
                result[result.count - 1] = last.lowerBound..<to
            } else {
                result.append(from..<to)
            }
        }
        return result
    }

    static let bytes = Int(StorageLimits.objectSize / SnapLimits.overlapBlock / 8)

    init(from reader: inout ByteReader) throws(WireError) {
        bits = try reader.readBytes(atMost: Self.bytes).array
        normalize()
    }

    func encode(into writer: inout ByteWriter) { writer.writeBytes(Bytes(bits)) }
}
