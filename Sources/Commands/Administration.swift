import Protocol
import Wire

/// Who answers an administrator's commands.
public protocol CommandAnswering: Sendable {
    /// The monitor's answer, whatever it says. Throws when there is none.
    func ask(_ words: [String], _ arguments: [String: String], _ input: Bytes) async throws(CommandError)
        -> CommandReply
}

/// What an administrator does: asks the monitors and shows what they answer. One method for each command, in one file for
/// each family.
public struct Administration: Sendable {
    private let monitor: any CommandAnswering
    let output: Output

    /// Commands that ask `monitor` and show in `output`.
    public init(monitor: any CommandAnswering, output: Output) {
        self.monitor = monitor
        self.output = output
    }

    /// The result of a command that must succeed.
    func result(_ words: String, _ arguments: [String: String] = [:]) async throws(CommandError) -> Bytes {
        try await reply(words, arguments).output
    }

    /// A command whose output says more than its line, which is shown as well.
    func answer(_ words: String, _ arguments: [String: String] = [:]) async throws(CommandError) -> CommandReply {
        try await reply(words, arguments)
    }

    /// A command that changes something: shows what was done.
    func change(
        _ words: String, _ arguments: [String: String], input: Bytes = .empty
    ) async throws(CommandError) {
        output.say(try await reply(words, arguments, input).message)
    }

    private func reply(
        _ words: String, _ arguments: [String: String], _ input: Bytes = .empty
    ) async throws(CommandError) -> CommandReply {
        let reply = try await monitor.ask(words.split(separator: " ").map(String.init), arguments, input)
        guard reply.errno == 0 else { throw CommandError(errno: reply.errno, reply.message) }
        return reply
    }
}
