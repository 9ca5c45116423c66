import ArgumentParser
import Commands

struct GroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pg", abstract: "Show placement groups, and have them scrubbed and repaired.",
        subcommands: [
            Stat.self, Dump.self, List.self, Query.self, Scrub.self, DeepScrub.self, Repair.self, ListInconsistent.self,
        ])

    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show how many groups are in which state.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.groupStat() } }
    }

    struct Dump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show every group.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.groupDump() } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "Show groups with their objects, and when they were scrubbed.",
            discussion: "`nacre pg ls inconsistent` shows the damaged ones only.")
        @Argument(help: "States; a group in any of them is shown. Default: all.") var states: [String] = []
        @Option(help: "Only groups of this pool.") var pool: String?
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.groupList(pool: pool, states: states) }
        }
    }

    struct Query: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show how a group is, as its primary knows.")
        @Argument(help: "The group, such as 1.2f.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.actOnGroups { try await $0.query(pgid) } }
    }

    struct Scrub: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a group's copies compared: which objects there are, and their metadata.")
        @Argument(help: "The group, such as 1.2f.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.actOnGroups { try await $0.order(.scrub, pgid) } }
    }

    struct DeepScrub: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "deep-scrub", abstract: "Have a group's copies compared with all their data.")
        @Argument(help: "The group, such as 1.2f.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.actOnGroups { try await $0.order(.deepScrub, pgid) } }
    }

    struct Repair: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have a group compared with all its data, and bad copies replaced.",
            discussion: """
                A copy is replaced only from one that vouches for itself by its checksums and has the version that the group's \
                log says. What has no such copy stays listed.
                """)
        @Argument(help: "The group, such as 1.2f.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.actOnGroups { try await $0.order(.repair, pgid) } }
    }

    struct ListInconsistent: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-inconsistent",
            abstract:
                "Show a group's objects whose copies are not what they should be, and what is wrong with each copy.")
        @Argument(help: "The group, such as 1.2f.") var pgid: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.actOnGroups { try await $0.listInconsistent(pgid) } }
    }
}

extension AskingOptions {
    /// Asks the primaries of groups.
    fileprivate func actOnGroups(_ body: (GroupActions) async throws -> Void) async throws {
        let output = output
        try await withCluster { try await body(GroupActions(connection: $0, output: output)) }
    }
}
