import NIOCore
import Protocol
import RADOS
import Wire

/// An open image of a connected cluster: the data path and a watch, on the cluster's event loop.
///
/// While it is open its header carries a watch, so that the image cannot be removed; the watch is renewed on a timer and
/// whenever the cluster may have forgotten it. With every renewal the header is read again, so a resize is noticed.
/// All operations are called on the loop; their guarantees stand at `Image`. `@unchecked Sendable` relies on that.
public final class OpenImage<Reply: ImageReply>: ImageObjects, ReplyReceiver, @unchecked Sendable {
    /// The image as it was when it was opened.
    public let info: ImageInfo
    /// The event loop of everything here.
    public let loop: any EventLoop
    private var image: Image<OpenImage<Reply>, Reply>!
    private var channel: PoolChannel!
    private var renewal: RepeatedTask?
    private var closing: EventLoopPromise<Void>?
    /// The pool's newest snapshot by the map that was looked at last.
    private var newestSnapshot: SnapID

    /// Opens an image of `pool`, or a snapshot of it, and watches it. Throws ENOENT when it does not exist or is being
    /// removed, EBUSY while it is being rolled back.
    ///
    /// `receiver` gives who hears of answers and passes them on to the image. A class of its own for one kind of `Reply`
    /// lets the way of an answer be compiled for that kind; the image itself, being generic, would take it unspecialised.
    public static func open(
        _ name: String, at snapshot: String? = nil, in pool: RADOSPool,
        receiver: @escaping @Sendable (OpenImage) -> any ReplyReceiver = { $0 }
    ) async throws(RBDError) -> OpenImage {
        let images = Images(pool: pool)
        let cookie = UInt64.random(in: 1...UInt64.max)
        let (info, found) = try await images.watch(name, at: snapshot, cookie: cookie)
        do {
            return try await pool.loop.submit {
                OpenImage(info, at: found, cookie: cookie, pool: pool, receiver: receiver)
            }.get()
        } catch {
            await images.unwatch(info, cookie: cookie)
            throw RBDError(errno: Errno.timedOut, "image '\(images.shown(name))' cannot be opened: \(error)")
        }
    }

    private init(
        _ info: ImageInfo, at snapshot: ImageSnapshot?, cookie: UInt64, pool: RADOSPool,
        receiver: (OpenImage) -> any ReplyReceiver
    ) {
        self.info = info
        loop = pool.loop
        newestSnapshot = .none
        image = Image(info, cookie: cookie, snapshot: snapshot, objects: self)
        channel = pool.channel(for: receiver(self))
        newestSnapshot = channel.newestSnapshot
        image.confirm()
        let period = TimeAmount.milliseconds(Int64(ImageLimits.renewalMilliseconds))
        renewal = loop.scheduleRepeatedTask(initialDelay: period, delay: period) { [weak self] _ in
            self?.image.renew()
        }
    }

    /// Bytes of the image now.
    public var size: UInt64 { image.size }
    /// True once the image was found to be removed; every operation then fails with ENOENT.
    public var isRemoved: Bool { image.isRemoved }
    /// Operations not answered yet.
    public var outstanding: Int { image.outstanding }

    /// See `Image.read`.
    public func read(offset: UInt64, length: Int, reply: Reply) {
        image.read(offset: offset, length: length, reply: reply)
    }

    /// See `Image.write`.
    public func write(offset: UInt64, data: Bytes, reply: Reply) {
        image.write(offset: offset, data: data, reply: reply)
    }

    /// See `Image.discard`.
    public func discard(offset: UInt64, length: UInt64, reply: Reply) {
        image.discard(offset: offset, length: length, reply: reply)
    }

    /// See `Image.writeZeroes`.
    public func writeZeroes(offset: UInt64, length: UInt64, keepsSpace: Bool, reply: Reply) {
        image.writeZeroes(offset: offset, length: length, keepsSpace: keepsSpace, reply: reply)
    }

    /// See `Image.flush`.
    public func flush(reply: Reply) { image.flush(reply: reply) }

    /// Gives up the watch; every operation must have been answered. The handle is void afterwards. Gives up waiting for a
    /// cluster that does not answer after `ClientLimits.administrativeSeconds`: the watch then ends by itself.
    public func close() async {
        try? await loop.flatSubmit { [self] in
            if let closing { return closing.futureResult }
            let promise = loop.makePromise(of: Void.self)
            closing = promise
            renewal?.cancel()
            renewal = nil
            let limit = loop.scheduleTask(in: .seconds(ClientLimits.administrativeSeconds)) { [self] in closed() }
            promise.futureResult.whenComplete { _ in limit.cancel() }
            image.close()
            return promise.futureResult
        }.get()
    }

    // MARK: Effects of the image

    public func submit(_ steps: [ObjectOperation], on object: ObjectName, scope: SnapshotScope, token: UInt64) {
        channel.submit(steps, on: object, scope: scope, token: token)
    }

    public func sizeChanged(to size: ByteCount) {}

    public func imageRemoved() {}

    public func closed() {
        channel.close()
        closing?.succeed(())
    }

    // MARK: Events of the channel

    public func received(_ reply: OperationReply, token: UInt64) { image.received(reply, token: token) }

    public func clusterChanged() {
        image.renew()
        let newest = channel.newestSnapshot
        guard newest != newestSnapshot else { return }
        // Some image of the pool is being given a snapshot: its header follows the number within moments, and whoever makes
        // the snapshot waits for us if it is this one.
        newestSnapshot = newest
        for delay in ImageLimits.looksMilliseconds {
            loop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) { [weak self] in self?.image.look() }
        }
    }
}

extension Images {
    /// Registers a watch on the image's header under `cookie`, and says what the image is then.
    ///
    /// The watch is taken in the request that asks for the absence of the marks of a removal and a rollback, and those set
    /// them in one that asks for the absence of watches, or look again after it. A failed opening leaves no watch behind, or
    /// it would keep others from removing the image until its time is over.
    package func watch(
        _ name: String, at snapshot: String? = nil, cookie: UInt64
    ) async throws(RBDError) -> (ImageInfo, ImageSnapshot?) {
        let found = try await info(name)
        if found.header.rollingBack != nil {
            throw RBDError(
                errno: Errno.busy,
                "image '\(shown(name))' is being rolled back: wait for its end, or repeat it if it was interrupted")
        }
        let steps: [ObjectOperation] = [
            .assertExists, .compareOmap(key: ImageNaming.removing, expected: nil),
            .compareOmap(key: ImageNaming.rollingBack, expected: nil),
            .watch(cookie: cookie, timeoutMilliseconds: ImageLimits.watchTimeoutMilliseconds),
        ]
        guard try await performGuarded(steps, on: ImageNaming.header(found.id), name) else {
            throw .notFound(shown(name))
        }
        // A resize or a snapshot may have come between; from now on renewals see it.
        do throws(RBDError) {
            let info = try await info(name)
            guard let snapshot else { return (info, nil) }
            let there = info.header.snapshots.first { $0.name == snapshot && !$0.isBeingRemoved }
            if let there { return (info, there) }
            throw RBDError(
                errno: Errno.noEntry, "snapshot '\(shown(name))@\(ImageSpec.shown(snapshot))' does not exist")
        } catch {
            await unwatch(found, cookie: cookie)
            throw error
        }
    }

    fileprivate func unwatch(_ info: ImageInfo, cookie: UInt64) async {
        _ = try? await pool.perform([.assertExists, .unwatch(cookie: cookie)], on: ImageNaming.header(info.id))
    }
}
