@preconcurrency import Glibc

/// A child process that writes, and what it says of it.
struct Child {
    private let process: pid_t
    private let output: Int32

    /// Starts `torment write` on the directory.
    init(_ directory: String, seed: UInt64, withoutRing: Bool) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure("no pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        let words = ["torment", "write", directory, "--seed", "\(seed)"] + (withoutRing ? ["--threads"] : [])
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid = pid_t()
        let result = posix_spawn(&pid, "/proc/self/exe", &actions, nil, &arguments, environ)
        close(ends[1])
        guard result == 0 else {
            close(ends[0])
            throw Failure("cannot start a child: \(String(cString: strerror(result)))")
        }
        process = pid
        output = ends[0]
    }

    /// Waits until it has said something, or has ended.
    func awaitFirstWord() {
        var descriptor = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
        while Glibc.poll(&descriptor, 1, 30_000) < 0 && errno == EINTR {}
    }

    /// Kills it when the time is over. The answer is the last transaction that it called acknowledged.
    func kill(afterMilliseconds delay: Int) -> UInt64? {
        // The moment is meant to be random: time itself is waited for.
        usleep(UInt32(delay) * 1000)
        Glibc.kill(process, SIGKILL)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        // What it wrote stands in the pipe; a pipe that was full would have stopped it, not lost anything.
        var text: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(output, &part, part.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            text += part[..<count]
        }
        close(output)
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
        // A line that was cut off says nothing.
        let whole = text.last == UInt8(ascii: "\n") ? lines[...] : lines.dropLast()
        return whole.last.flatMap { UInt64(String(decoding: $0, as: UTF8.self)) }
    }
}
