import Glibc
import Wire

/// Files that commands are given or make; `-` is standard input or output.
enum LocalFile {
    /// The whole file. Throws ENOENT and the like, and EFBIG when it is larger than `limit` bytes: by its size before it is
    /// read, and whatever has no size while it is read. `what` names the kind of file.
    static func read(_ path: String, atMost limit: Int, what: String) throws(CommandError) -> Bytes {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { if path != "-" { close(descriptor) } }
        let tooLarge = CommandError(errno: EFBIG, "\(path): \(what) has at most \(limit >> 20) MiB")
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_size > limit { throw tooLarge }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(path) }
            if count == 0 { return Bytes(bytes) }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= limit else { throw tooLarge }
        }
    }

    /// Makes or replaces the file.
    static func write(_ bytes: Bytes, to path: String) throws(CommandError) {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
        let descriptor = path == "-" ? STDOUT_FILENO : open(path, flags, 0o666)
        guard descriptor >= 0 else { throw failure(path) }
        defer { if path != "-" { close(descriptor) } }
        var done = 0
        let data = bytes.array
        while done < data.count {
            let count = data.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: done), data.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(path) }
            done += count
        }
    }

    private static func failure(_ path: String) -> CommandError {
        let code = errno
        return CommandError(errno: code, "\(path): \(String(cString: strerror(code)))")
    }
}
