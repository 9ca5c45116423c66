import Glibc
import Wire

/// Files that commands are given or make; `-` is standard input or output.
enum LocalFile {
    /// The whole file. Throws ENOENT and the like, and EFBIG when it is larger than `limit` bytes; nothing larger is read.
    static func read(_ path: String, atMost limit: Int) throws(CommandError) -> Bytes {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("read", path) }
        defer { if path != "-" { close(descriptor) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            if count == 0 { return Bytes(bytes) }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= limit else {
                throw CommandError(
                    errno: EFBIG, "'\(path)' is larger than \(limit >> 20) MiB, the limit of such a file")
            }
        }
    }

    /// Makes or replaces the file.
    static func write(_ bytes: Bytes, to path: String) throws(CommandError) {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
        let descriptor = path == "-" ? STDOUT_FILENO : open(path, flags, 0o666)
        guard descriptor >= 0 else { throw failure("write", path) }
        defer { if path != "-" { close(descriptor) } }
        var done = 0
        let data = bytes.array
        while done < data.count {
            let count = data.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, data.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("write", path) }
            done += count
        }
    }

    private static func failure(_ verb: String, _ path: String) -> CommandError {
        let code = errno
        return CommandError(errno: code, "cannot \(verb) '\(path)': \(String(cString: strerror(code)))")
    }
}
