import Wire

/// One step of a compound request on an object. The steps of a request are applied in order and atomically: the first
/// that fails fails the request and nothing of it happens.
public enum ObjectOperation: Sendable, Equatable {
    // Reading. An object that does not exist gives ENOENT.
    case read(offset: UInt64, length: UInt32)
    /// Output: u64 size, version.
    case stat
    case getAttribute(name: String)
    /// Output: for every key asked for that exists, the entry.
    case getOmap(keys: [Bytes])
    /// Output: up to `limit` entries with keys after `after` that begin with `prefix`, in order, then a byte: 1 if there
    /// are more.
    case listOmap(after: Bytes, prefix: Bytes, limit: UInt32)
    /// Output: the watchers, see `Watcher`.
    case listWatchers

    // Guards: they fail the request when the state is not as expected.
    /// ENOENT unless the object exists.
    case assertExists
    /// ECANCELED unless the key has this value (nil: is absent).
    case compareOmap(key: Bytes, expected: Bytes?)

    // Changing.
    /// EEXIST when `exclusive` and the object exists.
    case create(exclusive: Bool)
    case write(offset: UInt64, data: Bytes)
    /// Replaces the whole content.
    case writeFull(data: Bytes)
    /// Makes the range read as zeros, freeing whole blocks. No object, nothing to do.
    case zero(offset: UInt64, length: UInt64)
    case truncate(size: UInt64)
    /// ENOENT when the object does not exist.
    case remove
    case setAttribute(name: String, value: Bytes)
    case setOmap(entries: [KeyValue])
    case removeOmap(keys: [Bytes])
    /// Registers the caller under `cookie`, or renews it: it counts as a watcher until it unwatches or has not renewed for
    /// `timeoutMilliseconds`.
    case watch(cookie: UInt64, timeoutMilliseconds: UInt32)
    case unwatch(cookie: UInt64)
    /// Makes the object what it was at a snapshot; one that did not exist then is removed. Must be the only step.
    case rollback(to: SnapID)
    /// Output: the versions that there are of the object, see `ObjectSnapshots`; also of one that was removed and has some.
    case listSnaps

    /// An operation on a placement group rather than an object: its objects after `after` in storage order.
    /// Output: array of names, then an optional object to go on from.
    case listObjects(after: ObjectID?, prefix: Bytes, limit: UInt32)

    /// True when it changes the object, so that it must be ordered, logged and replicated.
    public var isWrite: Bool {
        switch self {
        case .read, .stat, .getAttribute, .getOmap, .listOmap, .listWatchers, .assertExists, .compareOmap, .listObjects,
            .listSnaps:
            false
        case .rollback, .create, .write, .writeFull, .zero, .truncate, .remove, .setAttribute, .setOmap, .removeOmap,
            .watch,
            .unwatch:
            true
        }
    }

    /// True when its outcome depends on the object's state, so that it must wait for writes in flight on the object.
    public var readsState: Bool {
        switch self {
        case .write, .writeFull, .zero, .truncate, .setAttribute, .setOmap, .removeOmap, .create(exclusive: false):
            false
        default:
            true
        }
    }
}

/// Someone who has an object open and wants to be known: an entry of `listWatchers`.
public struct Watcher: Hashable, Sendable {
    public var client: UInt64
    public var cookie: UInt64
    /// How the client calls itself: `nbd@host:pid` or the like.
    public var name: String
    public var timeoutMilliseconds: UInt32

    public init(client: UInt64, cookie: UInt64, name: String, timeoutMilliseconds: UInt32) {
        self.client = client
        self.cookie = cookie
        self.name = name
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        client = try reader.readU64()
        cookie = try reader.readU64()
        name = try reader.readString(atMost: OperationLimits.clientName)
        timeoutMilliseconds = try reader.readU32()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(client)
        writer.writeU64(cookie)
        writer.writeString(name)
        writer.writeU32(timeoutMilliseconds)
    }
}

/// The limits of a client's request, in one place.
public enum OperationLimits {
    /// Steps of a request.
    public static let steps = 32
    /// Bytes that one read may ask for: a whole object.
    public static let readSize: UInt32 = 32 << 20
    /// Bytes of omap entries and attributes that one request may set, and of omap keys that it may remove.
    public static let metadataSize = 4 << 20
    /// Attributes that one object may have, and the bytes of their names and values.
    public static let attributes = 1024
    public static let attributesSize = 1 << 20
    /// Entries that one listing gives at most.
    public static let listing: UInt32 = 8192
    /// Bytes of a client's name for itself.
    public static let clientName = 255
    /// Watchers of one object: with the longest names they fit into one attribute.
    public static let watchers = 200
}
