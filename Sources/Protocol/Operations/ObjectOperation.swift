import Wire

/// One step of a compound request on an object. The steps of a request are applied in order and atomically: the first
/// that fails fails the request and nothing of it happens.
public enum ObjectOperation: Sendable, Equatable {
    // Reading. An object that does not exist gives ENOENT.
    case read(offset: UInt64, length: UInt32)
    /// Reads only what is there. Output: see `SparseData`.
    case sparseRead(offset: UInt64, length: UInt32)
    /// Output: see `ObjectStatus`.
    case stat
    /// ENODATA when the object has no such attribute.
    case getAttribute(name: String)
    /// Output: array of `Attribute`, sorted by name.
    case getAttributes
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
    /// ECANCELED unless the attribute's value stands so to `value`. No attribute counts as an empty one.
    case compareAttribute(name: String, Comparison, value: AttributeOperand)
    /// Fails with `OperationLimits.mismatch` and the offset within `data` of the first byte that differs. What the object
    /// does not have counts as zeros.
    case compareExtent(offset: UInt64, data: Bytes)
    /// ERANGE when the object is newer, EOVERFLOW when it is older.
    case assertVersion(Version)
    /// EBUSY while someone watches the object. An object that does not exist is watched by nobody.
    case assertUnwatched

    // Changing.
    /// EEXIST when `exclusive` and the object exists.
    case create(exclusive: Bool)
    case write(offset: UInt64, data: Bytes)
    /// Writes behind the end.
    case append(data: Bytes)
    /// Writes `data` again and again; EINVAL unless it goes into `length` without a rest.
    case writeSame(offset: UInt64, length: UInt64, data: Bytes)
    /// Replaces the whole content.
    case writeFull(data: Bytes)
    /// Makes the range read as zeros, freeing whole blocks. No object, nothing to do.
    case zero(offset: UInt64, length: UInt64)
    case truncate(size: UInt64)
    /// ENOENT when the object does not exist.
    case remove
    case setAttribute(name: String, value: Bytes)
    /// No attribute of this name, nothing to do.
    case removeAttribute(name: String)
    case setOmap(entries: [KeyValue])
    case removeOmap(keys: [Bytes])
    /// Removes the keys in `from ..< to`; without `to`, all from `from` on.
    case removeOmapRange(from: Bytes, to: Bytes?)
    case clearOmap
    /// Registers the caller under `cookie`, or renews it: it counts as a watcher until it unwatches or has not renewed for
    /// `timeoutMilliseconds`.
    case watch(cookie: UInt64, timeoutMilliseconds: UInt32)
    case unwatch(cookie: UInt64)
    /// Makes the object what it was at a snapshot; one that did not exist then is removed. Must be the only step.
    case rollback(to: SnapID)
    /// Output: the versions that there are of the object, see `ObjectSnapshots`; also of one that was removed and has some.
    case listSnaps

    /// Runs a method of an object class at the primary, as part of the request. EOPNOTSUPP when there is no such method,
    /// EINVAL when it changes objects and the call does not say so. Output: the method's.
    case call(ClassCall)

    // On their own in a request.
    /// Tells everyone who watches the object, and waits until all have acknowledged or the time is over. Output: see
    /// `NotifyResult`.
    case notify(payload: Bytes, timeoutMilliseconds: UInt32)
    /// A watcher's answer to a notification.
    case acknowledge(notification: UInt64, cookie: UInt64, payload: Bytes)
    /// An operation on a placement group rather than an object: its objects after `after` in storage order.
    /// Output: array of names, then an optional object to go on from.
    case listObjects(after: ObjectID?, prefix: Bytes, limit: UInt32)
    /// An administrator's command to a placement group, alone in its request; answered in every state of the group.
    case administer(GroupCommand)

    /// True when it changes the object, so that it must be ordered, logged and replicated.
    public var isWrite: Bool {
        switch self {
        case .read, .sparseRead, .stat, .getAttribute, .getAttributes, .getOmap, .listOmap, .listWatchers,
            .assertExists, .compareOmap, .compareAttribute, .compareExtent, .assertVersion, .assertUnwatched, .notify,
            .acknowledge, .listObjects, .listSnaps, .administer:
            false
        case .create, .write, .append, .writeSame, .writeFull, .zero, .truncate, .remove, .setAttribute,
            .removeAttribute, .setOmap, .removeOmap, .removeOmapRange, .clearOmap, .watch, .unwatch, .rollback:
            true
        case .call(let call): call.changes
        }
    }

    /// True when its outcome depends on the object's state, so that it must wait for writes in flight on the object.
    public var readsState: Bool {
        switch self {
        case .write, .append, .writeSame, .writeFull, .zero, .truncate, .setAttribute, .removeAttribute, .setOmap,
            .removeOmap, .removeOmapRange, .clearOmap, .create(exclusive: false):
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
    /// Bytes of what a notification says, and of each answer to it.
    public static let notification = 64 << 10
    /// Milliseconds that a notification may wait at most.
    public static let notifyMilliseconds: UInt32 = 300_000
    /// Bytes of the names of an object class and of its method.
    public static let className = 255
    /// Bytes that a method of an object class takes, and gives.
    public static let classData = 4 << 20
    /// A comparison of bytes that fails does so with this and the offset of the first that differs: the largest errno, as
    /// users of librados know it.
    public static let mismatch: Int32 = 4095
    /// Watchers of one object: with the longest names they fit into one attribute.
    public static let watchers = 200
}
