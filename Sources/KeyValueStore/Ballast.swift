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
        /// Someone is about to write what was asked for: it must not be taken back.
        var isAwaited = false
    }

    private let directory: String
    private let path: String
    private let state: Mutex<State>

    /// What is left beside what is asked for: names, the manifest, the options.
    static let margin = 256 << 10
    /// The file shrinks by multiples of this: only whole blocks of the file system become free.
    private static let step = 64 << 10

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

    /// Makes sure that `bytes` and a margin can be written, at the expense of the ballast where there is no other way. What it
    /// gives up it does not take back before `written`. One writer at a time.
    func require(_ bytes: Int) throws(KeyValueError) {
        state.withLock { $0.isAwaited = true }
        guard !has(bytes) else { return }
        state.withLock { state in
            // Again, if others were there first.
            for _ in 0..<4 {
                guard state.size > 0, let available else { return }
                let missing = bytes + Self.margin - available
                guard missing > 0 else { return }
                let steps = (missing + Self.step - 1) / Self.step
                resize(&state, to: max(0, state.size - steps * Self.step))
            }
        }
        guard has(bytes) else {
            throw KeyValueError(
                "metadata store: no space left for \(bytes + Self.margin) bytes on the file system of \(directory): free some"
            )
        }
    }

    private func has(_ bytes: Int) -> Bool { available.map { $0 >= bytes + Self.margin } ?? true }

    /// Says what the file should have; as much of it as there is space for, it gets now, the rest with `written`. Returns what
    /// is missing then.
    func hold(_ bytes: Int) -> Int {
        state.withLock { $0.target = bytes }
        regrow()
        return missing
    }

    /// What was given up and not taken back yet.
    var missing: Int { state.withLock { max(0, $0.target - $0.size) } }

    /// What was asked for is written, or will not be. Takes back what was given up.
    func written() {
        state.withLock { $0.isAwaited = false }
        regrow()
    }

    /// Takes back what was given up, as far as there is space beside it, unless someone is writing.
    private func regrow() {
        state.withLock { state in
            guard !state.isAwaited else { return }
            if state.size > state.target { return resize(&state, to: state.target) }
            guard state.size < state.target, let available else { return }
            // Before all others: what is left beside it is for what is too small to be asked for.
            let more = min(state.target - state.size, available - 2 * Self.margin)
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
