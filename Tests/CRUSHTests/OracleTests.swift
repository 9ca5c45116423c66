import CRUSH
import Testing
import Wire

/// Made-up maps, given as text to Ceph's `crushtool`, must map, decompile and change there as they do here.
@Suite struct OracleTests {
    /// Mappings of random maps, rules, replica counts and reweights, line by line.
    @Test func randomMapsMapAsCrushtoolDoes() throws {
        var random = Seeded(testSeed("randomMapsMapAsCrushtoolDoes"))
        let tool = try Crushtool()
        var lines = 0
        var partial = 0
        for round in 0..<48 {
            var maker = MapMaker(Seeded(random.next()))
            let map = try maker.make()
            try tool.compile(map.text, to: "map")
            let weights = reweights(of: map, &random)
            let count = [1, 2, 2, 3, 3, 3, 4, 6].randomElement(using: &random) ?? 3
            let first = random.oneIn(4) ? UInt32.random(in: 0...0x7fff_0000, using: &random) : 0
            let inputs = first...first + 1499
            var arguments = ["-i", tool.path("map"), "--test", "--show-mappings", "--num-rep", "\(count)"]
            arguments += ["--min-x", "\(inputs.lowerBound)", "--max-x", "\(inputs.upperBound)"]
            for (osd, weight) in weights.enumerated() where map.contains(OSDID(Int32(osd))) && weight != .one {
                arguments += ["--weight", "\(osd)", exactText(weight)]
            }
            let theirs = try tool.run(arguments).split(separator: "\n")
            let ours = mappings(of: map, inputs: inputs, count: count, weights: weights, partial: &partial)
            lines += ours.count
            guard ours.count == theirs.count, let index = zip(ours, theirs).enumerated().first(where: { $1.0 != $1.1 })
            else {
                #expect(ours.count == theirs.count, "round \(round)")
                continue
            }
            Issue.record("round \(round): ours '\(ours[index.offset])', theirs '\(theirs[index.offset])'\n\(map.text)")
            return
        }
        print("randomMapsMapAsCrushtoolDoes: \(lines) mappings, \(partial) of them short of the count")
        // The rare paths have to be among them: mappings that gave up, and ones that did not.
        #expect(partial > lines / 1000 && lines - partial > lines / 50)
    }

    /// The lines that `crushtool --test --show-mappings` writes.
    private func mappings(
        of map: CRUSHMap, inputs: ClosedRange<UInt32>, count: Int, weights: [CRUSHWeight], partial: inout Int
    ) -> [Substring] {
        var lines: [Substring] = []
        var result: [ItemID] = []
        for rule in map.rules {
            for input in inputs {
                map.map(rule: rule.id, input: input, count: count, weights: weights, into: &result)
                if result.count < count { partial += 1 }
                let items = result.map(\.description).joined(separator: ",")
                lines.append("CRUSH rule \(rule.id) x \(input) [\(items)]")
            }
        }
        return lines
    }

    /// Mostly 1, some 0 and some in between, for each number up to the largest device.
    private func reweights(of map: CRUSHMap, _ random: inout Seeded) -> [CRUSHWeight] {
        let all = random.oneIn(3)
        return (0...(map.devices.last?.id.rawValue ?? 0)).map { _ in
            if all || !random.oneIn(3) { return .one }
            return random.oneIn(3) ? .zero : CRUSHWeight(UInt32.random(in: 1...0xffff, using: &random))
        }
    }

