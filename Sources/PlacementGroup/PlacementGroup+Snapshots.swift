import ClusterMap
import Protocol
import Wire

/// Objects as snapshots have them. Clones are objects of their own, beside their head in storage order; what a write does to
/// both is one transaction with an entry for each in the log. An object that no snapshot knows of has nothing of all this.
extension PlacementGroup {
    /// The attribute of a head's `SnapSet`, and of a clone's `CloneRecord`.
    static var snapshotsAttribute: String { "snapset" }

    /// What the head knows of its clones. What cannot be read is a broken store and stops the OSD.
    func snapSet(of head: ObjectID) -> SnapSet {
        guard let value = environment.attribute(Self.snapshotsAttribute, of: head) else { return SnapSet() }
        do {
            return try SnapSet(decoding: value)
        } catch {
            preconditionFailure("the snap set of \(head) cannot be read: \(error)")
        }
    }

    /// What is kept with a clone; nil when it is not there.
    func record(of clone: ObjectID) -> CloneRecord? {
        environment.attribute(Self.snapshotsAttribute, of: clone).map { Self.record($0, of: clone) }
    }

    private static func record(_ value: Bytes, of clone: ObjectID) -> CloneRecord {
        do {
            return try CloneRecord(decoding: value)
        } catch {
            preconditionFailure("the record of clone \(clone) cannot be read: \(error)")
        }
    }

    func isRemoved(_ snap: SnapID) -> Bool { snapshots?.removed.contains(snap) ?? false }

    // MARK: Reading

    /// The version of its object that a request is about.
    func draft(of request: OperationRequest) -> ObjectDraft {
        let head = request.object
        let size = environment.size(of: head)
        let headExists = size.map { $0 > 0 || !objectInfo(of: head).flags.contains(.isWhiteout) } ?? false
        guard request.snap != .head else { return ObjectDraft(head, exists: headExists) }
        let version = snapSet(of: head).version(
            at: request.snap, headExists: headExists, records: { record(of: head.at($0)) })
        return switch version {
        case .head: ObjectDraft(head, exists: true)
        case .clone(let clone): ObjectDraft(head.at(clone), exists: true)
        case .none: ObjectDraft(head, exists: false)
        }
    }

    /// The clone that a request needs beside the head, if it needs one. The head must be there.
    func version(needed request: OperationRequest) -> ObjectID? {
        var snap = request.snap
        if case .rollback(let target)? = request.steps.first { snap = target }
        guard snap != .head else { return nil }
        return snapSet(of: request.object).candidate(for: snap).map { request.object.at($0) }
    }

    /// All versions of an object, encoded; nil when there is none.
    func versions(of head: ObjectID) -> Bytes? {
        let info = objectInfo(of: head)
        let flags = info.flags
        guard info.version != .zero else { return nil }
        let set = flags.contains(.hasSnapshots) ? snapSet(of: head) : SnapSet()
        let overlaps = set.clones.dropFirst().map { record(of: head.at($0))?.overlap ?? .nothing } + [set.overlap]
        let clones = zip(set.clones, overlaps).map { id, overlap in
            let size = environment.size(of: head.at(id)) ?? 0
            return ObjectSnapshots.Clone(
                id: id, snaps: record(of: head.at(id))?.snaps ?? [], size: size, overlap: overlap.ranges(upTo: size))
        }
        let size = flags.contains(.isWhiteout) ? nil : environment.size(of: head)
        let result = ObjectSnapshots(sequence: set.sequence, clones: clones, headSize: size)
        return .encoding { result.encode(into: &$0) }
    }

    /// Of stored objects, those that exist now, or did at a snapshot; as heads. What this copy lacks counts as existing.
    func existing(_ objects: [ObjectID], at snap: SnapID) -> [ObjectID] {
        let hasClones = !environment.groupKeys(
            id, from: GroupKeys.snapsStart, to: GroupKeys.snapsEnd, limit: 1
        ).isEmpty
        guard hasClones || snap != .head || objects.contains(where: { $0.snap != .head }) else { return objects }
        return objects.filter { object in
            guard object.snap == .head else { return false }
            guard missing[object] == nil else { return true }
            let request = OperationRequest(
                id: .none, epoch: interval, group: id, object: object, steps: [], snap: snap)
            return draft(of: request).exists
        }
    }

