import Monitor
import Protocol
import Wire

/// `nacre osd crush …`, and the CRUSH map as a file.
extension Administration {
    /// Makes a bucket, at a place such as `root=default` when one is given.
    public func addBucket(_ name: String, type: String, at place: [String]) async throws(CommandError) {
        try await change("osd crush add-bucket", ["name": name, "type": type, "args": place.joined(separator: " ")])
    }

    /// Puts an OSD that the CRUSH map does not have yet at a place.
    public func addToCRUSH(_ osd: String, weight: String, at place: [String]) async throws(CommandError) {
        try await change("osd crush add", ["ids": osd, "weight": weight, "args": place.joined(separator: " ")])
    }

    /// Gives an OSD a weight and a place.
    public func setInCRUSH(_ osd: String, weight: String, at place: [String]) async throws(CommandError) {
        try await change("osd crush set", ["ids": osd, "weight": weight, "args": place.joined(separator: " ")])
    }

    /// Moves a bucket or an OSD.
    public func moveInCRUSH(_ name: String, to place: [String]) async throws(CommandError) {
        try await change("osd crush move", ["name": name, "args": place.joined(separator: " ")])
    }

    /// Gives an OSD another CRUSH weight.
    public func reweightInCRUSH(_ name: String, to weight: String) async throws(CommandError) {
        try await change("osd crush reweight", ["name": name, "weight": weight])
    }

    /// Takes an OSD or an empty bucket out of the CRUSH map.
    public func removeFromCRUSH(_ name: String) async throws(CommandError) {
        try await change("osd crush rm", ["name": name])
    }

    /// Gives OSDs a class.
    public func setDeviceClass(_ name: String, _ osds: [String]) async throws(CommandError) {
        try await change("osd crush set-device-class", ["class": name, "ids": osds.joined(separator: " ")])
    }

    /// Takes the class from OSDs.
    public func removeDeviceClass(_ osds: [String]) async throws(CommandError) {
        try await change("osd crush rm-device-class", ["ids": osds.joined(separator: " ")])
    }

    /// Shows the classes.
    public func listClasses() async throws(CommandError) {
        try output.show(try await result("osd crush class ls"), as: [String].self, plain: Self.lines)
    }

    /// Shows the OSDs of a class.
    public func listClass(_ name: String) async throws(CommandError) {
        try output.show(try await result("osd crush class ls-osd", ["class": name]), as: [Int32].self) {
            Self.lines($0.map(String.init))
        }
    }

    // MARK: Tunables

    /// Sets the tunables to those of a profile.
    public func adoptTunables(_ profile: String) async throws(CommandError) {
        try await change("osd crush tunables", ["profile": profile])
    }

    /// Shows the tunables. Without a form asked for, too, it is JSON, as administrators know it.
    public func showTunables() async throws(CommandError) {
        try output.show(try await result("osd crush show-tunables"), as: TunablesReport.self) {
            String($0.json(pretty: true))
        }
    }

    // MARK: Rules

    /// Makes a rule for whole copies on different items of a type below a bucket, on devices of a class if one is named.
    public func createReplicatedRule(
        _ name: String, root: String, type: String, deviceClass: String?
    ) async throws(CommandError) {
        var arguments = ["name": name, "root": root, "type": type]
        arguments["class"] = deviceClass
        try await change("osd crush rule create-replicated", arguments)
    }

    /// Takes a rule away.
    public func removeRule(_ name: String) async throws(CommandError) {
        try await change("osd crush rule rm", ["name": name])
    }

    /// Shows the names of the rules.
    public func listRules() async throws(CommandError) {
        try output.show(try await result("osd crush rule ls"), as: [String].self, plain: Self.lines)
    }

    /// Shows the steps of a rule, or of all. Without a form asked for, too, it is JSON, as administrators know it.
    public func dumpRules(_ name: String?) async throws(CommandError) {
        if let name {
            let json = try await result("osd crush rule dump", ["name": name])
            try output.show(json, as: RuleReport.self) { String($0.json(pretty: true)) }
        } else {
            try output.show(try await result("osd crush rule dump"), as: [RuleReport].self) {
                String($0.json(pretty: true))
            }
        }
    }

    // MARK: Maps as files

    /// Writes the compiled CRUSH map to a file, or to standard output.
    public func saveCRUSHMap(to path: String) async throws(CommandError) {
        try await save("osd getcrushmap", to: path)
    }

    /// Writes the OSD map to a file, or to standard output.
    public func saveOSDMap(to path: String) async throws(CommandError) {
        try await save("osd getmap", to: path)
    }

    private func save(_ words: String, to path: String) async throws(CommandError) {
        let answer = try await answer(words)
        try LocalFile.write(answer.output, to: path)
        if path != "-" { output.say(answer.message) }
    }

    /// Replaces the CRUSH map by that in a file.
    public func setCRUSHMap(from path: String) async throws(CommandError) {
        try await change(
            "osd setcrushmap", [:], input: try LocalFile.read(path, atMost: MonitorLimits.input, what: "a CRUSH map"))
    }

    private static func lines(_ names: [String]) -> String { names.map { $0 + "\n" }.joined() }
}
