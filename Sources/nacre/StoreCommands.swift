import ArgumentParser
import Commands

struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Look at the store of an OSD that is not running.",
        discussion: "DIR is what the OSD was given with --data. A running OSD keeps its directory locked.",
        subcommands: [Fsck.self, Stat.self])

    /// The form of the result.
    struct Form: ParsableArguments {
        @Argument(help: ArgumentHelp("The directory of the store.", valueName: "dir"))
        var directory: String
        @Option(help: "The form of the result.")
        var format = Output.Format.plain
        @Flag(help: "Lay JSON out over lines.")
        var prettyFormat = false

        var tools: StoreTools {
            StoreTools(
                output: Output(format: format, isPretty: prettyFormat, write: Terminal.show),
                progress: Terminal.isWatched ? ProgressLine(write: Terminal.complain) : nil)
        }
    }

    struct Fsck: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every reference and checksum.",
            discussion: """
                Shows a line for each finding and exits with 1 if there is any. Replays the journal, as the OSD's next start \
                would, and changes nothing else.
                """)
        @OptionGroup var form: Form
        @Flag(help: "Check the metadata only, not the data.")
        var quick = false
        func run() throws { try form.tools.check(directory: form.directory, isQuick: quick) }
    }

    struct Stat: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show whose store it is and what is in it.")
        @OptionGroup var form: Form
        func run() throws { try form.tools.stat(directory: form.directory) }
    }
}
