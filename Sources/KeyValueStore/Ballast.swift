import Glibc
import Synchronization

/// Sees to it that what writes to a file system finds its space there, with a file of no content that keeps some back for the
/// time when others have filled the rest.
///
/// RocksDB must never meet a full file system: Debian's is built with its assertions, and one of them ends the process when a
/// small file could not be written. So whoever writes asks first (`require`), and the file gives up what is missing.
///
/// May be used by several threads.
final class Ballast: Sendable {
    private struct State {
        var size: Int
        /// What the file should have.
        var target = 0
    }

    private let directory: String
    private let path: String
    private let state: Mutex<State>

    /// What is left beside what is asked for: names, the manifest, the options.
    static let margin = 256 << 10

    /// For writers in `directory`. A file that is there is taken over.
    init(directory: String) {
        self.directory = directory
        path = directory + "/ballast"
        var info = stat()
        let size = stat(path, &info) == 0 ? Int(info.st_size) : 0
        state = Mutex(State(size: size, target: size))
    }

    /// Bytes that the file system has left, the ballast not counted; nil when it does not say.
    var available: Int? {
        var info = statvfs()
        return statvfs(directory, &info) == 0 ? Int(info.f_bavail) * Int(info.f_frsize) : nil
    }

    /// Makes sure that `bytes` and a margin can be written, at the expense of the ballast where there is no other way.
    func require(_ bytes: Int) throws(KeyValueError) {
        guard !has(bytes) else { return }
        state.withLock { state in
            guard let available else { return }
            let missing = bytes + Self.margin - available
            guard missing > 0, state.size > 0 else { return }
            resize(&state, to: max(0, state.size - missing))
        }
        guard has(bytes) else {
            throw KeyValueError(
                "metadata store: no space left for \(bytes + Self.margin) bytes on the file system of \(directory): free some"
            )
        }
    }

    private func has(_ bytes: Int) -> Bool { available.map { $0 >= bytes + Self.margin } ?? true }

    /// Says what the file should have; as much of it as there is space for, it gets now, the rest with `regrow`.
    func hold(_ bytes: Int) {
        state.withLock { $0.target = bytes }
        regrow()
    }

    /// Takes back what was given up, as far as there is space beside it.
    func regrow() {
        state.withLock { state in
            if state.size > state.target { return resize(&state, to: state.target) }
            guard state.size < state.target, let available else { return }
            // As much again stays for others.
            let more = min(state.target - state.size, (available - Self.margin) / 2)
            if more > 0 { resize(&state, to: state.size + more) }
        }
    }

    private func resize(_ state: inout State, to size: Int) {
        guard size > 0 else {
            unlink(path)
            state.size = 0
            return
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        if size < state.size {
            if ftruncate(descriptor, off_t(size)) == 0 { state.size = size }
        } else if posix_fallocate(descriptor, 0, off_t(size)) == 0 {
            state.size = size
        } else {
            ftruncate(descriptor, off_t(state.size))
        }
    }
}
