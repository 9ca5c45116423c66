import CRUSH
import ClusterMap
import Wire

/// What is chosen when a cluster is created.
public struct NewCluster: Hashable, Sendable {
    /// Across what the copies of an object are spread.
    public enum FailureDomain: String, CaseIterable, Hashable, Sendable {
        /// Different OSDs, which may be on one host.
        case osd
        /// Different hosts.
        case host

        var type: TypeID {
            switch self {
            case .osd: .osd
            case .host: .host
            }
        }
    }

    /// The new cluster's id; random.
    public var cluster: UniqueID
    /// Across what the copies are spread.
    public var failureDomain: FailureDomain

    /// A cluster with these choices.
    public init(cluster: UniqueID, failureDomain: FailureDomain = .osd) {
        self.cluster = cluster
        self.failureDomain = failureDomain
    }

    /// Epoch 1: no OSD, the rule for replicas, and the pool `rbd`. The pool is there before any OSD is, so that an image
    /// can be asked for at once: the request waits until its OSDs are up, and `status` says what it waits for.
    public var firstMap: OSDMap {
        var map = OSDMap(cluster: cluster, crush: .newCluster(failureDomain: failureDomain.type))
        map.epoch = Epoch(1)
        let pool = Pool(
            id: map.nextPool, name: PoolDefaults.name, size: PoolDefaults.size, minSize: PoolDefaults.minSize,
            groupCount: PoolDefaults.groupCount, rule: 0, created: map.epoch, application: PoolDefaults.application)
        map.pools[pool.id] = pool
        map.nextPool = PoolID(pool.id.rawValue + 1)
        return map
    }
}

/// What a pool is when nothing else is said.
public enum PoolDefaults {
    /// The pool of a new cluster, and of an image spec without a pool.
    public static let name = "rbd"
    /// Copies of an object.
    public static let size: UInt8 = 3
    /// Copies that must be there before a group serves.
    public static let minSize: UInt8 = 2
    /// Placement groups.
    public static let groupCount: UInt32 = 64
    /// What the pool of a new cluster is for.
    public static let application = "rbd"

    /// The copies that must be there before a group of a pool of `size` serves: more than half.
    public static func minSize(forSize size: UInt8) -> UInt8 { size - size / 2 }
}
