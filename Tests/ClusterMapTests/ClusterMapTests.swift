import AllocationCounter
import CRUSH
import ClusterMap
import Foundation
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

    /// Where a group is costs no memory once the buffer has grown, whatever the map has of exceptions.
    @Test func mappingAllocatesNothing() throws {
        var map = try sample()
        for number in 0..<4 { map.osds[OSDID(Int32(number))]?.primaryAffinity = 0x4000 }
        map.exceptions.upmapItems[PGID(pool: PoolID(1), seed: 1)] = [UpmapItem(from: OSDID(0), to: OSDID(3))]
        map.exceptions.upmaps[PGID(pool: PoolID(1), seed: 2)] = [OSDID(3), OSDID(1), OSDID(0)]
        map.exceptions.temporary[PGID(pool: PoolID(1), seed: 3)] = [OSDID(1), OSDID(2)]
        let pool = try #require(map.pools[PoolID(1)])
        var buffer = OSDMap.PlacementBuffer()
        for seed in 0..<pool.groupCount { map.place(seed, in: pool, into: &buffer) }
        let before = allocation_count()
        var sum = 0
        for round in 0..<10_000 as Range<UInt32> {
            map.place(round % pool.groupCount, in: pool, into: &buffer)
            sum += buffer.acting.count
        }
        let allocations = allocation_count() - before
        #expect(allocations == 0)
        #expect(sum > 20_000)
        // The counter counts.
        let more = [UInt8](repeating: 1, count: 100_000 + sum)
        #expect(allocation_count() - before > 0 && more[sum] == 1)
    }

    @Test func anIncrementChangesExceptionsAndTakesThemOut() throws {
        let map = try sample()
        let (first, second) = (PGID(pool: PoolID(1), seed: 1), PGID(pool: PoolID(1), seed: 2))
        var increment = OSDMap.Increment(epoch: Epoch(2))
        increment.exceptions.upmapItems = [first: [UpmapItem(from: OSDID(0), to: OSDID(3))]]
        increment.exceptions.upmaps = [second: [OSDID(1), OSDID(2), OSDID(3)]]
        increment.exceptions.temporary = [first: [OSDID(2), OSDID(1)], second: [OSDID(0), .none]]
        increment.exceptions.temporaryPrimaries = [second: OSDID(3)]
        increment.resultChecksum = Checksum.crc32c(map.changed(by: increment).encoded)
        let next = try map.applying(try OSDMap.Increment(decoding: increment.encoded))
        #expect(next.exceptions == increment.exceptions)
        #expect(try OSDMap(decoding: next.encoded).exceptions == next.exceptions)
        var back = OSDMap.Increment(epoch: Epoch(3))
        back.exceptions.upmapItems = [first: []]
        back.exceptions.upmaps = [second: []]
        back.exceptions.temporary = [first: [], second: []]
        back.exceptions.temporaryPrimaries = [second: .none]
        #expect(!back.isEmpty)
        back.resultChecksum = Checksum.crc32c(next.changed(by: back).encoded)
        let last = try next.applying(try OSDMap.Increment(decoding: back.encoded))
        #expect(last.exceptions.isEmpty)
        // A pool goes with its exceptions.
        var gone = OSDMap.Increment(epoch: Epoch(3))
        gone.removedPools = [PoolID(1)]
        #expect(next.changed(by: gone).exceptions.isEmpty)
    }

    @Test func theTableKeepsWhatPlacementAsks() {
        var table = OSDTable()
        var generator = BalancerTests.Seeded(state: 7)
        var model: [OSDID: OSDRecord] = [:]
        for round in 0..<2000 as Range<UInt64> {
            let id = OSDID(Int32.random(in: 0..<40, using: &generator))
            if Bool.random(using: &generator) {
                var record = OSDRecord(uuid: UniqueID(high: round, low: 0))
                record.reweight = UInt32.random(in: 0...0x10000, using: &generator)
                table[id] = record
                model[id] = record
            } else {
                table[id] = nil
                model[id] = nil
            }
            #expect(table.count == model.count && table.isEmpty == model.isEmpty)
            #expect(table.keys == model.keys.sorted())
            #expect(table.map(\.value) == model.sorted { $0.key < $1.key }.map(\.value))
            let reweights = (0..<40).map { model[OSDID($0)]?.reweight ?? 0 }
            #expect(table.reweights.map(\.rawValue) == Array(reweights.prefix(table.reweights.count)))
            #expect(reweights.dropFirst(table.reweights.count).allSatisfy { $0 == 0 })
        }
        var other = OSDTable()
        for (id, record) in model { other[id] = record }
        #expect(other == table)
        #expect(table[OSDID(-1)] == nil && table[.none] == nil)
    }

    /// What a peer sends is a map, or an error: never a crash.
    @Test func noiseIsRefused() throws {
        var map = try sample()
        map.exceptions.upmapItems[PGID(pool: PoolID(1), seed: 1)] = [UpmapItem(from: OSDID(0), to: OSDID(3))]
        map.exceptions.temporary[PGID(pool: PoolID(1), seed: 3)] = [OSDID(1), OSDID(2)]
        var increment = OSDMap.Increment(epoch: Epoch(2))
        increment.osds[OSDID(1)] = map.osds[OSDID(1)]
        increment.exceptions = map.exceptions
        increment.crush = map.crush
        var generator = BalancerTests.Seeded(state: BalancerTests.seed)
        var understood = 0
        for whole in [map.encoded.array, increment.encoded.array] {
            for length in 0..<whole.count {
                let cut = Bytes(Array(whole[..<length]))
                #expect(throws: WireError.self) { _ = try OSDMap(decoding: cut) }
                #expect(throws: WireError.self) { _ = try OSDMap.Increment(decoding: cut) }
            }
            for _ in 0..<20_000 {
                var bytes = whole
                for _ in 0...Int.random(in: 0..<4, using: &generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                        in: 0...255, using: &generator)
                }
                if let map = try? OSDMap(decoding: Bytes(bytes)) {
                    understood += 1
                    for pool in map.poolsInOrder where pool.groupCount < 1000 { _ = map.placements(of: pool) }
                    _ = map.staleUpmaps
                }
                if let change = try? OSDMap.Increment(decoding: Bytes(bytes)) { _ = try? map.applying(change) }
            }
        }
        #expect(understood > 100)
    }

    @Test func versionOneIsStillRead() throws {
        // A pool of version 1: no kind, no hash, no flag.
        let old = Bytes.encoding { writer in
            writer.versioned(1) { w in
                w.writeI64(3)
                w.writeString("old")
                w.writeU8(3)
                w.writeU8(2)
                w.writeU32(8)
                w.writeU32(8)
                w.writeI32(0)
                w.writeU32(1)
                w.writeString("rbd")
            }
        }
        var reader = ByteReader(old)
        let pool = try Pool(from: &reader)
        #expect(pool.name == "old" && pool.kind == .replicated && pool.objectHash == .rjenkins && pool.hashesPoolNumber)
    }

    @Test func groupsAreNamedAsAdministratorsNameThem() {
        #expect(PGID("1.2f") == PGID(pool: PoolID(1), seed: 0x2f))
        #expect(PGID("12.0")?.description == "12.0")
        for bad in ["", "1", "1.", ".1", "1.x", "-1.0", "1.1.1", "1.123456789", "1.-1", "1.+1"] {
            #expect(PGID(bad) == nil)
        }
    }

    @Test func endpointsParse() {
        #expect(Endpoint("127.0.0.1:6789") == Endpoint(host: "127.0.0.1", port: 6789))
        #expect(Endpoint("[::1]:80")?.description == "[::1]:80")
        #expect(Endpoint("localhost", defaultPort: 6789)?.isLoopback == true)
        for bad in ["", ":1", "host", "host:", "host:65536", "a:b:1", "[::1]x:1"] { #expect(Endpoint(bad) == nil) }
    }
}
