import Foundation

/// The package as it lies on the disk, found from where this file is.
struct SourceTree {
    struct File {
        /// From the top of the package.
        let path: String
        let lines: [Substring]

        var room: String? {
            let parts = path.split(separator: "/")
            return parts.count > 2 ? String(parts[1]) : nil
        }
    }

    /// A target of Package.swift.
    struct Target {
        let name: String
        let isTest: Bool
        let dependencies: [String]
    }

    let top: URL
    let files: [File]
    let targets: [Target]

    init(testFile: String = #filePath) throws {
        let top = URL(fileURLWithPath: testFile)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        self.top = top
        var files: [File] = []
        for folder in ["Sources", "Tests"] {
            let names = FileManager.default.enumerator(atPath: top.appendingPathComponent(folder).path)
            for case let name as String in names ?? .init() where name.hasSuffix(".swift") {
                let path = folder + "/" + name
                let text = try String(contentsOf: top.appendingPathComponent(path), encoding: .utf8)
                files.append(File(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false)))
            }
        }
        self.files = files.sorted { $0.path < $1.path }
        targets = Self.targets(
            in: try String(contentsOf: top.appendingPathComponent("Package.swift"), encoding: .utf8))
    }

    func files(in folder: String) -> [File] { files.filter { $0.path.hasPrefix(folder + "/") } }

    /// The targets as Package.swift declares them: `.target(name: "A", dependencies: ["B", …])`. Names of products and of
    /// constants in the list are not rooms and are left out.
    static func targets(in manifest: String) -> [Target] {
        let declaration = #/\.(target|executableTarget|testTarget|systemLibrary)\(\s*name:\s*"(?<name>[^"]+)"/#
        var found: [Target] = []
        let starts = manifest.matches(of: declaration)
        for (index, match) in starts.enumerated() {
            let end = index + 1 < starts.count ? starts[index + 1].range.lowerBound : manifest.endIndex
            var rest = manifest[match.range.upperBound..<end]
            rest.replace(#/\.product\([^)]*\)/#, with: "")
            var dependencies: [String] = []
            if let list = rest.firstMatch(of: #/dependencies:\s*\[([^\]]*)\]/#) {
                dependencies = list.1.matches(of: #/"([^"]+)"/#).map { String($0.1) }
            }
            found.append(
                Target(name: String(match.name), isTest: match.1 == "testTarget", dependencies: dependencies))
        }
        return found
    }
}
