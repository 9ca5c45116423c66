import Glibc
import KeyValueStore
import Protocol
import Wire

/// The store in production.
public typealias DiskStore = ObjectStore<FileDevice, RocksDBStore>

/// A directory that holds a store, locked for this process as long as the object lives: `block`, `meta/`, `lock`.
///
/// While `formatting` exists the format has not finished: nothing was stored, and it may begin anew.
public final class StoreDirectory: Sendable {
    /// Where it is.
    public let path: String
    private let lock: Int32

    /// Locks the directory, which must exist and hold a store or nothing; with `holdsStore` there must be a store. A directory
    /// that is refused stays as it was.
    public init(_ path: String, holdsStore: Bool = false) throws(StoreError) {
        self.path = path
        let name = path + "/lock"
        var descriptor = open(name, O_RDWR | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT {
            if try !Self.isFormatted(path), holdsStore { throw Self.noStore(path) }
            descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        }
        guard descriptor >= 0 else { throw .system(errno, "cannot use the store directory \(path)") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let holder = Self.holder(of: descriptor)
            close(descriptor)
            throw StoreError(
                .inUse,
                "store directory \(path) is in use by " + (holder.map { "process \($0)" } ?? "another process")
                    + ": stop it, or give this OSD another directory")
        }
        lock = descriptor
    }

    /// The process that has the file locked, as far as the system tells.
    private static func holder(of descriptor: Int32) -> Int? {
        var info = stat()
        guard fstat(descriptor, &info) == 0, let file = fopen("/proc/locks", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            // 1: FLOCK ADVISORY WRITE 1234 fd:01:5678 0 EOF
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let words = text.split(whereSeparator: \.isWhitespace)
            if words.count > 5, words[1] == "FLOCK", words[5].hasSuffix(":\(info.st_ino)"), let process = Int(words[4]),
                process > 0
            {
                return process
            }
        }
        return nil
    }

    deinit { close(lock) }

    private var blockPath: String { path + "/block" }
    private var keysPath: String { path + "/meta" }
    private var markerPath: String { path + "/formatting" }

    /// True when there is a store. Throws when there is something else.
    public func isFormatted() throws(StoreError) -> Bool { try Self.isFormatted(path) }

    private static func isFormatted(_ path: String) throws(StoreError) -> Bool {
        func exists(_ name: String) -> Bool { access(path + "/" + name, F_OK) == 0 }
        if exists("formatting") { return false }
        if exists("block") && exists("meta") { return true }
        guard let directory = opendir(path) else { throw .system(errno, "cannot list the store directory \(path)") }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if ![".", "..", "lock", "lost+found"].contains(name) {
                throw StoreError(
                    .foreign, "directory \(path) holds \(name) and no store: give this OSD an empty directory")
            }
        }
        return false
    }

    private static func noStore(_ path: String) -> StoreError { StoreError(.foreign, "there is no store in \(path)") }

