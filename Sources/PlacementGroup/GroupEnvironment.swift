import Protocol
import Wire

/// What a placement group needs of the OSD around it: the store, the other members, the clients and the time.
///
/// Everything is confined to the OSD's event loop. Metadata reads answer at once and see everything committed through
/// `commit`, on disk or not; data reads and commits complete later, through the group's own methods.
public protocol GroupEnvironment: AnyObject {
    /// This OSD.
    var osd: OSDID { get }
    /// A monotonic clock.
    var nowMilliseconds: UInt64 { get }
    /// True when the store takes no more data from clients; its reserve is for the log and recovery.
    var isFull: Bool { get }

    func send(_ message: GroupMessage, to osd: OSDID)
    /// Sends the same message to several members, encoding it once.
    func send(_ message: GroupMessage, to osds: [OSDID])
    func reply(_ reply: OperationReply, to client: ClientHandle)
    /// How a client calls itself; nil when its session is gone.
    func name(of client: ClientHandle) -> String?

    /// Hands a transaction to the store. When it is durable the group's `committed()` is called, once for each call of
    /// this, in order.
    func commit(_ transaction: Transaction, for group: GroupSlot)
    /// Reads data; ends in the group's `readCompleted`. Only for objects without writes under way.
    func read(_ object: ObjectID, offset: UInt64, length: Int, number: UInt32, for group: GroupSlot)

    func size(of object: ObjectID) -> UInt64?
    func attribute(_ name: String, of object: ObjectID) -> Bytes?
    func attributes(of object: ObjectID) -> [Attribute]
    func omapValues(of object: ObjectID, keys: [Bytes]) -> [KeyValue]
    /// Entries with keys after `after` that begin with `prefix`, in order, at most `limit`.
    func omap(of object: ObjectID, after: Bytes, prefix: Bytes, limit: Int) -> [KeyValue]
    /// Objects of the range after `after`, in storage order, at most `limit`.
    func objects(in range: ObjectRange, after: ObjectID?, limit: Int) -> [ObjectID]
    /// Keys of the group in `from ..< to`, in order.
    func groupKeys(_ group: PGID, from: Bytes, to: Bytes) -> [KeyValue]
    /// Has the monitors commit that this OSD lives in `epoch`: a later map with that `up_thru` is given to `advance`. Asked
    /// again until it is there; once for each interval is enough.
    func requestUpThru(_ epoch: Epoch)
    /// True when the OSD is up in its newest map.
    func isUp(_ osd: OSDID) -> Bool
}

/// Where the OSD keeps a group: an index that finds it without a lookup.
public struct GroupSlot: Hashable, Sendable {
    public var index: UInt32

    public init(index: UInt32) {
        self.index = index
    }
}

/// A client's session, as the OSD knows it.
public struct ClientHandle: Hashable, Sendable {
    public var session: UInt64

    public init(session: UInt64) {
        self.session = session
    }
}

/// How a data read ended.
public enum ReadOutcome: Sendable {
    /// The bytes, short where the object ends.
    case data(Bytes)
    /// The store could not vouch for the data.
    case failed(String)
}
