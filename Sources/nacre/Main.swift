import ArgumentParser
import Commands
@preconcurrency import Glibc
import Nacre

/// The one executable. Parses what was typed, and turns errors into one line on standard error and the errno of the field.
@main
enum Main {
    static func main() async {
        var arguments = Array(CommandLine.arguments.dropFirst())
        let called = CommandLine.arguments.first?.split(separator: "/").last.map(String.init) ?? "nacre"
        let isRBD = called == "rbd"
        if isRBD { arguments.insert("rbd", at: 0) }
        await run(anywhere(arguments), isRBD: isRBD)
    }

    /// `-m`, and what goes before the command of `rados`, is taken anywhere, as people type it; the parser knows it behind.
    private static func anywhere(_ arguments: [String]) -> [String] {
        var result = optionLast(arguments, ["-m", "--mon"])
        if result.first == "rados" { result = optionLast(optionLast(result, ["-p", "--pool"]), ["--format"]) }
        return result
    }

    private static func optionLast(_ arguments: [String], _ names: [String]) -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.count
        guard let place = arguments[..<end].firstIndex(where: { names.contains($0) }), place + 1 < end else {
            return arguments
        }
        var result = arguments
        let option = result[place...(place + 1)]
        result.removeSubrange(place...(place + 1))
        result.insert(contentsOf: option, at: end - 2)
        return result
    }

    private static func run(_ arguments: [String], isRBD: Bool) async {
        if arguments.first == "rbd", let word = arguments.dropFirst().first, !word.hasPrefix("-"), word != "help",
            !RBDCommand.words.contains(word)
        {
            fail(1, "unknown command 'rbd \(word)': see `\(isRBD ? "rbd" : "nacre rbd") --help`")
        }
        do {
            var command = try NacreCommand.parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as CommandError {
            fail(error.errno, error.description)
        } catch {
            // Help and the version are asked for by an error, too.
            if NacreCommand.exitCode(for: error).isSuccess { NacreCommand.exit(withError: error) }
            fail(EINVAL, NacreCommand.message(for: error))
        }
    }

    private static func fail(_ status: Int32, _ message: String) -> Never {
        let line = message.split(whereSeparator: \.isNewline).joined(separator: ": ")
        Terminal.complain("nacre: \(line)\n")
        exit(status)
    }
}

/// All commands.
struct NacreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nacre",
        abstract: "A distributed block store: replicated images, exported over NBD.",
        discussion: """
            `nacre up --data DIR` runs a whole cluster in one process. `nacre mon`, `nacre osd` and `nacre nbd` run its \
            parts as processes of their own. The other commands ask a running cluster.

            Called as `rbd`, by a link, it behaves like `nacre rbd`.

            The exit status is 0, or the errno of what went wrong: 2 no such thing, 16 in use, 17 exists, 22 bad argument, \
            110 no monitor answers. The environment variable NACRE_MON names the monitor when -m does not.
            """,
        version: "nacre 0.1",
        subcommands: [
            UpCommand.self, MonitorCommand.self, OSDCommand.self, NBDCommand.self, RBDCommand.self, RadosCommand.self,
            StatusCommand.self, HealthCommand.self, PoolCommand.self, GroupCommand.self, CrushToolCommand.self,
        ])
}
