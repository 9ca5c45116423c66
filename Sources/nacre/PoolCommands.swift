import ArgumentParser
import Commands

struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool", abstract: "Make, show, change and delete pools.",
        subcommands: [
            Create.self, Init.self, List.self, Get.self, Set.self, Rename.self, Delete.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a pool.")
        @Argument(help: "Its name.") var pool: String
        @Argument(help: ArgumentHelp("Placement groups. Default: 64.", valueName: "pg_num")) var groups: UInt32?
        @Option(help: "Copies of every object. Default: 3.") var size: UInt8?
        @Option(
            name: [.customLong("min-size"), .customLong("min_size")],
            help: "Copies that must be there before a group serves. Default: more than half of the size.")
        var minSize: UInt8?
        @Option(help: "The CRUSH rule. Default: replicated_rule.") var rule: String?
        @Option(help: "What it is for, such as rbd.") var application: String?
        @Flag(help: "A single copy is meant.") var yesIReallyMeanIt = false
        @OptionGroup var asking: AskingOptions

        func run() async throws {
            let new = Administration.NewPool(
                name: pool, groupCount: groups, size: size, minSize: minSize, rule: rule, application: application,
                isSure: yesIReallyMeanIt)
            try await asking.administrate { try await $0.createPool(new) }
        }
    }

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that a pool is for images.")
        @Argument(help: "Its name.") var pool = "rbd"
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.initializePool(pool) } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "Show the pools; `ls detail` shows everything of each.")
        @Argument(help: "`detail` for everything.") var detail: HealthCommand.Detail?
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.listPools(detail: detail != nil) } }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a variable of a pool.")
        @Argument(help: "Its name.") var pool: String
        @Argument(help: "size, min_size, pg_num, pgp_num, crush_rule, application or all.") var variable: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.getPool(pool, variable) } }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set a variable of a pool.")
        @Argument(help: "Its name.") var pool: String
        @Argument(help: "size, min_size, crush_rule or application.") var variable: String
        @Argument(help: "The new value.") var value: String
        @Flag(help: "A single copy is meant.") var yesIReallyMeanIt = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.setPool(pool, variable, value, isSure: yesIReallyMeanIt) }
        }
    }

    struct Rename: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a pool another name.")
        @Argument(help: "Its name.") var pool: String
        @Argument(help: "Its new name.") var other: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.renamePool(pool, to: other) } }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a pool and everything in it.", aliases: ["rm"])
        @Argument(help: "Its name.") var pool: String
        @Argument(help: "Its name again.") var again: String?
        @Flag(help: "Yes.") var yesIReallyReallyMeanIt = false
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate {
                try await $0.deletePool(pool, again: again, isSure: yesIReallyReallyMeanIt)
            }
        }
    }
}
