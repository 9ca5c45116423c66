import ClusterMap
import Wire

/// What targeting needs of a cluster map: production takes `OSDMap`, transcripts a table.
public protocol TargetMap {
    /// The map's version.
    var epoch: Epoch { get }
    /// The pool, or nil when there is none of this number.
    func pool(_ id: PoolID) -> Pool?
    /// Who serves the group. Asked once for each group in use and epoch.
    func target(of group: PGID) -> GroupTarget
    /// Whether nothing is done any more for this run of a client.
    func isBlocklisted(_ client: UInt64) -> Bool
    /// The hash that deals objects to groups; the same for every map.
    static func hash(of name: ObjectName) -> UInt32
}

/// Who serves a placement group, with everything whose change begins a new interval of the group: when two targets differ,
/// what was sent under the first may have been forgotten.
public struct GroupTarget: Hashable, Sendable {
    /// One OSD of the acting set, and which run of its daemon.
    public struct Member: Hashable, Sendable {
        /// The OSD.
        public var osd: OSDID
        /// The epoch that marked this run up.
        public var upFrom: Epoch
        /// The run itself.
        public var incarnation: UInt64

        /// A member as the map says.
        public init(osd: OSDID, upFrom: Epoch, incarnation: UInt64) {
            self.osd = osd
            self.upFrom = upFrom
            self.incarnation = incarnation
        }
    }

    /// What CRUSH chose.
    public var up: [OSDID]
    /// Who serves, primary first; empty when nobody does.
    public var acting: [Member]
    /// Copies that the pool keeps.
    public var size: UInt8
    /// Copies that must be there before the group serves.
    public var minSize: UInt8
    /// True while the group writes nothing because it is about to be merged.
    public var isQuiet: Bool

    /// A target as the map says.
    public init(up: [OSDID], acting: [Member], size: UInt8, minSize: UInt8, isQuiet: Bool = false) {
        self.up = up
        self.acting = acting
        self.size = size
        self.minSize = minSize
        self.isQuiet = isQuiet
    }

    /// Who orders the group's operations; nil while nobody does.
    public var primary: OSDID? { acting.first?.osd }
}
