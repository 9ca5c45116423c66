/// Blocks of data that were read lately, by their place in the file: as many as it has memory for.
///
/// It need not be told of writes: whoever finds a block here verifies it by its checksum, as one from the disk, and what is out
/// of date does not verify.
final class BlockCache {
    /// Places that a block may be kept at.
    private static let ways = 4

    private let sets: Int
    private var memory: BlockBuffer?
    /// Numbers of the blocks kept; 0, which is a superblock's, for none.
    private var blocks: [UInt64]
    /// For each set, in the low bits which of its blocks were found since they were last looked at for removal, in the high
    /// ones which is looked at next.
    private var marks: [UInt8]

    /// For at most `bytes`, rounded down to a power of two; nil for what is less than one set.
    init?(bytes: Int) {
        let sets = bytes / StoreLimits.blockSize / Self.ways
        guard sets > 0 else { return nil }
        self.sets = 1 << (Int.bitWidth - 1 - sets.leadingZeroBitCount)
        blocks = []
        marks = []
    }

    private func set(of block: UInt64) -> Int {
        Int(truncatingIfNeeded: (block &* 0x9e37_79b9_7f4a_7c15) >> 20) & (sets - 1)
    }

    /// The bytes kept for a block, good until the next call.
    func find(_ block: UInt64) -> UnsafeRawBufferPointer? {
        guard let memory else { return nil }
        let set = set(of: block)
        for way in 0..<Self.ways where blocks[set * Self.ways + way] == block {
            marks[set] |= 1 << UInt8(way)
            return UnsafeRawBufferPointer(memory.block(set * Self.ways + way))
        }
        return nil
    }

    /// Keeps a copy of a block.
    func keep(_ block: UInt64, _ bytes: UnsafeRawBufferPointer) {
        if memory == nil {
            // A store that is never read has no memory for it; pages come with what is put there.
            memory = BlockBuffer(count: sets * Self.ways * StoreLimits.blockSize)
            blocks = Array(repeating: 0, count: sets * Self.ways)
            marks = Array(repeating: 0, count: sets)
        }
        let set = set(of: block)
        let way = (0..<Self.ways).first { blocks[set * Self.ways + $0] == block } ?? wayToGive(in: set)
        blocks[set * Self.ways + way] = block
        memory?.block(set * Self.ways + way).copyMemory(from: bytes)
    }

    /// The next one that was not found since it was last looked at.
    private func wayToGive(in set: Int) -> Int {
        var way = Int(marks[set] >> 4)
        while marks[set] & (1 << UInt8(way)) != 0 {
            marks[set] &= ~(1 << UInt8(way))
            way = (way + 1) % Self.ways
        }
        marks[set] = marks[set] & 0xf | UInt8((way + 1) % Self.ways) << 4
        return way
    }
}
