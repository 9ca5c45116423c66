import ArgumentParser
import Commands

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the cluster is, and why what does not serve does not.")
    @OptionGroup var asking: AskingOptions
    func run() async throws { try await asking.administrate { try await $0.status() } }
}

struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Show what is wrong, in a line; `health detail` names every thing.")
    @Argument(help: "`detail` for every thing.")
    var detail: Detail?
    @OptionGroup var asking: AskingOptions

    enum Detail: String, ExpressibleByArgument, CaseIterable { case detail }

    func run() async throws { try await asking.administrate { try await $0.health(detail: detail != nil) } }
}
