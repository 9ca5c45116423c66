import ClusterMap
import Monitor
import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// The course of a run, and what must hold at its end.
extension SimulatedCluster {
    /// Breaks things, heals them, and returns what was wrong: nothing when every answer can be explained and all copies of
    /// every object are there and equal.
    public func check() throws -> [String] {
        defer { events.clear() }
        run(milliseconds: 3000)
        for _ in 0..<options.faults {
            try breakSomething()
            run(milliseconds: UInt64.random(in: 1...800, using: &random))
        }
        var problems = try settle()
        problems += stops + workload.violations
        if problems.isEmpty { problems += try compareCopies() }
        if operations < 20 { problems.append("only \(operations) operations ended") }
        return problems.map { "seed \(seed): \($0)" }
    }

    /// Ends the faults, and has everything read once more when the cluster has come to rest.
    private func settle() throws -> [String] {
        try startEverything(likely: false)
        network.unblockAll()
        for disk in disks { disk?.device.isTaken = false }
        isWorking = false
        guard comesToRest() else {
            let pending = clients.compactMap { $0?.pendingOperations }
            return ["the cluster did not come to rest, clients wait for \(pending): \(states)"]
        }
        guard clients[0]?.readAll() == true else { return ["a client never had a map"] }
        guard comesToRest() else { return ["the last reads did not end: \(states)"] }
        return rottingDisk == nil || repairs() ? [] : ["what the disk lost was not repaired: \(states)"]
    }

    /// Has every group compared with its data, and what is bad put right. True when nothing bad is left.
    private func repairs() -> Bool {
        for _ in 0..<4 {
            let before = ledGroups.map(\.lastDeepScrub).max() ?? 0
            run(milliseconds: 1500)
            clients[0]?.repairAll()
            let isDone = run(seconds: 30) {
                isClean && ledGroups.allSatisfy { $0.lastDeepScrub > before && $0.scrubErrors == 0 }
            }
            if isDone { return true }
        }
        return false
    }

    private func comesToRest() -> Bool {
        for round in 0..<12 {
            // Whoever was to remove a snapshot may have been killed before the monitor heard of it.
            if round == 0 {
                for snap in workload.snapshots.removed {
                    administrator.command(
                        "osd pool selfmanaged-snap rm", ["pool": "rbd", "snapid": "\(snap)"])
                }
            }
            administrator.command("osd pool set", ["pool": "rbd", "var": "min_size", "val": "2"])
            // Said again: a command whose answer was lost with its monitor may have been done again since.
            for index in disks.indices where disks[index] != nil {
                administrator.command("osd in", ["ids": "\(index)"])
                administrator.command("osd reweight", ["ids": "\(index)", "weight": "1"])
                if round == 0 {
                    administrator.command("osd crush reweight", ["name": "osd.\(index)", "weight": "1"])
                }
            }
            run(milliseconds: 500)
            if run(seconds: 5, until: { isClean && isTrimmed && clients.allSatisfy { $0?.isIdle != false } }) {
                return true
            }
        }
        return false
    }

    /// True when nothing is left of removed snapshots, and the monitor knows.
    private var isTrimmed: Bool {
        let snapshots = administrator.map?.pools[Self.pool]?.snapshots
        return snapshots?.trimming.isEmpty != false
            && workload.snapshots.removed.allSatisfy { snapshots?.removed.contains(SnapID($0)) == true }
    }

    // MARK: Copies

