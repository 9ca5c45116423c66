import ClusterMap
import Protocol
import Wire

/// A run of epochs in which nothing that matters to a placement group's service changed.
public struct Interval: Hashable, Sendable {
    /// Its first epoch, which names it.
    public var first: Epoch
    public var up: [OSDID]
    public var acting: [OSDID]
    public var size: UInt8
    public var minSize: UInt8
    public var groupCount: UInt32

    public var primary: OSDID? { acting.first }

    /// True when the group serves in this interval once it has peered: every copy has a member. The same rule says whether
    /// an old interval may have taken writes, with the pool's size as it was then.
    public var mayServe: Bool { acting.count >= Int(size) }

    func isSame(as other: Interval) -> Bool {
        up == other.up && acting == other.acting && size == other.size && minSize == other.minSize
            && groupCount == other.groupCount
    }
}

/// An interval that is over and may have taken writes.
public struct PastInterval: Hashable, Sendable {
    public var first: Epoch
    public var last: Epoch
    public var acting: [OSDID]
}

/// A placement group's intervals: the current one, and those of the past that may hold writes nobody else knows of.
///
/// It is fed every epoch since the pool's creation, by everyone alike, so that all agree on where intervals begin.
public struct IntervalHistory: Sendable {
    public private(set) var current: Interval
    public private(set) var past: [PastInterval] = []

    /// The history of a group at the epoch that created its pool.
    public init(pool: Pool, placement: OSDMap.Placement) {
        current = Self.interval(at: pool.created, pool, placement)
    }

    private static func interval(at epoch: Epoch, _ pool: Pool, _ placement: OSDMap.Placement) -> Interval {
        Interval(
            first: epoch, up: placement.up, acting: placement.acting, size: pool.size, minSize: pool.minSize,
            groupCount: pool.groupCount)
    }

    /// Goes on to `epoch`. True when a new interval begins with it.
    public mutating func advance(to epoch: Epoch, pool: Pool, placement: OSDMap.Placement) -> Bool {
        precondition(epoch > current.first, "epoch \(epoch) is not after \(current.first)")
        let next = Self.interval(at: epoch, pool, placement)
        guard !next.isSame(as: current) else { return false }
        if current.mayServe {
            past.append(PastInterval(first: current.first, last: epoch.previous, acting: current.acting))
        }
        current = next
        return true
    }

    /// Forgets intervals that ended before `epoch`, an activation that all members of an acting set have stored.
    public mutating func forget(before epoch: Epoch) {
        past.removeAll { $0.last < epoch }
    }
}
