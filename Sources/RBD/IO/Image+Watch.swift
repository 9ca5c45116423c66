import Protocol
import RADOS
import Wire

extension Image {
    /// What is known of the watch on the image's header.
    struct Watch {
        /// A renewal is under way.
        var isRenewing = false
        /// Another was asked for meanwhile.
        var isWanted = false
        var isClosing = false
        /// The header is gone or says that the image is being removed.
        var isRemoved = false
    }

    enum HeaderRequest: UInt32 {
        case watch, read, unwatch
        /// The header is read again beside the renewals.
        case look
        /// It is said which snapshots are known.
        case confirm
    }

    /// Tokens of requests on the header have this in the place of a slot.
    private static var headerToken: UInt64 { UInt64(UInt32.max) << 32 }

    /// True once the image was found to be removed.
    public var isRemoved: Bool { watch.isRemoved }

    /// Renews the watch and looks at the header again. To be called every `ImageLimits.renewalMilliseconds`, and when the
    /// cluster may have forgotten the watch: after a new map or a lost session.
    public func renew() {
        guard !watch.isClosing, !watch.isRemoved else { return }
        guard !watch.isRenewing else {
            watch.isWanted = true
            return
        }
        watch.isRenewing = true
        watch.isWanted = false
        submit(.watch, [.assertExists, Self.watchStep(cookie)])
    }

    /// Gives up the watch; ends in `ImageObjects.closed`. No operation may be outstanding.
    public func close() {
        precondition(outstanding == 0, "an image is closed with \(outstanding) operations outstanding")
        guard !watch.isClosing else { return }
        watch.isClosing = true
        if watch.isRemoved { return objects.closed() }
        // Ordered behind a renewal that may be under way, as both are on the header.
        submit(
            .unwatch,
            [.assertExists, .unwatch(cookie: cookie), .removeOmap(keys: [ImageNaming.seenKey(cookie)])])
    }

    static func watchStep(_ cookie: UInt64) -> ObjectOperation {
        .watch(cookie: cookie, timeoutMilliseconds: ImageLimits.watchTimeoutMilliseconds)
    }

    func submit(_ request: HeaderRequest, _ steps: [ObjectOperation]) {
        objects.submit(
            steps, on: headerName, scope: .head, token: Self.headerToken | UInt64(request.rawValue))
    }

    func receivedForHeader(_ reply: OperationReply, token: UInt64) {
        guard let request = HeaderRequest(rawValue: UInt32(truncatingIfNeeded: token)),
            case .done(let errno) = reply.outcome
        else { preconditionFailure("an answer to \(token) nobody waits for") }
        switch request {
        case .watch:
            if errno == Errno.noEntry { return removed() }
            guard errno == 0, !watch.isClosing else { return renewed() }
            submit(.read, ImageHeader.steps)
        case .read, .look:
            if request == .look { knowledge.isLooking = false }
            if errno == Errno.noEntry { return removed() }
            if errno == 0, let header = try? ImageHeader(decoding: reply.outputs), take(header) { return removed() }
            if request == .read { renewed() }
        case .confirm: confirmed()
        case .unwatch:
            objects.closed()
        }
    }

    /// Takes what the header says now. True when the image, or the snapshot that is read, is no more.
    private func take(_ header: ImageHeader) -> Bool {
        if header.isBeingRemoved { return true }
        if let snapshot {
            guard let now = header.snapshots.first(where: { $0.id == snapshot.id }), !now.isBeingRemoved else {
                return true
            }
        } else if header.size.rawValue != size {
            size = header.size.rawValue
            objects.sizeChanged(to: header.size)
        }
        learn(header)
        return false
    }

    private func renewed() {
        watch.isRenewing = false
        if watch.isWanted { renew() }
    }

    private func removed() {
        watch.isRenewing = false
        guard !watch.isRemoved else { return }
        watch.isRemoved = true
        if !watch.isClosing { objects.imageRemoved() }
    }
}
