import ArgumentParser
import Commands
@preconcurrency import Glibc

/// `nacre osd …`: who gets how much, and the maps as files.
extension OSDCommand {
    struct Reweight: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the share of its CRUSH weight that an OSD uses, from 0.0 (out) to 1.0.")
        @OptionGroup var share: SharedOSD
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.reweight(share.osd, to: share.weight) } }
    }

    struct PrimaryAffinity: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "primary-affinity",
            abstract: "Set the share of the groups that an OSD could lead and does, from 0.0 to 1.0.")
        @OptionGroup var share: SharedOSD
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.primaryAffinity(share.osd, to: share.weight) }
        }
    }

    struct UpmapItems: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pg-upmap-items", abstract: "Replace OSDs of a placement group.",
            discussion: "`nacre osd pg-upmap-items 1.2f 3 5` puts the copy of group 1.2f that osd.3 has on osd.5.")
        @Argument(help: "The group.") var pgid: String
        @Argument(help: "Pairs of OSDs: the one that is replaced, the one in its place.") var osds: [String]
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.setUpmapItems(pgid, osds) } }
    }

    struct RemoveUpmapItems: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm-pg-upmap-items", abstract: "Put a placement group back to where CRUSH has it.")
        @Argument(help: "The group.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.removeUpmapItems(pgid) } }
    }

    struct Balance: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace OSDs of groups until every OSD holds its share, to within one group.",
            discussion: """
                Moves as little as possible and keeps to the rules of the pools. What keeps the spread from being smaller is \
                named. With --map the map is taken from a file that `nacre osd getmap` wrote, and no cluster is asked.
                """)
        @Flag(help: "Show what would be done.") var dryRun = false
        @Option(help: ArgumentHelp("The map to look at, with --dry-run.", valueName: "file")) var map: String?
        @Option(name: .customLong("pool"), help: "Only this pool; may be given several times.") var pools: [String] = []
        @Option(help: "The most copies to move at a time.") var maxMoves: Int?
        @OptionGroup var asking: AskingOptions

        func run() async throws {
            if let maxMoves, maxMoves < 1 {
                throw CommandError(errno: EINVAL, "--max-moves is \(maxMoves): give 1 or more")
            }
            if let map {
                guard dryRun else {
                    throw CommandError(errno: EINVAL, "a map in a file is only looked at: add --dry-run")
                }
                return try Administration.balance(map: map, pools: pools, limit: maxMoves, output: asking.output)
            }
            try await asking.administrate { try await $0.balance(pools: pools, isDryRun: dryRun, limit: maxMoves) }
        }
    }

    struct GetMap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "getmap", abstract: "Write the OSD map to a file, for `balance --map`.")
        @Option(name: [.short, .customLong("out")], help: "The file; - for standard output.") var output: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.saveOSDMap(to: output) } }
    }

    struct GetCRUSHMap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "getcrushmap", abstract: "Write the compiled CRUSH map to a file, as crushtool reads it.")
        @Option(name: [.short, .customLong("out")], help: "The file; - for standard output.") var output: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.saveCRUSHMap(to: output) } }
    }

    struct SetCRUSHMap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "setcrushmap",
            abstract:
                "Replace the CRUSH map by that in a file, compiled or in text; refused when a pool could not use it.")
        @Option(name: [.short, .customLong("in-file")], help: "The file; - for standard input.") var input: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.setCRUSHMap(from: input) } }
    }
}

/// An OSD with the share of something that it is to have.
struct SharedOSD: ParsableArguments {
    @Argument(help: "A number, or osd.N.") var osd: String
    @Argument(help: "From 0.0 to 1.0.") var weight: String
}
