import Foundation
import Testing

/// A program of the system that a test runs as its peer.
struct Tool {
    let path: String

    /// Throws, naming the Debian package, when the program is missing: a peer that is not there must not look like a pass.
    init(_ name: String, package: String) throws {
        let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map { "\($0)/\(name)" }
        guard let path = places.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
            throw Missing(description: "\(name) is missing: apt-get install \(package)")
        }
        self.path = path
    }

    struct Missing: Error, CustomStringConvertible { let description: String }

    struct Outcome {
        let status: Int32
        let output: String
        let errors: String
    }

    /// Runs the program to its end; it is killed if the test is cancelled.
    func run(_ arguments: [String]) async throws -> Outcome {
        let directory = try TemporaryDirectory()
        let output = directory.path("out"), errors = directory.path("err")
        for file in [output, errors] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = FileHandle(forWritingAtPath: errors)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
                process.terminationHandler = { _ in ended.resume() }
                do { try process.run() } catch {
                    process.terminationHandler = nil
                    ended.resume(throwing: error)
                }
            }
        } onCancel: {
            // Not SIGTERM: children inherit the signal mask of this thread, which may block it.
            kill(process.processIdentifier, SIGKILL)
        }
        return Outcome(
            status: process.terminationStatus, output: try String(contentsOfFile: output, encoding: .utf8),
            errors: try String(contentsOfFile: errors, encoding: .utf8))
    }

    /// Runs the program and records an issue with what it said unless it succeeds.
    @discardableResult
    func succeed(_ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
        let outcome = try await run(arguments)
        #expect(
            outcome.status == 0, "\(path) \(arguments): \(outcome.output)\(outcome.errors)",
            sourceLocation: sourceLocation)
        return outcome.output
    }
}

/// A directory that goes with its last owner. Its path is short, since unix sockets in it must fit into `sun_path`.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/nacre-nbd-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func path(_ name: String) -> String { "\(path)/\(name)" }
}