    // MARK: Writing

    /// Orders a change of an object that snapshots know of, or that its writer knows snapshots of: first the object is kept
    /// as it was, if a snapshot needs that.
    func finishKeepingVersions(
        _ draft: ObjectDraft, prior: Version, _ request: OperationRequest, _ client: ClientHandle
    ) {
        let head = draft.object
        let before = draft.flags.contains(.hasSnapshots) ? snapSet(of: head) : SnapSet()
        var set = before
        let size = draft.isStored ? environment.size(of: head) ?? 0 : 0
        var versions = VersionChanges()
        if let errno = keep(head, size, exists: draft.isStored, for: request, in: &set, &versions) {
            return refuse(request, client, errno: errno, prior: prior)
        }
        let hasRemoved = Self.note(draft.operations, size, in: &set)
        versions.operations += draft.operations
        let isKept = draft.exists || !set.clones.isEmpty
        if isKept {
            if !draft.exists {
                environment.occurred(.whiteout)
                versions.operations.append(.touch(head))
            }
            if set != before || hasRemoved || !draft.isStored {
                versions.operations.append(.setAttribute(head, name: Self.snapshotsAttribute, value: set.encoded))
            }
            let flags: ObjectFlags = draft.exists ? [.hasSnapshots] : [.hasSnapshots, .isWhiteout]
            setInfo(of: head, flags, &versions)
        }
        order(
            versions.operations, kind: isKept ? .modify : .delete, prior: prior, outputs: draft.outputs, errno: 0,
            for: request, from: client, after: versions.entries)
    }

    /// What is done to versions of an object in one transaction, and the entries of those before the last.
    struct VersionChanges {
        var operations: [Transaction.Operation] = []
        var entries: [LogEntry] = []
        /// The clone that is made.
        var made: SnapSet.NewClone?
    }

    /// Gives an object the version of the entry that is made next.
    ///
    /// - Parameter modified: when its content changed last; now unless said otherwise.
    func setInfo(
        of object: ObjectID, _ flags: ObjectFlags, _ changes: inout VersionChanges, modified: UInt64? = nil
    ) {
        let info = ObjectInfo(
            version: nextVersion(after: changes.entries.count), modified: modified ?? environment.wallNanoseconds,
            digests: digests(of: object, before: objectInfo(of: object), after: changes.operations), flags: flags)
        changes.operations.append(.setAttribute(object, name: ObjectInfo.attribute, value: info.encoded))
    }

    /// Makes the clone that a write has to make. The errno when that cannot be: EAGAIN while there are too many already, of
    /// which trimming will take some away, EFBIG when the object's omap is too large for one record.
    private func keep(
        _ head: ObjectID, _ size: UInt64, exists: Bool, for request: OperationRequest, in set: inout SnapSet,
        _ changes: inout VersionChanges
    ) -> Int32? {
        let made = set.take(request.context, exists: exists, size: size, isRemoved: isRemoved)
        guard let made else { return nil }
        guard set.clones.count <= SnapLimits.clones else { return Errno.tryAgain }
        let limit = SnapLimits.clonedOmap
        guard environment.omapSize(of: head, limit: limit) <= limit else { return Errno.tooLarge }
        environment.occurred(.cloned)
        let clone = head.at(made.id)
        changes.made = made
        changes.operations += [
            .clone(head, to: clone),
            .setAttribute(clone, name: Self.snapshotsAttribute, value: made.record.encoded),
            .removeAttribute(clone, name: Self.watchersAttribute),
            .setGroupKeys(id, entries: made.record.snaps.map { KeyValue(GroupKeys.snap($0, clone), .empty) }),
        ]
        setInfo(of: clone, [.hasSnapshots], &changes, modified: objectInfo(of: head).modified)
        changes.entries.append(
            LogEntry(
                kind: .clone, object: clone, version: nextVersion(), prior: version(of: clone), request: .none))
        return nil
    }

    /// A change that cannot be made for want of a clone. What may be asked again later is not remembered.
    private func refuse(_ request: OperationRequest, _ client: ClientHandle, errno: Int32, prior: Version) {
        guard errno == Errno.tryAgain else {
            return order([], kind: .error, prior: prior, outputs: [], errno: errno, for: request, from: client)
        }
        answer(request, client, errno: errno)
        settleFailed(request.object)
    }

