import ClusterMap
import Testing
import Wire

@Suite struct SnapshotTests {
    /// Runs against a set of numbers.
    @Test func intervalsAreSets() throws {
        for seed: UInt64 in 1...100 {
            var state = seed
            func next(_ bound: UInt64) -> UInt64 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return (state >> 33) % bound
            }
            var (one, other) = (SnapIntervals(), SnapIntervals())
            var (a, b) = (Set<UInt64>(), Set<UInt64>())
            for _ in 0..<60 {
                let value = next(40) + 1
                switch next(4) {
                case 0, 1:
                    one.insert(SnapID(value))
                    a.insert(value)
                case 2:
                    one.remove(SnapID(value))
                    a.remove(value)
                default:
                    other.insert(value...value + 2)
                    b.formUnion(value...value + 2)
                }
                let runs = one.runs.flatMap { Array($0) }
                #expect(runs == a.sorted(), "seed \(seed)")
                for (left, right) in zip(one.runs, one.runs.dropFirst()) {
                    #expect(left.upperBound + 1 < right.lowerBound, "seed \(seed): \(one)")
                }
                #expect(one.subtracting(other).runs.flatMap { Array($0) } == a.subtracting(b).sorted(), "seed \(seed)")
                #expect(one.intersection(other).runs.flatMap { Array($0) } == a.intersection(b).sorted())
                #expect((1...44).allSatisfy { one.contains(SnapID($0)) == a.contains($0) })
                #expect(one.count == UInt64(a.count))
            }
            var reader = ByteReader(.encoding { one.encode(into: &$0) })
            #expect(try SnapIntervals(from: &reader) == one)
        }
    }

    @Test func runsThatTouchOrOverlapAreRefused() {
        func decode(_ runs: [(UInt64, UInt64)]) throws -> SnapIntervals {
            var reader = ByteReader(
                .encoding { writer in
                    writer.writeArray(runs) {
                        $0.writeU64($1.0)
                        $0.writeU64($1.1)
                    }
                })
            return try SnapIntervals(from: &reader)
        }
        #expect(throws: WireError.self) { try decode([(1, 2), (3, 4)]) }
        #expect(throws: WireError.self) { try decode([(0, 2)]) }
        #expect(throws: WireError.self) { try decode([(5, 4)]) }
        #expect(throws: WireError.self) { try decode([(5, .max)]) }
        #expect(throws: WireError.self) { try decode([(5, 6), (1, 2)]) }
        #expect((try? decode([(1, 2), (4, 4)]))?.description == "1-2,4")
    }

    @Test func aPoolGivesNumbersOnceAndForgetsWhatIsTrimmed() throws {
        var snapshots = PoolSnapshots()
        let made = [snapshots.create(), snapshots.create()]
        #expect(made == [SnapID(1), SnapID(2)])
        let removed = [SnapID(3), .none, SnapID(2)].map { snapshots.remove($0) }
        #expect(removed == [false, false, true])
        let third = snapshots.create()
        #expect(third == SnapID(3))
        #expect(snapshots.trimming.contains(SnapID(2)))
        snapshots.trimmed(snapshots.trimming)
        // Removed for ever, and not trimmed again when its removal is asked for again.
        let again = snapshots.remove(SnapID(2))
        #expect(again && snapshots.trimming.isEmpty && snapshots.removed.contains(SnapID(2)))

        var pool = Pool(
            id: PoolID(1), name: "p", size: 3, minSize: 2, groupCount: 4, rule: 0, created: Epoch(1))
        pool.snapshots = snapshots
        var reader = ByteReader(.encoding { pool.encode(into: &$0) })
        #expect(try Pool(from: &reader) == pool)
    }
}
