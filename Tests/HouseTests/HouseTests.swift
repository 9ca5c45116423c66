import Testing

/// The rules of the house that a machine can check.
@Suite struct HouseTests {
    let tree: SourceTree
    let rooms: Set<String>

    init() throws {
        tree = try SourceTree()
        rooms = Set(tree.targets.filter { !$0.isTest }.map(\.name))
    }

    @Test func theManifestIsUnderstood() {
        #expect(rooms.isSuperset(of: ["CSupport", "Wire", "Protocol", "Monitor"]))
        #expect(tree.targets.first { $0.name == "Protocol" }?.dependencies.contains("Wire") == true)
        let text = """
            .target(name: "A"), .testTarget(name: "ATests", dependencies: ["A", .product(name: "B", package: "b")]),
            .target(
                name: "C",
                dependencies: ["A"] + nio, swiftSettings: settings)
            """
        let parsed = SourceTree.targets(in: text)
        #expect(parsed.map(\.name) == ["A", "ATests", "C"])
        #expect(parsed.map(\.dependencies) == [[], ["A"], ["A"]])
        #expect(parsed.map(\.isTest) == [false, true, false])
    }

    @Test func noRoomDependsOnOneAbove() {
        for target in tree.targets where !target.isTest {
            #expect(
                Layers.layers[target.name] != nil || Layers.workshops.contains(target.name),
                "\(target.name) has no layer: name it in Layers.swift")
            for other in target.dependencies where rooms.contains(other) {
                let objection = Layers.objection(target.name, uses: other)
                #expect(objection == nil, "Package.swift: \(objection ?? "")")
            }
        }
    }

    @Test func noFileImportsARoomAbove() {
        for file in tree.files(in: "Sources") {
            guard let room = file.room else { continue }
            for line in file.lines where line.contains("import ") {
                guard
                    let match = line.wholeMatch(
                        of: #/\s*(?:@\w+(?:\([^)]*\))?\s+|public\s+)*import\s+(?:\w+\s+)?(\w+)[.\w]*/#)
                else { continue }
                let other = String(match.1)
                guard rooms.contains(other), other != room else { continue }
                let objection = Layers.objection(room, uses: other)
                #expect(objection == nil, "\(file.path): \(objection ?? "")")
                let declared = tree.targets.first { $0.name == room }?.dependencies ?? []
                #expect(declared.contains(other), "\(file.path) imports \(other), which Package.swift does not say")
            }
        }
    }

    @Test func theRuleObjects() {
        #expect(Layers.objection("Wire", uses: "Protocol") != nil)
        #expect(Layers.objection("Monitor", uses: "OSD") != nil)
        #expect(Layers.objection("NBD", uses: "RADOS") != nil)
        #expect(Layers.objection("RBD", uses: "Simulation") != nil)
        #expect(Layers.objection("RBD", uses: "Nowhere") != nil)
        #expect(Layers.objection("PlacementGroup", uses: "Protocol") == nil)
        #expect(Layers.objection("Protocol", uses: "PlacementGroup") != nil)
        #expect(Layers.objection("simulate", uses: "OSD") == nil)
    }

    @Test func everyFileLiesInATarget() {
        let names = Set(tree.targets.map(\.name))
        for file in tree.files {
            #expect(file.room.map { names.contains($0) } == true, "\(file.path) lies in no target of Package.swift")
        }
    }

    /// Longer files, each with its reason. To be kept short.
    static let longFiles: [String: String] = [:]

    @Test func filesHaveOneIdea() {
        for file in tree.files where Self.longFiles[file.path] == nil {
            #expect(file.lines.count <= 700, "\(file.path) has \(file.lines.count) lines: is there one idea in it?")
        }
        let paths = Set(tree.files.map(\.path))
        for path in Self.longFiles.keys { #expect(paths.contains(path), "\(path) is gone: take it off the list") }
    }

    @Test func onlyCommandsPrint() {
        let printing: Set<String> = ["Commands", "nacre"]
        for file in tree.files(in: "Sources") {
            guard let room = file.room, !printing.contains(room), !Layers.workshops.contains(room) else { continue }
            for (number, line) in file.lines.enumerated()
            where line.contains("print(") && line.contains(#/(^|[^\w.`])print\(/#) {
                Issue.record("\(file.path):\(number + 1) prints: give it to the log or to who asked")
            }
        }
    }

    /// Helpers that look again and again for what nothing announces, each with its reason.
    static let pollers: [String: String] = [
        "Tests/CRUSHTests/Crushtool.swift": "waits for the end of a process",
        "Tests/MessengerTests/LoopbackTests.swift": "waits for real sockets",
    ]

    /// A test that sleeps is slow when it passes and wrong when the machine is busy.
    @Test func noTestSleeps() {
        let sleep = #/Task\.sleep|Thread\.sleep|\b(u|nano)?sleep\(/#
        for file in tree.files(in: "Tests") where !file.path.hasPrefix("Tests/HouseTests/") {
            if Self.pollers[file.path] != nil { continue }
            for (number, line) in file.lines.enumerated() where line.contains("sleep") && line.contains(sleep) {
                Issue.record("\(file.path):\(number + 1) sleeps: wait for what is to happen")
            }
        }
    }
}
