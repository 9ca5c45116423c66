import Protocol
import RADOS
import Wire

/// Snapshots of images. A snapshot is a number that the monitors gave out, and an entry of the image's header that names it;
/// whoever writes to the image sends the header's snapshots with every write.
extension Images {
    /// The snapshots of an image, oldest first.
    public func snapshots(of name: String) async throws(RBDError) -> [ImageSnapshot] {
        try await info(name).header.snapshots
    }

    /// Makes a snapshot. Throws EEXIST when there is one of this name.
    ///
    /// What was answered before the call is in it, what is begun after it has returned is not. The header gets the snapshot
    /// in one guarded request; then all who have the image open are waited for: each confirms when it sends the snapshot
    /// with its writes and none that it began without it is under way. One that does not confirm and does not end makes the
    /// snapshot fail (ETIMEDOUT, with its name), and the snapshot is removed again. Writes that go through several of them
    /// while the snapshot is made may be in it in another order than they were answered in.
    @discardableResult
    public func createSnapshot(
        _ snapshotName: String, of name: String, progress: Progress? = nil
    ) async throws(RBDError) -> ImageSnapshot {
        try ImageSpec.checkSnapshotName(snapshotName)
        let seen = try await info(name)
        try refuseTaken(snapshotName, seen)
        let lease = try await takeLease(on: seen)
        do throws(RBDError) {
            let snapshot = try await enterSnapshot(snapshotName, seen, lease)
            do throws(RBDError) {
                try await awaitConfirmation(of: snapshot, seen, lease, progress)
            } catch {
                try? await takeOut(snapshot, seen)
                throw error
            }
            try await end(lease, name)
            progress?(1, 1)
            return snapshot
        } catch {
            try? await end(lease, name)
            throw error
        }
    }

    private func refuseTaken(_ snapshotName: String, _ info: ImageInfo) throws(RBDError) {
        guard !info.header.snapshots.contains(where: { $0.name == snapshotName }) else {
            throw RBDError(
                errno: Errno.exists,
                "snapshot '\(shown(info.name))@\(ImageSpec.shown(snapshotName))' already exists: choose another name or "
                    + "remove it first")
        }
        guard info.header.snapshots.count < SnapLimits.contextSnaps else {
            throw RBDError(
                errno: Errno.noSpace,
                "image '\(shown(info.name))' has \(SnapLimits.contextSnaps) snapshots, the limit: remove some")
        }
    }

    /// Asks for a number and enters the snapshot into the header.
    private func enterSnapshot(
        _ snapshotName: String, _ seen: ImageInfo, _ lease: ResizeLease
    ) async throws(RBDError) -> ImageSnapshot {
        // Nobody else changes the snapshots or the size while the lease is ours.
        let info = try await info(seen.name)
        guard info.id == seen.id else { throw .contended(shown(seen.name)) }
        try refuseTaken(snapshotName, info)
        let id: SnapID
        do { id = try await pool.createSnapshot() } catch { throw RBDError(error, shown(info.name)) }
        let snapshot = ImageSnapshot(id: id, name: snapshotName, size: info.header.size, created: now())
        let steps: [ObjectOperation] = [
            .assertExists, lease.guardStep, .compareOmap(key: ImageNaming.removing, expected: nil),
            .compareOmap(key: ImageNaming.rollingBack, expected: nil),
            .compareOmap(
                key: ImageNaming.snapshotSequence, expected: ImageNaming.number(info.header.snapshotSequence)),
            .compareOmap(key: ImageNaming.size, expected: ImageNaming.number(info.header.size.rawValue)),
            .setOmap(entries: [
                KeyValue(ImageNaming.snapshotSequence, ImageNaming.number(id.rawValue)),
                KeyValue(ImageNaming.snapshotKey(id), snapshot.encoded),
            ]),
        ]
        guard try await performGuarded(steps, on: ImageNaming.header(info.id), info.name) else {
            try? await pool.removeSnapshot(id)
            throw .contended(shown(info.name))
        }
        return snapshot
    }

    /// Waits until every watcher of the header knows of the snapshot, or is no more.
    private func awaitConfirmation(
        of snapshot: ImageSnapshot, _ info: ImageInfo, _ lease: ResizeLease, _ progress: Progress?
    ) async throws(RBDError) {
        var waited: Int64 = 0
        while true {
            let unaware = try await unaware(of: snapshot.id, info).filter { $0.cookie != lease.cookie }
            guard let one = unaware.first else { return }
            guard waited < Int64(ImageLimits.confirmationMilliseconds) else {
                throw RBDError(
                    errno: Errno.timedOut,
                    "snapshot '\(shown(info.name))@\(ImageSpec.shown(snapshot.name))' was not made: "
                        + "\(ImageSpec.shown(one.name)) has the image open and does not answer: end it, or try again")
            }
            progress?(UInt64(waited), UInt64(ImageLimits.confirmationMilliseconds))
            try await keep(lease, info.name)
            await pause(.milliseconds(ImageLimits.confirmationPollMilliseconds))
            waited += ImageLimits.confirmationPollMilliseconds
        }
    }