    /// After a last power cut the stores are opened alone, and the copies of every group compared. Whoever is not to have a
    /// copy has nothing of it.
    private func compareCopies() throws -> [String] {
        run(milliseconds: 3000)
        guard isClean else { return ["the cluster did not stay clean: \(states)"] }
        let names = disks.indices.filter { disks[$0] != nil }
        let summaries = osds.compactMap { $0?.core }.flatMap { $0.groupSummaries }
        for index in names { killOSD(index) }
        guard let map = try MapLog.open(monitorKeys)?.newestMap(), let pool = map.pools[Self.pool] else {
            return ["the monitor's map has no pool"]
        }
        var problems: [String] = []
        var readers: [OSDID: StoreReader] = [:]
        for index in names {
            guard let disk = disks[index] else { continue }
            // Nothing is left over: every key belongs to something, every unit to one object.
            var check = try StoreCheck(device: disk.device, keys: disk.keys) { finding in
                problems.append("\(disk.identity.osd): \(finding.kind) \(finding.object ?? ""): \(finding.detail)")
            }
            try check.run(readingData: true) { _ in }
            readers[OSDID(Int32(index))] = try StoreReader(disk)
        }
        for group in pool.groups {
            let range = ObjectRange(pool: pool.id, seed: group.seed, bits: pool.bits(ofGroup: group.seed))
            let acting = map.placement(of: group).acting
            var first: GroupCopy?
            for (osd, reader) in readers.sorted(by: { $0.key < $1.key }) {
                let copy = try reader.copy(of: group, in: range)
                guard acting.contains(osd) else {
                    if !copy.isEmpty {
                        let said = summaries.filter { $0.hasPrefix("\(group) ") }.joined(separator: "; ")
                        problems.append("\(osd) still has \(copy) of \(group): \(said)")
                    }
                    continue
                }
                if let difference = first.flatMap({ copy.difference(from: $0) }) {
                    problems.append("copies of \(group) differ on \(osd) in \(difference)")
                }
                problems += copy.problems(removed: pool.snapshots?.removed ?? SnapIntervals()).map {
                    "\(group) on \(osd): \($0)"
                }
                first = first ?? copy
            }
            if acting.count != 3 { problems.append("\(group) is on \(acting)") }
        }
        return problems
    }
}

/// What a store has of a group.
private struct GroupCopy: CustomStringConvertible {
    struct Object: Equatable {
        var data: Bytes
        var attributes: [Attribute]
        var omap: [KeyValue]
    }

    var objects: [ObjectID: Object] = [:]
    /// Log entries by key.
    var log: [Bytes: Bytes] = [:]
    var keys: [KeyValue] = []

    var isEmpty: Bool { objects.isEmpty && keys.isEmpty }
    var description: String { "\(objects.count) objects and \(keys.count) keys" }

    /// What does not fit together of what it has of snapshots.
    func problems(removed: SnapIntervals) -> [String] {
        let attributes = objects.mapValues { object in
            Dictionary(object.attributes.map { ($0.name, $0.value) }) { $1 }
        }
        return VersionCheck.problems(attributes: attributes, keys: keys, trimmed: removed)
    }

    /// In what this copy is another than `other`. Logs may reach back less or more far, and are equal where both reach.
    func difference(from other: GroupCopy) -> String? {
        for object in Set(objects.keys).union(other.objects.keys).sorted()
        where objects[object] != other.objects[object] {
            return "\(object)"
        }
        let begin = max(log.keys.min() ?? .empty, other.log.keys.min() ?? .empty)
        let mine = log.filter { $0.key >= begin }, theirs = other.log.filter { $0.key >= begin }
        return mine == theirs ? nil : "their logs of \(mine.count) and \(theirs.count) entries"
    }
}

/// Reads a store with nothing else around it.
private struct StoreReader {
    private let store: ObjectStore<SimulatedDevice, SimulatedKeys>
    private let device: SimulatedDevice

    init(_ disk: SimulatedDisk) throws {
        store = try ObjectStore.open(disk.device, disk.keys, options: disk.options)
        device = disk.device
    }

    func copy(of group: PGID, in range: ObjectRange) throws -> GroupCopy {
        var result = GroupCopy()
        for object in try store.list(range, after: nil, limit: 10_000) {
            guard let size = try store.stat(object) else { continue }
            result.objects[object] = GroupCopy.Object(
                data: read(object, size),
                attributes: try store.attributes(object).map { Attribute($0.name, $0.value) },
                omap: try store.omap(object, from: .empty, limit: 10_000))
        }
        result.keys = try store.groupKeys(group, limit: .max)
        for pair in result.keys where pair.key[0] == UInt8(ascii: "l") { result.log[pair.key] = pair.value }
        return result
    }

    private func read(_ object: ObjectID, _ size: UInt64) -> Bytes {
        var random = SeededGenerator(seed: 1)
        var data = Bytes("unreadable")
        store.read(object, offset: 0, length: Int(size), token: 0)
        store.endOfTurn()
        while device.pendingOperations > 0 {
            device.step(using: &random)
            store.poll()
        }
        store.drainCompletions { completion in
            if case .read(_, .success(let bytes)) = completion { data = bytes }
        }
        return data
    }
}
