import CRUSH
import ClusterMap
import Wire

extension OSDMap: TargetMap {
    public func pool(_ id: PoolID) -> Pool? { pools[id] }

    public func target(of group: PGID) -> GroupTarget {
        let placement = placement(of: group)
        let pool = pools[group.pool]
        // A temporary primary need not be the first of the set.
        let followers = placement.acting.filter { $0 != placement.primary && $0 != .none }
        return GroupTarget(
            up: placement.up,
            acting: ((placement.primary.map { [$0] } ?? []) + followers).map { osd in
                let record = osds[osd]
                return .init(osd: osd, upFrom: record?.upFrom ?? .none, incarnation: record?.incarnation ?? 0)
            },
            size: pool?.size ?? 0, minSize: pool?.minSize ?? 0,
            isQuiet: pool?.isQuiet(group.seed) ?? false)
    }

    public func isBlocklisted(_ client: UInt64) -> Bool { blocklist[client] != nil }

    public static func hash(of name: ObjectName) -> UInt32 { StringHash.rjenkins(name.bytes) }
}
