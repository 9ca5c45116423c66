import Glibc
import Protocol
import RADOS
import Wire

/// What is known of an image without opening it.
public struct ImageInfo: Hashable, Sendable {
    /// The image's name.
    public var name: String
    /// The id that names its objects.
    public var id: String
    /// What its header says.
    public var header: ImageHeader

    package init(name: String, id: String, header: ImageHeader) {
        self.name = name
        self.id = id
        self.header = header
    }
}

/// How a new image is laid out.
public struct ImageOptions: Hashable, Sendable {
    /// Bytes of a data object, as a power of two within `ImageLimits.order`.
    public var order: UInt8

    /// A layout; objects of 4 MiB unless said otherwise.
    public init(order: UInt8 = ImageLimits.defaultOrder) { self.order = order }
}

/// How far an operation is: told now and then, `done` of `total` in units of the operation's own.
public typealias Progress = @Sendable (_ done: UInt64, _ total: UInt64) -> Void

/// The images of a pool: making, finding, changing and removing them.
///
/// Every change is a sequence of atomic requests on single objects, in an order such that the command, repeated after a
/// crash between any two of them, completes or undoes what was begun. The authority on a name is `rbd_id.NAME`; an image is
/// there when that object names an id, is not marked as being created, and the id's header exists. An id is never used
/// twice, so whoever still works on an image that is gone cannot touch one that took its name.
public struct Images: Sendable {
    let pool: any ObjectPool
    let drawID: @Sendable () -> UInt64
    let now: @Sendable () -> Timestamp
    let pause: @Sendable (Duration) async -> Void

    /// The images of `pool`. `drawID` gives random numbers for ids, `now` the time, and `pause` lets time pass, so that tests
    /// can repeat them.
    public init(
        pool: any ObjectPool,
        drawID: @escaping @Sendable () -> UInt64 = {
            UInt64.random(in: 1...UInt64.max)
        },
        now: @escaping @Sendable () -> Timestamp = { Images.systemTime() },
        pause: @escaping @Sendable (Duration) async -> Void = { try? await Task.sleep(for: $0) }
    ) {
        self.pause = pause
        ImageLimits.check()
        self.pool = pool
        self.drawID = drawID
        self.now = now
    }

