import Wire

/// A device: a leaf of the hierarchy, an OSD.
public struct Device: Hashable, Sendable {
    /// Its number, that of the OSD.
    public var id: OSDID
    /// Its name, `osd.N` by custom.
    public var name: String

    /// A device with this number and name.
    public init(id: OSDID, name: String) {
        self.id = id
        self.name = name
    }
}

/// An inner node of the hierarchy: a host, a rack, a root.
public struct Bucket: Hashable, Sendable {
    /// How a bucket chooses among its items. The numbers are those of the format.
    public enum Kind: UInt8, Sendable {
        /// Every item draws by its weight and the best draw wins: changing one weight moves only what goes to or comes from
        /// that item.
        case straw2 = 5
    }

    /// One child of a bucket, with its share.
    public struct Item: Hashable, Sendable {
        /// A device or another bucket.
        public var id: ItemID
        /// Its weight in this bucket; of a bucket usually the sum of its own items.
        public var weight: CRUSHWeight

        /// An item with this weight.
        public init(id: ItemID, weight: CRUSHWeight) {
            self.id = id
            self.weight = weight
        }
    }

    /// Its number, below 0. The number enters the hashes, so a bucket keeps it.
    public var id: ItemID
    /// Its name, unique among buckets and devices.
    public var name: String
    /// Its level in the hierarchy; never 0.
    public var type: TypeID
    /// How it chooses.
    public var kind: Kind
    /// Its children. The order decides between equal draws.
    public var items: [Item]

    /// A bucket with these values.
    public init(id: ItemID, name: String, type: TypeID, kind: Kind = .straw2, items: [Item] = []) {
        self.id = id
        self.name = name
        self.type = type
        self.kind = kind
        self.items = items
    }

    /// The sum of the weights of the items. A bucket of a `CRUSHMap` keeps it within `CRUSHLimits.bucketWeight`.
    public var weight: CRUSHWeight {
        CRUSHWeight(UInt32(clamping: items.reduce(into: UInt64(0)) { $0 += UInt64($1.weight.rawValue) }))
    }
}
