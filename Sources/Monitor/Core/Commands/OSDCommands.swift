import CRUSH
import ClusterMap
import Glibc
import Wire

/// `osd …`: which OSDs there are and how they are.
enum OSDCommands {
    // MARK: Changes

    /// Registers a disk: the lowest free number, under its host in the CRUSH map. The same disk again gets the same number.
    static func new(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let text = try arguments.required("uuid")
        guard let uuid = UniqueID(text) else {
            throw CommandFailure(EINVAL, "'\(Text.short(text))' is no UUID")
        }
        let host = try arguments.required("host")
        let weight = try weight(arguments)
        if let known = draft.map.osds.first(where: { $0.value.uuid == uuid })?.key {
            return result(known, "\(known) has this disk already")
        }
        guard
            let id = (0..<Int32(MapLimits.osds)).lazy.map({ OSDID($0) }).first(where: { draft.map.osds[$0] == nil })
        else {
            throw CommandFailure(ENOSPC, "all \(MapLimits.osds) numbers of OSDs are in use: remove one")
        }
        // A number that became free in this epoch is not given again in it.
        if draft.settled.contains(id) { throw .later }
        var crush = draft.map.crush
        do throws(CRUSHError) {
            if crush.contains(id) { try crush.remove(id) }
            try crush.add(id, weight: weight, host: host)
        } catch {
            throw CommandFailure(EINVAL, "\(id) does not fit the CRUSH map: \(error)")
        }
        draft.settle(id, OSDRecord(uuid: uuid))
        draft.setCRUSH(crush)
        return result(id, "\(id) is registered on host \(Text.short(host))")
    }

    private static func result(_ id: OSDID, _ message: String) -> CommandResult {
        var result = CommandResult(message)
        // A number alone is JSON, and what scripts expect.
        result.output = Bytes("\(id.rawValue)")
        return result
    }

    /// The CRUSH weight: `weight` in TiB, or what is customary for `size` in bytes.
    private static func weight(_ arguments: CommandArguments) throws(CommandFailure) -> CRUSHWeight {
        if let size = try arguments.number("size", in: 0...UInt64.max) {
            return CRUSHWeight(capacity: ByteCount(size))
        }
        return try CRUSHCommands.weight(arguments.required("weight"))
    }

    static func purge(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        guard arguments.flag("yes-i-really-mean-it") else {
            throw CommandFailure(
                EPERM, "purge takes the OSD and its place out of the map for good: add --yes-i-really-mean-it")
        }
        return try remove(&draft, view, arguments)
    }

