import NIOCore
import Wire

/// Replies on their way to the socket, gathered so that a turn of the event loop costs one system call.
package struct ReplyQueue {
    private var full: [ByteBuffer] = []
    private var current = ByteBuffer()
    /// `current` was handed out: the socket may still hold it, so it is cleared (and copied if held) before its next use.
    private var isHandedOut = false
    /// Bytes waiting to be handed out.
    package private(set) var byteCount = 0
    /// Bytes handed out so far.
    private(set) var handedOut = 0

    package init() {}

    package var isEmpty: Bool { byteCount == 0 }

    /// Queues a simple reply without data; `failure` nil means success.
    mutating func append(_ failure: IOFailure?, cookie: UInt64) {
        makeRoom(Self.replyHeaderBytes)
        writeHeader(error: failure?.rawValue ?? 0, cookie: cookie)
    }

    /// Queues a simple reply with the data that was read.
    mutating func append(_ data: Bytes, cookie: UInt64) {
        makeRoom(Self.replyHeaderBytes + data.count)
        writeHeader(error: 0, cookie: cookie)
        _ = data.withUnsafeBytes { current.writeBytes($0) }
        byteCount += data.count
    }

    /// Queues a simple reply whose data is `count` zeroes.
    mutating func append(zeroes count: Int, cookie: UInt64) {
        makeRoom(Self.replyHeaderBytes + count)
        writeHeader(error: 0, cookie: cookie)
        current.writeRepeatingByte(0, count: count)
        byteCount += count
    }

    /// Hands the queued bytes to `body`, in order, in as few buffers as were gathered.
    package mutating func drain(_ body: (ByteBuffer) -> Void) {
        guard byteCount > 0 else { return }
        handedOut += byteCount
        byteCount = 0
        if !full.isEmpty {
            for buffer in full { body(buffer) }
            full.removeAll(keepingCapacity: true)
        }
        body(current)
        isHandedOut = true
    }

    private static let replyHeaderBytes = 16

    private mutating func makeRoom(_ count: Int) {
        if isHandedOut {
            isHandedOut = false
            // A buffer that grew for one large reply is not kept for the small ones after it.
            if current.capacity > 2 * Limits.gatheredReplyBytes {
                current = ByteBuffer()
            } else {
                current.clear()
            }
        } else if current.readableBytes > 0, current.readableBytes + count > Limits.gatheredReplyBytes {
            full.append(current)
            current = ByteBuffer()
            current.reserveCapacity(max(count, Limits.gatheredReplyBytes))
            return
        }
        current.reserveCapacity(minimumWritableBytes: count)
    }

    /// "Simple reply message": magic, error, cookie.
    private mutating func writeHeader(error: UInt32, cookie: UInt64) {
        current.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.replyHeaderBytes) { bytes in
            bytes.storeBytes(of: Magic.simpleReply.bigEndian, toByteOffset: 0, as: UInt32.self)
            bytes.storeBytes(of: error.bigEndian, toByteOffset: 4, as: UInt32.self)
            bytes.storeBytes(of: cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
            return Self.replyHeaderBytes
        }
        byteCount += Self.replyHeaderBytes
    }
}
