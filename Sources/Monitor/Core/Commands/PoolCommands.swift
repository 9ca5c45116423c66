import CRUSH
import ClusterMap
import Glibc
import Wire

/// `osd pool …`: which pools there are and how they are kept.
enum PoolCommands {
    /// Makes a pool. One that is there already is no error, as the sender may have missed the first answer.
    static func create(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try newName(arguments.required("pool"))
        if draft.map.pool(named: name) != nil { return CommandResult("pool '\(name)' already exists") }
        let size = try arguments.number("size", in: 1...MapLimits.poolSize) ?? PoolDefaults.size
        try guardSingleCopy(size, arguments)
        let minSize = try arguments.number("min_size", in: 1...size) ?? PoolDefaults.minSize(forSize: size)
        let groups = try arguments.number("pg_num", in: 1...MapLimits.groupsPerPool) ?? PoolDefaults.groupCount
        let rule = try draft.map.crush.existingRule(arguments.optional("rule") ?? CRUSHMap.defaultRule).id
        guard draft.map.pools.count < MapLimits.pools else {
            throw CommandFailure(ENOSPC, "the cluster has \(MapLimits.pools) pools: delete one")
        }
        try guardGroups(copies: UInt64(size) * UInt64(groups), draft.map)
        let pool = Pool(
            id: draft.map.nextPool, name: name, size: size, minSize: minSize, groupCount: groups, rule: rule.rawValue,
            created: draft.epoch, application: try application(arguments.optional("application") ?? ""))
        try guardFits(pool, draft.map)
        draft.add(pool)
        return CommandResult("pool '\(name)' created")
    }

    /// Says that a pool is for images.
    static func initialize(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var pool = try draft.map.existingPool(arguments.optional("pool") ?? PoolDefaults.name)
        guard pool.application.isEmpty || pool.application == PoolDefaults.application else {
            throw CommandFailure(
                EPERM, "pool '\(pool.name)' is for \(pool.application): use another pool, or set its application")
        }
        if pool.application.isEmpty {
            pool.application = PoolDefaults.application
            draft.set(pool)
        }
        return CommandResult("pool '\(pool.name)' is for rbd")
    }

    static func set(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var pool = try draft.map.existingPool(arguments.required("pool"))
        let before = pool
        let variable = try arguments.required("var")
        let value = try arguments.required("val")
        switch variable {
        case "size":
            pool.size = try CommandArguments.number(value, "size", in: 1...MapLimits.poolSize)
            try guardSingleCopy(pool.size, arguments)
            pool.minSize = min(pool.minSize, pool.size)
            try guardFits(pool, draft.map)
        case "min_size":
            pool.minSize = try CommandArguments.number(value, "min_size", in: 1...pool.size)
        case "crush_rule":
            pool.rule = try draft.map.crush.existingRule(value).id.rawValue
            try guardFits(pool, draft.map)
        case "application":
            pool.application = try application(value)
        case "pg_num":
            let count = try CommandArguments.number(value, "pg_num", in: 1...MapLimits.groupsPerPool)
            if count > before.groupCount {
                try guardGroups(copies: UInt64(pool.size) * UInt64(count - before.groupCount), draft.map)
            }
            pool.setGroupCount(count)
        case "pgp_num":
            let count = try CommandArguments.number(value, "pgp_num", in: 1...pool.wantedPlacementGroupCount)
            guard count >= pool.placementGroupCount else {
                throw CommandFailure(
                    EINVAL,
                    "pgp_num of pool '\(pool.name)' is \(pool.placementGroupCount) and follows pg_num by itself: lower "
                        + "pg_num")
            }
            pool.placementGroupCount = count
        default: throw unknownVariable(variable)
        }
        if pool != before { draft.set(pool) }
        return CommandResult("set pool '\(pool.name)' \(variable) to \(Text.short(value))")
    }

    static func rename(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let old = try arguments.required("srcpool")
        let name = try newName(arguments.required("destpool"))
        if let there = draft.map.pool(named: name) {
            throw CommandFailure(EEXIST, "pool '\(there.name)' exists already: choose another name")
        }
        var pool = try draft.map.existingPool(old)
        pool.name = name
        draft.set(pool)
        return CommandResult("pool '\(old)' renamed to '\(name)'")
    }