    /// Makes an empty store.
    public func format(_ identity: StoreIdentity, options: StoreOptions = StoreOptions()) throws(StoreError) {
        guard try !isFormatted() else { throw StoreError(.foreign, "directory \(path) already holds a store") }
        let marker = open(markerPath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard marker >= 0 else { throw .system(errno, "cannot create a store in \(path)") }
        close(marker)
        try syncDirectory()
        do throws(KeyValueError) {
            try RocksDBStore.destroy(directory: keysPath)
            try RocksDBStore(directory: keysPath, create: true).flush()
        } catch {
            throw StoreError(.failed, error.description)
        }
        unlink(blockPath)
        do throws(DeviceError) {
            let device = try FileDevice(
                path: blockPath, create: true, unsafeNoFlush: options.unsafeNoFlush, withoutRing: options.withoutRing)
            var options = options
            options.salt = UInt64.random(in: 1 ... .max)
            options.journalSize = StoreLimits.journal(of: options.journalSize, within: device.growable)
            try formatBlock(device, identity, options)
        } catch {
            throw .system(error.code, "cannot create a store in \(path)", error.description)
        }
        try syncDirectory()
        unlink(markerPath)
        try syncDirectory()
    }

    private func formatBlock(_ device: FileDevice, _ identity: StoreIdentity, _ options: StoreOptions)
        throws(DeviceError)
    {
        do throws(StoreError) {
            try DiskStore.format(device, identity: identity, options: options)
        } catch {
            throw DeviceError(code: error.code == .noSpace ? ENOSPC : EIO, error.description)
        }
    }

    /// Opens the store, which must belong to `cluster` and `osd` where they are given.
    public func openStore(cluster: UniqueID? = nil, osd: OSDID? = nil, options: StoreOptions = StoreOptions())
        throws(StoreError) -> DiskStore
    {
        let device = try openDevice(options)
        let identity = try DiskStore.identity(of: device)
        if let cluster, cluster != identity.cluster {
            throw StoreError(
                .otherCluster, "the store in \(path) belongs to cluster \(identity.cluster), not to \(cluster)")
        }
        if let osd, osd != identity.osd {
            throw StoreError(.otherOSD, "the store in \(path) belongs to \(identity.osd), not to \(osd)")
        }
        return try DiskStore.open(device, try openKeys(options, for: device), options: options)
    }

    /// Whose store it is. Throws when there is none.
    public func identity() throws(StoreError) -> StoreIdentity {
        try DiskStore.identity(of: try openDevice(StoreOptions()))
    }

    /// Checks everything in the store: each finding goes to `report`, the share that is done to `progress`. Replays the
    /// journal, and writes nothing else. `readingData` reads and verifies the data as well. Throws when the store cannot be
    /// opened at all, as when its journal is damaged.
    public func check(
        readingData: Bool, progress: (Double) -> Void = { _ in }, report: @escaping (StoreFinding) -> Void
    ) throws(StoreError) -> StoreContents {
        let device = try openDevice(StoreOptions())
        // Before the metadata store is touched: it writes when it is opened.
        _ = try DiskStore.identity(of: device)
        var check = try StoreCheck(device: device, keys: try openKeys(StoreOptions(), for: device), report: report)
        try check.run(readingData: readingData, progress: progress)
        return check.contents
    }

    private func openDevice(_ options: StoreOptions) throws(StoreError) -> FileDevice {
        guard try isFormatted() else { throw Self.noStore(path) }
        do throws(DeviceError) {
            return try FileDevice(
                path: blockPath, unsafeNoFlush: options.unsafeNoFlush, withoutRing: options.withoutRing)
        } catch {
            throw .system(error.code, "cannot open the store in \(path)", error.description)
        }
    }

    private func openKeys(_ options: StoreOptions, for device: FileDevice) throws(StoreError) -> RocksDBStore {
        var keyOptions = RocksDBStore.Options()
        keyOptions.unsafeNoFlush = options.unsafeNoFlush
        do throws(KeyValueError) {
            return try RocksDBStore(
                directory: keysPath, create: false, options: keyOptions, wakeDescriptor: device.eventDescriptor)
        } catch {
            throw StoreError(.failed, error.description)
        }
    }

    private func syncDirectory() throws(StoreError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(errno, "cannot open the store directory \(path)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system(errno, "cannot flush the store directory \(path)") }
    }
}

extension StoreError {
    /// The failure of a system call, with the code that tells people what to do.
    static func system(_ error: Int32, _ context: String, _ detail: String? = nil) -> StoreError {
        let code: Code =
            switch error {
            case EACCES, EPERM: .permission
            case EROFS: .readOnly
            case ENOSPC: .noSpace
            case ENOENT, ENOTDIR: .foreign
            default: .failed
            }
        return StoreError(code, "\(context): \(detail ?? String(cString: strerror(error)))")
    }
}

extension ObjectStore {
    /// Whose store is on the device.
    public static func identity(of device: Device) throws(StoreError) -> StoreIdentity {
        try readSuperblock(device).identity
    }
}

extension ObjectStore where Device == FileDevice {
    /// The descriptor that becomes readable when `poll` has something to do.
    public var eventDescriptor: Int32 { device.eventDescriptor }

    /// What whoever runs the store should hear of its device, in one line; nil when all is as it should be.
    public var deviceRemark: String? {
        device.fallbackReason.map { "the store works without io_uring, with threads, which costs more: \($0)" }
    }
}
