import ClusterMap
import Protocol
import Wire

/// Splitting a group when its pool's `pg_num` is raised.
///
/// Every OSD does this by itself with the epoch that says so, with every copy that it has, also long after, when it comes up
/// again and goes through the maps of the past. Objects lie in the order of their hashes, so none of them moves: each group
/// that splits off takes a part of the range. The histories keep all their versions: in each of them, what was done to
/// others' objects is an entry without meaning. So members that were ahead of each other before are so by the same entries
/// afterwards, and agree in peering as they would have.
extension PlacementGroup {
    /// True when the copy has something that has not gone through the splits and merges of this epoch.
    public func isCut(before epoch: Epoch) -> Bool { !info.isEmpty && info.cutAt < epoch }

    /// Gives the groups that split off what is theirs; to be called before the epoch's `advance`.
    ///
    /// On disk it is done with the last transaction, which changes this group. A crash before that leaves it to be done again.
    public func split(into parts: [PlacementGroup], _ pool: Pool, at epoch: Epoch) {
        precondition(isCut(before: epoch), "group \(id) is split already: \(info)")
        environment.occurred(.split)
        if recovery.isWorking || !missing.isEmpty { environment.occurred(.splitWhileRecovering) }
        for part in parts { part.takePart(of: self, pool, at: epoch) }
        cut(to: pool, at: epoch)
    }

    /// Becomes the group's part of what `whole` is.
    private func takePart(of whole: PlacementGroup, _ pool: Pool, at epoch: Epoch) {
        func isOwn(_ object: ObjectID) -> Bool { pool.group(ofHash: object.hash) == id }
        log = whole.log.part(where: isOwn)
        missing = whole.missing.filter { isOwn($0.key) }
        info = whole.info
        info.group = id
        info.cutAt = epoch
        info.missingCount = UInt32(missing.count)
        committedThrough = whole.committedThrough
        scrub = Scrub()
        scrub.record = whole.scrub.record
        scrub.inconsistent = whole.scrub.inconsistent.filter { isOwn($0.key) }
        trimming.trimmed = whole.trimming.trimmed
        var keys = [GroupKeys.entry(info), GroupKeys.entry(scrub.record)]
        keys += whole.index.filter { isOwn($0.clone) }.map { KeyValue($0.key, .empty) }
        keys += trimming.trimmed.runs.map { GroupKeys.trimmed($0) }
        keys += log.trimmed.map { GroupKeys.entry($0) } + log.entries.map { GroupKeys.entry($0) }
        keys += missing.values.map { GroupKeys.entry($0) } + scrub.inconsistent.values.map { GroupKeys.entry($0) }
        // What an attempt left that a crash ended is not to be mixed with this.
        commit(
            Transaction([
                .removeGroupKeys(id, from: GroupKeys.info, to: GroupKeys.inconsistentEnd),
                .setGroupKeys(id, entries: keys),
            ]), .note)
    }

    /// The index of snapshots.
    var index: [(key: Bytes, clone: ObjectID)] {
        environment.groupKeys(id, from: GroupKeys.snapsStart, to: GroupKeys.snapsEnd).map {
            ($0.key, clone(ofIndex: $0.key))
        }
    }

    /// Lets go of what other groups have taken.
    private func cut(to pool: Pool, at epoch: Epoch) {
        func isOwn(_ object: ObjectID) -> Bool { pool.group(ofHash: object.hash) == id }
        var steps: [Transaction.Operation] = []
        func remove(_ key: Bytes) { steps.append(.removeGroupKeys(id, from: key, to: Bytes(key.array + [0]))) }
        for object in missing.keys.sorted() where !isOwn(object) { remove(GroupKeys.missing(object)) }
        for object in scrub.inconsistent.keys.sorted() where !isOwn(object) { remove(GroupKeys.inconsistent(object)) }
        for (key, clone) in index where !isOwn(clone) { remove(key) }
        let foreign = log.entries.filter { !isOwn($0.object) }
        missing = missing.filter { isOwn($0.key) }
        scrub.inconsistent = scrub.inconsistent.filter { isOwn($0.key) }
        log = log.part(where: isOwn)
        info.cutAt = epoch
        info.missingCount = UInt32(missing.count)
        let keys = foreign.map { GroupKeys.entry($0.withoutMeaning) } + [GroupKeys.entry(info)]
        steps.append(.setGroupKeys(id, entries: keys))
        commit(Transaction(steps), .note)
    }
}
