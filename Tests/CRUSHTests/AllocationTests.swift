import AllocationCounter
import CRUSH
import Testing
import Wire

@Suite struct AllocationTests {
    /// The counter counts, or the other test would prove nothing.
    @Test func allocationsAreCounted() {
        let before = allocation_count()
        let array = [UInt8](repeating: 1, count: 10_000)
        #expect(allocation_count() > before && array.count == 10_000)
    }

    /// Once the result has room, a mapping allocates nothing: for all kinds of buckets, steps, tunables and choose arguments.
    @Test func mappingsAllocateNothing() throws {
        var random = Seeded(testSeed("mappingsAllocateNothing"))
        for _ in 0..<60 {
            var maker = MapMaker(Seeded(random.next()))
            let map = try maker.make()
            let weights = [CRUSHWeight](repeating: .one, count: 300)
            var result: [ItemID] = []
            result.reserveCapacity(CRUSHLimits.replicas)
            let rules = map.rules.map(\.id)
            // Once for what is made with the first use.
            map.map(rule: rules[0], input: 0, count: 3, weights: weights, into: &result)
            let before = allocation_count()
            for rule in rules {
                for input in 0..<100 as Range<UInt32> {
                    map.map(rule: rule, input: input, count: 6, weights: weights, pool: 5, into: &result)
                }
            }
            #expect(allocation_count() == before, "\(map.text)")
        }
    }
}
