import ClusterMap
import Glibc
import Wire

/// `osd blocklist …`: runs of clients that nothing is done for any more.
enum BlocklistCommands {
    /// Seconds for which a client is blocklisted when nothing is said, and at most.
    static let usual: UInt64 = 3600
    static let longest: UInt64 = 10 * 366 * 86400

    static func add(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let client = try client(arguments)
        let seconds = try arguments.number("expire", in: 1...longest) ?? usual
        guard draft.map.blocklist.count < MapLimits.blocklist || draft.map.blocklist[client] != nil else {
            throw CommandFailure(
                ENOSPC, "the blocklist has its \(MapLimits.blocklist) entries: take some out with `osd blocklist rm`")
        }
        let end = view.wallSeconds + seconds
        draft.blocklist(client, until: end)
        return CommandResult(
            "blocklisting \(BlocklistReport.name(client)) until \(BlocklistReport.time(end)) (\(seconds) sec) "
                + "from epoch \(draft.epoch) on")
    }

    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let client = try client(arguments)
        guard draft.map.blocklist[client] != nil else {
            throw CommandFailure(ENOENT, "\(BlocklistReport.name(client)) isn't blocklisted")
        }
        draft.blocklist(client, until: 0)
        return CommandResult("un-blocklisting \(BlocklistReport.name(client))")
    }

    static func clear(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let clients = draft.map.blocklist.keys.sorted()
        for client in clients { draft.blocklist(client, until: 0) }
        return CommandResult("removed \(clients.count) blocklist entries")
    }

    static func list(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.map.blocklist.sorted { $0.key < $1.key }.map(BlocklistReport.init))
    }

    /// A run of a client: `client.` and the number in hexadecimal digits, as `rados listwatchers` and messages show it.
    private static func client(_ arguments: CommandArguments) throws(CommandFailure) -> UInt64 {
        let text = try arguments.required("client")
        let digits = text.hasPrefix("client.") ? text.dropFirst(7) : text[...]
        guard let client = UInt64(digits, radix: 16), client != 0 else {
            throw CommandFailure(
                EINVAL, "'\(Text.short(text))' is no client: give client.HEX, as `nacre rados listwatchers` shows it")
        }
        return client
    }
}
