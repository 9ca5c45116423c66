import CRUSH
import Testing
import Wire

/// Changes by crushtool and by us, with device classes and choose arguments; the maps have to stay the same, and the same
/// data has to move.
@Suite struct EditingOracleTests {
    private struct Cluster {
        var map: CRUSHMap
        var hosts: [String]
        var racks: [String]
    }

    /// Hosts in racks below one root, with classes, and a rule for all and one for each class.
    private func cluster(_ random: inout Seeded, arguments: Bool) throws -> Cluster {
        var map = CRUSHMap.newCluster()
        var cluster = Cluster(map: map, hosts: [], racks: [])
        for rack in 0..<3 {
            try map.addBucket(named: "rack-\(rack)", type: TypeID(3), under: CRUSHMap.defaultRoot)
            cluster.racks.append("rack-\(rack)")
            for host in 0..<Int.random(in: 1...4, using: &random) {
                let name = "host-\(rack)-\(host)"
                try map.addBucket(named: name, type: .host, under: "rack-\(rack)")
                cluster.hosts.append(name)
            }
        }
        for osd in 0..<20 {
            try map.add(
                OSDID(Int32(osd)), weight: weight(&random), host: cluster.hosts.randomElement(using: &random) ?? "",
                deviceClass: osd % 4 == 0 ? nil : osd % 2 == 0 ? "ssd" : "hdd")
        }
        for name in ["ssd", "hdd"] { try map.addReplicatedRule(named: name, failureDomain: .host, deviceClass: name) }
        if arguments { map = try withArguments(map, &random) }
        cluster.map = map
        return cluster
    }

    private func withArguments(_ map: CRUSHMap, _ random: inout Seeded) throws -> CRUSHMap {
        var arguments = ChooseArguments()
        for bucket in map.buckets {
            arguments.replacements[bucket.id] = .init(weightSets: [bucket.items.map(\.weight)])
        }
        let changed = try CRUSHMap(
            tunables: map.tunables, types: map.types, devices: map.devices, buckets: map.buckets, rules: map.rules,
            chooseArguments: [ChooseArguments.defaultSet: arguments])
        // A change gives the shadows theirs.
        var settled = changed
        try settled.reweight(OSDID(0), to: weight(&random))
        return settled
    }

    private func weight(_ random: inout Seeded) -> CRUSHWeight {
        CRUSHWeight(UInt32.random(in: 1...80, using: &random) << 13)
    }

    @Test func changesAreThoseOfCrushtool() throws {
        var random = Seeded(testSeed("EditingOracleTests.changesAreThoseOfCrushtool"))
        let tool = try Crushtool()
        for round in 0..<6 {
            let cluster = try cluster(&random, arguments: round % 2 == 1)
            var map = cluster.map
            try tool.write(map.compiled, to: "map")
            for step in 0..<25 {
                let arguments = try change(&map, cluster, step, &random)
                try tool.run(["-i", tool.path("map"), "-o", tool.path("map")] + arguments)
                let theirs = try CRUSHMap(compiled: tool.bytes("map"))
                guard theirs == map else {
                    Issue.record(
                        "round \(round), step \(step): \(arguments)\nours\n\(map.text)\ntheirs\n\(theirs.text)")
                    return
                }
            }
        }
    }

    /// Makes a random change; returns how crushtool is told to make it.
    private func change(
        _ map: inout CRUSHMap, _ cluster: Cluster, _ step: Int, _ random: inout Seeded
    ) throws -> [String] {
        let host = cluster.hosts.randomElement(using: &random) ?? ""
        let rack = cluster.racks.randomElement(using: &random) ?? ""
        let osd = map.devices.randomElement(using: &random)?.id ?? OSDID(0)
        let weight = weight(&random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            let new = OSDID(Int32(100 + step))
            try map.add(new, named: new.description, weight: weight, at: [.host: host, TypeID(3): rack])
            return [
                "--add-item", "\(new.rawValue)", "\(weight)", "\(new)", "--loc", "host", host, "--loc", "rack", rack,
            ]
        case 1:
            let new = OSDID(Int32(100 + step))
            try map.add(
                new, named: new.description, weight: weight,
                at: [.host: "new-\(step)", TypeID(3): rack, .root: CRUSHMap.defaultRoot])
            return [
                "--add-item", "\(new.rawValue)", "\(weight)", "\(new)", "--loc", "host", "new-\(step)", "--loc", "rack",
                rack, "--loc", "root", CRUSHMap.defaultRoot,
            ]
        case 2:
            guard map.devices.count > 5 else { fallthrough }
            try map.remove(osd)
            return ["--remove-item", "\(osd)"]
        case 3:
            let old = map.bucket(named: host)
            guard old.map({ !map.parents(of: $0.id).map(\.name).contains(rack) }) == true else { fallthrough }
            try map.move(host, under: rack)
            return ["--move", host, "--loc", "rack", rack]
        case 4:
            try map.addReplicatedRule(
                named: "rule-\(step)", failureDomain: TypeID(3), deviceClass: random.oneIn(2) ? "hdd" : nil)
            let isClass = map.rule(named: "rule-\(step)")?.steps.first != .take(ItemID(-1))
            return ["--create-replicated-rule", "rule-\(step)", CRUSHMap.defaultRoot, "rack"]
                + (isClass ? ["--device-class", "hdd"] : [])
        case 5:
            try map.addBucket(named: "bucket-\(step)", type: .host, under: rack)
            return ["--add-bucket", "bucket-\(step)", "host", "--loc", "rack", rack]
        default:
            try map.reweight(osd, to: weight)
            return ["--reweight-item", "\(osd)", "\(weight)"]
        }
    }

