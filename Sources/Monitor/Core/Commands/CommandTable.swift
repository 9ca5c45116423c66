import Glibc
import Protocol
import Wire

/// Why a command is refused: an errno of the field, and a line that names the thing, the limit and what to do.
struct CommandFailure: Error {
    var errno: Int32
    var message: String
    /// True when nothing is wrong but the epoch: the command is judged again in the next.
    var isLater = false

    init(_ errno: Int32, _ message: String) {
        self.errno = errno
        self.message = message
    }

    static let later: CommandFailure = {
        var failure = CommandFailure(EAGAIN, "")
        failure.isLater = true
        return failure
    }()
}

/// What a command answers when all is well.
struct CommandResult {
    var message: String
    var output: Bytes = .empty

    init(_ message: String) { self.message = message }

    init(_ report: some Report) {
        message = ""
        output = report.json()
    }
}

/// The commands by their words.
enum CommandTable {
    typealias Read = @Sendable (ClusterView, CommandArguments) throws(CommandFailure) -> CommandResult
    typealias Change =
        @Sendable (inout MapDraft, ClusterView, CommandArguments) throws(CommandFailure) -> CommandResult

    enum Command: Sendable {
        /// Answered at once from what is stored.
        case read(Read)
        /// Judged in the next epoch.
        case change(Change)
    }

    static let commands: [[String]: Command] = [
        ["status"]: .read(StatusCommands.status),
        ["health"]: .read(StatusCommands.health),
        ["mon", "stat"]: .read(StatusCommands.monitors),

        ["osd", "ls"]: .read(OSDCommands.list),
        ["osd", "stat"]: .read(OSDCommands.stat),
        ["osd", "tree"]: .read(HierarchyCommands.tree),
        ["osd", "dump"]: .read(OSDCommands.dump),
        ["osd", "df"]: .read(HierarchyCommands.usage),
        ["osd", "map"]: .read(GroupCommands.mapObject),
        ["osd", "new"]: .change(OSDCommands.new),
        ["osd", "rm"]: .change(OSDCommands.remove),
        ["osd", "purge"]: .change(OSDCommands.purge),
        ["osd", "in"]: .change(OSDCommands.markIn),
        ["osd", "out"]: .change(OSDCommands.markOut),
        ["osd", "down"]: .change(OSDCommands.markDown),
        ["osd", "lost"]: .change(OSDSafety.lost),
        ["osd", "ok-to-stop"]: .read(OSDSafety.okToStop),
        ["osd", "safe-to-destroy"]: .read(OSDSafety.safeToDestroy),
        ["osd", "reweight"]: .change(OSDCommands.reweight),
        ["osd", "primary-affinity"]: .change(OSDCommands.primaryAffinity),

        ["osd", "blocklist", "add"]: .change(BlocklistCommands.add),
        ["osd", "blocklist", "rm"]: .change(BlocklistCommands.remove),
        ["osd", "blocklist", "clear"]: .change(BlocklistCommands.clear),
        ["osd", "blocklist", "ls"]: .read(BlocklistCommands.list),

        ["osd", "pg-upmap-items"]: .change(UpmapCommands.set),
        ["osd", "rm-pg-upmap-items"]: .change(UpmapCommands.remove),
        ["osd", "balance"]: .change(UpmapCommands.balance),

        ["osd", "getmap"]: .read(RuleCommands.getOSDMap),
        ["osd", "getcrushmap"]: .read(RuleCommands.getMap),
        ["osd", "setcrushmap"]: .change(RuleCommands.setMap),
        ["osd", "crush", "add-bucket"]: .change(CRUSHCommands.addBucket),
        ["osd", "crush", "add"]: .change(CRUSHCommands.add),
        ["osd", "crush", "set"]: .change(CRUSHCommands.set),
        ["osd", "crush", "move"]: .change(CRUSHCommands.move),
        ["osd", "crush", "reweight"]: .change(CRUSHCommands.reweight),
        ["osd", "crush", "rm"]: .change(CRUSHCommands.remove),
        ["osd", "crush", "set-device-class"]: .change(CRUSHCommands.setClass),
        ["osd", "crush", "rm-device-class"]: .change(CRUSHCommands.removeClass),
        ["osd", "crush", "tunables"]: .change(CRUSHCommands.adoptTunables),
        ["osd", "crush", "show-tunables"]: .read(CRUSHCommands.tunables),
        ["osd", "crush", "class", "ls"]: .read(CRUSHCommands.classes),
        ["osd", "crush", "class", "ls-osd"]: .read(CRUSHCommands.classMembers),
        ["osd", "crush", "tree"]: .read(HierarchyCommands.tree),
        ["osd", "crush", "rule", "create-replicated"]: .change(RuleCommands.createReplicated),
        ["osd", "crush", "rule", "rm"]: .change(RuleCommands.remove),
        ["osd", "crush", "rule", "ls"]: .read(RuleCommands.list),
        ["osd", "crush", "rule", "dump"]: .read(RuleCommands.dump),

        ["osd", "pool", "ls"]: .read(PoolCommands.list),
        ["osd", "pool", "get"]: .read(PoolCommands.get),
        ["osd", "pool", "create"]: .change(PoolCommands.create),
        ["osd", "pool", "init"]: .change(PoolCommands.initialize),
        ["osd", "pool", "set"]: .change(PoolCommands.set),
        ["osd", "pool", "rename"]: .change(PoolCommands.rename),
        ["osd", "pool", "delete"]: .change(PoolCommands.delete),
        ["osd", "pool", "selfmanaged-snap", "create"]: .change(SnapshotCommands.create),
        ["osd", "pool", "selfmanaged-snap", "rm"]: .change(SnapshotCommands.remove),

        ["pg", "stat"]: .read(GroupCommands.stat),
        ["pg", "dump"]: .read(GroupCommands.dump),
    ]

