import RADOS
import Wire

/// Why something with an image failed: the errno that is the command's exit status, and one line for people that names the
/// thing, the limit and what to do.
public struct RBDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The positive errno of the field: 2 no such image, 16 in use, 17 exists, 22 bad argument.
    public let errno: Int32
    /// One line for people.
    public let description: String

    /// A failure with `errno` and a line for people.
    public init(errno: Int32, _ description: String) {
        self.errno = errno
        self.description = description
    }

    /// The cluster's failure while doing something with an image.
    init(_ error: RADOSError, _ image: String) {
        self.init(errno: error.errno, "image '\(image)': \(error.description)")
    }

    static func invalid(_ text: String) -> RBDError { RBDError(errno: Errno.invalid, text) }

    static func notFound(_ image: String) -> RBDError {
        RBDError(errno: Errno.noEntry, "image '\(image)' does not exist")
    }

    static func exists(_ image: String) -> RBDError {
        RBDError(errno: Errno.exists, "image '\(image)' already exists: choose another name or remove it first")
    }

    static func contended(_ image: String) -> RBDError {
        RBDError(errno: Errno.busy, "image '\(image)' is being changed by someone else: try again")
    }
}
