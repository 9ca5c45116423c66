import ArgumentParser
import Commands

/// `nacre osd blocklist …`.
struct BlocklistCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "blocklist", abstract: "Shut out runs of clients: OSDs do nothing for them any more.",
        subcommands: [Add.self, Remove.self, Clear.self, List.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shut a client out. It is in force at an OSD from when that has the new map.")
        @Argument(help: "The client, as client.HEX: `nacre rados listwatchers` and `nacre rbd status` show it.")
        var client: String
        @Argument(help: "For how many seconds. Default: 3600.") var seconds: UInt64?
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.blocklist(client, seconds: seconds) }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Take a client from the list. One that has noticed does not go on.")
        @Argument(help: "The client, as client.HEX.") var client: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.unblocklist(client) } }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take all clients from the list.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.clearBlocklist() } }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "ls", abstract: "Show who is shut out until when.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.listBlocklist() } }
    }
}
