import ClusterMap
import DequeModule
import Protocol
import Wire

/// Merging groups when their pool's `pg_num` is lowered.
///
/// Every OSD does this by itself with the epoch that says so, with the copies that it has, as it does for splits. Objects lie in
/// the order of their hashes, so none of them moves. The groups were quiet before, and their primaries have said at which
/// versions they stand on every member: a copy of the whole is one of which all parts are here and end there. Whatever else is
/// here is compared object by object, as any copy whose log says nothing. The joined log is empty but for the requests that it
/// remembers, and begins with a version that is newer than all of the parts and the same for everyone.
extension PlacementGroup {
    /// True while the group writes nothing because it is about to be merged.
    var isQuiet: Bool { intervals.current.isQuiet }

    /// True when all members stand at the group's newest version and stay there until it is merged.
    var isReadyToMerge: Bool { isQuiet && isClean && writes.isEmpty }

    /// Takes up the groups that end with the epoch; to be called before the epoch's `advance`. The copies that are newer on
    /// disk, where maps of the past are gone through, are left alone.
    ///
    /// On disk the copies change with one transaction. A crash before that leaves it to be done again.
    public func merge(_ sources: [PlacementGroup], _ merge: Pool.Merge) {
        let parts = ([self] + sources).filter { $0.isCut(before: merge.epoch) }
        if !parts.isEmpty {
            precondition(
                info.isEmpty || info.cutAt < merge.epoch,
                "group \(id) of epoch \(info.cutAt) takes up \(parts.map(\.id)) in \(merge.epoch)")
            environment.occurred(.merged)
            join(parts, merge.joined(([self] + sources).map(\.id.seed)), isWhole(parts, of: sources.count + 1, merge))
        }
        for source in sources { source.end() }
    }

    /// True when the copies that are here make one that lacks nothing but what is known to be missing.
    private func isWhole(_ parts: [PlacementGroup], of count: Int, _ merge: Pool.Merge) -> Bool {
        guard parts.count == count else { return false }
        return parts.allSatisfy { $0.info.isComplete && merge.versions[$0.id.seed] == $0.info.lastUpdate }
    }

    private func join(_ parts: [PlacementGroup], _ version: Version, _ isWhole: Bool) {
        if !isWhole { environment.occurred(.mergedOutOfStep) }
        for part in parts where part !== self {
            var index = part.index.map { KeyValue($0.key, .empty) }[...]
            while !index.isEmpty {
                commit(Transaction([.setGroupKeys(id, entries: Array(index.prefix(4096)))]), .note)
                index = index.dropFirst(4096)
            }
        }
        let requests = Self.remembered(by: parts)
        log = GroupLog(tail: version)
        missing = isWhole ? parts.reduce(into: [:]) { $0.merge($1.missing) { $1 } } : [:]
        if info.isEmpty { info = GroupInfo(group: id, cutAt: version.epoch) }
        info.cutAt = version.epoch
        (info.lastUpdate, info.logTail) = (version, version)
        info.lastBackfill = isWhole ? .complete : .nothing
        info.missingCount = UInt32(missing.count)
        committedThrough = version
        isRemoving = false
        joinScrubs(of: isWhole ? parts : [])
        let trimmed = parts.map(\.trimming.trimmed)
        trimming.trimmed = isWhole ? trimmed.dropFirst().reduce(trimmed[0]) { $0.intersection($1) } : SnapIntervals()

        var keys = [GroupKeys.entry(info), GroupKeys.entry(scrub.record)]
        if isWhole, !requests.isEmpty {
            let batch = GroupLog.Batch(upTo: version, requests: requests)
            log.remember(batch)
            keys.append(GroupKeys.entry(batch))
        }
        keys += missing.values.map { GroupKeys.entry($0) } + scrub.inconsistent.values.map { GroupKeys.entry($0) }
        keys += trimming.trimmed.runs.map { GroupKeys.trimmed($0) }
        let ended = parts.filter { $0 !== self }.map { Transaction.Operation.removeGroup($0.id) }
        commit(
            Transaction(
                [
                    .removeGroupKeys(id, from: GroupKeys.logStart, to: GroupKeys.snapsStart),
                    .removeGroupKeys(id, from: GroupKeys.trimmedStart, to: GroupKeys.inconsistentEnd),
                    .setGroupKeys(id, entries: keys),
                ] + ended), .note)
    }

    /// The requests that the parts remember, as many as one group may, each part's newest.
    private static func remembered(by parts: [PlacementGroup]) -> [RecordedRequest] {
        let share = GroupLimits.requestsMerged / max(1, parts.count)
        let all = parts.flatMap { part in
            let logged = part.log.entries.lazy.filter { $0.request != .none }.map {
                RecordedRequest(request: $0.request, version: $0.version, errno: $0.errno)
            }
            return (part.log.trimmed.flatMap(\.requests) + logged).suffix(share)
        }
        return all.sorted { $0.version < $1.version }
    }

    /// The group was scrubbed when the last of its parts was; what is wrong with the parts is wrong with it.
    private func joinScrubs(of parts: [PlacementGroup]) {
        var joined = Scrub()
        joined.order = scrub.order
        if let first = parts.first {
            joined.record = parts.dropFirst().reduce(first.scrub.record) { $0.joined(with: $1.scrub.record) }
            joined.record.serial += 1
        }
        for part in parts { joined.inconsistent.merge(part.scrub.inconsistent) { $1 } }
        scrub = joined
    }

    /// The group is no more, in memory; what its copy was has been taken up, or is that of a newer group of this number.
    private func end() {
        intervals.end()
        info = GroupInfo(group: id, cutAt: interval)
        log = GroupLog()
        missing = [:]
        committedThrough = .zero
        isRemoving = false
        trimming.trimmed = SnapIntervals()
        if hasBegun { enterInterval() }
        scrub = Scrub()
        // What was on its way to the disk is the whole's now: nobody is to be told of it.
        commits = Deque(repeating: .note, count: commits.count)
    }
}
