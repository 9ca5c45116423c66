import Protocol
import RADOS
import Wire

extension Images {
    /// Removes an image and all its data. Throws EBUSY naming the clients when the image is open somewhere, ENOENT when it
    /// does not exist; what an interrupted creation or removal left of it is removed too.
    ///
    /// 1. The header is marked as being removed by a request that asks in the same breath that nobody watches it, and who
    ///    opens an image asks for the absence of the mark in the request that makes it a watcher: one of the two fails, and
    ///    an image in use never has the mark.
    /// 2. The data objects that exist are removed.
    /// 3. The header, which holds what step 2 needs, is removed.
    /// 4. The directory's entries, then `rbd_id.NAME`, are removed where they still belong to this id.
    ///
    /// A crash leaves an image that cannot be opened; the command repeated goes through the same steps, each of which finds
    /// done what was done.
    public func remove(_ name: String, progress: Progress? = nil) async throws(RBDError) {
        try ImageSpec.checkName(name)
        let listed = try await listedID(name)
        guard let claim = try await claim(name) else {
            if let listed, try await leaveDirectory(name, listed) { return }
            throw .notFound(shown(name))
        }
        if let header = try await header(of: claim.id, name) {
            guard header.snapshots.isEmpty else {
                throw RBDError(
                    errno: Errno.notEmpty,
                    "image '\(shown(name))' has \(header.snapshots.count) snapshots: remove them first with 'snap purge'"
                )
            }
            try await mark(claim.id, name, ImageNaming.number(header.snapshotSequence))
            try await removeDataObjects(prefix: header.objectPrefix, from: 0, name, nil, progress)
            try await removeObject(ImageNaming.header(claim.id), name)
        }
        _ = try await leaveDirectory(name, claim.id)
        _ = try await performGuarded(
            [.compareOmap(key: ImageNaming.claimedID, expected: Bytes(claim.id)), .remove],
            on: ImageNaming.idObject(name), name)
        progress?(1, 1)
    }

    /// Step 1.
    private func mark(_ id: String, _ name: String, _ sequence: Bytes) async throws(RBDError) {
        let steps: [ObjectOperation] = [
            .assertExists, .assertUnwatched,
            .compareOmap(key: ImageNaming.snapshotSequence, expected: sequence),
            .setOmap(entries: [KeyValue(ImageNaming.removing, Bytes("1"))]),
        ]
        for _ in 0..<ImageLimits.attempts {
            do {
                try await pool.perform(steps, on: ImageNaming.header(id))
                return
            } catch {
                // Another removal has come further.
                if error.isAnswer, error.errno == Errno.noEntry { return }
                // It has got a snapshot in between.
                if error.isAnswer, error.errno == Errno.canceled { throw .contended(shown(name)) }
                guard error.isAnswer, error.errno == Errno.busy else { throw RBDError(error, shown(name)) }
            }
            // Whoever it was may have gone meanwhile.
            try await refuseWatchers(id, name)
        }
        throw .contended(shown(name))
    }

    func refuseWatchers(_ id: String, _ name: String, but own: UInt64? = nil) async throws(RBDError) {
        let watchers = try await watchers(ofHeader: id, name).filter { $0.cookie != own }
        guard !watchers.isEmpty else { return }
        let names = watchers.prefix(4).map { ImageSpec.shown($0.name) }.joined(separator: ", ")
        let more = watchers.count > 4 ? " and \(watchers.count - 4) more" : ""
        throw RBDError(
            errno: Errno.busy,
            "image '\(shown(name))' is in use by \(names)\(more): close it there, or wait "
                + "\(ImageLimits.watchTimeoutMilliseconds / 1000) seconds after a client that died")
    }

    /// Step 4. The name's entry is only ours while it says so: a new image may have it already. True when it was.
    private func leaveDirectory(_ name: String, _ id: String) async throws(RBDError) -> Bool {
        let both: [ObjectOperation] = [
            .compareOmap(key: ImageNaming.nameKey(name), expected: ImageNaming.string(id)),
            .removeOmap(keys: [ImageNaming.nameKey(name), ImageNaming.idKey(id)]),
        ]
        if try await performGuarded(both, on: ImageNaming.directory, name) { return true }
        _ = try await performGuarded(
            [.assertExists, .removeOmap(keys: [ImageNaming.idKey(id)])], on: ImageNaming.directory, name)
        return false
    }

