import Glibc
import NIOCore

/// What the system knows of the client at the other end of a socket.
enum LifeSign {
    /// How soon to look first, and how long to wait at most between two looks. A client's system acknowledges at once when
    /// the client reads, and within 40 ms otherwise.
    static let firstLook = TimeAmount.microseconds(100)
    static let lastLook = TimeAmount.milliseconds(10)

    /// POLLRDHUP of Linux, which Glibc's module does not show.
    private static let endOfInput: Int16 = 0x2000

    /// How many of the bytes written to the channel the client's system has not taken yet; nil when the client has closed
    /// the connection, as far as that can be seen.
    ///
    /// Linux answers data for a TCP socket that its program has closed or shut down with a reset, never with an
    /// acknowledgement, also while the end of the stream cannot be seen here because unread bytes stand before it. On a
    /// unix socket nothing stands before the end: there every byte counts as taken until the client has closed.
    static func bytesNotTaken(on channel: any Channel) -> Int? {
        let buffered = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        let count = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            descriptor -> Int? in
            guard !isLocal(descriptor) else { return hasClosed(descriptor) ? nil : 0 }
            // Looked at in this order, so that an end that can be seen wins over an older acknowledgement.
            guard let count = unacknowledged(descriptor), !hasClosed(descriptor) else { return nil }
            return count + buffered
        }
        return count ?? nil
    }

    private static func isLocal(_ socket: NIOBSDSocket.Handle) -> Bool {
        var domain: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX
    }

    private static func unacknowledged(_ socket: NIOBSDSocket.Handle) -> Int? {
        var count: Int32 = 0
        return ioctl(socket, UInt(TIOCOUTQ), &count) == 0 ? Int(count) : nil
    }

    private static func hasClosed(_ socket: NIOBSDSocket.Handle) -> Bool {
        var state = pollfd(fd: socket, events: endOfInput, revents: 0)
        return poll(&state, 1, 0) != 0
    }
}
