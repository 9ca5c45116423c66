import Protocol
import RADOS
import Wire

extension Images {
    /// Sets an image's size. Growing adds space that reads as zeros; shrinking is refused (EINVAL) unless `allowShrink`,
    /// and gives back what lies beyond the new end. Returns the image as it is then.
    ///
    /// One command at a time resizes an image (see `ResizeLease`); another is refused with EBUSY. The header changes in one
    /// guarded request. Shrinking sets the size first and trims after it; growing trims what lies beyond the old end before
    /// it sets the size, so that data which an interrupted shrink left, or a client that had not noticed one wrote, never
    /// comes back to light. Repeated with the same size it trims again, which is all that a crash can leave undone. Clients
    /// that have the image open notice the new size within `ImageLimits.renewalMilliseconds`.
    @discardableResult
    public func resize(
        _ name: String, to size: ByteCount, allowShrink: Bool = false, progress: Progress? = nil
    ) async throws(RBDError) -> ImageInfo {
        try SizeText.checkImageSize(size)
        let seen = try await info(name)
        try refuseShrink(seen, to: size, allowShrink)
        let lease = try await takeLease(on: seen)
        do throws(RBDError) {
            let info = try await resize(name, to: size, allowShrink, lease, progress)
            try await end(lease, name)
            progress?(1, 1)
            return info
        } catch {
            try? await end(lease, name)
            throw error
        }
    }

    private func refuseShrink(_ info: ImageInfo, to size: ByteCount, _ isAllowed: Bool) throws(RBDError) {
        guard size < info.header.size, !isAllowed else { return }
        throw .invalid(
            "image '\(shown(info.name))' has \(info.header.size) bytes, \(size) would cut data off: give --allow-shrink "
                + "if you mean it")
    }

    private func resize(
        _ name: String, to size: ByteCount, _ allowShrink: Bool, _ lease: ResizeLease, _ progress: Progress?
    ) async throws(RBDError) -> ImageInfo {
        // The size may have changed before the lease was ours.
        var info = try await info(name)
        let old = info.header.size
        guard info.id == lease.id else { throw .contended(shown(name)) }
        try refuseShrink(info, to: size, allowShrink)
        if size > old { try await trim(info, from: old.rawValue, lease, progress) }
        if size != old {
            let steps: [ObjectOperation] = [
                .assertExists, lease.guardStep, .compareOmap(key: ImageNaming.removing, expected: nil),
                .compareOmap(key: ImageNaming.size, expected: ImageNaming.number(old.rawValue)),
                .setOmap(entries: [KeyValue(ImageNaming.size, ImageNaming.number(size.rawValue))]),
            ]
            guard try await performGuarded(steps, on: ImageNaming.header(info.id), name) else {
                throw .contended(shown(name))
            }
        }
        info.header.size = size
        if size <= old { try await trim(info, from: size.rawValue, lease, progress) }
        return info
    }

    /// Makes everything from `offset` on read as zeros and frees it.
    private func trim(
        _ info: ImageInfo, from offset: UInt64, _ lease: ResizeLease, _ progress: Progress?
    ) async throws(RBDError) {
        let header = info.header
        let prefix = Array(header.objectPrefix.utf8)
        let inside = offset & (header.objectSize - 1)
        if inside != 0 {
            try await perform(
                [.zero(offset: inside, length: header.objectSize - inside)],
                on: ImageNaming.dataObject(prefix: prefix, number: offset >> UInt64(header.order)), info.name,
                in: SnapshotScope(context: header.context))
        }
        let first = (offset >> UInt64(header.order)) + (inside == 0 ? 0 : 1)
        try await removeDataObjects(
            prefix: header.objectPrefix, from: first, info.name, lease, progress, context: header.context)
    }
}
