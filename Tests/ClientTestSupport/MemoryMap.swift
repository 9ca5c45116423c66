import ClusterMap
import Protocol
import RADOS
import Wire

/// A cluster map as a table, for tests.
public struct MemoryMap: TargetMap {
    public var epoch: Epoch
    public var pools: [PoolID: Pool]
    /// Who serves, by seed; the same for every pool. Missing: nobody.
    public var acting: [UInt32: [OSDID]]
    public var upFrom: [OSDID: Epoch]
    /// Runs of clients that nothing is done for.
    public var blocklist: Set<UInt64> = []

    public init(epoch: Epoch, pools: [Pool], acting: [UInt32: [OSDID]], upFrom: [OSDID: Epoch] = [:]) {
        self.epoch = epoch
        self.pools = Dictionary(uniqueKeysWithValues: pools.map { ($0.id, $0) })
        self.acting = acting
        self.upFrom = upFrom
    }

    /// A pool called `rbd` with the number 1.
    public static func pool(groups: UInt32) -> Pool {
        Pool(
            id: PoolID(1), name: "rbd", size: 3, minSize: 2, groupCount: groups, rule: 0, created: Epoch(1),
            application: "rbd")
    }

    public func isBlocklisted(_ client: UInt64) -> Bool { blocklist.contains(client) }

    public func pool(_ id: PoolID) -> Pool? { pools[id] }

    public func target(of group: PGID) -> GroupTarget {
        let osds = acting[group.seed] ?? []
        return GroupTarget(
            up: osds, acting: osds.map { .init(osd: $0, upFrom: upFrom[$0] ?? Epoch(1), incarnation: 0) }, size: 3,
            minSize: 2)
    }

    /// FNV-1a: any good hash does.
    public static func hash(of name: ObjectName) -> UInt32 {
        name.bytes.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }
}
