import CRUSH
import Testing
import Wire

@Suite struct CodingTests {
    private func decode(_ bytes: Bytes) throws(WireError) -> CRUSHMap {
        var reader = ByteReader(bytes)
        let map = try CRUSHMap(from: &reader)
        try reader.expectEnd()
        return map
    }

    private func encode(_ map: CRUSHMap) -> Bytes { Bytes.encoding { map.encode(into: &$0) } }

    @Test func mapsComeBackTheSame() throws {
        var random = Seeded(testSeed("mapsComeBackTheSame"))
        for _ in 0..<50 {
            var maker = MapMaker(Seeded(random.next()))
            let map = try maker.make()
            let bytes = encode(map)
            let back = try decode(bytes)
            #expect(back == map && encode(back) == bytes && back.hashValue == map.hashValue)
        }
    }

    /// Flipped bits and cut ends are refused or give another valid map, which can be mapped, written and encoded.
    @Test func damageNeverCrashes() throws {
        var random = Seeded(testSeed("damageNeverCrashes"))
        var accepted = 0
        for _ in 0..<10 {
            var maker = MapMaker(Seeded(random.next()))
            let bytes = encode(try maker.make())
            for _ in 0..<20 {
                let cut = Int.random(in: 0..<bytes.count, using: &random)
                #expect(throws: WireError.self) { try decode(bytes[0..<cut]) }
            }
            for _ in 0..<500 {
                var damaged = bytes.array
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let place = Int.random(in: 0..<damaged.count, using: &random)
                    damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                }
                guard let map = try? decode(Bytes(damaged)) else { continue }
                accepted += 1
                var result: [ItemID] = []
                let weights = [CRUSHWeight](repeating: .one, count: 200)
                for rule in map.rules {
                    map.map(rule: rule.id, input: UInt32(accepted), count: 3, weights: weights, into: &result)
                }
                #expect(try decode(encode(map)) == map)
                #expect(!map.text.isEmpty)
            }
        }
        print("damageNeverCrashes: \(accepted) of 5000 damaged maps were valid")
        #expect(accepted > 0)
    }

    /// Valid parts, for breaking one at a time.
    private struct Parts {
        var tunables = Tunables.jewel
        var types: [TypeID: String] = [.osd: "osd", .host: "host", .root: "root"]
        var devices = [Device(id: OSDID(0), name: "osd.0"), Device(id: OSDID(1), name: "osd.1")]
        var buckets = [
            Bucket(id: ItemID(-1), name: "top", type: .root, items: [.init(id: ItemID(-2), weight: .one)]),
            Bucket(id: ItemID(-2), name: "a", type: .host, items: [.init(id: ItemID(0), weight: .one)]),
        ]
        var rules = [Rule(id: RuleID(0), name: "r", steps: [.take(ItemID(-1)), .emit])]

        func make() throws -> CRUSHMap {
            try CRUSHMap(tunables: tunables, types: types, devices: devices, buckets: buckets, rules: rules)
        }
    }

    @Test func whatIsNoMapIsRefused() throws {
        _ = try Parts().make()
        func refuses(_ word: String, _ change: (inout Parts) -> Void) {
            var parts = Parts()
            change(&parts)
            do {
                _ = try parts.make()
                Issue.record("'\(word)' was not noticed")
            } catch {
                #expect("\(error)".contains(word), "\(error)")
            }
        }
        refuses("cycle") { $0.buckets[1].items.append(.init(id: ItemID(-1), weight: .one)) }
        refuses("cycle") { $0.buckets[1].items.append(.init(id: ItemID(-2), weight: .one)) }
        refuses("does not exist") { $0.buckets[1].items.append(.init(id: ItemID(7), weight: .one)) }
        refuses("does not exist") { $0.buckets[1].items.append(.init(id: ItemID(-7), weight: .one)) }
        refuses("above 100.000") { $0.buckets[1].items[0].weight = CRUSHWeight(.max) }
        refuses("above 65535.000") { $0.buckets[0].items[0].weight = CRUSHWeight(.max) }
        refuses("add up") {
            $0.buckets[0].items[0].weight = CRUSHLimits.bucketWeight
            $0.buckets[0].items.append(.init(id: ItemID(1), weight: .one))
        }
        refuses("twice") { $0.buckets[1].items.append($0.buckets[1].items[0]) }
        refuses("twice") { $0.buckets.append($0.buckets[1]) }
        refuses("twice") { $0.devices.append($0.devices[1]) }
        refuses("twice") { $0.buckets[1].name = "osd.0" }
        refuses("twice") { $0.rules.append($0.rules[0]) }
        refuses("twice") { $0.types[TypeID(3)] = "host" }
        refuses("not one of buckets") { $0.buckets[1].type = .osd }
        refuses("not one of buckets") { $0.buckets[1].type = TypeID(5) }
        refuses("type 0") { $0.types[.osd] = nil }
        refuses("from -1 to") { $0.buckets[1].id = ItemID(4) }
        refuses("from -1 to") { $0.buckets[1].id = ItemID(.min) }
        refuses("from 0 to") { $0.devices[1].id = OSDID(.max) }
        refuses("from 0 to") { $0.rules[0].id = RuleID(256) }
        refuses("takes item") { $0.rules[0].steps[0] = .take(ItemID(-9)) }
        refuses("chooses type") { $0.rules[0].steps.append(.chooseFirstN(count: 1, type: TypeID(9))) }
        refuses("at most 64") { $0.rules[0].steps.append(.chooseFirstN(count: .min, type: .osd)) }
        refuses("fallback") { $0.tunables.chooseLocalFallbackTries = 1001 }
        refuses("tries") { $0.tunables.chooseTotalTries = .max }
        refuses("vary_r") { $0.tunables.chooseleafVaryR = 32 }
        refuses("may hold only") { $0.buckets[1].name = "a b" }
        refuses("nested") { parts in
            for depth in 0..<Int32(CRUSHLimits.depth) {
                let item = Bucket.Item(id: ItemID(depth == 0 ? -1 : -2 - depth), weight: .one)
                parts.buckets.append(Bucket(id: ItemID(-3 - depth), name: "d\(depth)", type: .host, items: [item]))
            }
        }
    }
}
