/// Why bytes from a peer or a disk could not be decoded. The text names the field, the limit and what was found.
public struct WireError: Error, Hashable, CustomStringConvertible {
    /// What went wrong, for a log line or a user.
    public let description: String

    public init(_ description: String) {
        self.description = description
    }

    /// Fewer bytes left than a field needs.
    @inlinable
    static func short(_ needed: Int, _ left: Int) -> WireError {
        WireError("truncated: \(needed) bytes needed, \(left) left")
    }
}
