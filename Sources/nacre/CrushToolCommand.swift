import ArgumentParser
import CRUSH
import Commands
import Glibc

/// The options of Ceph's `crushtool`, as far as they are known here.
struct CrushToolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crushtool",
        abstract: "Make, change and try placement maps in files.",
        discussion: """
            Works on files, without a cluster, and says what Ceph's crushtool says:

              nacre crushtool -c map.txt -o map        compile a text
              nacre crushtool -d map                   show a map as text
              nacre crushtool -i map --test --show-mappings --rule 0 --num-rep 3 --min-x 0 --max-x 9
              nacre crushtool --build --num-osds 16 host straw2 4 root straw2 0 -o map

            A file that -i or -d names may be compiled or text.
            """)

    @Option(name: .shortAndLong, help: "Compile a text.") var compile: String?
    @Option(name: .shortAndLong, help: "Show a map as text, or write it to the file of -o.") var decompile: String?
    @Option(name: [.customShort("i"), .customLong("infn")], help: "Read a map; - for standard input.")
    var input: String?
    @Option(name: [.customShort("o"), .customLong("outfn")], help: "Write the changed map, compiled.")
    var output: String?
    @Flag(help: "Build a map of layers, each NAME KIND SIZE.") var build = false
    @Option(name: [.customLong("num-osds"), .customLong("num_osds")], help: "The devices of a map that is built.")
    var numOSDs = 0
    @Argument(help: "The layers for --build, the lowest first.") var layers: [String] = []
    @Flag(help: "Show the hierarchy.") var tree = false

    @OptionGroup(title: "Changes") var changes: CrushChangeOptions
    @OptionGroup(title: "Tunables") var tunables: CrushTunableOptions
    @OptionGroup(title: "Trying") var trial: CrushTrialOptions

    func run() throws {
        var tool = CrushTool(source: try source(), write: Terminal.show, complain: Terminal.complain)
        tool.tunables = tunables.values
        tool.changes = try changes.list()
        tool.location = try pairs(changes.loc, "--loc TYPE NAME")
        tool.deviceClass = changes.deviceClass
        tool.showsTree = tree
        tool.decompiles = decompile != nil
        tool.output = output
        tool.trial = try trial.trial()
        if input != nil, !tree, tool.trial == nil, tool.changes.isEmpty, tool.tunables.isEmpty {
            throw CommandError(errno: EINVAL, "crushtool: nothing to do with the map: see nacre crushtool --help")
        }
        try tool.run()
    }

    private func source() throws(CommandError) -> CrushTool.Source {
        var sources: [CrushTool.Source] = []
        if let compile { sources.append(.text(compile)) }
        if let decompile { sources.append(.file(decompile)) }
        if let input { sources.append(.file(input)) }
        if build { sources.append(.layers(devices: numOSDs, layers)) }
        guard build || layers.isEmpty else {
            throw CommandError(errno: EINVAL, "crushtool: '\(layers[0])' is not understood: layers go with --build")
        }
        guard sources.count == 1 else {
            throw CommandError(errno: EINVAL, "crushtool: give one of -c FILE, -d FILE, -i FILE and --build")
        }
        return sources[0]
    }
}

/// Splits the words of an option that takes two.
private func pairs(_ words: [String], _ usage: String) throws(CommandError) -> [(String, String)] {
    guard words.count % 2 == 0 else { throw CommandError(errno: EINVAL, "crushtool: \(usage)") }
    return stride(from: 0, to: words.count, by: 2).map { (words[$0], words[$0 + 1]) }
}

/// What `nacre crushtool` can change.
struct CrushChangeOptions: ParsableArguments {
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Add a device at the place of --loc.", valueName: "id weight name"))
    var addItem: [String] = []
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Add a bucket, at the place of --loc if given.", valueName: "name type"))
    var addBucket: [String] = []
    @Option(help: ArgumentHelp("Move an item to the place of --loc.", valueName: "name")) var move: String?
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("A place: the type and the name of a bucket. May be repeated.", valueName: "type name"))
    var loc: [String] = []
    @Option(help: ArgumentHelp("Remove a device or an empty bucket.", valueName: "name")) var removeItem: String?
    @Option(
        parsing: .upToNextOption, help: ArgumentHelp("Give a device another weight.", valueName: "name weight"))
    var reweightItem: [String] = []
    @Flag(help: "Make the weight of every bucket the sum of its items.") var reweight = false
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Add a rule; the mode is firstn or indep.", valueName: "name root type mode"))
    var createSimpleRule: [String] = []
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Add a rule for replicated pools.", valueName: "name root type"))
    var createReplicatedRule: [String] = []
    @Option(help: ArgumentHelp("The class of devices for a new rule.", valueName: "class")) var deviceClass: String?
    @Option(help: ArgumentHelp("Remove a rule.", valueName: "name")) var removeRule: String?

    /// The changes in the order in which the field's tool makes them.
    func list() throws(CommandError) -> [CrushTool.Change] {
        var list: [CrushTool.Change] = []
        if let words = try words(reweightItem, "--reweight-item NAME WEIGHT", 2) {
            list.append(.reweightItem(words[0], weight: words[1]))
        }
        if let removeItem { list.append(.removeItem(removeItem)) }
        if let words = try words(addItem, "--add-item ID WEIGHT NAME", 3) {
            guard let id = Int32(words[0]) else {
                throw CommandError(errno: EINVAL, "crushtool: --add-item: '\(words[0])' is no number of a device")
            }
            list.append(.addItem(id, weight: words[1], name: words[2]))
        }
        if let words = try words(addBucket, "--add-bucket NAME TYPE", 2) {
            list.append(.addBucket(words[0], type: words[1]))
        }
        if let move { list.append(.move(move)) }
        if let words = try words(createSimpleRule, "--create-simple-rule NAME ROOT TYPE MODE", 4) {
            guard ["firstn", "indep"].contains(words[3]) else {
                throw CommandError(errno: EINVAL, "crushtool: the mode '\(words[3])' is neither firstn nor indep")
            }
            list.append(.createRule(words[0], root: words[1], type: words[2], indep: words[3] == "indep"))
        }
        if let words = try words(createReplicatedRule, "--create-replicated-rule NAME ROOT TYPE", 3) {
            list.append(.createRule(words[0], root: words[1], type: words[2], indep: false))
        }
        if let removeRule { list.append(.removeRule(removeRule)) }
        if reweight { list.append(.reweight) }
        return list
    }

    private func words(_ words: [String], _ usage: String, _ count: Int) throws(CommandError) -> [String]? {
        if words.isEmpty { return nil }
        guard words.count == count else { throw CommandError(errno: EINVAL, "crushtool: \(usage)") }
        return words
    }
}