    private func unaware(of snap: SnapID, _ info: ImageInfo) async throws(RBDError) -> [Watcher] {
        do {
            let outputs = try await pool.perform(
                [
                    .listWatchers,
                    .listOmap(
                        after: .empty, prefix: ImageNaming.seenPrefix, limit: UInt32(OperationLimits.watchers * 2)),
                ], on: ImageNaming.header(info.id))
            guard outputs.count == 2 else { throw WireError("an answer is missing") }
            var reader = ByteReader(outputs[0])
            let watchers = try reader.readArray(atMost: OperationLimits.watchers) { r throws(WireError) in
                try Watcher(from: &r)
            }
            reader = ByteReader(outputs[1])
            let entries = try reader.readArray(atMost: OperationLimits.watchers * 2) { r throws(WireError) in
                try KeyValue(from: &r)
            }
            return try watchers.filter { watcher throws(WireError) in
                guard let entry = entries.first(where: { $0.key == ImageNaming.seenKey(watcher.cookie) }) else {
                    return true
                }
                var value = ByteReader(entry.value)
                return try value.readU64() < snap.rawValue
            }
        } catch let error as RADOSError {
            throw RBDError(error, shown(info.name))
        } catch {
            throw RBDError(
                errno: Errno.inputOutput, "image '\(shown(info.name))': its watchers cannot be read: \(error)")
        }
    }

    // MARK: Removing

    /// Removes a snapshot. Throws ENOENT when there is none of this name, EBUSY when it is protected.
    ///
    /// The header says that its removal has begun, then the monitors remove it, then it leaves the header: repeated after a
    /// crash the command goes on, and a snapshot that may have lost data is not opened any more.
    public func removeSnapshot(_ snapshotName: String, of name: String) async throws(RBDError) {
        let info = try await info(name)
        try await takeOut(try find(snapshotName, info), info)
    }

    /// The snapshot of this name. Throws ENOENT when there is none.
    public func find(_ snapshotName: String, _ info: ImageInfo) throws(RBDError) -> ImageSnapshot {
        try ImageSpec.checkSnapshotName(snapshotName)
        guard let snapshot = info.header.snapshots.first(where: { $0.name == snapshotName }) else {
            throw RBDError(
                errno: Errno.noEntry,
                "snapshot '\(shown(info.name))@\(ImageSpec.shown(snapshotName))' does not exist")
        }
        return snapshot
    }

    private func takeOut(_ snapshot: ImageSnapshot, _ info: ImageInfo) async throws(RBDError) {
        let spec = "\(shown(info.name))@\(ImageSpec.shown(snapshot.name))"
        guard !snapshot.isProtected else {
            throw RBDError(errno: Errno.busy, "snapshot '\(spec)' is protected: unprotect it first")
        }
        let header = ImageNaming.header(info.id)
        let key = ImageNaming.snapshotKey(snapshot.id)
        var marked = snapshot
        if !snapshot.isBeingRemoved {
            marked.isBeingRemoved = true
            let steps: [ObjectOperation] = [
                .compareOmap(key: key, expected: snapshot.encoded),
                .compareOmap(key: ImageNaming.rollingBack, expected: nil),
                .setOmap(entries: [KeyValue(key, marked.encoded)]),
            ]
            guard try await performGuarded(steps, on: header, info.name) else {
                throw .contended(shown(info.name))
            }
        }
        do { try await pool.removeSnapshot(snapshot.id) } catch { throw RBDError(error, spec) }
        _ = try await performGuarded(
            [.compareOmap(key: key, expected: marked.encoded), .removeOmap(keys: [key])], on: header, info.name)
    }

    /// Removes all snapshots of an image that are not protected. Throws EBUSY when some are.
    public func purgeSnapshots(of name: String, progress: Progress? = nil) async throws(RBDError) {
        let info = try await info(name)
        let snapshots = info.header.snapshots
        for (index, snapshot) in snapshots.enumerated() where !snapshot.isProtected {
            try await takeOut(snapshot, info)
            progress?(UInt64(index + 1), UInt64(snapshots.count) + 1)
        }
        let left = snapshots.count(where: \.isProtected)
        guard left == 0 else {
            throw RBDError(
                errno: Errno.busy, "image '\(shown(name))' has \(left) protected snapshots: unprotect them first")
        }
        progress?(1, 1)
    }