    /// Deletes a pool with all that is in it; asked for twice by name and by a flag. One that is gone is no error, as the
    /// sender may have missed the first answer.
    static func delete(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("pool")
        guard arguments.optional("pool2") == name, arguments.flag("yes-i-really-really-mean-it") else {
            throw CommandFailure(
                EPERM,
                "this DESTROYS all data in pool '\(Text.short(name))': give its name twice and "
                    + "--yes-i-really-really-mean-it")
        }
        guard let pool = draft.map.pool(named: name) else {
            return CommandResult("pool '\(Text.short(name))' does not exist")
        }
        draft.remove(pool.id)
        return CommandResult("pool '\(name)' removed")
    }

    static func list(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.map.poolsInOrder.map(PoolReport.init))
    }

    /// The pool as a whole; which variable is shown is for who asks. An unknown variable is refused here.
    static func get(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let pool = try view.map.existingPool(arguments.required("pool"))
        let variable = arguments.optional("var") ?? "all"
        guard variables.contains(variable) || variable == "all" else { throw unknownVariable(variable) }
        return CommandResult(PoolReport(pool))
    }

    /// What `osd pool get` shows.
    static let variables = ["size", "min_size", "pg_num", "pgp_num", "crush_rule", "application"]

    // MARK: Checks

    private static func unknownVariable(_ name: String) -> CommandFailure {
        CommandFailure(EINVAL, "a pool has no '\(Text.short(name))': it has \(variables.joined(separator: ", "))")
    }

    /// A name that image specs can hold.
    private static func newName(_ name: String) throws(CommandFailure) -> String {
        guard name.utf8.count <= MapLimits.name else {
            throw CommandFailure(
                ENAMETOOLONG, "the name of the pool has \(name.utf8.count) bytes, the limit is \(MapLimits.name)")
        }
        let isClean = name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f && $0 != "/" && $0 != "@" }
        guard isClean, !name.hasPrefix("."), !name.hasPrefix("-") else {
            throw CommandFailure(
                EINVAL,
                "'\(Text.short(name))' cannot name a pool: leave out '/', '@' and spaces, and '.' or '-' at the "
                    + "beginning")
        }
        return name
    }

    private static func application(_ name: String) throws(CommandFailure) -> String {
        let isClean = name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f }
        guard isClean, name.utf8.count <= MapLimits.name else {
            throw CommandFailure(EINVAL, "'\(Text.short(name))' cannot name an application: use up to 255 letters")
        }
        return name
    }

    private static func guardFits(_ pool: Pool, _ map: OSDMap) throws(CommandFailure) {
        guard !pool.ruleFits(in: map.crush), let rule = map.crush.rule(RuleID(pool.rule)) else { return }
        throw CommandFailure(
            EINVAL,
            "rule '\(rule.name)' is for \(rule.kind) pools of size \(rule.minSize) to \(rule.maxSize), pool "
                + "'\(pool.name)' is \(pool.kind) of size \(pool.size)")
    }

    private static func guardSingleCopy(_ size: UInt8, _ arguments: CommandArguments) throws(CommandFailure) {
        guard size > 1 || arguments.flag("yes-i-really-mean-it") else {
            throw CommandFailure(EPERM, "with size 1 a lost disk is lost data: add --yes-i-really-mean-it")
        }
    }

    private static func guardGroups(copies new: UInt64, _ map: OSDMap) throws(CommandFailure) {
        let old = map.pools.values.reduce(0) { $0 + UInt64($1.size) * UInt64($1.groupCount) }
        let osds = UInt64(max(map.osds.values.count(where: \.isIn), Int(PoolDefaults.size)))
        let perOSD = (old + new) / osds
        guard perOSD <= MonitorBounds.groupsPerOSD else {
            throw CommandFailure(
                ERANGE,
                "this would bring \(perOSD) copies of groups to each OSD, the limit is "
                    + "\(MonitorBounds.groupsPerOSD): choose a smaller pg_num or add OSDs")
        }
    }
}
