import ArgumentParser
import Commands

struct OSDCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "osd",
        abstract: "Run an OSD, or ask about OSDs.",
        discussion: "`nacre osd --data DIR` runs an OSD; the subcommands ask the cluster.",
        subcommands: [
            OSDRunCommand.self, Tree.self, List.self, Stat.self, Dump.self, Usage.self, Map.self, In.self, Out.self,
            Down.self, Remove.self, Purge.self, Lost.self, OkToStop.self, SafeToDestroy.self, Reweight.self,
            PrimaryAffinity.self, BlocklistCommand.self, UpmapItems.self,
            RemoveUpmapItems.self, Balance.self, GetMap.self, GetCRUSHMap.self, SetCRUSHMap.self, CRUSHCommand.self,
            PoolCommand.self, StoreCommand.self,
        ], defaultSubcommand: OSDRunCommand.self)

    struct Tree: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the hierarchy with every OSD's state.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.osdTree() } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "ls", abstract: "Show the numbers of all OSDs.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.listOSDs() } }
    }

    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show how many OSDs there are.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.osdStat() } }
    }

    struct Dump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the map.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.osdDump() } }
    }

    struct Usage: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "df",
            abstract: "Show how full OSDs are, how many groups they hold and should hold; `df tree` with the buckets.")
        @Argument(help: "`tree` for the buckets, too.") var method: Method?
        @OptionGroup var asking: AskingOptions

        enum Method: String, ExpressibleByArgument, CaseIterable { case plain, tree }

        func run() async throws { try await asking.administrate { try await $0.osdUsage(asTree: method == .tree) } }
    }

    struct Map: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show where an object is, or would be.")
        @Argument(help: "The pool's name.") var pool: String
        @Argument(help: "The object's name.") var object: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.mapObject(pool: pool, object: object) } }
    }

    struct In: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give data to OSDs again.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.mark(.in, chosen.osds) } }
    }

    struct Out: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take data away from OSDs.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.mark(.out, chosen.osds) } }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take OSDs for dead. One that lives comes up again.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.mark(.down, chosen.osds) } }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Take OSDs that are down out of the map.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.mark(.rm, chosen.osds) } }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take OSDs that are down out of the map for good.")
        @OptionGroup var chosen: ChosenOSDs
        @Flag(help: "Yes.") var yesIReallyMeanIt = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.mark(.purge, chosen.osds, isSure: yesIReallyMeanIt) }
        }
    }

    struct Lost: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give up what only OSDs that are down have, so that groups go on without.")
        @OptionGroup var chosen: ChosenOSDs
        @Flag(help: "Yes.") var yesIReallyMeanIt = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.mark(.lost, chosen.osds, isSure: yesIReallyMeanIt) }
        }
    }

    struct OkToStop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ok-to-stop", abstract: "Say whether OSDs can be stopped while every group goes on serving.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.ask(.okToStop, chosen.osds) } }
    }

    struct SafeToDestroy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "safe-to-destroy", abstract: "Say whether everything that OSDs have is whole elsewhere.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.ask(.safeToDestroy, chosen.osds) } }
    }
}

/// The OSDs that a command is about.
struct ChosenOSDs: ParsableArguments {
    @Argument(help: "Numbers, or osd.N.") var osds: [String]
}