    /// The time of the system's clock.
    public static func systemTime() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(
            seconds: UInt32(truncatingIfNeeded: time.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: time.tv_nsec))
    }

    // MARK: Finding

    /// The names of the pool's images, sorted. One whose creation or removal was interrupted is listed too, so that it can
    /// be removed or created again.
    public func list() async throws(RBDError) -> [String] {
        var names: [String] = []
        var after = Bytes.empty
        let prefix = ImageNaming.nameKey("")
        while true {
            let outputs: [Bytes]
            do {
                outputs = try await pool.perform(
                    [.listOmap(after: after, prefix: prefix, limit: ImageLimits.listing)],
                    on: ImageNaming.directory)
            } catch {
                // The directory comes into being with the first image.
                if error.errno == Errno.noEntry, error.isAnswer { return [] }
                throw RBDError(errno: error.errno, "pool '\(pool.name)': \(error.description)")
            }
            do {
                var reader = ByteReader(outputs.first ?? .empty)
                let entries = try reader.readArray(atMost: Int(OperationLimits.listing)) { r throws(WireError) in
                    try KeyValue(from: &r)
                }
                for entry in entries where entry.key.count > prefix.count {
                    names.append(String(entry.key[prefix.count..<entry.key.count]))
                }
                guard try reader.readBool(), let last = entries.last else { break }
                after = last.key
            } catch {
                throw RBDError(
                    errno: Errno.inputOutput, "the directory of pool '\(pool.name)' cannot be read: \(error)")
            }
        }
        return names.sorted()
    }

    /// What an image is. Throws ENOENT when it does not exist.
    public func info(_ name: String) async throws(RBDError) -> ImageInfo {
        try ImageSpec.checkName(name)
        guard let claim = try await claim(name) else { throw .notFound(shown(name)) }
        guard !claim.isCreating, let header = try await header(of: claim.id, name) else {
            throw RBDError(
                errno: Errno.noEntry,
                "image '\(shown(name))' was not completely created or removed: create it again or remove it")
        }
        if header.isBeingRemoved {
            throw RBDError(
                errno: Errno.noEntry,
                "image '\(shown(name))' is being removed: repeat the removal if it was interrupted")
        }
        return ImageInfo(name: name, id: claim.id, header: header)
    }

    /// Who has the image open. The watchers of an image that is not there are none.
    public func watchers(of info: ImageInfo) async throws(RBDError) -> [Watcher] {
        try await watchers(ofHeader: info.id, info.name)
    }

    // MARK: Creating

    /// Makes an image that reads as zeros and takes no space. Throws EEXIST when there is one of this name, EINVAL when
    /// the size or layout is not possible.
    ///
    /// 1. `rbd_id.NAME` is created with a fresh id, marked as being created. From here on the name is taken.
    /// 2. The directory gets the name and the id, so that `list` shows it and `remove` finds it whatever happens.
    /// 3. The header is created.
    /// 4. The mark is removed, if the id is still ours: now the image is there.
    ///
    /// A crash between leaves a marked `rbd_id.NAME`. The command repeated takes the name over with an id of its own; the
    /// guard of step 4 lets only one of several creators succeed, also when one that was thought dead goes on.
    @discardableResult
    public func create(
        _ name: String, size: ByteCount, options: ImageOptions = ImageOptions()
    ) async throws(RBDError) -> ImageInfo {
        try ImageSpec.checkName(name)
        try SizeText.checkImageSize(size)
        guard ImageLimits.order.contains(options.order) else {
            throw .invalid(
                "object size of 2^\(options.order) bytes is not possible: give a power of two from 4K to 32M")
        }
        let id = ImageNaming.hexadecimal(drawID())
        let replaced = try await take(name, for: id)
        try await enterDirectory(name, id, replacing: replaced)
        let header = ImageHeader(
            size: size, order: options.order, objectPrefix: ImageNaming.dataPrefix(id), created: now())
        try await perform(
            [.create(exclusive: true), .setOmap(entries: header.entries)], on: ImageNaming.header(id), name)
        let isOurs = try await performGuarded(
            [
                .compareOmap(key: ImageNaming.claimedID, expected: Bytes(id)),
                .compareOmap(key: ImageNaming.creating, expected: Bytes("1")),
                .removeOmap(keys: [ImageNaming.creating]),
            ], on: ImageNaming.idObject(name), name)
        guard isOurs else {
            try await discard(id, name)
            throw .exists(shown(name))
        }
        return ImageInfo(name: name, id: id, header: header)
    }

    /// Step 1. Returns the id that stood there before, of an image that is not there.
    private func take(_ name: String, for id: String) async throws(RBDError) -> String? {
        let entries = [
            KeyValue(ImageNaming.claimedID, Bytes(id)), KeyValue(ImageNaming.creating, Bytes("1")),
        ]
        let content = ObjectOperation.writeFull(data: ImageNaming.string(id))
        for _ in 0..<ImageLimits.attempts {
            guard let claim = try await claim(name) else {
                let steps: [ObjectOperation] = [.create(exclusive: true), content, .setOmap(entries: entries)]
                if try await performGuarded(steps, on: ImageNaming.idObject(name), name, failing: Errno.exists) {
                    return nil
                }
                continue
            }
            if !claim.isCreating, let header = try await header(of: claim.id, name) {
                guard header.isBeingRemoved else { throw .exists(shown(name)) }
                throw RBDError(
                    errno: Errno.exists,
                    "image '\(shown(name))' is being removed: repeat the removal if it was interrupted")
            }
            // Left by a creation or removal that was interrupted. The guards make sure that it is still the one looked at.
            let steps: [ObjectOperation] = [
                .compareOmap(key: ImageNaming.claimedID, expected: Bytes(claim.id)),
                .compareOmap(key: ImageNaming.creating, expected: claim.isCreating ? Bytes("1") : nil),
                content, .setOmap(entries: entries),
            ]
            if try await performGuarded(steps, on: ImageNaming.idObject(name), name) { return claim.id }
        }
        throw .contended(shown(name))
    }

    /// Step 2. What stands under the name belongs to an image that is not there, or to a creator that we have replaced.
    private func enterDirectory(_ name: String, _ id: String, replacing old: String?) async throws(RBDError) {
        var steps: [ObjectOperation] = [.create(exclusive: false)]
        if let old {
            steps.append(.removeOmap(keys: [ImageNaming.idKey(old)]))
            // An interrupted creation may have got as far as its header.
            try await removeObject(ImageNaming.header(old), name)
        }
        steps.append(
            .setOmap(entries: [
                KeyValue(ImageNaming.nameKey(name), ImageNaming.string(id)),
                KeyValue(ImageNaming.idKey(id), ImageNaming.string(name)),
            ]))
        try await perform(steps, on: ImageNaming.directory, name)
    }

    /// Another creator has taken the name over: what we made of ours goes away. The name in the directory may be either's
    /// and is left to the other, who wrote it or will.
    private func discard(_ id: String, _ name: String) async throws(RBDError) {
        try await removeObject(ImageNaming.header(id), name)
        guard let claim = try await claim(name) else { return }
        try await perform(
            [
                .removeOmap(keys: [ImageNaming.idKey(id)]),
                .setOmap(entries: [
                    KeyValue(ImageNaming.nameKey(name), ImageNaming.string(claim.id))
                ]),
            ], on: ImageNaming.directory, name)
    }

    // MARK: Reading metadata

    /// What `rbd_id.NAME` says.
    struct Claim {
        var id: String
        var isCreating: Bool
    }

    func claim(_ name: String) async throws(RBDError) -> Claim? {
        let outputs: [Bytes]
        do {
            outputs = try await pool.perform(
                [.getOmap(keys: [ImageNaming.claimedID, ImageNaming.creating])], on: ImageNaming.idObject(name))
        } catch {
            if error.errno == Errno.noEntry, error.isAnswer { return nil }
            throw RBDError(error, shown(name))
        }
        do {
            var reader = ByteReader(outputs.first ?? .empty)
            let entries = try reader.readArray(atMost: 2) { r throws(WireError) in try KeyValue(from: &r) }
            guard let id = entries.first(where: { $0.key == ImageNaming.claimedID })?.value else {
                throw WireError("the id is missing")
            }
            guard !id.isEmpty, id.count <= 64 else { throw WireError("an id of \(id.count) bytes") }
            return Claim(id: String(id), isCreating: entries.contains { $0.key == ImageNaming.creating })
        } catch {
            throw RBDError(errno: Errno.inputOutput, "image '\(shown(name))': its id cannot be read: \(error)")
        }
    }

    /// The header of an id; nil when there is none.
    func header(of id: String, _ name: String) async throws(RBDError) -> ImageHeader? {
        let outputs: [Bytes]
        do {
            outputs = try await pool.perform(ImageHeader.steps, on: ImageNaming.header(id))
        } catch {
            if error.errno == Errno.noEntry, error.isAnswer { return nil }
            throw RBDError(error, shown(name))
        }
        do {
            return try ImageHeader(decoding: outputs)
        } catch {
            throw RBDError(errno: Errno.inputOutput, "image '\(shown(name))': its header cannot be used: \(error)")
        }
    }

    func watchers(ofHeader id: String, _ name: String) async throws(RBDError) -> [Watcher] {
        do {
            let outputs = try await pool.perform([.listWatchers], on: ImageNaming.header(id))
            var reader = ByteReader(outputs.first ?? .empty)
            return try reader.readArray(atMost: OperationLimits.watchers) { r throws(WireError) in
                try Watcher(from: &r)
            }
        } catch let error as RADOSError {
            if error.errno == Errno.noEntry, error.isAnswer { return [] }
            throw RBDError(error, shown(name))
        } catch {
            throw RBDError(errno: Errno.inputOutput, "image '\(shown(name))': its watchers cannot be read: \(error)")
        }
    }

    // MARK: Requests

    /// The image for messages: with its pool.
    func shown(_ name: String) -> String { "\(pool.name)/\(ImageSpec.shown(name))" }

    func perform(
        _ steps: [ObjectOperation], on object: ObjectName, _ name: String, in scope: SnapshotScope = .head
    ) async throws(RBDError) {
        do {
            try await pool.perform(steps, on: object, in: scope)
        } catch {
            throw RBDError(error, shown(name))
        }
    }

    /// False when a guard does not hold: the object is not there or not as expected.
    func performGuarded(
        _ steps: [ObjectOperation], on object: ObjectName, _ name: String, failing errno: Int32 = Errno.canceled,
        in scope: SnapshotScope = .head
    ) async throws(RBDError) -> Bool {
        do {
            try await pool.perform(steps, on: object, in: scope)
            return true
        } catch {
            if error.isAnswer, error.errno == errno || error.errno == Errno.noEntry { return false }
            throw RBDError(error, shown(name))
        }
    }

    /// Removes an object, if it is there.
    func removeObject(
        _ object: ObjectName, _ name: String, in scope: SnapshotScope = .head
    ) async throws(RBDError) {
        _ = try await performGuarded([.remove], on: object, name, in: scope)
    }
}
