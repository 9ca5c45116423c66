/// How the OSDs of a placement group are chosen from the hierarchy.
public struct Rule: Hashable, Sendable {
    /// What sort of pool a rule is for. The numbers are those of the format.
    public enum Kind: UInt8, Sendable {
        /// Pools that keep whole copies.
        case replicated = 1
        /// Pools that keep erasure-coded shards.
        case erasure = 3
    }

    /// One step of a rule. The steps work on a list of items that is empty at first.
    public enum Step: Hashable, Sendable {
        /// The list becomes this item. To take only devices of a class, it is the number of the bucket's shadow; see
        /// `CRUSHMap.shadow(of:deviceClass:)`.
        case take(ItemID)
        /// Each bucket of the list is replaced by `count` different items of the type from below it; fewer where there are
        /// not so many. A count of 0 or less is relative to the number of OSDs asked for.
        case chooseFirstN(count: Int32, type: TypeID)
        /// As `chooseFirstN`, and then each chosen bucket is replaced by one device from below it that is in.
        case chooseLeafFirstN(count: Int32, type: TypeID)
        /// As `chooseFirstN`, but a position for which nothing is found holds `ItemID.none`, and the others stay where they
        /// are: what erasure-coded pools need.
        case chooseIndep(count: Int32, type: TypeID)
        /// As `chooseIndep`, and then each chosen bucket is replaced by one device from below it that is in.
        case chooseLeafIndep(count: Int32, type: TypeID)
        /// From here on, how many descents a replica may take in all; 0 leaves it as it is.
        case setChooseTries(UInt32)
        /// From here on, how many descents the search for a device below a chosen bucket may take; 0 leaves it as it is.
        case setChooseLeafTries(UInt32)
        /// From here on, `Tunables.chooseLocalTries`.
        case setChooseLocalTries(UInt32)
        /// From here on, `Tunables.chooseLocalFallbackTries`.
        case setChooseLocalFallbackTries(UInt32)
        /// From here on, `Tunables.chooseleafVaryR`.
        case setChooseLeafVaryR(UInt32)
        /// From here on, `Tunables.chooseleafStable`; any number but 0 means true.
        case setChooseLeafStable(UInt32)
        /// The list is appended to the result and emptied.
        case emit
    }

    /// Its number, by which pools refer to it.
    public var id: RuleID
    /// Its name, unique among rules.
    public var name: String
    /// The sort of pools it is for.
    public var kind: Kind
    /// The least number of replicas it is for: a remark for tools, without effect on mappings.
    public var minSize: UInt8
    /// The largest number of replicas it is for: a remark for tools, without effect on mappings.
    public var maxSize: UInt8
    /// What it does, in order.
    public var steps: [Step]

    /// A rule with these values.
    public init(
        id: RuleID, name: String, kind: Kind = .replicated, minSize: UInt8 = 1, maxSize: UInt8 = 10, steps: [Step]
    ) {
        self.id = id
        self.name = name
        self.kind = kind
        self.minSize = minSize
        self.maxSize = maxSize
        self.steps = steps
    }
}
