import ArgumentParser
import Commands

/// `nacre osd crush …`.
struct CRUSHCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crush", abstract: "Show and change the hierarchy of OSDs and the rules.",
        discussion:
            "A place is given as TYPE=NAME, such as `root=default host=pearl`; buckets that are missing are made.",
        subcommands: [
            AddBucket.self, Add.self, Set.self, Move.self, Reweight.self, Remove.self, SetDeviceClass.self,
            RemoveDeviceClass.self, ClassCommand.self, Tree.self, AdoptTunables.self, ShowTunables.self,
            RuleCommand.self,
        ])

    struct AddBucket: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-bucket", abstract: "Make a bucket, such as a host or a rack.")
        @Argument(help: "Its name.") var name: String
        @Argument(help: "Its type.") var type: String
        @Argument(help: ArgumentHelp("Where it goes.", valueName: "type=name")) var place: [String] = []
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate { try await $0.addBucket(name, type: type, at: place) }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put an OSD that is not in the hierarchy at a place.")
        @OptionGroup var placed: PlacedOSD
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate {
                try await $0.addToCRUSH(placed.osd, weight: placed.weight, at: placed.place)
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give an OSD a weight and a place.")
        @OptionGroup var placed: PlacedOSD
        @OptionGroup var asking: AskingOptions
        func run() async throws {
            try await asking.administrate {
                try await $0.setInCRUSH(placed.osd, weight: placed.weight, at: placed.place)
            }
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move a bucket with all that is in it, or an OSD.")
        @Argument(help: "Its name.") var name: String
        @Argument(help: ArgumentHelp("Where it goes.", valueName: "type=name")) var place: [String]
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.moveInCRUSH(name, to: place) } }
    }

    struct Reweight: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give an OSD another weight.")
        @Argument(help: "Its name.") var name: String
        @Argument(help: "Its weight, by custom its size in TiB.") var weight: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.reweightInCRUSH(name, to: weight) } }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Take an OSD or an empty bucket out of the hierarchy.", aliases: ["remove"])
        @Argument(help: "Its name.") var name: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.removeFromCRUSH(name) } }
    }

    struct SetDeviceClass: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-device-class", abstract: "Give OSDs a class, such as ssd.")
        @Argument(help: "The class.") var name: String
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.setDeviceClass(name, chosen.osds) } }
    }

    struct RemoveDeviceClass: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm-device-class", abstract: "Take the class from OSDs.")
        @OptionGroup var chosen: ChosenOSDs
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.removeDeviceClass(chosen.osds) } }
    }

    struct Tree: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the hierarchy, as `osd tree` does.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.osdTree() } }
    }

    struct AdoptTunables: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "tunables", abstract: "Set how hard placement tries to what a release of Ceph had; moves data."
        )
        @Argument(help: "argonaut (or legacy), bobtail, firefly, hammer, jewel (or default, optimal).")
        var profile: String
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.adoptTunables(profile) } }
    }

    struct ShowTunables: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show-tunables", abstract: "Show how hard placement tries.")
        @OptionGroup var asking: AskingOptions
        func run() async throws { try await asking.administrate { try await $0.showTunables() } }
    }

    struct ClassCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "class", abstract: "Show the classes of OSDs.", subcommands: [List.self, Members.self])

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(commandName: "ls", abstract: "Show the classes.")
            @OptionGroup var asking: AskingOptions
            func run() async throws { try await asking.administrate { try await $0.listClasses() } }
        }

        struct Members: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                commandName: "ls-osd", abstract: "Show the OSDs of a class.")
            @Argument(help: "The class.") var name: String
            @OptionGroup var asking: AskingOptions
            func run() async throws { try await asking.administrate { try await $0.listClass(name) } }
        }
    }

    struct RuleCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rule", abstract: "Show, make and remove rules.",
            subcommands: [CreateReplicated.self, List.self, Dump.self, Remove.self])

        struct CreateReplicated: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                commandName: "create-replicated",
                abstract: "Make a rule that puts copies on different buckets of a type, or on different OSDs.")
            @Argument(help: "Its name.") var name: String
            @Argument(help: "The bucket below which everything goes, such as default.") var root: String
            @Argument(help: "The type of what must differ, such as host.") var type: String
            @Argument(help: ArgumentHelp("Only OSDs of this class.", valueName: "class")) var deviceClass: String?
            @OptionGroup var asking: AskingOptions
            func run() async throws {
                try await asking.administrate {
                    try await $0.createReplicatedRule(name, root: root, type: type, deviceClass: deviceClass)
                }
            }
        }

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(commandName: "ls", abstract: "Show the names of the rules.")
            @OptionGroup var asking: AskingOptions
            func run() async throws { try await asking.administrate { try await $0.listRules() } }
        }

        struct Dump: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Show the steps of rules.")
            @Argument(help: "The rule. Default: all.") var name: String?
            @OptionGroup var asking: AskingOptions
            func run() async throws { try await asking.administrate { try await $0.dumpRules(name) } }
        }

        struct Remove: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                commandName: "rm", abstract: "Remove a rule that no pool uses.")
            @Argument(help: "Its name.") var name: String
            @OptionGroup var asking: AskingOptions
            func run() async throws { try await asking.administrate { try await $0.removeRule(name) } }
        }
    }
}

/// An OSD with a weight and a place.
struct PlacedOSD: ParsableArguments {
    @Argument(help: "A number, or osd.N.") var osd: String
    @Argument(help: "Its weight, by custom its size in TiB.") var weight: String
    @Argument(help: ArgumentHelp("Where it goes.", valueName: "type=name")) var place: [String]
}
