import CRUSH
import ClusterMap
import Glibc
import Wire

/// `osd crush rule …`, and the CRUSH map as a file.
enum RuleCommands {
    /// Makes a rule for whole copies. The same again is no error, as the sender may have missed the first answer.
    static func createReplicated(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        let root = try arguments.required("root")
        var crush = draft.map.crush
        let type = try crush.existingType(arguments.required("type"))
        guard try crush.existingItem(root).isBucket else {
            throw CommandFailure(EINVAL, "'\(root)' is an OSD, and a rule begins at a bucket")
        }
        guard crush.rule(named: name) == nil else { return CommandResult("rule '\(name)' already exists") }
        try CRUSHCommands.edit(&crush) { crush throws(CRUSHError) in
            _ = try crush.addReplicatedRule(
                named: name, root: root, failureDomain: type, deviceClass: arguments.optional("class"))
        }
        draft.setCRUSH(crush)
        return CommandResult("rule '\(name)' created")
    }

    /// Takes a rule away that no pool uses. One that is not there is no error, as the sender may have missed the first answer.
    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        var crush = draft.map.crush
        guard let rule = crush.rule(named: name) else {
            return CommandResult("rule '\(Text.short(name))' does not exist")
        }
        if let pool = draft.map.poolsInOrder.first(where: { $0.rule == rule.id.rawValue }) {
            throw CommandFailure(
                EBUSY,
                "pool '\(pool.name)' uses rule '\(name)': give it another with `pool set \(pool.name) crush_rule`")
        }
        try CRUSHCommands.edit(&crush) { crush throws(CRUSHError) in try crush.removeRule(rule.id) }
        draft.setCRUSH(crush)
        return CommandResult("rule '\(name)' removed")
    }

    static func list(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.map.crush.rules.map(\.name))
    }

    /// All rules, or the one that is named, step by step.
    static func dump(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let crush = view.map.crush
        if let name = arguments.optional("name"), !name.isEmpty {
            return CommandResult(report(try crush.existingRule(name), crush))
        }
        return CommandResult(crush.rules.map { report($0, crush) })
    }

    private static func report(_ rule: Rule, _ crush: CRUSHMap) -> RuleReport {
        RuleReport(
            ruleId: rule.id.rawValue, ruleName: rule.name, ruleset: rule.id.rawValue, type: Int(rule.kind.rawValue),
            minSize: Int(rule.minSize), maxSize: Int(rule.maxSize), steps: rule.steps.map { report($0, crush) })
    }

    private static func report(_ step: Rule.Step, _ crush: CRUSHMap) -> RuleReport.Step {
        func choice(_ op: String, _ count: Int32, _ type: TypeID) -> RuleReport.Step {
            RuleReport.Step(op: op, num: Int(count), type: crush.types[type] ?? "\(type)")
        }
        func setting(_ op: String, _ value: UInt32) -> RuleReport.Step { RuleReport.Step(op: op, num: Int(value)) }
        return switch step {
        case .take(let item):
            RuleReport.Step(op: "take", item: item.rawValue, itemName: crush.name(of: item) ?? "\(item)")
        case .chooseFirstN(let count, let type): choice("choose_firstn", count, type)
        case .chooseLeafFirstN(let count, let type): choice("chooseleaf_firstn", count, type)
        case .chooseIndep(let count, let type): choice("choose_indep", count, type)
        case .chooseLeafIndep(let count, let type): choice("chooseleaf_indep", count, type)
        case .setChooseTries(let value): setting("set_choose_tries", value)
        case .setChooseLeafTries(let value): setting("set_chooseleaf_tries", value)
        case .setChooseLocalTries(let value): setting("set_choose_local_tries", value)
        case .setChooseLocalFallbackTries(let value): setting("set_choose_local_fallback_tries", value)
        case .setChooseLeafVaryR(let value): setting("set_chooseleaf_vary_r", value)
        case .setChooseLeafStable(let value): setting("set_chooseleaf_stable", value)
        case .emit: RuleReport.Step(op: "emit")
        }
    }

    // MARK: The map as a file

    /// The compiled CRUSH map, as `crushtool` reads it.
    static func getMap(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        var result = CommandResult("\(view.map.epoch)")
        result.output = view.map.crush.compiled
        return result
    }

    /// The OSD map in this project's own format, for `osd balance --map`.
    static func getOSDMap(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        var result = CommandResult("got osdmap epoch \(view.map.epoch)")
        result.output = view.map.encoded
        return result
    }

    /// Replaces the CRUSH map, compiled or in text. Refused when a pool could not use it.
    static func setMap(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        guard !arguments.input.isEmpty else {
            throw CommandFailure(EINVAL, "'osd setcrushmap' needs a map: name its file with -i")
        }
        let crush: CRUSHMap
        do throws(CRUSHError) { crush = try CRUSHMap(file: arguments.input) } catch {
            throw CommandFailure(EINVAL, "the CRUSH map is not valid: \(error)")
        }
        if let objection = draft.map.objection(to: crush) {
            throw CommandFailure(EINVAL, "the CRUSH map is refused: \(objection)")
        }
        if crush == draft.map.crush { return CommandResult("the CRUSH map is this one already") }
        draft.setCRUSH(crush)
        return CommandResult("set the CRUSH map of epoch \(draft.epoch)")
    }
}

extension OSDMap {
    private static let countedLosses = 1000

    /// Why `crush` must not become the CRUSH map: the first pool that could not use it. Nil when all can.
    ///
    /// A pool whose groups have no OSDs as it is, since there are none, may stay like that.
    func objection(to crush: CRUSHMap) -> String? {
        var next = self
        next.crush = crush
        var (before, after) = (PlacementBuffer(), PlacementBuffer())
        for pool in poolsInOrder {
            guard let rule = crush.rule(RuleID(pool.rule)) else {
                return "it has no rule \(pool.rule), which pool '\(pool.name)' uses"
            }
            guard pool.ruleFits(in: crush) else {
                return "rule '\(rule.name)' of pool '\(pool.name)' would be for \(rule.kind) pools of size "
                    + "\(rule.minSize) to \(rule.maxSize), the pool is \(pool.kind) of size \(pool.size)"
            }
            var lost = 0
            // Groups that find nothing take the most tries: not all of them have to be counted.
            for seed in 0..<pool.groupCount where lost < Self.countedLosses {
                next.place(seed, in: pool, into: &after)
                guard !after.raw.contains(where: { $0 != .none }) else { continue }
                place(seed, in: pool, into: &before)
                if before.raw.contains(where: { $0 != .none }) { lost += 1 }
            }
            if lost > 0 {
                return (lost == Self.countedLosses ? "at least " : "")
                    + "\(lost) of the \(pool.groupCount) groups of pool '\(pool.name)' would have no OSD by rule "
                    + "'\(rule.name)'"
            }
        }
        return nil
    }
}
