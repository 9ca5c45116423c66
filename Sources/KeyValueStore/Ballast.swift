import Glibc

/// A file of no content that keeps space on a file system which others fill: without any a flush fails, and with it the
/// store that would free some.
final class Ballast {
    private let path: String
    private var size: Int

    /// A file that is there is taken over.
    init(path: String) {
        self.path = path
        var info = stat()
        size = stat(path, &info) == 0 ? Int(info.st_size) : 0
    }

    /// Gives the space up when there is less left than it holds.
    func giveUpIfFull() {
        var info = statvfs()
        guard size > 0, statvfs(path, &info) == 0, Int(info.f_bavail) * Int(info.f_frsize) < size else { return }
        hold(0)
    }

    /// Makes the file, or with 0 removes it; one that is there keeps its size. Where the space is not there for it, there is
    /// none.
    func hold(_ bytes: Int) {
        guard (bytes > 0) != (size > 0) else { return }
        guard bytes > 0 else {
            unlink(path)
            size = 0
            return
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        if posix_fallocate(descriptor, 0, off_t(bytes)) == 0 { size = bytes } else { unlink(path) }
    }
}
