import Wire

/// The limits of images, in one place.
public enum ImageLimits {
    /// Bytes of an image's name. The name is part of the name of an object (`rbd_id.NAME`), so it is shorter while object
    /// names are limited to less than both need.
    public static let nameBytes = min(255, ObjectName.limit - ImageNaming.idPrefix.utf8.count)
    /// Bytes of a snapshot's name.
    public static let snapshotNameBytes = 255
    /// How long a new snapshot waits for those who have the image open to know of it, in milliseconds: longer than the watch
    /// of one that died.
    public static let confirmationMilliseconds = 40_000
    /// How often they are looked for meanwhile, in milliseconds.
    public static let confirmationPollMilliseconds: Int64 = 50
    /// When an open image's header is read again after the pool's newest snapshot has changed, in milliseconds from then.
    public static let looksMilliseconds: [Int64] = [5, 20, 60, 150, 400, 1000]
    /// Bytes of an image.
    public static let size = ByteCount(1)...ByteCount(1 << 62)
    /// Bytes of a data object, as a power of two.
    public static let order: ClosedRange<UInt8> = 12...25
    /// The order of images that ask for nothing else: 4 MiB.
    public static let defaultOrder: UInt8 = 22
    /// Bytes of one read or write.
    public static let transfer = 32 << 20
    /// Parts of one request that are with the cluster at a time; a trim of many objects goes on as they end.
    public static let partsInFlight = 64
    /// A watch that has not been renewed for so long no longer counts, in milliseconds.
    public static let watchTimeoutMilliseconds: UInt32 = 30_000
    /// How often a watch is renewed, and a resize noticed, in milliseconds.
    public static let renewalMilliseconds = 5_000
    /// How often a metadata change that lost a race is tried again.
    public static let attempts = 16
    /// Entries asked for in one listing of the directory.
    public static let listing: UInt32 = 1024

    /// Stops the program when the limits contradict each other.
    static func check() {
        precondition(renewalMilliseconds * 4 <= Int(watchTimeoutMilliseconds), "a watch must survive lost renewals")
        precondition(transfer >= 1 << Int(order.upperBound), "a whole object must fit into one transfer")
        precondition(nameBytes > 0, "image names need room")
    }
}
