import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// What is on a member's disk when a group is split.
@Suite struct SplitTests {
    /// The part is stored first and the group is cut last: before that is on the disk, the next start splits again and comes to
    /// the same.
    @Test(arguments: 0...2) func aSplitThatACrashCutsShortIsDoneAgain(stored: Int) throws {
        let script = Script()
        for object in script.objects { script.write("\(object)", on: object) }
        script.drain()
        let host = script.host(0)
        let whole = host.groups[0]
        let before = Array(whole.log.entries)
        var pool = script.cluster.pool
        (pool.groupCount, pool.placementGroupCount) = (4, 4)
        let other = PGID(pool: pool.id, seed: 2)
        func load(_ id: PGID, _ pool: Pool) -> PlacementGroup<GroupHost> {
            PlacementGroup(
                id: id, slot: GroupSlot(index: 0), pool: pool, intervals: whole.intervals, environment: host)
        }
        let epoch = whole.intervals.current.first.next
        #expect(whole.isCut(before: epoch))
        whole.split(into: [load(other, pool)], pool, at: epoch)
        try #require(host.store.pending.count == 2)
        host.store.crash(keeping: stored)
        let again = load(whole.id, script.cluster.pool)
        #expect(again.isCut(before: epoch) == (stored < 2))
        if again.isCut(before: epoch) {
            again.split(into: [load(other, pool)], pool, at: epoch)
            host.store.crash(keeping: 2)
        }
        for id in [whole.id, other] {
            let half = load(id, pool)
            let own = before.filter { pool.group(ofHash: $0.object.hash) == id }
            #expect(!own.isEmpty && half.log.entries.filter { $0.kind != .error } == own)
            #expect(half.log.entries.map(\.version) == before.map(\.version))
            #expect(half.info.cutAt == epoch && half.info.lastUpdate == whole.info.lastUpdate)
            // What is not the half's own answers nobody.
            let foreign = before.filter { pool.group(ofHash: $0.object.hash) != id }
            #expect(foreign.allSatisfy { half.log.outcome(of: $0.request) == nil })
        }
    }
}