/// The tunables that `nacre crushtool` can set.
struct CrushTunableOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Local retries after a collision.", valueName: "n")) var setChooseLocalTries: UInt32?
    @Option(help: ArgumentHelp("Local retries by permutation.", valueName: "n"))
    var setChooseLocalFallbackTries: UInt32?
    @Option(help: ArgumentHelp("Descents after the first.", valueName: "n")) var setChooseTotalTries: UInt32?
    @Option(help: ArgumentHelp("Whether to look once below a chosen bucket.", valueName: "0|1"))
    var setChooseleafDescendOnce: UInt32?
    @Option(help: ArgumentHelp("How the search below a bucket follows the attempt.", valueName: "n"))
    var setChooseleafVaryR: UInt32?
    @Option(help: ArgumentHelp("Whether that search ignores the position.", valueName: "0|1"))
    var setChooseleafStable: UInt32?
    @Option(help: ArgumentHelp("The version of the computation of straws.", valueName: "n"))
    var setStrawCalcVersion: UInt32?
    @Option(help: ArgumentHelp("The kinds of buckets that may be made, as bits.", valueName: "n"))
    var setAllowedBucketAlgs: UInt32?

    var values: [(name: String, value: UInt32)] {
        [
            ("choose_local_tries", setChooseLocalTries),
            ("choose_local_fallback_tries", setChooseLocalFallbackTries),
            ("choose_total_tries", setChooseTotalTries),
            ("chooseleaf_descend_once", setChooseleafDescendOnce),
            ("chooseleaf_vary_r", setChooseleafVaryR),
            ("chooseleaf_stable", setChooseleafStable),
            ("straw_calc_version", setStrawCalcVersion),
            ("allowed_bucket_algs", setAllowedBucketAlgs),
        ].compactMap { name, value in value.map { (name, $0) } }
    }
}

/// What `nacre crushtool --test` tries and shows.
struct CrushTrialOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Map a range of inputs.") var test = false
    @Option(help: "The least input; without both ends 0 to 1023.") var minX: Int32?
    @Option(help: "The greatest input.") var maxX: Int32?
    @Option(name: .customLong("x"), help: "The only input.") var x: Int32?
    @Option(help: "The first rule.") var minRule: Int?
    @Option(help: "The last rule.") var maxRule: Int?
    @Option(help: "The only rule.") var rule: Int?
    @Option(help: "How many replicas. Default: the sizes that the rule names.") var numRep: Int?
    @Option(help: "The least number of replicas.") var minRep: Int?
    @Option(help: "The greatest number of replicas.") var maxRep: Int?
    @Option(help: "The pool whose number is hashed into each input.") var poolID: Int64?
    @Option(
        name: .shortAndLong, parsing: .upToNextOption,
        help: ArgumentHelp("The reweight of a device, 0 to 1. May be repeated.", valueName: "device weight"))
    var weight: [String] = []
    @Flag(help: "Show every mapping.") var showMappings = false
    @Flag(help: "Show mappings of another size than asked for.") var showBadMappings = false
    @Flag(help: "Count mappings by size.") var showStatistics = false
    @Flag(help: "Count how often each device is chosen.") var showUtilization = false
    @Flag(help: "Count all devices, also those never chosen.") var showUtilizationAll = false
    @Flag(help: "Count the failures before each choice.") var showChooseTries = false

    func trial() throws(CommandError) -> MappingTrial? {
        guard test else { return nil }
        var trial = MappingTrial()
        if let low = rule ?? minRule, let high = rule ?? maxRule { trial.rules = try range(low, high, "rule") }
        if let low = numRep ?? minRep, let high = numRep ?? maxRep { trial.replicas = try range(low, high, "rep") }
        if let low = x ?? minX, let high = x ?? maxX { trial.inputs = try range(low, high, "x") }
        for (device, text) in try pairs(weight, "--weight DEVICE WEIGHT") {
            guard let number = Int32(device), number >= 0, let weight = CRUSHWeight(text: text) else {
                throw CommandError(
                    errno: EINVAL, "crushtool: --weight \(device) \(text): give the number of a device and 0 to 1")
            }
            trial.weights[number] = weight
        }
        trial.pool = poolID
        trial.showsMappings = showMappings
        trial.showsBadMappings = showBadMappings
        trial.showsStatistics = showStatistics
        trial.showsUtilization = showUtilization
        trial.showsFullUtilization = showUtilizationAll
        trial.showsChooseTries = showChooseTries
        return trial
    }

    private func range<Number: FixedWidthInteger>(
        _ low: Number, _ high: Number, _ name: String
    ) throws(CommandError) -> ClosedRange<Number> {
        guard low >= 0, low <= high else {
            throw CommandError(errno: EINVAL, "crushtool: \(name) from \(low) to \(high): give a range from 0 up")
        }
        return low...high
    }
}