    /// Takes OSDs out of the map and out of the CRUSH map.
    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var done: [String] = []
        for id in try arguments.osds() {
            if draft.settled.contains(id) { throw .later }
            guard let record = draft.map.osds[id] else {
                done.append("\(id) does not exist")
                continue
            }
            guard !record.isUp else {
                throw CommandFailure(EBUSY, "\(id) is up: stop its daemon before it is removed")
            }
            if draft.map.crush.contains(id) {
                var crush = draft.map.crush
                do throws(CRUSHError) { try crush.remove(id) } catch {
                    throw CommandFailure(EBUSY, "\(id) cannot leave the CRUSH map: \(error)")
                }
                draft.setCRUSH(crush)
            }
            draft.remove(id)
            done.append("\(id) is removed")
        }
        return CommandResult(done.joined(separator: ", "))
    }

    static func markIn(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        try reweight(&draft, arguments, to: OSDRecord.fullReweight, "in")
    }

    static func markOut(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        try reweight(&draft, arguments, to: 0, "out")
    }

    private static func reweight(
        _ draft: inout MapDraft, _ arguments: CommandArguments, to weight: UInt32, _ word: String
    ) throws(CommandFailure) -> CommandResult {
        var done: [String] = []
        for id in try arguments.osds() {
            var record = try draft.map.existing(id)
            if record.isIn == (weight > 0) {
                done.append("\(id) is \(word) already")
                continue
            }
            record.reweight = weight
            record.isAutomaticallyOut = false
            draft.set(id, record)
            done.append("marked \(word) \(id)")
        }
        return CommandResult(done.joined(separator: ", "))
    }

    /// Marks OSDs down. A daemon that lives sees it and comes up again in a later epoch.
    static func markDown(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        var done: [String] = []
        for id in try arguments.osds() {
            if draft.settled.contains(id) { throw .later }
            var record = try draft.map.existing(id)
            guard record.isUp else {
                done.append("\(id) is down already")
                continue
            }
            record.markDown(in: draft.epoch, isDead: false)
            draft.settle(id, record)
            done.append("marked down \(id)")
        }
        return CommandResult(done.joined(separator: ", "))
    }

    // MARK: Reports

    static func list(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.map.osdsInOrder.map(\.id.rawValue))
    }

    static func stat(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(view.osdCounts)
    }

    static func dump(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let osds = view.map.osdsInOrder.map { id, record in
            MapDump.OSD(
                osd: id.rawValue, uuid: record.uuid.description, up: record.isUp ? 1 : 0, in: record.isIn ? 1 : 0,
                weight: CRUSHCommands.share(record.reweight),
                primaryAffinity: CRUSHCommands.share(record.primaryAffinity), upFrom: record.upFrom.rawValue,
                upThru: record.upThru.rawValue,
                downAt: record.downAt.rawValue, publicAddr: record.endpoint?.description ?? "")
        }
        return CommandResult(
            MapDump(
                epoch: view.map.epoch.rawValue, fsid: view.map.cluster.description,
                pools: view.map.poolsInOrder.map(PoolReport.init), osds: osds,
                pgUpmap: view.map.exceptions.upmaps.sorted { $0.key < $1.key }.map {
                    .init(pgid: $0.key.description, osds: $0.value.map(\.rawValue))
                },
                pgUpmapItems: view.map.exceptions.upmapItems.sorted { $0.key < $1.key }.map {
                    .init(
                        pgid: $0.key.description,
                        mappings: $0.value.map { .init(from: $0.from.rawValue, to: $0.to.rawValue) })
                },
                pgTemp: view.map.exceptions.temporary.sorted { $0.key < $1.key }.map {
                    .init(pgid: $0.key.description, osds: $0.value.map(\.rawValue))
                },
                primaryTemp: view.map.exceptions.temporaryPrimaries.sorted { $0.key < $1.key }.map {
                    .init(pgid: $0.key.description, osd: $0.value.rawValue)
                }))
    }

    // MARK: Weights

    /// Sets the share of its CRUSH weight that an OSD uses: 0 is out, 1 is in.
    static func reweight(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let (id, value) = try idAndShare(arguments)
        var record = try draft.map.existing(id)
        record.reweight = value
        if record != draft.map.osds[id] { draft.set(id, record) }
        return CommandResult("reweighted \(id) to \(CRUSHCommands.share(value)) (\(String(value, radix: 16)))")
    }

    /// Sets the share of the groups that an OSD could lead and does.
    static func primaryAffinity(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let (id, value) = try idAndShare(arguments)
        var record = try draft.map.existing(id)
        record.primaryAffinity = value
        if record != draft.map.osds[id] { draft.set(id, record) }
        return CommandResult(
            "set \(id) primary-affinity to \(CRUSHCommands.share(value)) (\(String(value, radix: 16)))")
    }

    /// An OSD and a number from 0 to 1, cut to 16.16 as the field's tools cut it.
    private static func idAndShare(_ arguments: CommandArguments) throws(CommandFailure) -> (OSDID, UInt32) {
        let id = try arguments.osd()
        let text = try arguments.required("weight")
        guard let share = Float(text), share >= 0, share <= 1 else {
            throw CommandFailure(EINVAL, "the weight is '\(Text.short(text))': give a number from 0.0 to 1.0")
        }
        return (id, UInt32(share * 65536))
    }
}

extension PoolReport {
    init(_ pool: Pool) {
        self.init(
            pool: pool.id.rawValue, poolName: pool.name, size: Int(pool.size), minSize: Int(pool.minSize),
            pgNum: pool.groupCount, pgNumTarget: pool.lowering?.target ?? pool.groupCount,
            pgNumPending: pool.lowering?.pending ?? pool.groupCount, pgPlacementNum: pool.placementGroupCount,
            crushRule: pool.rule,
            created: pool.created.rawValue, application: pool.application)
    }
}