    /// What the directory says of the name. Without an `rbd_id.NAME` it is the leftover of a creator that was overtaken by
    /// another and then died. It was read before that object was looked for, so a creator that comes in between has
    /// changed it and is left alone.
    private func listedID(_ name: String) async throws(RBDError) -> String? {
        do {
            let outputs = try await pool.perform(
                [.getOmap(keys: [ImageNaming.nameKey(name)])], on: ImageNaming.directory)
            var reader = ByteReader(outputs.first ?? .empty)
            let entries = try reader.readArray(atMost: 1) { r throws(WireError) in try KeyValue(from: &r) }
            guard var value = entries.first.map({ ByteReader($0.value) }) else { return nil }
            return try value.readString(atMost: 64)
        } catch let error as RADOSError {
            if error.errno == Errno.noEntry, error.isAnswer { return nil }
            throw RBDError(error, shown(name))
        } catch {
            throw RBDError(errno: Errno.inputOutput, "the directory of pool '\(pool.name)' cannot be read: \(error)")
        }
    }

    // MARK: Data objects

    /// Removes the data objects that exist from number `first` on. What exists is asked of the placement groups, so the
    /// cost follows the data there is and not the size of the image; parts of the pool are worked through side by side. Stops when
    /// the lease, if there is one, is lost.
    func removeDataObjects(
        prefix: String, from first: UInt64, _ name: String, _ lease: ResizeLease?, _ progress: Progress?,
        context: SnapContext = .none
    ) async throws(RBDError) {
        let bytes = Array(prefix.utf8)
        try await forEachPart(name, progress) { part throws(RBDError) in
            try await forEachObject(prefix: prefix, in: part, name, lease) { object throws(RBDError) in
                guard let number = ImageNaming.number(of: object, prefix: bytes), number >= first else { return }
                try await removeObject(object, name, in: SnapshotScope(context: context))
            }
        }
    }

    /// Works through all parts of the pool, several side by side; while groups are split or merged, some objects may be come
    /// to twice.
    func forEachPart(
        _ name: String, _ progress: Progress?,
        _ body: @escaping @Sendable (ClosedRange<UInt32>) async throws(RBDError) -> Void
    ) async throws(RBDError) {
        let parts: [ClosedRange<UInt32>]
        do { parts = try await pool.parts() } catch { throw RBDError(error, shown(name)) }
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                var finished: UInt64 = 0
                for (index, part) in parts.enumerated() {
                    if index >= ClientLimits.administrativeRequests {
                        try await tasks.next()
                        finished += 1
                        progress?(finished, UInt64(parts.count) + 1)
                    }
                    tasks.addTask { try await body(part) }
                }
                while try await tasks.next() != nil {
                    finished += 1
                    progress?(finished, UInt64(parts.count) + 1)
                }
            }
        } catch let error as RBDError {
            throw error
        } catch {
            throw RBDError(errno: Errno.inputOutput, "image '\(shown(name))': \(error)")
        }
    }

    /// Works through the data objects of a part of the pool that exist at `snap`, keeping the lease if there is one.
    func forEachObject(
        prefix: String, in span: ClosedRange<UInt32>, _ name: String, _ lease: ResizeLease?, at snap: SnapID = .head,
        _ body: (ObjectName) async throws(RBDError) -> Void
    ) async throws(RBDError) {
        var next: ListingPosition? = ListingPosition(span.lowerBound)
        while let position = next, span.contains(position.reversedHash) {
            let part: ObjectListing
            if let lease { try await keep(lease, name) }
            do {
                part = try await pool.list(from: position, prefix: Bytes(prefix + "."), at: snap)
            } catch { throw RBDError(error, shown(name)) }
            for object in part.names {
                if let lease { try await keep(lease, name) }
                try await body(object)
            }
            next = part.next
        }
    }
}
