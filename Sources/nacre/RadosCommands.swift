import ArgumentParser
import Commands

struct RadosCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rados", abstract: "Work with the objects of a pool.",
        discussion: "The commands, their results and the exit status 1 of a failure are those of Ceph's `rados`.",
        subcommands: [
            Put.self, Get.self, Append.self, Truncate.self, Create.self, Remove.self, List.self, Stat.self,
            ListWatchers.self, ListAttributes.self, GetAttribute.self, SetAttribute.self, RemoveAttribute.self,
            ListKeys.self, ListValues.self, GetValue.self, SetValue.self, RemoveKey.self, ClearMaps.self, Watch.self,
            Notify.self, Bench.self,
        ])
}

/// Which pool a command is about.
struct PoolOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The pool's name.") var pool: String?
    @OptionGroup var asking: AskingOptions

    func rados(_ body: (RadosAdministration) async throws -> Void) async throws {
        guard let pool else { throw CommandError(errno: 1, "a pool name is needed: give -p POOL") }
        let output = asking.output
        try await asking.withCluster {
            try await body(
                RadosAdministration(cluster: $0.cluster, pool: pool, output: output, write: Terminal.show))
        }
    }
}

extension RadosCommand {
    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Write a file to an object.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The file, - for standard input.") var file: String
        @Option(help: "Where the data goes; the rest of the object stays.") var offset: UInt64 = 0
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.put(object, file: file, offset: offset) } }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Write an object to a file.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The file, - for standard output.") var file: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.get(object, file: file) } }
    }

    struct Append: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a file to the end of an object.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The file, - for standard input.") var file: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.append(object, file: file) } }
    }

    struct Truncate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set an object's size.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "Its size in bytes.") var length: UInt64
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.truncate(object, size: length) } }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make an empty object that is not there yet.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.create(object) } }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove objects.")
        @Argument(help: "The objects.") var objects: [String]
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.remove(objects) } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "ls", abstract: "Show the objects of a pool.")
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.list() } }
    }

    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show an object's size and when it was changed.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.stat(object) } }
    }

    struct ListWatchers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "listwatchers", abstract: "Show who watches an object.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.listWatchers(object) } }
    }

    struct ListAttributes: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "listxattr", abstract: "Show the names of an object's attributes.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.listAttributes(object) } }
    }

    struct GetAttribute: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "getxattr", abstract: "Show the value of an attribute.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The attribute's name.") var name: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.getAttribute(object, name) } }
    }

    struct SetAttribute: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "setxattr", abstract: "Set an attribute.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The attribute's name.") var name: String
        @Argument(help: "Its value; standard input without one.") var value: String?
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.setAttribute(object, name, value) } }
    }

    struct RemoveAttribute: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "rmxattr", abstract: "Remove an attribute.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The attribute's name.") var name: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.removeAttribute(object, name) } }
    }

    struct ListKeys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "listomapkeys", abstract: "Show the keys of an object's map.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.listKeys(object) } }
    }

    struct ListValues: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "listomapvals", abstract: "Show the keys and values of an object's map.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.listValues(object) } }
    }

    struct GetValue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "getomapval", abstract: "Show the value of a key of an object's map.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The key.") var key: String
        @Argument(help: "A file to write it to, - for standard output.") var file: String?
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.getValue(object, key, file: file) } }
    }

    struct SetValue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "setomapval", abstract: "Set a key of an object's map.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The key.") var key: String
        @Argument(help: "Its value; standard input without one.") var value: String?
        @Option(help: "A file that has the value.") var inputFile: String?
        @OptionGroup var options: PoolOptions
        func run() async throws {
            try await options.rados { try await $0.setValue(object, key, value, file: inputFile) }
        }
    }

    struct RemoveKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rmomapkey", abstract: "Remove a key of an object's map.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "The key.") var key: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.removeKey(object, key) } }
    }

    struct ClearMaps: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "clearomap", abstract: "Remove all keys of objects' maps.")
        @Argument(help: "The objects.") var objects: [String]
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.clearMaps(objects) } }
    }

    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Watch an object and show notifications, until enter is pressed.")
        @Argument(help: "The object.") var object: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.watch(object) } }
    }

    struct Notify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Notify who watches an object.")
        @Argument(help: "The object.") var object: String
        @Argument(help: "What to say.") var message: String
        @OptionGroup var options: PoolOptions
        func run() async throws { try await options.rados { try await $0.notify(object, message) } }
    }

    struct Bench: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Measure writes, or reads of what a write with --no-cleanup left.")
        @Argument(help: "For how long.") var seconds: UInt32
        @Argument(help: "write, seq or rand.") var mode: ObjectBench.Mode
        @Option(name: [.customShort("t"), .customLong("concurrent-ios")], help: "Requests at a time.") var concurrency:
            Int = 16
        @Option(name: [.customShort("b"), .customLong("block-size")], help: "Bytes of a write. Default: 4 MiB.")
        var blockSize: Int = 4 << 20
        @Option(
            name: [.customShort("O"), .customLong("object-size")],
            help: "Bytes of an object. Default: those of a write.")
        var objectSize: Int?
        @Flag(help: "Leave the objects for reads.") var noCleanup = false
        @Option(help: "The name that reads find the objects by.") var runName = "benchmark_last_metadata"
        @OptionGroup var options: PoolOptions

        func run() async throws {
            let plan = try ObjectBench.Plan(
                seconds: seconds, mode: mode, concurrency: concurrency, blockSize: blockSize,
                objectSize: objectSize ?? blockSize, isCleaned: !noCleanup, runName: runName)
            try await options.rados { try await $0.bench(plan) }
        }
    }
}

extension ObjectBench.Mode: ExpressibleByArgument {}
