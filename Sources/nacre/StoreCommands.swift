import ArgumentParser
import Commands

struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Look at the store of an OSD that is not running.",
        discussion: "DIR is what the OSD was given with --data. A running OSD keeps its directory locked.",
        subcommands: [Fsck.self, RepairReportCommand.self, Export.self, Import.self, Stat.self])

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

    struct RepairReportCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "repair-report", abstract: "Check, and tell what would mend each finding.",
            discussion: "Changes nothing but what fsck does. Exits with 1 if there is any finding.")
        @OptionGroup var form: Form
        @Flag(help: "Check the metadata only, not the data.")
        var quick = false
        func run() throws { try form.tools.repairReport(directory: form.directory, isQuick: quick) }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write placement groups to a file.",
            discussion: """
                The file holds objects with all their clones, data, attributes and omaps, and the groups' logs, under \
                checksums. Blocks that several objects share are written for each.
                """)
        @OptionGroup var form: Form
        @Option(help: ArgumentHelp("Only this group, as 3.1f.", valueName: "pgid"))
        var pgid: String?
        @Option(help: ArgumentHelp("The file to make; - is standard output.", valueName: "path"))
        var file = "-"
        func run() throws { try form.tools.export(directory: form.directory, only: pgid, to: file) }
    }

    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take placement groups from an export.",
            discussion: """
                The store must belong to the same cluster and have none of the groups. The whole file is checked before \
                anything is written.
                """)
        @OptionGroup var form: Form
        @Option(help: ArgumentHelp("The file to read; - is standard input, which must be a file.", valueName: "path"))
        var file = "-"
        func run() throws { try form.tools.importGroups(directory: form.directory, from: file) }
    }

    struct Stat: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show whose store it is and what is in it.")
        @OptionGroup var form: Form
        func run() throws { try form.tools.stat(directory: form.directory) }
    }
}
