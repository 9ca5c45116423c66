import ClusterMap
import Protocol
import Wire

/// The taking away of what removed snapshots have left: clone after clone from the index of the snapshot, so that it costs what
/// changed while the snapshot lived.
struct Trimming {
    /// Snapshots of which this copy, while it led the group, has found nothing left. What of this is lost is gone through
    /// again, and nothing found.
    var trimmed = SnapIntervals()
    /// Trims under way, by their versions, and the clones that they are about.
    var underway: [Version: ObjectID] = [:]
}

extension PlacementGroup {
    /// Removed snapshots that may have left something here.
    var snapsToTrim: SnapIntervals {
        guard isPrimary, let wanted = snapshots?.trimming, !wanted.isEmpty else { return SnapIntervals() }
        return wanted.subtracting(trimming.trimmed)
    }

    /// Those that have not.
    var snapsTrimmed: SnapIntervals {
        guard isPrimary, let wanted = snapshots?.trimming, !wanted.isEmpty else { return SnapIntervals() }
        return wanted.intersection(trimming.trimmed)
    }

    func leaveTrimming() {
        for _ in trimming.underway { environment.endRecovery() }
        trimming.underway.removeAll()
    }

    /// Trims a few more clones: ordinary writes, only while every copy is complete and where it should be.
    func continueTrimming() {
        guard let wanted = snapshots?.trimming, !wanted.isEmpty, isClean, !isQuiet, waiting.isEmpty else { return }
        while trimming.underway.count < SnapLimits.trimsInFlight, writes.count < GroupLimits.writesInFlight,
            let snap = snapsToTrim.first
        {
            // More than are under way, so that one that is being read does not hold up the others.
            let entries = environment.groupKeys(
                id, from: GroupKeys.snap(snap.rawValue), to: GroupKeys.snap(snap.rawValue + 1),
                limit: SnapLimits.trimsInFlight * 8)
            guard !entries.isEmpty else {
                if trimming.underway.isEmpty { noteTrimmed(snap) } else { return }
                continue
            }
            guard let clone = entries.lazy.map({ self.clone(ofIndex: $0.key) }).first(where: { mayTrim($0) }) else {
                return
            }
            guard environment.beginRecovery(for: slot) else { return }
            trim(clone, snap)
        }
    }

    /// The clone that a key of the snapshots' index is about; one that cannot be read is a broken store.
    func clone(ofIndex key: Bytes) -> ObjectID {
        do {
            return try GroupKeys.clone(ofIndex: key).clone
        } catch {
            preconditionFailure("group \(id): a key of the snapshots' index cannot be read: \(error)")
        }
    }

    private func mayTrim(_ clone: ObjectID) -> Bool {
        guard !trimming.underway.values.contains(clone), !scrub.isBlocking || !isExamined(clone.head) else {
            return false
        }
        guard let activity = activities[clone.head] else { return true }
        return activity.readers == 0 && activity.queue.isEmpty && !activity.isHeld
    }

    /// Everything of the snapshot is gone, on every member.
    private func noteTrimmed(_ snap: SnapID) {
        trimming.trimmed.insert(snap)
        guard let run = trimming.trimmed.runs.first(where: { $0.contains(snap.rawValue) }) else {
            preconditionFailure("\(snap) is not in \(trimming.trimmed)")
        }
        let last = Bytes(GroupKeys.trimmed(run.upperBound).array + [0])
        commit(
            Transaction([
                .removeGroupKeys(id, from: GroupKeys.trimmed(run.lowerBound), to: last),
                .setGroupKeys(id, entries: [GroupKeys.trimmed(run)]),
            ]), .note)
    }

    /// A write that no client asked for has been committed by all.
    func trimCompleted(_ version: Version) {
        guard trimming.underway.removeValue(forKey: version) != nil else { return }
        environment.endRecovery()
        continueTrimming()
    }

    /// Takes the snapshots that are no more from a clone; when no snapshot needs it any more, it goes.
    private func trim(_ clone: ObjectID, _ snap: SnapID) {
        let head = clone.head
        let request = OperationRequest(id: .none, epoch: interval, group: id, object: head, steps: [])
        func order(_ changes: VersionChanges, _ kind: LogEntry.Kind, _ object: ObjectID, prior: Version) {
            trimming.underway[nextVersion(after: changes.entries.count)] = clone
            self.order(
                changes.operations, kind: kind, prior: prior, outputs: [], errno: 0, for: request,
                from: ClientHandle(session: 0), object: object, after: changes.entries)
        }
        var changes = VersionChanges()
        guard let record = record(of: clone) else {
            changes.operations = [removalFromIndex(of: clone, snap)]
            return order(changes, .error, head, prior: version(of: head))
        }
        let gone = Set(record.snaps.filter(isRemoved)).union([snap])
        changes.operations = gone.sorted().map { removalFromIndex(of: clone, $0) }
        let headInfo = objectInfo(of: head)
        let (headVersion, flags) = (headInfo.version, headInfo.flags)
        var set = flags.contains(.hasSnapshots) ? snapSet(of: head) : SnapSet()
        let before = set
        let trim = set.trim(
            clone.snap, record, isRemoved: { gone.contains($0) }, records: { self.record(of: head.at($0)) })
        let prior = version(of: clone)
        switch trim {
        case .keep(let next):
            changes.operations.append(.setAttribute(clone, name: Self.snapshotsAttribute, value: next.encoded))
            setInfo(of: clone, [.hasSnapshots], &changes, modified: objectInfo(of: clone).modified)
            return order(changes, .modify, clone, prior: prior)
        case .remove(let newer, let next):
            environment.occurred(.cloneTrimmed)
            changes.operations.append(.remove(clone))
            // Of a clone that its head does not know nothing else is to be changed.
            guard set != before else { return order(changes, .delete, clone, prior: prior) }
            changes.entries.append(
                LogEntry(kind: .delete, object: clone, version: nextVersion(), prior: prior, request: .none))
            if let newer, let next { change(head.at(newer), next, &changes) }
        }
        if set.clones.isEmpty, flags.contains(.isWhiteout) {
            changes.operations.append(.remove(head))
            return order(changes, .delete, head, prior: headVersion)
        }
        changes.operations.append(.setAttribute(head, name: Self.snapshotsAttribute, value: set.encoded))
        setInfo(of: head, flags, &changes, modified: headInfo.modified)
        order(changes, .modify, head, prior: headVersion)
    }

    /// A clone follows another one than before.
    private func change(_ clone: ObjectID, _ record: CloneRecord, _ changes: inout VersionChanges) {
        changes.operations.append(.setAttribute(clone, name: Self.snapshotsAttribute, value: record.encoded))
        setInfo(of: clone, [.hasSnapshots], &changes, modified: objectInfo(of: clone).modified)
        changes.entries.append(
            LogEntry(
                kind: .modify, object: clone, version: nextVersion(after: changes.entries.count),
                prior: version(of: clone), request: .none))
    }
}
