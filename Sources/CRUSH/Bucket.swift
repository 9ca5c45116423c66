import Wire

/// A device: a leaf of the hierarchy, an OSD.
public struct Device: Hashable, Sendable {
    /// Its number, that of the OSD.
    public var id: OSDID
    /// Its name, `osd.N` by custom.
    public var name: String
    /// Its class, as "ssd" or "hdd", by which rules can choose; nil for none.
    public var deviceClass: String?

    /// A device with this number and name.
    public init(id: OSDID, name: String, deviceClass: String? = nil) {
        self.id = id
        self.name = name
        self.deviceClass = deviceClass
    }
}

/// A class of devices with the number that the format gives it.
public struct DeviceClass: Hashable, Sendable {
    /// Its number, from 0.
    public var id: Int32
    /// Its name.
    public var name: String

    /// A class with this number and name.
    public init(id: Int32, name: String) {
        self.id = id
        self.name = name
    }
}

/// An inner node of the hierarchy: a host, a rack, a root.
public struct Bucket: Hashable, Sendable {
    /// How a bucket chooses among its items. The numbers are those of the format.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// All items have the same weight; a permutation that the input shuffles is followed. Cheap, but nearly everything
        /// moves when an item is added.
        case uniform = 1
        /// The items in a chain from the last to the first, each taken with the chance of its weight among those before it.
        /// Good when items are only ever added at the end.
        case list = 2
        /// A binary tree of weights over the positions of the items.
        case tree = 3
        /// Every item draws a straw of a length computed from all weights of the bucket; the longest wins.
        case straw = 4
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
    /// Its children. The order decides between equal draws, and everything in buckets of the kinds list, tree and uniform.
    public var items: [Item]
    /// For each class of devices, the number of the bucket's shadow: the bucket that holds only what is of the class. Rules
    /// that take a class refer to it, so it is kept as long as it can be.
    public var shadows: [String: ItemID]
    /// What the kind computes from the weights: of straw the lengths of the straws, of tree the weights of the nodes, else
    /// nothing. Nil means "to be computed", which a map does; a compiled map brings its own, which may come from another
    /// version of the computation.
    public var table: [UInt32]?

    /// A bucket with these values.
    public init(
        id: ItemID, name: String, type: TypeID, kind: Kind = .straw2, items: [Item] = [],
        shadows: [String: ItemID] = [:], table: [UInt32]? = nil
    ) {
        self.id = id
        self.name = name
        self.type = type
        self.kind = kind
        self.items = items
        self.shadows = shadows
        self.table = table
    }

    /// The sum of the weights of the items. A bucket of a `CRUSHMap` keeps it within `CRUSHLimits.bucketWeight`.
    public var weight: CRUSHWeight {
        CRUSHWeight(UInt32(clamping: items.reduce(into: UInt64(0)) { $0 += UInt64($1.weight.rawValue) }))
    }
}
