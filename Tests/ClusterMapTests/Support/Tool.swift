import Foundation

/// A program of Ceph, the oracle of these tests, with a directory of its own for its files.
final class Tool {
    /// What went wrong in running it.
    struct Failure: Error, CustomStringConvertible { let description: String }

    private let path: String
    let directory: URL

    /// Throws when the program is not installed: without the oracle these tests prove nothing.
    init(_ name: String) throws {
        path = "/usr/bin/\(name)"
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw Failure(description: "\(path) is missing: apt-get install ceph-base")
        }
        directory = FileManager.default.temporaryDirectory.appending(path: "nacre-map-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// The path of a file of this name in the directory.
    func file(_ name: String) -> String { directory.appending(path: name).path }

    /// Runs it and returns its standard output. Throws, with what it said, when it does not end with status 0.
    @discardableResult
    func run(_ arguments: [String]) throws -> String {
        let files = (file("stdout"), file("stderr"))
        for each in [files.0, files.1] { _ = FileManager.default.createFile(atPath: each, contents: nil) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: files.0)
        process.standardError = FileHandle(forWritingAtPath: files.1)
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let errors = try String(contentsOfFile: files.1, encoding: .utf8)
            throw Failure(
                description: "\(path) \(arguments): status \(process.terminationStatus): \(errors.prefix(2000))")
        }
        return try String(contentsOfFile: files.0, encoding: .utf8)
    }
}
