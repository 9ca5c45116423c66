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
            return result(known, "\(known) has this disk already", draft.map)
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
        return result(id, "\(id) is registered on host \(Text.short(host))", draft.map)
    }

    private static func result(_ id: OSDID, _ message: String, _ map: OSDMap) -> CommandResult {
        var result = CommandResult(NewOSD(osdid: id.rawValue, fsid: map.cluster.description))
        result.message = message
        return result
    }

    /// The CRUSH weight: `weight` in TiB, or what is customary for `size` in bytes.
    private static func weight(_ arguments: CommandArguments) throws(CommandFailure) -> CRUSHWeight {
        if let size = try arguments.number("size", in: 0...UInt64.max) {
            return CRUSHWeight(capacity: ByteCount(size))
        }
        let text = try arguments.required("weight")
        let limit = Double(CRUSHLimits.deviceWeight.rawValue) / 65536
        guard let weight = Double(text), weight >= 0, weight <= limit else {
            throw CommandFailure(EINVAL, "the weight is '\(Text.short(text))': give TiB from 0 to \(limit)")
        }
        return CRUSHWeight(UInt32((weight * 65536).rounded()))
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
            var record = try known(id, draft.map)
            if record.isIn == (weight > 0) {
                done.append("\(id) is \(word) already")
                continue
            }
            record.reweight = weight
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
            var record = try known(id, draft.map)
            guard record.isUp else {
                done.append("\(id) is down already")
                continue
            }
            record.isUp = false
            record.downAt = draft.epoch
            draft.settle(id, record)
            done.append("marked down \(id)")
        }
        return CommandResult(done.joined(separator: ", "))
    }

    private static func known(_ id: OSDID, _ map: OSDMap) throws(CommandFailure) -> OSDRecord {
        guard let record = map.osds[id] else {
            throw CommandFailure(ENOENT, "\(id) does not exist: `osd ls` names those that do")
        }
        return record
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
                weight: share(record.reweight), upFrom: record.upFrom.rawValue, upThru: record.upThru.rawValue,
                downAt: record.downAt.rawValue, publicAddr: record.endpoint?.description ?? "")
        }
        return CommandResult(
            MapDump(
                epoch: view.map.epoch.rawValue, fsid: view.map.cluster.description,
                pools: view.map.poolsInOrder.map(PoolReport.init), osds: osds))
    }

    static func usage(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        var held: [OSDID: Int] = [:]
        for state in view.allStates { for osd in state.group.wanted { held[osd, default: 0] += 1 } }
        let nodes = view.map.osdsInOrder.map { id, record in
            let said = view.watch.reports[id]?.statistics
            let total = said?.capacity ?? 0
            let used = said?.used ?? 0
            return OSDUsage.Node(
                id: id.rawValue, name: id.description, crushWeight: weight(of: id, view.map.crush),
                reweight: share(record.reweight), bytesTotal: total, bytesUsed: used,
                utilization: total == 0 ? 0 : (Double(used) / Double(total) * 10000).rounded() / 100,
                pgs: held[id, default: 0], status: record.isUp ? "up" : "down")
        }
        return CommandResult(OSDUsage(nodes: nodes))
    }

    static func tree(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        let crush = view.map.crush
        var nodes: [OSDTree.Node] = []
        for root in crush.buckets where crush.parents(of: root.id).isEmpty {
            append(root, depth: 0, view.map, to: &nodes)
        }
        let placed = Set(nodes.map(\.id))
        let stray = view.map.osdsInOrder.filter { !placed.contains($0.id.rawValue) }
        return CommandResult(
            OSDTree(nodes: nodes, stray: stray.map { node($0.id, CRUSHWeight.zero, depth: 0, view.map) }))
    }

    /// The map has no cycles, and its depth is bounded by `CRUSHLimits.depth`.
    private static func append(_ bucket: Bucket, depth: Int, _ map: OSDMap, to nodes: inout [OSDTree.Node]) {
        nodes.append(
            OSDTree.Node(
                id: bucket.id.rawValue, name: bucket.name, type: map.crush.types[bucket.type] ?? "\(bucket.type)",
                crushWeight: share(bucket.weight.rawValue), depth: depth, children: bucket.items.map(\.id.rawValue)))
        for item in bucket.items {
            if let osd = item.id.osd {
                nodes.append(node(osd, item.weight, depth: depth + 1, map))
            } else if let below = map.crush.bucket(item.id) {
                append(below, depth: depth + 1, map, to: &nodes)
            }
        }
    }

    private static func node(_ osd: OSDID, _ weight: CRUSHWeight, depth: Int, _ map: OSDMap) -> OSDTree.Node {
        let record = map.osds[osd]
        return OSDTree.Node(
            id: osd.rawValue, name: osd.description, type: "osd", crushWeight: share(weight.rawValue), depth: depth,
            status: record.map { $0.isUp ? "up" : "down" } ?? "DNE", reweight: share(record?.reweight ?? 0))
    }

    private static func weight(of osd: OSDID, _ crush: CRUSHMap) -> Double {
        let item = ItemID(osd)
        let holder = crush.parents(of: item).first
        return share(holder?.items.first { $0.id == item }?.weight.rawValue ?? 0)
    }

    /// 16.16 fixed point as a number with five decimals.
    private static func share(_ fixed: UInt32) -> Double { (Double(fixed) / 65536 * 100_000).rounded() / 100_000 }
}

extension PoolReport {
    init(_ pool: Pool) {
        self.init(
            pool: pool.id.rawValue, poolName: pool.name, size: Int(pool.size), minSize: Int(pool.minSize),
            pgNum: pool.groupCount, pgPlacementNum: pool.placementGroupCount, crushRule: pool.rule,
            created: pool.created.rawValue, application: pool.application)
    }
}
