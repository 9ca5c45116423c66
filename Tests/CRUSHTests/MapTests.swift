import CRUSH
import Testing
import Wire

@Suite struct MapTests {
    /// The profiles as Ceph has them; those of a release leave the version of straws as it is.
    @Test func profilesAreThoseOfTheField() throws {
        let expected: [(name: String, values: [UInt32])] = [
            ("argonaut", [2, 5, 19, 0, 0, 0, 22]), ("legacy", [2, 5, 19, 0, 0, 0, 22]),
            ("bobtail", [0, 0, 50, 1, 0, 0, 22]), ("firefly", [0, 0, 50, 1, 1, 0, 22]),
            ("hammer", [0, 0, 50, 1, 1, 0, 54]), ("jewel", [0, 0, 50, 1, 1, 1, 54]),
            ("optimal", [0, 0, 50, 1, 1, 1, 54]), ("default", [0, 0, 50, 1, 1, 1, 54]),
        ]
        #expect(Tunables.profiles.keys.sorted() == expected.map(\.name).sorted())
        for version in [UInt8(0), 1, 7] {
            var start = Tunables.jewel
            start.strawCalculationVersion = version
            for (name, values) in expected {
                let tunables = try #require(start.adopting(profile: name))
                let has: [UInt32] = [
                    tunables.chooseLocalTries, tunables.chooseLocalFallbackTries, tunables.chooseTotalTries,
                    tunables.chooseleafDescendOnce ? 1 : 0, UInt32(tunables.chooseleafVaryR),
                    tunables.chooseleafStable ? 1 : 0, tunables.allowedBucketKinds,
                ]
                #expect(has == values, "\(name)")
                let straws: UInt8 =
                    switch name {
                    case "argonaut", "legacy": 0
                    case "optimal", "default": 1
                    default: version
                    }
                #expect(tunables.strawCalculationVersion == straws, "\(name)")
            }
        }
        #expect(Tunables.jewel.adopting(profile: "kraken") == nil)
    }

    private func cluster(hosts: Int, osdsPerHost: Int) throws -> CRUSHMap {
        var map = CRUSHMap.newCluster()
        for osd in 0..<hosts * osdsPerHost {
            try map.add(OSDID(Int32(osd)), weight: .one, host: "host\(osd / osdsPerHost)")
        }
        return map
    }

    @Test func replicasAreOnDifferentHosts() throws {
        let map = try cluster(hosts: 3, osdsPerHost: 2)
        let weights = [CRUSHWeight](repeating: .one, count: 6)
        var result: [ItemID] = []
        for input in 0..<1000 as Range<UInt32> {
            map.map(rule: RuleID(0), input: input, count: 3, weights: weights, into: &result)
            #expect(Set(result.map { $0.rawValue / 2 }) == [0, 1, 2])
            map.map(rule: RuleID(0), input: input, count: 4, weights: weights, into: &result)
            #expect(result.count == 3)
        }
    }

    /// With every OSD in, the hosts that `choose` emits are those whose devices `chooseleaf` finds.
    @Test func bucketsCanBeChosenThemselves() throws {
        let map = try cluster(hosts: 5, osdsPerHost: 2)
        let rule = Rule(
            id: RuleID(1), name: "hosts", steps: [.take(ItemID(-1)), .chooseFirstN(count: 0, type: .host), .emit])
        let both = try CRUSHMap(
            tunables: map.tunables, types: map.types, devices: map.devices, buckets: map.buckets,
            rules: map.rules + [rule])
        let weights = [CRUSHWeight](repeating: .one, count: 10)
        var hosts: [ItemID] = []
        var devices: [ItemID] = []
        for input in 0..<1000 as Range<UInt32> {
            both.map(rule: RuleID(0), input: input, count: 3, weights: weights, into: &devices)
            both.map(rule: RuleID(1), input: input, count: 3, weights: weights, into: &hosts)
            #expect(hosts.count == 3 && devices.flatMap { map.parents(of: $0).map(\.id) } == hosts)
        }
    }

