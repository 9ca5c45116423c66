import ClusterMap
import Testing
import Wire

/// Which groups are concerned when a pool gets fewer.
@Suite struct MergingTests {
    private func pool(_ count: UInt32) -> Pool {
        Pool(id: PoolID(1), name: "p", size: 3, minSize: 2, groupCount: count, rule: 0, created: Epoch(1))
    }

    /// A group is concerned exactly when the hashes that it takes are others afterwards.
    @Test func concernedAreTheGroupsWhoseObjectsChange() {
        for count in UInt32(2)...40 {
            for smaller in 1..<count {
                for seed in 0..<count {
                    let isSame =
                        seed < smaller && Pool.bits(ofGroup: seed, of: count) == Pool.bits(ofGroup: seed, of: smaller)
                    #expect(
                        Pool.isMerged(seed, from: count, to: smaller) == !isSame, "\(seed) from \(count) to \(smaller)")
                }
            }
        }
    }

    @Test func theWayThereSurvivesTheCodec() throws {
        var pool = pool(12)
        pool.setGroupCount(5)
        pool.lowering?.pending = 6
        pool.merge = Pool.Merge(epoch: Epoch(9), versions: [3: Version(epoch: Epoch(4), counter: 7)])
        let encoded = Bytes.encoding { pool.encode(into: &$0) }
        var reader = ByteReader(encoded)
        #expect(try Pool(from: &reader) == pool)
        // Version 4 had a number behind the merge's epoch, before the list of one version that ends it.
        var old = encoded.array
        old.insert(contentsOf: [16, 0, 0, 0], at: old.count - 20)
        (old[0], old[1], old[2]) = (4, 4, old[2] + 4)
        reader = ByteReader(Bytes(old))
        #expect(try Pool(from: &reader) == pool)
        #expect((0..<12).filter(pool.isQuiet) == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11])
        pool.lowering?.pending = 12
        reader = ByteReader(Bytes.encoding { pool.encode(into: &$0) })
        #expect(throws: WireError.self) { try Pool(from: &reader) }
    }

    /// The joined history begins after everything that any of the groups had.
    @Test func theJoinedVersionIsTheNewest() {
        let versions = [UInt32(1): Version(epoch: Epoch(8), counter: 3), 5: Version(epoch: Epoch(2), counter: 40)]
        let merge = Pool.Merge(epoch: Epoch(9), versions: versions)
        let joined = merge.joined([1, 5])
        #expect(joined == Version(epoch: Epoch(9), counter: 40) && versions.values.allSatisfy { $0 < joined })
    }
}
