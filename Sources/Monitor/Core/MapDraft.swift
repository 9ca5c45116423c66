import CRUSH
import ClusterMap
import Wire

/// The next epoch while changes gather in it.
struct MapDraft {
    /// The map with the changes so far, as the next epoch will have it.
    private(set) var map: OSDMap
    private(set) var increment: OSDMap.Increment
    /// OSDs that went up or down, came or were removed in this epoch: a second such change must wait for the next, so that
    /// every member sees both.
    private(set) var settled: Set<OSDID> = []

    /// The map before.
    private let base: OSDMap

    init(after map: OSDMap) {
        self.map = map
        base = map
        self.map.epoch = map.epoch.next
        increment = OSDMap.Increment(epoch: map.epoch.next)
    }

    var epoch: Epoch { increment.epoch }

    /// Replaces the record of an OSD, without a change of its being up.
    mutating func set(_ osd: OSDID, _ record: OSDRecord) {
        precondition(map.osds[osd].map { $0.isUp == record.isUp } ?? false, "\(osd) is new, or goes up or down")
        map.osds[osd] = record
        increment.osds[osd] = record
    }

    /// Brings a new OSD, or one that goes up or down.
    mutating func settle(_ osd: OSDID, _ record: OSDRecord) {
        precondition(!settled.contains(osd), "\(osd) changes twice in epoch \(epoch)")
        settled.insert(osd)
        map.osds[osd] = record
        increment.osds[osd] = record
    }

    mutating func remove(_ osd: OSDID) {
        precondition(!settled.contains(osd), "\(osd) changes twice in epoch \(epoch)")
        settled.insert(osd)
        map.osds[osd] = nil
        increment.osds[osd] = nil
        increment.removedOSDs.append(osd)
    }

    mutating func setCRUSH(_ crush: CRUSHMap) {
        map.crush = crush
        increment.crush = crush
    }

    /// Changes exceptions of groups: an empty list, or `OSDID.none` for a primary, takes the entry out.
    mutating func set(_ changes: GroupExceptions) {
        map.exceptions.apply(changes)
        increment.exceptions.gather(changes)
    }

    /// Blocklists a run of a client until a second of the monitors' clock; 0 takes it from the list.
    mutating func blocklist(_ client: UInt64, until end: UInt64) {
        map.blocklist[client] = end == 0 ? nil : end
        increment.blocklist[client] = end
    }

    /// Adds a pool under the next number.
    mutating func add(_ pool: Pool) {
        precondition(pool.id == map.nextPool, "pool \(pool.id) does not have the next number")
        map.nextPool = PoolID(pool.id.rawValue + 1)
        increment.nextPool = map.nextPool
        set(pool)
    }

    mutating func set(_ pool: Pool) {
        map.pools[pool.id] = pool
        increment.pools.removeAll { $0.id == pool.id }
        increment.pools.append(pool)
    }

    mutating func remove(_ pool: PoolID) {
        map.pools[pool] = nil
        increment.pools.removeAll { $0.id == pool }
        increment.removedPools.append(pool)
        map.exceptions.removeAll(of: pool)
        increment.exceptions.removeAll(of: pool)
    }

    /// True when upmaps may have lost their sense: the hierarchy or a pool changed, or an OSD went out or away.
    private var movesUpmaps: Bool {
        if map.exceptions.upmaps.isEmpty, map.exceptions.upmapItems.isEmpty { return false }
        let movesPool = increment.pools.contains { pool in
            var before = base.pools[pool.id]
            before?.snapshots = pool.snapshots
            return before != pool
        }
        return increment.crush != nil || movesPool || !increment.removedOSDs.isEmpty
            || increment.osds.contains { !$0.value.isIn && base.osds[$0.key]?.isIn == true }
    }

    /// Takes out upmaps that lost their sense, and gives the increment the checksum of the map it makes. The entry for the log.
    mutating func finish() -> MapLogEntry {
        if movesUpmaps { set(map.staleUpmaps) }
        let result = map.encoded
        increment.resultChecksum = Checksum.crc32c(result)
        return MapLogEntry(epoch: epoch, increment: increment.encoded, result: result)
    }
}
