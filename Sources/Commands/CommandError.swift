import Glibc
import RADOS
import RBD

/// Why a command failed: the errno of the field, which becomes the exit status, and one line that names the thing and what
/// to do.
public struct CommandError: Error, Hashable, CustomStringConvertible {
    /// The exit status.
    public let errno: Int32
    /// The line.
    public let description: String

    /// An error with these values.
    public init(errno: Int32, _ description: String) {
        self.errno = errno
        self.description = description
    }

    /// The failure of what a command uses.
    public init(_ error: any Error) {
        switch error {
        case let error as CommandError: self = error
        case let error as RBDError: self.init(errno: error.errno, error.description)
        case let error as RADOSError: self.init(errno: error.errno, error.description)
        default: self.init(errno: EIO, "\(error)")
        }
    }
}
