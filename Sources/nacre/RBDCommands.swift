import ArgumentParser
import Commands
import Glibc
import RBD

struct RBDCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rbd", abstract: "Make, show, change and remove images.",
        discussion: "An image is named [pool/]image, a snapshot [pool/]image@snap; without a pool it is in `rbd`.",
        subcommands: [
            Create.self, List.self, Info.self, Status.self, Resize.self, Remove.self, SnapshotCommand.self,
        ])

    /// The words that follow `rbd`.
    static let words: Set<String> = Set(
        configuration.subcommands.flatMap {
            [$0.configuration.commandName ?? $0._commandName] + $0.configuration.aliases
        })
}

/// Which image a command is about: as a spec, or as options.
struct ImageOptionsGroup: ParsableArguments {
    @Argument(help: ArgumentHelp("The image, as [pool/]image.", valueName: "image-spec"))
    var spec: String?
    @Option(name: .shortAndLong, help: "The pool's name.")
    var pool: String?
    @Option(help: "The image's name.")
    var image: String?

    var imageSpec: ImageSpec {
        get throws(CommandError) {
            let spec = try anySpec
            guard spec.snapshot == nil else {
                throw CommandError(errno: EINVAL, "'\(spec)' names a snapshot: this command is about a whole image")
            }
            return spec
        }
    }

    /// An image or a snapshot.
    var anySpec: ImageSpec {
        get throws(CommandError) {
            guard let text = spec ?? image else {
                throw CommandError(errno: EINVAL, "no image is named: give [pool/]image")
            }
            guard spec == nil || image == nil else {
                throw CommandError(errno: EINVAL, "the image is named twice: give [pool/]image or --image")
            }
            do throws(RBDError) {
                return try ImageSpec(parsing: text, defaultPool: pool ?? ImageSpec.defaultPool)
            } catch {
                throw CommandError(error)
            }
        }
    }
}

extension RBDCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an image: it takes no space until it is written.")
        @OptionGroup var target: ImageOptionsGroup
        @Option(name: .shortAndLong, help: "Its size, with suffix M, G, T, P or E; MiB without one.")
        var size: String
        @Option(help: "The size of its objects, a power of two from 4K to 32M. Default: 4M.")
        var objectSize: String?
        @OptionGroup var asking: AskingOptions

        func run() async throws {
            let spec = try target.imageSpec
            // What is wrong without asking anybody is said without a cluster.
            try check { _ = try SizeText.parseImageSize(size) }
            try check { _ = try objectSize.map { try SizeText.parseObjectSize($0) } }
            try await asking.images { try await $0.create(spec, size: size, objectSize: objectSize) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "Show the images of a pool.", aliases: ["list"])
        @Argument(help: "The pool's name. Default: rbd.") var poolName: String?
        @Option(name: .shortAndLong, help: "The pool's name.") var pool: String?
        @Flag(name: .shortAndLong, help: "Show a table.") var long = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let pool = poolName ?? pool ?? ImageSpec.defaultPool
            try await asking.images { try await $0.list(pool: pool, long: long) }
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what an image, or a snapshot of it, is.")
        @OptionGroup var target: ImageOptionsGroup
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.anySpec
            try await asking.images { try await $0.info(spec) }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show who has an image open.")
        @OptionGroup var target: ImageOptionsGroup
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.imageSpec
            try await asking.images { try await $0.status(spec) }
        }
    }

    struct Resize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set an image's size.")
        @OptionGroup var target: ImageOptionsGroup
        @Option(name: .shortAndLong, help: "The new size, with suffix M, G, T, P or E; MiB without one.")
        var size: String
        @Flag(help: "Let the end of the data be cut off.") var allowShrink = false
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions

        func run() async throws {
            let spec = try target.imageSpec
            try check { _ = try SizeText.parseImageSize(size) }
            try await asking.images(showsProgress: !noProgress) {
                try await $0.resize(spec, size: size, allowShrink: allowShrink)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Remove an image and its data.", aliases: ["remove"])
        @OptionGroup var target: ImageOptionsGroup
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.imageSpec
            try await asking.images(showsProgress: !noProgress) { try await $0.remove(spec) }
        }
    }
}

/// Does what throws an `RBDError` before there is a cluster.
private func check(_ body: () throws -> Void) throws(CommandError) {
    do { try body() } catch { throw CommandError(error) }
}

extension AskingOptions {
    /// Works on images.
    func images(showsProgress: Bool = false, _ body: (ImageAdministration) async throws -> Void) async throws {
        let output = output
        // Progress is for someone who watches; a script gets one line when something is wrong, and none otherwise.
        let progress = showsProgress && Terminal.isWatched ? ProgressLine(write: Terminal.complain) : nil
        try await withCluster {
            try await body(ImageAdministration(cluster: $0.cluster, output: output, progress: progress))
        }
    }
}