    /// Takes note of where the head becomes another than its newest clone. True when it is removed on the way.
    private static func note(_ operations: [Transaction.Operation], _ size: UInt64, in set: inout SnapSet) -> Bool {
        var size = size
        var isRemoved = false
        for operation in operations {
            switch operation {
            case .write(_, let offset, let data):
                if offset > size { _ = set.changed(from: size) }
                _ = set.changed(offset: offset, length: UInt64(data.count))
                size = max(size, offset + UInt64(data.count))
            case .zero(_, let offset, let length):
                _ = set.changed(offset: offset, length: length)
            case .truncate(_, let cut):
                _ = set.changed(from: min(size, cut))
                size = cut
            case .remove:
                _ = set.changed(from: 0)
                size = 0
                isRemoved = true
            default: break
            }
        }
        return isRemoved
    }

    /// Makes the object what it was at a snapshot, as one write: what it is now is kept first, if a newer snapshot needs it.
    func rollBack(to snap: SnapID, _ request: OperationRequest, _ client: ClientHandle) {
        let head = request.object
        let info = objectInfo(of: head)
        let (prior, flags) = (info.version, info.flags)
        func nothing(errno: Int32) {
            order([], kind: .error, prior: prior, outputs: [.empty], errno: errno, for: request, from: client)
        }
        guard request.steps.count == 1 else { return nothing(errno: Errno.invalid) }
        guard !self.isRemoved(snap) else { return nothing(errno: Errno.stale) }
        let exists = prior != .zero && !flags.contains(.isWhiteout)
        var set = flags.contains(.hasSnapshots) ? snapSet(of: head) : SnapSet()
        let records = { [self] (clone: SnapID) in record(of: head.at(clone)) }
        switch set.version(at: snap, headExists: exists, records: records) {
        case .head:
            nothing(errno: 0)
        case .none:
            guard exists else { return nothing(errno: 0) }
            var draft = ObjectDraft(head, exists: true, flags: flags)
            draft.outputs = [.empty]
            draft.append(.remove(head))
            finish(&draft, before: info, request, client)
        case .clone(let id):
            let clone = head.at(id)
            var changes = VersionChanges()
            let size = environment.size(of: head) ?? 0
            if let errno = keep(head, size, exists: exists, for: request, in: &set, &changes) {
                return refuse(request, client, errno: errno, prior: prior)
            }
            environment.occurred(.rolledBack)
            let made = changes.made
            set.rolledBack(to: id, size: environment.size(of: clone) ?? 0) { version in
                version == made?.id ? made?.record : records(version)
            }
            changes.operations.append(.clone(clone, to: head))
            changes.operations.append(
                .setAttribute(head, name: Self.snapshotsAttribute, value: set.encoded))
            if let watchers = environment.attribute(Self.watchersAttribute, of: head), exists {
                changes.operations.append(.setAttribute(head, name: Self.watchersAttribute, value: watchers))
            }
            setInfo(of: head, [.hasSnapshots], &changes)
            order(
                changes.operations, kind: .modify, prior: prior, outputs: [.empty], errno: 0, for: request,
                from: client, after: changes.entries)
        }
    }

    // MARK: The index

    /// What takes a clone that this copy has, or is about to replace, out of the index.
    func removalFromIndex(of object: ObjectID) -> [Transaction.Operation] {
        guard object.snap != .head, let record = record(of: object) else { return [] }
        return record.snaps.map { removalFromIndex(of: object, $0) }
    }

    func removalFromIndex(of clone: ObjectID, _ snap: SnapID) -> Transaction.Operation {
        let key = GroupKeys.snap(snap, clone)
        return .removeGroupKeys(id, from: key, to: Bytes(key.array + [0]))
    }

    /// What puts a clone that another member sends into the index.
    func additionToIndex(of part: ObjectPart) -> [Transaction.Operation] {
        guard part.object.snap != .head, part.exists,
            let value = part.attributes.first(where: { $0.name == Self.snapshotsAttribute })?.value,
            // What a peer sends is not believed to be well-formed.
            let record = try? CloneRecord(decoding: value), !record.snaps.isEmpty
        else { return [] }
        return [
            .setGroupKeys(
                id, entries: record.snaps.map { KeyValue(GroupKeys.snap($0, part.object), .empty) })
        ]
    }
}