    @Test func thereIsNothingWithoutRuleOrWeights() throws {
        let map = try cluster(hosts: 3, osdsPerHost: 1)
        var result = [ItemID(7)]
        for rule in [-1, 1, 1000, Int32.max, Int32.min] {
            map.map(rule: RuleID(rule), input: 1, count: 3, weights: [.one, .one, .one], into: &result)
            #expect(result.isEmpty)
        }
        map.map(rule: RuleID(0), input: 1, count: 3, weights: [], into: &result)
        #expect(result.isEmpty)
        map.map(rule: RuleID(0), input: 1, count: 0, weights: [.one, .one, .one], into: &result)
        #expect(result.isEmpty)
        CRUSHMap.newCluster().map(rule: RuleID(0), input: 1, count: 3, weights: [.one], into: &result)
        #expect(result.isEmpty)
    }

    @Test func weightsFollowUpwards() throws {
        var map = try cluster(hosts: 2, osdsPerHost: 2)
        #expect(map.bucket(named: "default")?.weight == CRUSHWeight(4 << 16))
        try map.reweight(OSDID(3), to: CRUSHWeight(0x8000))
        #expect(map.bucket(named: "host1")?.weight == CRUSHWeight(0x18000))
        #expect(map.bucket(named: "default")?.weight == CRUSHWeight(0x38000))
        try map.remove(OSDID(0))
        #expect(map.bucket(named: "default")?.weight == CRUSHWeight(0x28000))
        #expect(!map.contains(OSDID(0)) && map.contains(OSDID(1)))
        #expect(map.parents(of: ItemID(OSDID(1))).map(\.name) == ["host0"])
    }

    @Test func refusedChangesLeaveTheMapAlone() throws {
        let before = try cluster(hosts: 2, osdsPerHost: 1)
        var map = before
        #expect(throws: CRUSHError.self) { try map.add(OSDID(0), weight: .one, host: "host1") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(-1), weight: .one, host: "host1") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(1 << 20), weight: .one, host: "host1") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(5), weight: .one, host: "default") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(5), weight: .one, host: "") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(5), weight: .one, host: "a b") }
        #expect(throws: CRUSHError.self) { try map.add(OSDID(5), weight: .one, host: "new", root: "nowhere") }
        #expect(throws: CRUSHError.self) { try map.remove(OSDID(5)) }
        #expect(throws: CRUSHError.self) { try map.reweight(OSDID(5), to: .one) }
        #expect(throws: CRUSHError.self) { try map.reweight(OSDID(-2), to: .one) }
        #expect(throws: CRUSHError.self) { try map.reweight(OSDID(0), to: CRUSHWeight(.max)) }
        #expect(throws: CRUSHError.self) { try map.removeBucket(named: "host0") }
        #expect(throws: CRUSHError.self) { try map.removeBucket(named: "nowhere") }
        #expect(throws: CRUSHError.self) {
            _ = try map.addReplicatedRule(named: CRUSHMap.defaultRule, failureDomain: .host)
        }
        #expect(throws: CRUSHError.self) { _ = try map.addReplicatedRule(named: "r", failureDomain: TypeID(99)) }
        #expect(throws: CRUSHError.self) { try map.removeRule(RuleID(3)) }
        #expect(map == before)
    }

    @Test func aBucketThatARuleTakesStays() throws {
        var map = CRUSHMap.newCluster()
        #expect(throws: CRUSHError.self) { try map.removeBucket(named: "default") }
        try map.removeRule(RuleID(0))
        try map.removeBucket(named: "default")
        #expect(map.buckets.isEmpty && map.rules.isEmpty)
    }

    @Test func aDeviceWeighsItsTebibytes() {
        #expect(CRUSHWeight(capacity: ByteCount(1 << 40)) == .one)
        #expect(CRUSHWeight(capacity: ByteCount(3 << 39)) == CRUSHWeight(0x18000))
        #expect(CRUSHWeight(capacity: .zero) == CRUSHWeight(1))
        #expect(CRUSHWeight(capacity: ByteCount(.max)) == CRUSHLimits.deviceWeight)
        #expect("\(CRUSHWeight(0x18000))" == "1.500")
    }
}
