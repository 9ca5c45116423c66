import Glibc

/// The socket file of a unix listener: removes what a dead server left, and nothing else.
struct UnixSocketFile {
    let path: String

    /// Makes the way free for a bind. Throws when the path is too long, is something else than a socket, or belongs to a
    /// server that answers.
    func prepare() throws(ListenFailure) {
        let length = path.utf8.count
        guard length > 0, length <= Limits.unixPathBytes else {
            throw failure("the path has \(length) bytes, the limit is \(Limits.unixPathBytes): choose a shorter one")
        }
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw failure(String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw failure("a file that is not a socket is there: remove it or choose another path")
        }
        switch connectOnce() {
        case 0, EAGAIN, EINPROGRESS:
            throw failure("another server is listening there: stop it or choose another path")
        case ECONNREFUSED:
            guard unlink(path) == 0 || errno == ENOENT else {
                throw failure("the socket of a dead server cannot be removed: \(String(cString: strerror(errno)))")
            }
        case ENOENT:
            break
        case let code:
            throw failure("the socket there cannot be examined: \(String(cString: strerror(code)))")
        }
    }

    /// Removes the file of a server that stops.
    func remove() {
        _ = unlink(path)
    }

    private func failure(_ reason: String) -> ListenFailure {
        ListenFailure(.unix(path: path), reason)
    }

    /// The error of a connection attempt, 0 when it succeeds. It never waits: a full backlog is an answer too.
    private func connectOnce() -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | UInt32(SOCK_NONBLOCK.rawValue)), 0)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result == 0 ? 0 : errno
    }
}
