/// Memory of buffers that were freed, kept for the next ones of their size: fresh memory of this size comes from the kernel
/// page by page, which costs more than filling it.
///
/// Confined to its store's loop, as the buffers that come from it are.
final class BufferPool {
    /// By the power of two, from one block to `largest`.
    private var free: [[UnsafeMutableRawPointer]]
    private var keptBytes = 0

    init() { free = Array(repeating: [], count: StoreLimits.largestPooled.trailingZeroBitCount + 1) }

    deinit {
        for list in free { for base in list { base.deallocate() } }
    }

    /// Bytes that memory for `count` bytes really has; nil when such memory is not kept.
    static func size(_ count: Int) -> Int? {
        guard count <= StoreLimits.largestPooled else { return nil }
        return count <= 1 ? 1 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount)
    }

    func take(_ size: Int) -> UnsafeMutableRawPointer {
        if let base = free[size.trailingZeroBitCount].popLast() {
            keptBytes -= size
            return base
        }
        return .allocate(byteCount: size, alignment: StoreLimits.blockSize)
    }

    func give(_ base: UnsafeMutableRawPointer, size: Int) {
        guard keptBytes + size <= StoreLimits.pooledBytes else { return base.deallocate() }
        keptBytes += size
        free[size.trailingZeroBitCount].append(base)
    }
}
