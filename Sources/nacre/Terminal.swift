import Glibc

/// Where text goes: written at once, also when it is a file or a pipe.
enum Terminal {
    /// To standard output.
    @Sendable static func show(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// To standard error.
    @Sendable static func complain(_ text: String) { write(text, to: STDERR_FILENO) }

    /// True when someone reads standard error as it is written.
    static var isWatched: Bool { isatty(STDERR_FILENO) == 1 }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                // Nobody reads any more: there is nobody to tell.
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
        }
    }
}