    /// Protects a snapshot from being removed, or lets it be. Throws EBUSY (to protect) or EINVAL when it is so already.
    public func protectSnapshot(
        _ snapshotName: String, of name: String, _ isProtected: Bool
    ) async throws(RBDError) {
        let info = try await info(name)
        let snapshot = try find(snapshotName, info)
        guard snapshot.isProtected != isProtected else {
            let spec = "\(shown(name))@\(ImageSpec.shown(snapshotName))"
            throw RBDError(
                errno: isProtected ? Errno.busy : Errno.invalid,
                "snapshot '\(spec)' is \(isProtected ? "already" : "not") protected")
        }
        var changed = snapshot
        changed.isProtected = isProtected
        let key = ImageNaming.snapshotKey(snapshot.id)
        let steps: [ObjectOperation] = [
            .compareOmap(key: key, expected: snapshot.encoded), .setOmap(entries: [KeyValue(key, changed.encoded)]),
        ]
        guard !snapshot.isBeingRemoved, try await performGuarded(steps, on: ImageNaming.header(info.id), name) else {
            throw .contended(shown(name))
        }
    }

    // MARK: Rolling back

    /// Makes an image what it was at a snapshot, its size included. Throws EBUSY naming the clients while it is open
    /// somewhere, ENOENT when there is no such snapshot.
    ///
    /// While it goes on the header says so, and nobody opens the image; interrupted, the command repeated completes it. The
    /// cost is what exists now and what existed then; each object changes in one step.
    public func rollBack(
        _ name: String, to snapshotName: String, progress: Progress? = nil
    ) async throws(RBDError) {
        let seen = try await info(name)
        _ = try find(snapshotName, seen)
        let lease = try await takeLease(on: seen)
        do throws(RBDError) {
            let info = try await info(name)
            guard info.id == seen.id else { throw .contended(shown(name)) }
            let snapshot = try find(snapshotName, info)
            try await beginRollback(to: snapshot, info, lease)
            try await rollObjectsBack(to: snapshot, info, lease, progress)
            let steps = [lease.guardStep, .removeOmap(keys: [ImageNaming.rollingBack])] + lease.endSteps
            guard try await performGuarded(steps, on: ImageNaming.header(info.id), name) else {
                throw .contended(shown(name))
            }
            progress?(1, 1)
        } catch {
            try? await end(lease, name)
            throw error
        }
    }

    /// Who opens an image asks for the absence of the mark in the request that makes it a watcher, and watchers are looked
    /// for again after the mark is set: one of the two sees the other.
    private func beginRollback(
        to snapshot: ImageSnapshot, _ info: ImageInfo, _ lease: ResizeLease
    ) async throws(RBDError) {
        guard !snapshot.isBeingRemoved else {
            throw RBDError(
                errno: Errno.noEntry,
                "snapshot '\(shown(info.name))@\(ImageSpec.shown(snapshot.name))' is being removed: repeat the removal")
        }
        try await refuseWatchers(info.id, info.name, but: lease.cookie)
        let header = ImageNaming.header(info.id)
        let before = info.header.rollingBack.map { ImageNaming.number($0.rawValue) }
        let steps: [ObjectOperation] = [
            .assertExists, lease.guardStep, .compareOmap(key: ImageNaming.removing, expected: nil),
            .compareOmap(key: ImageNaming.rollingBack, expected: before),
            .compareOmap(key: ImageNaming.snapshotKey(snapshot.id), expected: snapshot.encoded),
            .setOmap(entries: [
                KeyValue(ImageNaming.rollingBack, ImageNaming.number(snapshot.id.rawValue)),
                KeyValue(ImageNaming.size, ImageNaming.number(snapshot.size.rawValue)),
            ]),
        ]
        let oldSize = KeyValue(ImageNaming.size, ImageNaming.number(info.header.size.rawValue))
        guard try await performGuarded(steps, on: header, info.name) else { throw .contended(shown(info.name)) }
        do throws(RBDError) {
            try await refuseWatchers(info.id, info.name, but: lease.cookie)
        } catch {
            // An interrupted one before it may have changed objects already.
            guard before == nil else { throw error }
            _ = try await performGuarded(
                [
                    lease.guardStep, .removeOmap(keys: [ImageNaming.rollingBack]), .setOmap(entries: [oldSize]),
                ], on: header, info.name)
            throw error
        }
    }

    private func rollObjectsBack(
        to snapshot: ImageSnapshot, _ info: ImageInfo, _ lease: ResizeLease, _ progress: Progress?
    ) async throws(RBDError) {
        let scope = SnapshotScope(context: info.header.context)
        let (prefix, name) = (info.header.objectPrefix, info.name)
        try await forEachPart(name, progress) { part throws(RBDError) in
            // What exists now first: objects that come into being do so as they are at the snapshot.
            for snap in [SnapID.head, snapshot.id] {
                try await forEachObject(
                    prefix: prefix, in: part, name, lease, at: snap
                ) { object throws(RBDError) in
                    try await perform([.rollback(to: snapshot.id)], on: object, name, in: scope)
                }
            }
        }
    }
}
