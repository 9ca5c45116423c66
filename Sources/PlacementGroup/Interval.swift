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
    /// The lowest bits of the hash that the group's objects share: more when it was split, fewer when others were merged into it.
    public var bits: UInt8
    /// True while the group writes nothing because it is about to be merged.
    public var isQuiet: Bool

    /// Who orders the group's operations.
    public var primary: OSDID?
    /// The newest epoch by which the maps of this interval say that its primary was alive (`up_thru`).
    public var upThru: Epoch

    /// True when the group serves in this interval once it has peered: there are `min_size` members. The pool's `min_size`
    /// is that of the interval, not today's.
    public var mayServe: Bool { acting.count >= Int(minSize) }

    /// True when the monitors have committed that the primary lived in this interval. Nobody serves before that, so an
    /// interval of which this is not true took no writes.
    public var isProvenAlive: Bool { upThru >= first }

    func isSame(as other: Interval) -> Bool {
        up == other.up && acting == other.acting && size == other.size && minSize == other.minSize
            && bits == other.bits && isQuiet == other.isQuiet && primary == other.primary
    }
}

/// An interval that is over and may have taken writes.
public struct PastInterval: Hashable, Sendable {
    public var first: Epoch
    public var last: Epoch
    public var acting: [OSDID]
    public var primary: OSDID?
}

/// A placement group's intervals: the current one, and those of the past that may hold writes nobody else knows of.
///
/// It is fed every epoch since the pool's creation, by everyone alike, so that all agree on where intervals begin.
public struct IntervalHistory: Sendable {
    public private(set) var current: Interval
    public private(set) var past: [PastInterval] = []

    /// The history of a group at the epoch that created its pool.
    ///
    /// - Parameter upThru: what that epoch's map says of the placement's primary.
    public init(group: PGID, pool: Pool, placement: OSDMap.Placement, upThru: Epoch = .none) {
        current = Self.interval(at: pool.created, group, pool, placement, upThru)
    }

    private static func interval(
        at epoch: Epoch, _ group: PGID, _ pool: Pool, _ placement: OSDMap.Placement, _ upThru: Epoch
    ) -> Interval {
        let acting = placement.acting.filter { $0 != .none }
        let primary = placement.primary.flatMap { acting.contains($0) ? $0 : nil } ?? acting.first
        return Interval(
            first: epoch, up: placement.up.filter { $0 != .none }, acting: acting, size: pool.size,
            minSize: pool.minSize, bits: UInt8(pool.bits(ofGroup: group.seed)), isQuiet: pool.isQuiet(group.seed),
            primary: primary, upThru: upThru)
    }

    /// Goes on to `epoch`. True when a new interval begins with it.
    ///
    /// - Parameter upThru: what that epoch's map says of the placement's primary.
    public mutating func advance(
        to epoch: Epoch, of group: PGID, pool: Pool, placement: OSDMap.Placement, upThru: Epoch
    ) -> Bool {
        precondition(epoch > current.first, "epoch \(epoch) is not after \(current.first)")
        let next = Self.interval(at: epoch, group, pool, placement, upThru)
        guard !next.isSame(as: current) else {
            current.upThru = max(current.upThru, upThru)
            return false
        }
        // What only the map of the next interval says does not count: the primary did not see it in its own.
        if current.mayServe, current.isProvenAlive {
            past.append(
                PastInterval(
                    first: current.first, last: epoch.previous, acting: current.acting, primary: current.primary))
        }
        current = next
        return true
    }

    /// The group is no more: nobody is in it.
    mutating func end() {
        past.removeAll()
        (current.up, current.acting, current.primary) = ([], [], nil)
    }

    /// Takes an OSD out of every interval that is over: its disk is gone for good, so it is no witness of what it once took,
    /// and a new disk under its number is none either. An interval without members waits for nobody.
    public mutating func strike(_ osd: OSDID) {
        for index in past.indices { past[index].acting.removeAll { $0 == osd } }
        past.removeAll { $0.acting.isEmpty }
    }

    /// Forgets intervals that ended before `epoch`, in which the group was clean: they have no copy that is needed.
    public mutating func forget(before epoch: Epoch) {
        past.removeAll { $0.last < epoch }
    }
}
