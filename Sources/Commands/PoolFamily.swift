import Monitor

/// `nacre pool …`, which is also `nacre osd pool …`.
extension Administration {
    /// What a new pool is like; nil for what the monitors take when nothing is said.
    public struct NewPool: Sendable {
        /// Its name.
        public var name: String
        /// Placement groups.
        public var groupCount: UInt32?
        /// Copies.
        public var size: UInt8?
        /// Copies that must be there before a group serves.
        public var minSize: UInt8?
        /// The CRUSH rule's name.
        public var rule: String?
        /// What it is for.
        public var application: String?
        /// Whether a single copy is meant.
        public var isSure: Bool

        /// A pool with these values.
        public init(
            name: String, groupCount: UInt32? = nil, size: UInt8? = nil, minSize: UInt8? = nil, rule: String? = nil,
            application: String? = nil, isSure: Bool = false
        ) {
            self.name = name
            self.groupCount = groupCount
            self.size = size
            self.minSize = minSize
            self.rule = rule
            self.application = application
            self.isSure = isSure
        }
    }

    /// Makes a pool.
    public func createPool(_ pool: NewPool) async throws(CommandError) {
        var arguments = ["pool": pool.name]
        arguments["pg_num"] = pool.groupCount.map(String.init)
        arguments["size"] = pool.size.map(String.init)
        arguments["min_size"] = pool.minSize.map(String.init)
        arguments["rule"] = pool.rule
        arguments["application"] = pool.application
        if pool.isSure { arguments["yes-i-really-mean-it"] = "true" }
        try await change("osd pool create", arguments)
    }

    /// Says that a pool is for images.
    public func initializePool(_ name: String) async throws(CommandError) {
        try await change("osd pool init", ["pool": name])
    }

    /// Shows the pools: their names, or with `detail` everything.
    public func listPools(detail: Bool) async throws(CommandError) {
        try output.show(try await result("osd pool ls"), as: [PoolReport].self) { pools in
            pools.map { detail ? Self.text($0) + "\n" : $0.poolName + "\n" }.joined()
        }
    }

    /// Shows a variable of a pool, or `all`.
    public func getPool(_ name: String, _ variable: String) async throws(CommandError) {
        let json = try await result("osd pool get", ["pool": name, "var": variable])
        try output.show(json, as: PoolReport.self) { Self.text($0, variable) }
    }

    /// Sets a variable of a pool.
    public func setPool(_ name: String, _ variable: String, _ value: String, isSure: Bool) async throws(CommandError) {
        var arguments = ["pool": name, "var": variable, "val": value]
        if isSure { arguments["yes-i-really-mean-it"] = "true" }
        try await change("osd pool set", arguments)
    }

    /// Gives a pool another name.
    public func renamePool(_ name: String, to other: String) async throws(CommandError) {
        try await change("osd pool rename", ["srcpool": name, "destpool": other])
    }

    /// Deletes a pool and everything in it.
    public func deletePool(_ name: String, again: String?, isSure: Bool) async throws(CommandError) {
        var arguments = ["pool": name]
        arguments["pool2"] = again
        if isSure { arguments["yes-i-really-really-mean-it"] = "true" }
        try await change("osd pool delete", arguments)
    }

    static func text(_ pool: PoolReport) -> String {
        "pool \(pool.pool) '\(pool.poolName)' replicated size \(pool.size) min_size \(pool.minSize) crush_rule "
            + "\(pool.crushRule) pg_num \(pool.pgNum) pgp_num \(pool.pgPlacementNum)"
            + (pool.pgNumTarget == pool.pgNum ? "" : " pg_num_target \(pool.pgNumTarget)")
            + (pool.pgNumPending == pool.pgNum ? "" : " pg_num_pending \(pool.pgNumPending)")
            + " created \(pool.created)"
            + (pool.application.isEmpty ? "" : " application \(pool.application)")
    }

    static func text(_ pool: PoolReport, _ variable: String) -> String {
        let values = [
            ("size", "\(pool.size)"), ("min_size", "\(pool.minSize)"), ("pg_num", "\(pool.pgNum)"),
            ("pgp_num", "\(pool.pgPlacementNum)"), ("crush_rule", "\(pool.crushRule)"),
            ("application", pool.application),
        ]
        return values.filter { variable == "all" || $0.0 == variable }.map { "\($0.0): \($0.1)\n" }.joined()
    }
}