    /// The replicas of every input, as pairs of input and OSD.
    private func replicas(_ lines: String) -> Set<String> {
        var result: Set<String> = []
        for line in lines.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 5 else { continue }
            for osd in words[5].dropFirst().dropLast().split(separator: ",") { result.insert("\(words[4]) \(osd)") }
        }
        return result
    }

    /// Adding an OSD or a host moves exactly the replicas that it moves for crushtool, which makes the change itself.
    @Test func addingMovesWhatCrushtoolMoves() throws {
        var random = Seeded(testSeed("addingMovesWhatCrushtoolMoves"))
        let tool = try Crushtool()
        var trial = MappingTrial()
        trial.rules = 0...0
        trial.replicas = 3...3
        trial.inputs = 0...9999
        trial.showsMappings = true
        let options = ["--test", "--show-mappings", "--rule", "0", "--num-rep", "3", "--min-x", "0", "--max-x", "9999"]
        for kind in [Bucket.Kind.straw2, .straw, .list] {
            for hosts in [1, 4] {
                var map = try CRUSHMap.layered(
                    devices: 96,
                    [
                        .init(name: "host", kind: kind, size: 8), .init(name: "rack", kind: kind, size: 4),
                        .init(name: "root", kind: kind, size: 0),
                    ])
                try tool.write(map.compiled, to: "map")
                let theirsBefore = replicas(try tool.run(["-i", tool.path("map")] + options))
                let oursBefore = try replicas(run(trial, map))
                var added: UInt64 = 0
                for osd in 0..<hosts {
                    let id = OSDID(Int32(96 + osd))
                    let weight = weight(&random)
                    added += UInt64(weight.rawValue)
                    let place = hosts == 1 ? "host3" : "host-new"
                    let type = { (name: String) in map.type(named: name) ?? .osd }
                    try map.add(
                        id, named: id.description, weight: weight,
                        at: [type("host"): place, type("rack"): "rack1", type("root"): "root"])
                    try tool.run([
                        "-i", tool.path("map"), "-o", tool.path("map"), "--add-item", "\(id.rawValue)", "\(weight)",
                        "\(id)", "--loc", "host", place, "--loc", "rack", "rack1", "--loc", "root", "root",
                    ])
                }
                let theirsAfter = replicas(try tool.run(["-i", tool.path("map")] + options))
                let oursAfter = try replicas(run(trial, map))
                let moved = oursAfter.subtracting(oursBefore)
                #expect(moved == theirsAfter.subtracting(theirsBefore))
                #expect(oursBefore.subtracting(oursAfter) == theirsBefore.subtracting(theirsAfter))
                #expect(!moved.isEmpty)
                let total = UInt64(map.bucket(named: "root")?.weight.rawValue ?? 1)
                let share = Double(added) / Double(total)
                let ratio = Double(moved.count) / Double(oursAfter.count) / share
                print("\(kind), \(hosts) OSDs: weight \(share) of the whole, moved \(ratio) × its share")
                if kind == .straw2 { #expect(ratio > 0.8 && ratio < 2.5) }
            }
        }
    }

    private func run(_ trial: MappingTrial, _ map: CRUSHMap) throws -> String {
        var text = ""
        try trial.run(on: map, write: { text += $0 }, remark: { _ in })
        return text
    }
}
