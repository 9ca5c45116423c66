import CRUSH
import Glibc
import Testing
import Wire

/// Made-up maps, given as text to Ceph's `crushtool`, must map, decompile and change there as they do here.
@Suite struct OracleTests {
    /// How many hierarchies are made up: from NACRE_CRUSH_ROUNDS, else these.
    private static let rounds = getenv("NACRE_CRUSH_ROUNDS").flatMap { Int(String(cString: $0)) } ?? 200

    /// Mappings of random maps, rules, replica counts and reweights: everything that `--test` says, character by character.
    /// crushtool reads our compiled form, so that shadow trees are there also where it cannot make them itself.
    @Test func randomMapsMapAsCrushtoolDoes() throws {
        var random = Seeded(testSeed("randomMapsMapAsCrushtoolDoes"))
        let tool = try Crushtool()
        var mappings = 0
        var bad = 0
        for round in 0..<Self.rounds {
            var maker = MapMaker(Seeded(random.next()))
            let map = try maker.make()
            try tool.write(map.compiled, to: "map")
            var trial = self.trial(of: map, &random)
            let theirs = try tool.run(["-i", tool.path("map"), "--test"] + arguments(for: trial))
            var ours = ""
            try trial.run(on: map, write: { ours += $0 }, remark: { _ in })
            guard ours == theirs else {
                let pair = zip(lines(ours), lines(theirs)).first { $0 != $1 }
                Issue.record(
                    "round \(round): ours '\(pair?.0 ?? "")', theirs '\(pair?.1 ?? "")'\n\(arguments(for: trial))\n\(map.text)"
                )
                return
            }
            mappings += trial.replicas == nil ? 0 : map.rules.count * trial.inputs.count
            guard trial.replicas != nil else { continue }
            trial.showsMappings = false
            trial.showsStatistics = false
            trial.showsUtilization = false
            trial.showsFullUtilization = false
            trial.showsChooseTries = false
            trial.showsBadMappings = true
            try trial.run(on: map, write: { bad += lines($0).count }, remark: { _ in })
        }
        print(
            "randomMapsMapAsCrushtoolDoes: \(Self.rounds) maps, \(mappings) mappings, \(bad) of them short of the count"
        )
        // The rare paths have to be among them: mappings that gave up, and ones that did not.
        #expect(bad > mappings / 1000 && mappings - bad > mappings / 50)
    }

    /// Regressions: what random maps found once.
    @Test func aTypeThatTwoStepsChooseCountsTwice() throws {
        let tool = try Crushtool()
        var map = try CRUSHMap.layered(
            devices: 3,
            [.init(name: "host", kind: .straw2, size: 2), .init(name: "root", kind: .straw2, size: 0)])
        let root = try #require(map.item(named: "root"))
        let choose: [Rule.Step] = [.take(root), .chooseLeafFirstN(count: 0, type: .host), .emit]
        let rule = Rule(id: RuleID(0), name: "twice", minSize: 1, maxSize: 6, steps: choose + choose)
        map = try CRUSHMap(
            tunables: map.tunables, types: map.types, devices: map.devices, buckets: map.buckets, rules: [rule])
        try tool.write(map.compiled, to: "map")
        var trial = MappingTrial()
        trial.showsFullUtilization = true
        var ours = ""
        try trial.run(on: map, write: { ours += $0 }, remark: { _ in })
        #expect(try ours == tool.run(["-i", tool.path("map"), "--test", "--show-utilization-all"]))
    }

