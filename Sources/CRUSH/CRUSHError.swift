/// Why a placement map, or a change to one, is refused. The text names the item and what is wrong with it; a change that
/// throws leaves the map as it was.
public struct CRUSHError: Error, Hashable, CustomStringConvertible {
    /// What is wrong, for a log line or a user.
    public let description: String
    /// The part of the map that is wrong, when there is one: readers of files find the place by it.
    package let part: CRUSHMap.Part?

    /// An error with this text.
    public init(_ description: String) { self.init(description, at: nil) }

    package init(_ description: String, at part: CRUSHMap.Part?) {
        self.description = description
        self.part = part
    }
}

extension CRUSHMap {
    /// A part of a map that has a place in a file.
    package enum Part: Hashable, Sendable {
        case tunable(String)
        case type(TypeID)
        case device(Int32)
        case bucket(ItemID)
        /// The item at an index of a bucket.
        case item(ItemID, Int)
        case rule(RuleID)
        /// The step at an index of a rule.
        case step(RuleID, Int)
        /// A set of choose arguments.
        case argumentSet(Int64)
        /// The replacement of a bucket in a set of choose arguments.
        case replacement(Int64, ItemID)
    }
}
