import Dispatch
import Glibc
import Testing
import Wire

/// Ceph's `crushtool`, the oracle of these tests, with a directory of its own for its files.
final class Crushtool {
    /// What went wrong in running it.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let directory: String

    /// Makes the directory. Throws when `crushtool` is not installed: without the oracle these tests prove nothing.
    init() throws {
        guard access("/usr/bin/crushtool", X_OK) == 0 else {
            throw Failure(description: "/usr/bin/crushtool is missing: apt-get install ceph-base")
        }
        var template = Array("/tmp/nacre-crush-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(description: "mkdtemp: \(errno)") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        if let entries = opendir(directory) {
            while let entry = readdir(entries) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink("\(directory)/\(name)")
            }
            closedir(entries)
        }
        rmdir(directory)
    }

    /// The path of a file of this name in the directory.
    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Compiles a text map to the file `output`.
    func compile(_ text: String, to output: String) throws {
        try write(text, to: "map.txt")
        try run(["-c", path("map.txt"), "-o", path(output)])
    }

    /// The compiled map `input` as text.
    func decompile(_ input: String) throws -> String {
        try run(["-d", path(input)])
    }

    /// Runs it and returns its standard output. Throws, with what it said, when it does not end with status 0.
    @discardableResult
    func run(_ arguments: [String]) throws -> String {
        let output = path("out"), errors = path("err")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_TRUNC
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors, flags, 0o600)
        var vector: [UnsafeMutablePointer<CChar>?] = (["crushtool"] + arguments).map { strdup($0) }
        vector.append(nil)
        defer { for pointer in vector { free(pointer) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, "/usr/bin/crushtool", &actions, nil, vector, environ)
        guard code == 0 else { throw Failure(description: "posix_spawn: \(code)") }
        let status = try wait(pid)
        guard status == 0 else {
            let words = arguments.joined(separator: " ")
            throw Failure(
                description:
                    "crushtool \(words): status \(status): \(try read("err").prefix(2000))\n\(arguments.first == "-c" ? try read("map.txt") : "")"
            )
        }
        return try read("out")
    }

    /// The status that the process ends with. Ends it after a minute: a crushtool that crashes may hang in its own handler.
    private func wait(_ pid: pid_t) throws -> Int32 {
        var status: Int32 = 0
        let ended = DispatchSemaphore(value: 0)
        DispatchQueue(label: "crushtool").async {
            // The process stays to be waited for.
            var info = siginfo_t()
            while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
            ended.signal()
        }
        if ended.wait(timeout: .now() + 60) == .timedOut { kill(pid, SIGKILL) }
        while waitpid(pid, &status, 0) != pid {
            guard errno == EINTR else { throw Failure(description: "waitpid: \(errno)") }
        }
        return status
    }

    /// Writes a file of the directory.
    func write(_ bytes: Bytes, to name: String) throws {
        guard let file = fopen(path(name), "w") else { throw Failure(description: "\(name): \(errno)") }
        defer { fclose(file) }
        let count = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
        guard count == bytes.count else { throw Failure(description: "\(name): \(errno)") }
    }

    /// The bytes of a file of the directory.
    func bytes(_ name: String) throws -> Bytes { Bytes(try content(name)) }

    private func write(_ text: String, to name: String) throws { try write(Bytes(Array(text.utf8)), to: name) }

    private func read(_ name: String) throws -> String { String(decoding: try content(name), as: UTF8.self) }

    private func content(_ name: String) throws -> [UInt8] {
        guard let file = fopen(path(name), "r") else { throw Failure(description: "\(name): \(errno)") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}
