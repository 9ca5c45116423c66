import Glibc
import ObjectStore
import Wire

/// Where an export goes: standard output, or a file that takes its name when it is whole.
final class ExportFile {
    private let path: String
    private let descriptor: Int32
    private let isStandard: Bool
    private var unfinished: String { path + ".unfinished" }

    init(_ path: String) throws(CommandError) {
        self.path = path
        isStandard = path == "-"
        if isStandard {
            guard isatty(STDOUT_FILENO) == 0 else {
                throw CommandError(errno: EINVAL, "an export is not for a terminal: name a file with --file")
            }
            descriptor = STDOUT_FILENO
            return
        }
        guard access(path, F_OK) != 0 else { throw CommandError(errno: EEXIST, "\(path) exists: name another file") }
        descriptor = open(path + ".unfinished", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let code = errno
            throw CommandError(errno: code, "\(path): \(String(cString: strerror(code)))")
        }
    }

    deinit { if !isStandard { close(descriptor) } }

    func write(_ bytes: Bytes) throws(StoreError) {
        let code = bytes.withUnsafeBytes { all -> Int32 in
            var rest = all
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return errno }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            return 0
        }
        guard code == 0 else { throw failure(code) }
    }

    private func failure(_ code: Int32) -> StoreError {
        StoreError(code == ENOSPC ? .noSpace : .failed, "\(path): \(String(cString: strerror(code)))")
    }

    /// Makes the file durable and gives it its name.
    func finish() throws(StoreError) {
        guard !isStandard else { return }
        guard fsync(descriptor) == 0, rename(unfinished, path) == 0 else { throw failure(errno) }
    }

    func abandon() { if !isStandard { unlink(unfinished) } }
}

/// Where an import comes from. It is read twice, so it has to be a file.
final class ImportFile {
    private let path: String
    private let descriptor: Int32
    private let start: off_t
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private var filled = 0
    private var taken = 0

    init(_ path: String) throws(CommandError) {
        self.path = path
        descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let code = errno
            throw CommandError(errno: code, "\(path): \(String(cString: strerror(code)))")
        }
        start = lseek(descriptor, 0, SEEK_CUR)
        guard start >= 0 else {
            throw CommandError(
                errno: ESPIPE, "an import is checked as a whole before it is written: give it a file, not a pipe")
        }
    }

    deinit { close(descriptor) }

    /// Goes back to where it was at first.
    func rewind() throws(StoreError) {
        guard lseek(descriptor, start, SEEK_SET) == start else { throw failure() }
        filled = 0
        taken = 0
    }

    /// The next bytes: fewer than asked only at the end.
    func read(_ count: Int) throws(StoreError) -> Bytes {
        var result: [UInt8] = []
        while result.count < count {
            if taken == filled {
                taken = 0
                filled = Glibc.read(descriptor, &buffer, buffer.count)
                if filled < 0, errno == EINTR {
                    filled = 0
                    continue
                }
                guard filled >= 0 else {
                    filled = 0
                    throw failure()
                }
                if filled == 0 { break }
            }
            let part = min(count - result.count, filled - taken)
            result += buffer[taken..<taken + part]
            taken += part
        }
        return Bytes(result)
    }

    private func failure() -> StoreError {
        StoreError(.failed, "\(path): \(String(cString: strerror(errno)))")
    }
}