    /// `pool …` is short for `osd pool …`, and some words have a second form.
    private static func normal(_ words: [String]) -> [String] {
        var words = words.first == "pool" ? ["osd"] + words : words
        if words == ["osd", "pool", "rm"] { words = ["osd", "pool", "delete"] }
        return words
    }

    static func find(_ words: [String]) -> Command? { commands[normal(words)] }

    static func unknown(_ request: CommandRequest) -> CommandReply {
        let words = Text.short(request.words.joined(separator: " "))
        return CommandReply(
            number: request.number, errno: EINVAL, message: "the monitor knows no command '\(words)'")
    }

    /// The answer to a command that reads.
    static func read(_ request: CommandRequest, _ read: Read, _ view: ClusterView) -> CommandReply {
        do throws(CommandFailure) {
            let result = try read(view, CommandArguments(request))
            return reply(request, result)
        } catch {
            return CommandReply(number: request.number, errno: error.errno, message: Text.cut(error.message))
        }
    }

    /// The answer to a command that changes, with its change in the draft; nil when it must wait for the next epoch.
    static func change(_ request: CommandRequest, _ draft: inout MapDraft, context view: ClusterView) -> CommandReply? {
        guard case .change(let change) = find(request.words) else {
            preconditionFailure("\(request.words) is queued and changes nothing")
        }
        do throws(CommandFailure) {
            // What is refused half-way must leave nothing behind.
            var attempt = draft
            let result = try change(&attempt, view, CommandArguments(request))
            draft = attempt
            return reply(request, result)
        } catch {
            if error.isLater { return nil }
            return CommandReply(number: request.number, errno: error.errno, message: Text.cut(error.message))
        }
    }

    private static func reply(_ request: CommandRequest, _ result: CommandResult) -> CommandReply {
        guard result.output.count <= MonitorLimits.output else {
            let message = "the answer has \(result.output.count) bytes, the limit is \(MonitorLimits.output)"
            return CommandReply(number: request.number, errno: EMSGSIZE, message: message)
        }
        let message = Text.cut(result.message)
        return CommandReply(number: request.number, errno: 0, message: message, output: result.output)
    }
}

extension MonitorCore {
    /// Answers a command, or has the change that it asks for judged.
    func execute(_ request: CommandRequest, from session: PeerSession) {
        let reply: CommandReply
        if let known = sessions.key(of: request.number, from: session).flatMap(sessions.reply) {
            reply = known
        } else {
            switch CommandTable.find(request.words) {
            case .change: return want(request, from: session)
            case .read(let read): reply = CommandTable.read(request, read, view)
            case nil: reply = CommandTable.unknown(request)
            }
        }
        environment.send(.commandReply(reply), to: session)
    }
}

/// The arguments of a command, with what is wrong with them in words.
struct CommandArguments {
    private let request: CommandRequest

    init(_ request: CommandRequest) { self.request = request }

    /// The file that the command is given; empty for none.
    var input: Bytes { request.input }

    func optional(_ name: String) -> String? { request.arguments[name] }

    func required(_ name: String) throws(CommandFailure) -> String {
        guard let value = request.arguments[name], !value.isEmpty else {
            throw CommandFailure(EINVAL, "'\(request.words.joined(separator: " "))' needs the argument '\(name)'")
        }
        return value
    }

    /// A whole number in a range; nil when the argument is not there.
    func number<Value: FixedWidthInteger & Sendable>(
        _ name: String, in range: ClosedRange<Value>
    ) throws(CommandFailure) -> Value? {
        guard let text = request.arguments[name] else { return nil }
        return try Self.number(text, name, in: range)
    }

    static func number<Value: FixedWidthInteger & Sendable>(
        _ text: String, _ name: String, in range: ClosedRange<Value>
    ) throws(CommandFailure) -> Value {
        guard let value = Value(text), range.contains(value) else {
            throw CommandFailure(
                EINVAL,
                "\(name) is '\(Text.short(text))': give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// True when the flag is given.
    func flag(_ name: String) -> Bool { request.arguments[name] == "true" }

    /// The OSDs of the argument `ids`: numbers, or names such as `osd.3`.
    func osds() throws(CommandFailure) -> [OSDID] {
        var found: [OSDID] = []
        for word in try required("ids").split(separator: " ") {
            let osd = try Self.osd(String(word))
            if !found.contains(osd) { found.append(osd) }
        }
        return found
    }

    /// An OSD given by its number or its name.
    static func osd(_ word: String) throws(CommandFailure) -> OSDID {
        let digits = word.hasPrefix("osd.") ? word.dropFirst(4) : word[...]
        guard let number = Int32(digits), number >= 0 else {
            throw CommandFailure(EINVAL, "'\(Text.short(word))' is no OSD: give a number or osd.NUMBER")
        }
        return OSDID(number)
    }
}

/// Text from peers made fit for a line.
enum Text {
    /// As much as a reply may say: a message over the limit could not be decoded, and its sender would ask for ever.
    static func cut(_ message: String) -> String {
        guard message.utf8.count > MonitorLimits.message else { return message }
        let end = String.UnicodeScalarView(message.unicodeScalars.prefix(MonitorLimits.message / 4 - 3))
        return String(end) + "..."
    }

    /// At most 80 characters, without what would break a line.
    static func short(_ text: String) -> String {
        let clean = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) }
        return clean.count <= 80 ? String(clean) : String(clean.prefix(77)) + "..."
    }
}
