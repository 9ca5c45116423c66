/// Why a placement map, or a change to one, is refused. The text names the item and what is wrong with it; a change that
/// throws leaves the map as it was.
public struct CRUSHError: Error, Hashable, CustomStringConvertible {
    /// What is wrong, for a log line or a user.
    public let description: String

    /// An error with this text.
    public init(_ description: String) { self.description = description }
}