    /// A weight below 1 with all 16 decimals.
    private func exactText(_ weight: CRUSHWeight) -> String {
        let digits = String(UInt64(weight.rawValue) * 152_587_890_625)
        return "0." + String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// Every weight of every bucket and item arrives unchanged, and where three decimals are enough, so does the text.
    @Test func textCompilesToTheSameMap() throws {
        var random = Seeded(testSeed("textCompilesToTheSameMap"))
        let tool = try Crushtool()
        for round in 0..<40 {
            var maker = MapMaker(Seeded(random.next()))
            let map = try maker.make()
            try tool.compile(map.text, to: "map")
            let dump = try tool.run(["-i", tool.path("map"), "--dump"])
            let theirs = dump.split(separator: "\n").compactMap { line -> UInt32? in
                let words = line.split { $0 == " " || $0 == "," }
                return words.first == "\"weight\":" ? UInt32(words[1]) : nil
            }
            let ours = map.buckets.flatMap { [$0.weight.rawValue] + $0.items.map(\.weight.rawValue) }
            #expect(ours == theirs, "round \(round)\n\(map.text)")
            let rounded = try map.roundedToThreeDecimals()
            try tool.compile(rounded.text, to: "map")
            #expect(try tool.decompile("map") == rounded.text, "round \(round)")
        }
    }

    @Test func theMapOfANewClusterIsOneToCrushtool() throws {
        let tool = try Crushtool()
        for domain in [TypeID.osd, .host] {
            let map = CRUSHMap.newCluster(failureDomain: domain)
            try tool.compile(map.text, to: "map")
            #expect(try tool.decompile("map") == map.text)
        }
    }

    /// Weights as large as they may be, which need more than the 24 bits of a float only where a bucket holds buckets.
    @Test func theLimitsAreThoseOfCrushtool() throws {
        let tool = try Crushtool()
        var map = CRUSHMap.newCluster()
        try map.add(OSDID(Int32(CRUSHLimits.devices - 1)), weight: CRUSHLimits.deviceWeight, host: "a")
        try tool.compile(map.text, to: "map")
        #expect(try tool.decompile("map") == map.text)
        #expect(throws: CRUSHError.self) {
            try map.add(OSDID(1), weight: CRUSHWeight(CRUSHLimits.deviceWeight.rawValue + 1), host: "a")
        }
    }

    /// The same random additions, removals and reweights, by `crushtool` and by us; the maps have to stay the same.
    @Test func changesAreThoseOfCrushtool() throws {
        var random = Seeded(testSeed("changesAreThoseOfCrushtool"))
        let tool = try Crushtool()
        var map = CRUSHMap.newCluster()
        try tool.compile(map.text, to: "map")
        for step in 0..<60 {
            let osd = OSDID(Int32.random(in: 0..<16, using: &random))
            // Eighths, which three decimals can say.
            let eighths = UInt32.random(in: 0...80, using: &random)
            let weight = CRUSHWeight(eighths << 13)
            let host = "node-\(Int.random(in: 0..<5, using: &random))"
            var arguments = ["-i", tool.path("map"), "-o", tool.path("map")]
            if !map.contains(osd) {
                try map.add(osd, weight: weight, host: host)
                arguments += ["--add-item", "\(osd.rawValue)", "\(weight)", "\(osd)"]
                arguments += ["--loc", "host", host, "--loc", "root", CRUSHMap.defaultRoot]
            } else if random.oneIn(3) {
                try map.remove(osd)
                arguments += ["--remove-item", "\(osd)"]
            } else if let empty = map.buckets.first(where: { $0.items.isEmpty && $0.type == .host }) {
                try map.removeBucket(named: empty.name)
                arguments += ["--remove-item", empty.name]
            } else {
                try map.reweight(osd, to: weight)
                arguments += ["--reweight-item", "\(osd)", "\(weight)"]
            }
            try tool.run(arguments)
            let theirs = try tool.decompile("map")
            #expect(theirs == map.text, "step \(step): \(arguments.dropFirst(4))")
            guard theirs == map.text else { return }
        }
        let rule = try map.addReplicatedRule(named: "by-osd", failureDomain: .osd)
        #expect(rule == RuleID(1))
        try tool.run(
            ["-i", tool.path("map"), "-o", tool.path("map"), "--create-replicated-rule", "by-osd", "default", "osd"])
        #expect(try tool.decompile("map") == map.text)
    }
}

extension CRUSHMap {
    /// The same map with weights that are whole multiples of 1/8.
    fileprivate func roundedToThreeDecimals() throws -> CRUSHMap {
        let rounded = buckets.map { bucket in
            var bucket = bucket
            for index in bucket.items.indices { bucket.items[index].weight.rawValue &= ~0x1fff }
            return bucket
        }
        return try CRUSHMap(tunables: tunables, types: types, devices: devices, buckets: rounded, rules: rules)
    }
}
