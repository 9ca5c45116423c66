import ClusterMap
import Commands
import Glibc
import Monitor
import NBD
import OSD
import Wire

/// A whole cluster in one process: a monitor, OSDs and an NBD server under one directory.
///
/// | path | what |
/// |---|---|
/// | `mon.a/` | the monitor |
/// | `osd.N/` | OSDs; those that are there are started, and new ones made until there are as many as asked for |
public struct Up: Sendable {
    /// Where everything is; made when it does not exist.
    public var directory: String
    /// How many OSDs there are to be at least.
    public var osds: Int
    /// Bytes that each new OSD may hold; nil for what the file system has.
    public var capacity: ByteCount?
    /// Where the monitor listens.
    public var monitorListen: Endpoint
    /// Where the NBD server listens.
    public var nbdListen: [ListenAddress]
    /// Whether the NBD server may listen where other hosts reach it.
    public var allowRemote: Bool

    /// Most OSDs of one process.
    public static let osdLimit = 64

    /// A cluster with these values.
    public init(
        directory: String, osds: Int, capacity: ByteCount?, monitorListen: Endpoint, nbdListen: [ListenAddress],
        allowRemote: Bool
    ) {
        self.directory = directory
        self.osds = osds
        self.capacity = capacity
        self.monitorListen = monitorListen
        self.nbdListen = nbdListen
        self.allowRemote = allowRemote
    }

    /// Starts everything, handing over each daemon as it serves.
    public func start(_ serving: @Sendable (RunningDaemon) -> Void) async throws(CommandError) {
        let names = try prepare()
        let (monitor, endpoint) = try await RunningDaemon.monitorServing(
            MonitorConfiguration(directory: directory + "/mon.a", listen: monitorListen))
        serving(monitor)
        for name in names {
            var configuration = OSDConfiguration(
                directory: directory + "/" + name, monitors: [endpoint], listen: Endpoint(host: "127.0.0.1", port: 0),
                host: HostName.current)
            configuration.capacity = capacity
            serving(try await RunningDaemon.osd(configuration))
        }
        serving(try await RunningDaemon.nbd(monitors: [endpoint], listen: nbdListen, allowRemote: allowRemote))
    }

    /// Makes the directory if need be; the names of the OSDs' directories in it, those that are there first.
    private func prepare() throws(CommandError) -> [String] {
        guard (1...Self.osdLimit).contains(osds) else {
            throw CommandError(errno: EINVAL, "\(osds) OSDs are asked for: give 1 to \(Self.osdLimit)")
        }
        if mkdir(directory, 0o755) != 0, errno != EEXIST {
            throw CommandError(
                errno: errno, "cannot create the directory \(directory): \(String(cString: strerror(errno)))")
        }
        var found: [Int] = []
        for name in try entries() where name != "mon.a" && name != "lost+found" {
            guard name.hasPrefix("osd."), let number = Int(name.dropFirst(4)), name == "osd.\(number)" else {
                throw CommandError(
                    errno: ENOTEMPTY,
                    "the directory \(directory) holds '\(name)' and no cluster of `nacre up`: choose an empty one")
            }
            found.append(number)
        }
        found.sort()
        var next = 0
        while found.count < osds {
            if !found.contains(next) { found.append(next) }
            next += 1
        }
        guard found.count <= Self.osdLimit else {
            throw CommandError(
                errno: EINVAL, "the directory \(directory) holds \(found.count) OSDs, the limit is \(Self.osdLimit)")
        }
        return found.map { "osd.\($0)" }
    }

    private func entries() throws(CommandError) -> [String] {
        guard let listing = opendir(directory) else {
            throw CommandError(
                errno: errno, "cannot list the directory \(directory): \(String(cString: strerror(errno)))")
        }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}