    @Test func aTrialThatShowsNothingSaysSo() throws {
        var remarks = ""
        try MappingTrial().run(on: .newCluster(), write: { #expect($0.isEmpty) }, remark: { remarks += $0 })
        #expect(remarks.hasPrefix("WARNING: no output selected") && remarks.hasSuffix("\n"))
    }

    private func lines(_ text: String) -> [Substring] { text.split(separator: "\n") }

    /// What to try with a map.
    private func trial(of map: CRUSHMap, _ random: inout Seeded) -> MappingTrial {
        var trial = MappingTrial()
        let count = [1, 2, 2, 3, 3, 3, 4, 6, 9].randomElement(using: &random) ?? 3
        // Now and then for all the sizes that a rule names.
        trial.replicas = random.oneIn(10) ? nil : count...count
        let first = random.oneIn(4) ? Int32.random(in: 0...0x7fff_0000, using: &random) : 0
        trial.inputs = first...first + (trial.replicas == nil ? 399 : 4999)
        if trial.replicas == nil, random.oneIn(2) {
            let rule = Int.random(in: 0...7, using: &random)
            trial.rules = rule...rule + Int.random(in: 0...2, using: &random)
        }
        trial.showsMappings = true
        trial.showsBadMappings = random.oneIn(5)
        trial.showsStatistics = random.oneIn(3)
        trial.showsUtilization = random.oneIn(4)
        trial.showsFullUtilization = random.oneIn(4)
        trial.showsChooseTries = random.oneIn(3)
        trial.pool = random.oneIn(4) ? Int64.random(in: 0...1000, using: &random) : nil
        for (osd, weight) in reweights(of: map, &random).enumerated()
        where map.contains(OSDID(Int32(osd))) && weight != .one { trial.weights[Int32(osd)] = weight }
        return trial
    }

    private func arguments(for trial: MappingTrial) -> [String] {
        var arguments = ["--show-mappings"]
        if let count = trial.replicas?.lowerBound { arguments += ["--num-rep", "\(count)"] }
        if let rules = trial.rules {
            arguments += ["--min-rule", "\(rules.lowerBound)", "--max-rule", "\(rules.upperBound)"]
        }
        arguments += ["--min-x", "\(trial.inputs.lowerBound)", "--max-x", "\(trial.inputs.upperBound)"]
        if trial.showsBadMappings { arguments.append("--show-bad-mappings") }
        if trial.showsStatistics { arguments.append("--show-statistics") }
        if trial.showsUtilization { arguments.append("--show-utilization") }
        if trial.showsFullUtilization { arguments.append("--show-utilization-all") }
        if trial.showsChooseTries { arguments.append("--show-choose-tries") }
        if let pool = trial.pool { arguments += ["--pool-id", "\(pool)"] }
        for (device, weight) in trial.weights { arguments += ["--weight", "\(device)", exactText(weight)] }
        return arguments
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

    /// crushtool compiles our text to the bytes that we compile the map to, and both forms are read back as the same map.
    @Test func textCompilesToTheSameMap() throws {
        var random = Seeded(testSeed("textCompilesToTheSameMap"))
        let tool = try Crushtool()
        for round in 0..<60 {
            var maker = MapMaker(Seeded(random.next()), isCompilable: true)
            let map = try maker.make()
            try tool.compile(map.text, to: "map")
            let theirs = try tool.bytes("map")
            guard theirs == map.compiled else {
                let place = zip(theirs.array, map.compiled.array).enumerated().first { $1.0 != $1.1 }?.offset ?? -1
                Issue.record("round \(round): the bytes differ at \(place)\n\(map.text)")
                return
            }
            #expect(try CRUSHMap(compiled: theirs) == map, "round \(round)\n\(map.text)")
            #expect(try CRUSHMap(text: map.text) == map, "round \(round)\n\(map.text)")
            let rounded = try map.roundedToThreeDecimals()
            try tool.compile(rounded.text, to: "map")
            let text = try tool.decompile("map")
            #expect(text == rounded.text, "round \(round)")
            #expect(try CRUSHMap(text: text).compiled == rounded.compiled, "round \(round)")
            #expect(try tool.run(["-i", tool.path("map"), "--tree"]) == rounded.tree, "round \(round)")
        }
    }

    /// Maps that crushtool builds of layers.
    @Test func layersAreThoseOfCrushtool() throws {
        var random = Seeded(testSeed("layersAreThoseOfCrushtool"))
        let tool = try Crushtool()
        for _ in 0..<30 {
            let devices = Int.random(in: 1...60, using: &random)
            let names = ["host", "rack", "row", "root"].prefix(Int.random(in: 1...4, using: &random))
            let layers = names.enumerated().map { index, name in
                CRUSHMap.Layer(
                    name: name, kind: Bucket.Kind.allCases.randomElement(using: &random) ?? .straw2,
                    size: index == names.count - 1 ? 0 : Int.random(in: 1...8, using: &random))
            }
            let words = layers.flatMap { [$0.name, "\($0.kind)", "\($0.size)"] }
            let map = try CRUSHMap.layered(devices: devices, layers)
            try tool.run(["--build", "--num_osds", "\(devices)"] + words + ["-o", tool.path("map")])
            #expect(try tool.bytes("map") == map.compiled, "\(devices) \(words)")
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
            if bucket.kind == .uniform { for index in bucket.items.indices { bucket.items[index].weight = .one } }
            bucket.table = nil
            return bucket
        }
        let arguments = chooseArguments.mapValues { arguments in
            ChooseArguments(
                replacements: arguments.replacements.mapValues { replacement in
                    ChooseArguments.Replacement(
                        weightSets: replacement.weightSets.map { $0.map { CRUSHWeight($0.rawValue & ~0x1fff) } },
                        ids: replacement.ids)
                })
        }
        return try CRUSHMap(
            tunables: tunables, types: types, devices: devices, buckets: rounded, rules: rules,
            chooseArguments: arguments)
    }
}
