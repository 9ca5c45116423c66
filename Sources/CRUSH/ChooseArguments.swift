import Wire

/// Other weights, and other numbers for the hashes, that straw2 buckets use for one pool or for all: balancers correct with
/// them what chance makes uneven, without touching the weights that administrators see. Ceph's `choose_args`.
public struct ChooseArguments: Hashable, Sendable {
    /// The replacement for one bucket.
    public struct Replacement: Hashable, Sendable {
        /// The weights of the items by position of the replica that is chosen; later positions use the last. Empty: the
        /// bucket's own.
        public var weightSets: [[CRUSHWeight]]
        /// What enters the hash for each item; empty: the items' own numbers.
        public var ids: [ItemID]

        /// A replacement by these weights and numbers.
        public init(weightSets: [[CRUSHWeight]] = [], ids: [ItemID] = []) {
            self.weightSets = weightSets
            self.ids = ids
        }
    }

    /// The number under which the arguments for all pools without their own stand.
    public static let defaultSet: Int64 = -1

    /// The replacements by number of the bucket, shadows included.
    public var replacements: [ItemID: Replacement]

    /// Arguments with these replacements.
    public init(replacements: [ItemID: Replacement] = [:]) {
        self.replacements = replacements
    }
}
