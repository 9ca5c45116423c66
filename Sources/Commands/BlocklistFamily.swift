import Monitor

/// `nacre osd blocklist …`.
extension Administration {
    /// Shuts a run of a client out, given as `client.HEX`; for an hour when nothing is said.
    public func blocklist(_ client: String, seconds: UInt64?) async throws(CommandError) {
        var arguments = ["client": client]
        if let seconds { arguments["expire"] = "\(seconds)" }
        try await change("osd blocklist add", arguments)
    }

    /// Takes a run of a client from the list.
    public func unblocklist(_ client: String) async throws(CommandError) {
        try await change("osd blocklist rm", ["client": client])
    }

    /// Takes all from the list.
    public func clearBlocklist() async throws(CommandError) { try await change("osd blocklist clear", [:]) }

    /// Shows who is shut out until when.
    public func listBlocklist() async throws(CommandError) {
        try output.show(try await result("osd blocklist ls"), as: [BlocklistReport].self) { entries in
            entries.map { "\($0.addr) \($0.until)\n" }.joined() + "listed \(entries.count) entries"
        }
    }
}
