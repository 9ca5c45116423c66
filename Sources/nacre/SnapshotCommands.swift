import ArgumentParser
import Commands
import Glibc
import RBD

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snap", abstract: "Make, show, remove and go back to snapshots of images.",
        discussion: "A snapshot is named [pool/]image@snap.",
        subcommands: [
            Create.self, List.self, Remove.self, Purge.self, Rollback.self, Protect.self, Unprotect.self,
        ], aliases: ["snapshot"])
}

/// Which snapshot a command is about: as a spec, or as options.
struct SnapshotOptionsGroup: ParsableArguments {
    @Argument(help: ArgumentHelp("The snapshot, as [pool/]image@snap.", valueName: "snap-spec"))
    var spec: String?
    @Option(name: .shortAndLong, help: "The pool's name.")
    var pool: String?
    @Option(help: "The image's name.")
    var image: String?
    @Option(help: "The snapshot's name.")
    var snap: String?

    var snapshotSpec: ImageSpec {
        get throws(CommandError) {
            guard let text = spec ?? image else {
                throw CommandError(errno: EINVAL, "no snapshot is named: give [pool/]image@snap")
            }
            guard spec == nil || image == nil else {
                throw CommandError(errno: EINVAL, "the image is named twice: give [pool/]image@snap or --image")
            }
            do throws(RBDError) {
                var found = try ImageSpec(parsing: text, defaultPool: pool ?? ImageSpec.defaultPool)
                if let snap {
                    guard found.snapshot == nil else {
                        throw RBDError(
                            errno: EINVAL, "the snapshot is named twice: give [pool/]image@snap or --snap")
                    }
                    found = try ImageSpec(pool: found.pool, image: found.image, snapshot: snap)
                }
                guard found.snapshot != nil else {
                    throw RBDError(errno: EINVAL, "'\(found)' names no snapshot: give [pool/]image@snap")
                }
                return found
            } catch {
                throw CommandError(error)
            }
        }
    }
}

extension SnapshotCommand {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a snapshot: it takes no space until the image changes.", aliases: ["add"])
        @OptionGroup var target: SnapshotOptionsGroup
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.snapshotSpec
            try await asking.images(showsProgress: !noProgress) { try await $0.createSnapshot(spec) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "Show an image's snapshots.", aliases: ["list"])
        @OptionGroup var target: ImageOptionsGroup
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.imageSpec
            try await asking.images { try await $0.listSnapshots(spec) }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Remove a snapshot.", aliases: ["remove"])
        @OptionGroup var target: SnapshotOptionsGroup
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.snapshotSpec
            try await asking.images(showsProgress: !noProgress) { try await $0.removeSnapshot(spec) }
        }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove all snapshots of an image that are not protected.")
        @OptionGroup var target: ImageOptionsGroup
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.imageSpec
            try await asking.images(showsProgress: !noProgress) { try await $0.purgeSnapshots(spec) }
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an image what it was at a snapshot.", aliases: ["revert"])
        @OptionGroup var target: SnapshotOptionsGroup
        @Flag(help: "Show no progress.") var noProgress = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.snapshotSpec
            try await asking.images(showsProgress: !noProgress) { try await $0.rollBack(spec) }
        }
    }

    struct Protect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prevent a snapshot from being removed.")
        @OptionGroup var target: SnapshotOptionsGroup
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.snapshotSpec
            try await asking.images { try await $0.protectSnapshot(spec, true) }
        }
    }

    struct Unprotect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a snapshot be removed again.")
        @OptionGroup var target: SnapshotOptionsGroup
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            let spec = try target.snapshotSpec
            try await asking.images { try await $0.protectSnapshot(spec, false) }
        }
    }
}
