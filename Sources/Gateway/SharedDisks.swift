import RBD

/// What several connections can share.
package protocol SharedDisk: AnyObject, Sendable {
    /// True when it can no longer be used because the thing itself was removed.
    func isGone() async -> Bool
    /// Called once, after the last user.
    func close() async
}

/// The disks in use: opened by the first user, shared by those who come later, closed after the last.
package actor SharedDisks<Disk: SharedDisk> {
    private struct Entry {
        var opening: Task<Disk, any Error>
        var users: Int
    }

    private var entries: [ImageSpec: Entry] = [:]
    /// Users of disks that are gone: these no longer stand in `entries`, so that a new one can have the name.
    private var detached: [ObjectIdentifier: Int] = [:]

    package init() {}

    /// Names in use.
    package var count: Int { entries.count + detached.count }

    /// The disk of this name for one more user; `open` is called when there is none.
    package func use(_ spec: ImageSpec, open: @escaping @Sendable () async throws -> Disk) async throws -> Disk {
        if entries[spec] != nil {
            let shared = try await join(spec)
            if await !shared.isGone() { return shared }
            // There may be a new one of this name: the old is kept for its users only.
            if detached[ObjectIdentifier(shared)] == nil, let entry = entries.removeValue(forKey: spec) {
                detached[ObjectIdentifier(shared)] = entry.users
            }
            await release(shared, spec)
        }
        if entries[spec] == nil { entries[spec] = Entry(opening: Task { try await open() }, users: 0) }
        return try await join(spec)
    }

    /// One user less.
    package func release(_ disk: Disk, _ spec: ImageSpec) async {
        if let users = detached[ObjectIdentifier(disk)] {
            detached[ObjectIdentifier(disk)] = users > 1 ? users - 1 : nil
            if users == 1 { await disk.close() }
            return
        }
        guard let entry = entries[spec] else { preconditionFailure("\(spec) released more often than used") }
        if entry.users > 1 {
            entries[spec]?.users -= 1
        } else {
            // Who comes from now on gets a disk of its own: nothing of this one is outstanding.
            entries[spec] = nil
            await disk.close()
        }
    }

    /// Counts a user in and waits for the disk; who waits in vain is counted out.
    private func join(_ spec: ImageSpec) async throws -> Disk {
        guard let opening = entries[spec]?.opening else { preconditionFailure("\(spec) is not in use") }
        entries[spec]?.users += 1
        do {
            return try await opening.value
        } catch {
            if let entry = entries[spec], entry.opening == opening {
                if entry.users > 1 { entries[spec]?.users -= 1 } else { entries[spec] = nil }
            }
            throw error
        }
    }
}
