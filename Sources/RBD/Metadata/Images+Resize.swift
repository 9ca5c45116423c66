import Protocol
import RADOS
import Wire

extension Images {
    /// Sets an image's size. Growing adds space that reads as zeros; shrinking is refused (EINVAL) unless `allowShrink`,
    /// and gives back what lies beyond the new end. Returns the image as it is then.
    ///
    /// The header changes in one guarded request. Shrinking sets the size first and trims after it; growing trims what lies
    /// beyond the old end before it sets the size, so that data which an interrupted shrink left, or a client that had not
    /// noticed one wrote, never comes back to light. Repeated with the same size it trims again, which is all that a crash
    /// can leave undone. Clients that have the image open notice the new size within `ImageLimits.renewalMilliseconds`.
    @discardableResult
    public func resize(
        _ name: String, to size: ByteCount, allowShrink: Bool = false, progress: Progress? = nil
    ) async throws(RBDError) -> ImageInfo {
        try SizeText.checkImageSize(size)
        for _ in 0..<ImageLimits.attempts {
            var info = try await info(name)
            let old = info.header.size
            if size < old, !allowShrink {
                throw .invalid(
                    "image '\(shown(name))' has \(old) bytes, \(size) would cut data off: give --allow-shrink if you mean it"
                )
            }
            if size > old { try await trim(info, from: old.rawValue, progress) }
            let steps: [ObjectOperation] = [
                .assertExists,
                .compareOmap(key: ImageNaming.removing, expected: nil),
                .compareOmap(key: ImageNaming.size, expected: ImageNaming.number(old.rawValue)),
                .setOmap(entries: [KeyValue(ImageNaming.size, ImageNaming.number(size.rawValue))]),
            ]
            if size != old {
                // Someone else was faster: look again.
                guard try await performGuarded(steps, on: ImageNaming.header(info.id), name) else { continue }
            }
            info.header.size = size
            if size <= old { try await trim(info, from: size.rawValue, progress) }
            progress?(1, 1)
            return info
        }
        throw .contended(shown(name))
    }

    /// Makes everything from `offset` on read as zeros and frees it.
    private func trim(_ info: ImageInfo, from offset: UInt64, _ progress: Progress?) async throws(RBDError) {
        let header = info.header
        let prefix = Array(header.objectPrefix.utf8)
        let inside = offset & (header.objectSize - 1)
        if inside != 0 {
            try await perform(
                [.zero(offset: inside, length: header.objectSize - inside)],
                on: ImageNaming.dataObject(prefix: prefix, number: offset >> UInt64(header.order)), info.name)
        }
        let first = (offset >> UInt64(header.order)) + (inside == 0 ? 0 : 1)
        try await removeDataObjects(prefix: header.objectPrefix, from: first, info.name, progress)
    }
}
