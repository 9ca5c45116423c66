import Glibc
import KeyValueStore
import Wire

/// Why a monitor does not start or go on: an errno of the field, and one line that names the thing and what to do.
public struct MonitorError: Error, Hashable, CustomStringConvertible {
    /// The errno, which is the command's exit status.
    public let errno: Int32
    /// The line.
    public let description: String

    /// An error with these values.
    public init(errno: Int32, _ description: String) {
        self.errno = errno
        self.description = description
    }

    static func system(_ context: String, _ code: Int32) -> MonitorError {
        MonitorError(errno: code, "\(context): \(String(cString: strerror(code)))")
    }
}

/// A directory that holds a monitor's maps, locked for this process as long as the object lives: `maps/`, `lock`.
///
/// While `creating` exists the first map has not been stored: nobody was told anything, and creation may begin anew.
final class MonitorDirectory {
    let path: String
    private let lock: Int32

    /// Makes the directory if need be (its parent must exist) and locks it.
    init(_ path: String) throws(MonitorError) {
        self.path = path
        if mkdir(path, 0o755) == 0 {
            try Self.sync(path + "/..")
        } else if errno != EEXIST {
            throw .system("cannot create the monitor's directory \(path)", errno)
        }
        let descriptor = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("cannot use the monitor's directory \(path)", errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            var text = [UInt8](repeating: 0, count: 32)
            let count = max(0, read(descriptor, &text, text.count))
            close(descriptor)
            let holder = String(decoding: text.prefix(count), as: UTF8.self).filter(\.isNumber)
            throw MonitorError(
                errno: EBUSY,
                "the monitor's directory \(path) is in use by "
                    + (holder.isEmpty ? "another process" : "process \(holder)")
                    + ": stop it, or choose another directory")
        }
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = pwrite(descriptor, text, text.count, 0)
        lock = descriptor
    }

    deinit { close(lock) }

    private var storePath: String { path + "/maps" }
    private var markerPath: String { path + "/creating" }

    /// The log of maps: that of an earlier run, or a new one that begins with the map of `cluster`.
    func openLog(name: String, cluster: () -> NewCluster) throws(MonitorError) -> MapLog {
        do {
            if try isCreated() {
                guard let log = try MapLog.open(try RocksDBStore(directory: storePath, create: false)) else {
                    throw MonitorError(errno: EIO, "the monitor's directory \(path) holds no map: it is damaged")
                }
                guard log.name == name else {
                    throw MonitorError(
                        errno: EINVAL, "the directory \(path) belongs to monitor '\(log.name)', not to '\(name)'")
                }
                return log
            }
            return try create(name: name, cluster())
        } catch let error as MonitorError {
            throw error
        } catch {
            throw MonitorError(errno: EIO, "the monitor's directory \(path): \(error)")
        }
    }

    private func create(name: String, _ cluster: NewCluster) throws -> MapLog {
        let marker = open(markerPath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard marker >= 0 else { throw MonitorError.system("cannot create a monitor in \(path)", errno) }
        close(marker)
        try Self.sync(path)
        try RocksDBStore.destroy(directory: storePath)
        let log = try MapLog.create(
            in: try RocksDBStore(directory: storePath, create: true), name: name, firstMap: cluster.firstMap)
        try Self.sync(path)
        unlink(markerPath)
        try Self.sync(path)
        return log
    }

    /// True when there is a monitor. Throws when there is something else.
    private func isCreated() throws(MonitorError) -> Bool {
        guard let directory = opendir(path) else { throw .system("cannot list the monitor's directory \(path)", errno) }
        defer { closedir(directory) }
        var found: Set<String> = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            found.insert(name)
        }
        found.subtract([".", "..", "lock", "lost+found"])
        if let foreign = found.subtracting(["maps", "creating"]).min() {
            throw MonitorError(
                errno: ENOTEMPTY,
                "the directory \(path) holds '\(Text.short(foreign))' and is no monitor's: choose an empty directory")
        }
        return found == ["maps"]
    }

    private static func sync(_ path: String) throws(MonitorError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("cannot open the directory \(path)", errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("cannot flush the directory \(path)", errno) }
    }
}
