import CRUSH
import ClusterMap
import Testing
import Wire

@Suite struct ClusterMapTests {
    func sample() throws -> OSDMap {
        var map = OSDMap(cluster: UniqueID(high: 1, low: 2), crush: .newCluster(failureDomain: .osd))
        for index in 0..<4 {
            let id = OSDID(Int32(index))
            try map.crush.add(id, weight: .one, host: "host\(index)")
            var record = OSDRecord(uuid: UniqueID(high: 3, low: UInt64(index)))
            record.isUp = true
            record.endpoint = Endpoint(host: "127.0.0.1", port: 6800 + UInt16(index))
            map.osds[id] = record
        }
        map.epoch = Epoch(1)
        map.pools[PoolID(1)] = Pool(
            id: PoolID(1), name: "rbd", size: 3, minSize: 2, groupCount: 12, rule: 0, created: Epoch(1))
        return map
    }

    @Test func theMapRoundTripsAndEqualMapsGiveEqualBytes() throws {
        let map = try sample()
        let copy = try OSDMap(decoding: map.encoded)
        #expect(copy.encoded == map.encoded)
        #expect(copy.pools == map.pools && copy.osds == map.osds)
    }

    @Test func anIncrementIsCheckedByItsResult() throws {
        let map = try sample()
        var increment = OSDMap.Increment(epoch: Epoch(2))
        var record = try #require(map.osds[OSDID(1)])
        record.isUp = false
        increment.osds[OSDID(1)] = record
        increment.resultChecksum = Checksum.crc32c(map.changed(by: increment).encoded)
        let decoded = try OSDMap.Increment(decoding: increment.encoded)
        let next = try map.applying(decoded)
        #expect(next.epoch == Epoch(2) && !next.isUp(OSDID(1)))
        #expect(throws: OSDMap.IncrementError.wrongEpoch(have: Epoch(2), increment: Epoch(2))) {
            try next.applying(decoded)
        }
        var lying = decoded
        lying.resultChecksum ^= 1
        #expect(throws: OSDMap.IncrementError.wrongResult(Epoch(2))) { try map.applying(lying) }
    }

    @Test func groupsAreOnDistinctOSDsAndDownOnesAreLeftOut() throws {
        var map = try sample()
        for placement in map.placements(of: try #require(map.pools[PoolID(1)])) {
            #expect(Set(placement.acting).count == 3)
        }
        map.osds[OSDID(2)]?.isUp = false
        let pool = try #require(map.pools[PoolID(1)])
        for (group, placement) in zip(pool.groups, map.placements(of: pool)) {
            #expect(!placement.acting.contains(OSDID(2)))
            #expect(placement == map.placement(of: group))
        }
    }

    /// Raising the count by one moves only the values of one group, and every group's objects share its lowest bits.
    @Test(arguments: [1, 2, 3, 7, 8, 12, 100] as [UInt32]) func stableModuloSplitsOneGroupAtATime(count: UInt32) {
        let pool = Pool(
            id: PoolID(1), name: "p", size: 1, minSize: 1, groupCount: count, rule: 0, created: Epoch(1))
        var moved = Set<UInt32>()
        for value in (0..<5000).map({ UInt32($0) &* 2_654_435_761 }) {
            let now = Pool.stableModulo(value, count)
            let later = Pool.stableModulo(value, count + 1)
            #expect(now < count)
            if now != later {
                #expect(later == count)
                moved.insert(now)
            }
            let bits = pool.bits(ofGroup: now)
            #expect(bits == 0 || value & (UInt32.max >> UInt32(32 - bits)) == now)
        }
        #expect(moved.count <= 1)
    }

    @Test func endpointsParse() {
        #expect(Endpoint("127.0.0.1:6789") == Endpoint(host: "127.0.0.1", port: 6789))
        #expect(Endpoint("[::1]:80")?.description == "[::1]:80")
        #expect(Endpoint("localhost", defaultPort: 6789)?.isLoopback == true)
        for bad in ["", ":1", "host", "host:", "host:65536", "a:b:1", "[::1]x:1"] { #expect(Endpoint(bad) == nil) }
    }
}
