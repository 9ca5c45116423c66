import ArgumentParser
import ClusterMap
import Commands
@preconcurrency import Glibc
import Monitor
import NBD
import Nacre
import OSD

/// Says a line at once, also when standard output is a file or a pipe.
@Sendable private func announce(_ line: String) {
    Terminal.show(line + "\n")
}

/// Where an NBD server listens.
struct NBDListenOptions: ParsableArguments {
    @Flag(help: "Listen also where other hosts reach it. Exports are not authenticated yet.")
    var allowRemote = false

    static func addresses(tcp: String, socket: String?) throws(CommandError) -> [ListenAddress] {
        let endpoint = try ClusterOptions.endpoint(tcp, defaultPort: ListenAddress.defaultPort)
        var addresses = [ListenAddress.tcp(host: endpoint.host, port: endpoint.port)]
        if let socket { addresses.append(.unix(path: socket)) }
        return addresses
    }
}

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Run a whole cluster in this process: a monitor, OSDs and an NBD server.",
        discussion: """
            Keeps everything under the directory; the next start finds it. Prints `ready` when everything serves. SIGTERM \
            or SIGINT stop it cleanly.
            """)

    @Option(help: ArgumentHelp("The directory that holds the cluster; made when it does not exist.", valueName: "dir"))
    var data: String
    @Option(help: "How many OSDs there are to be.")
    var osds = 3
    @OptionGroup var capacity: CapacityOptions
    @Option(help: ArgumentHelp("Where the monitor listens.", valueName: "host:port"))
    var monListen = ClusterOptions.defaultMonitor
    @Option(help: ArgumentHelp("Where the NBD server listens.", valueName: "host:port"))
    var nbdListen = "127.0.0.1:10809"
    @Option(help: ArgumentHelp("A unix socket where the NBD server listens, too.", valueName: "path"))
    var nbdSocket: String?
    @OptionGroup var nbd: NBDListenOptions

    func run() async throws {
        DaemonLog.begin()
        let up = Up(
            directory: data, osds: osds, capacity: try capacity.bytes,
            monitorListen: try ClusterOptions.endpoint(monListen, defaultPort: ClusterOptions.defaultPort),
            nbdListen: try NBDListenOptions.addresses(tcp: nbdListen, socket: nbdSocket), allowRemote: nbd.allowRemote)
        try await ProcessRunner.run(last: "ready", announce: announce) { try await up.start($0) }
    }
}

struct MonitorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mon", abstract: "Run a monitor, or ask about monitors.",
        subcommands: [Run.self, Stat.self], defaultSubcommand: Run.self)

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a monitor. In an empty directory it creates a cluster.",
            discussion: "Prints `ready mon HOST:PORT` when it serves. SIGTERM or SIGINT stop it cleanly.")

        @Option(help: ArgumentHelp("The directory of its maps; made when it does not exist.", valueName: "dir"))
        var data: String
        @Option(help: ArgumentHelp("Where it listens.", valueName: "host:port"))
        var listen = ClusterOptions.defaultMonitor
        @Option(help: "Across what a new cluster spreads the copies of an object.")
        var failureDomain = NewCluster.FailureDomain.osd
        @Option(
            help: ArgumentHelp(
                "After how long a down OSD is marked out, so that its data is made whole elsewhere; 0 for never.",
                valueName: "seconds"))
        var downOutInterval: UInt64 = 600

        func validate() throws {
            guard downOutInterval <= 31_536_000 else {
                throw ValidationError(
                    "--down-out-interval is \(downOutInterval): give seconds, a year (31536000) at most, or 0 for never"
                )
            }
        }

        func run() async throws {
            DaemonLog.begin()
            var times = MonitorTimes()
            times.downOut = downOutInterval * 1000
            let configuration = MonitorConfiguration(
                directory: data,
                listen: try ClusterOptions.endpoint(listen, defaultPort: ClusterOptions.defaultPort),
                failureDomain: failureDomain, times: times)
            try await ProcessRunner.run(announce: announce) { serving in
                serving(try await RunningDaemon.monitor(configuration))
            }
        }
    }

    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the monitors.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.monitors() } }
    }
}

extension NewCluster.FailureDomain: ExpressibleByArgument {}

struct OSDRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run an OSD. With an empty directory it registers a new one.",
        discussion: "Prints `ready osd.N HOST:PORT` when the cluster has it up. SIGTERM or SIGINT stop it cleanly.")

    @Option(help: ArgumentHelp("The directory of its store; made when it does not exist.", valueName: "dir"))
    var data: String
    @OptionGroup var cluster: ClusterOptions
    @Option(help: ArgumentHelp("Where it listens; port 0 lets the system choose.", valueName: "host:port"))
    var listen = "127.0.0.1:0"
    @OptionGroup var capacity: CapacityOptions
    @Option(help: "The name of its host in the CRUSH map. Default: this host's.")
    var host: String?

    func run() async throws {
        DaemonLog.begin()
        var configuration = OSDConfiguration(
            directory: data, monitors: try cluster.monitors,
            listen: try ClusterOptions.endpoint(listen, defaultPort: 0), host: host ?? HostName.current)
        configuration.capacity = try capacity.bytes
        try await ProcessRunner.run(announce: announce) { [configuration] serving in
            serving(try await RunningDaemon.osd(configuration))
        }
    }
}

struct NBDCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nbd",
        abstract: "Serve images over NBD.",
        discussion: """
            The name of an export is an image spec, [pool/]image: nbd://127.0.0.1/rbd/disk. Prints `ready nbd URI` when it \
            serves. SIGTERM or SIGINT finish what is in flight and stop it.
            """)

    @OptionGroup var cluster: ClusterOptions
    @Option(help: ArgumentHelp("Where it listens.", valueName: "host:port"))
    var listen = "127.0.0.1:10809"
    @Option(help: ArgumentHelp("A unix socket where it listens, too.", valueName: "path"))
    var socket: String?
    @OptionGroup var options: NBDListenOptions

    func run() async throws {
        DaemonLog.begin()
        let monitors = try cluster.monitors
        let addresses = try NBDListenOptions.addresses(tcp: listen, socket: socket)
        let allowRemote = options.allowRemote
        try await ProcessRunner.run(announce: announce) { serving in
            serving(try await RunningDaemon.nbd(monitors: monitors, listen: addresses, allowRemote: allowRemote))
        }
    }
}
