import Wire

/// Something that CRUSH can choose: a device from 0 up, which is an OSD, or a bucket from -1 down.
public struct ItemID: Identifier {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
    /// The device of an OSD.
    @inlinable public init(_ osd: OSDID) { rawValue = osd.rawValue }
    /// Nothing: what stands in the result of an `indep` rule at a position for which no device was found.
    public static let none = ItemID(rawValue: 0x7fff_ffff)
    /// The OSD, or nil for a bucket and for `none`.
    @inlinable public var osd: OSDID? { rawValue >= 0 && rawValue != 0x7fff_ffff ? OSDID(rawValue) : nil }
    /// True for a bucket, false for a device.
    @inlinable public var isBucket: Bool { rawValue < 0 }
}

/// A level of the hierarchy, as "host" or "rack". 0 is the level of the devices.
public struct TypeID: Identifier {
    public var rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }
    /// The devices.
    public static let osd = TypeID(0)
    /// The hosts, in the types of a new cluster.
    public static let host = TypeID(1)
    /// The top of the hierarchy, in the types of a new cluster.
    public static let root = TypeID(11)
}

/// A placement rule.
public struct RuleID: Identifier {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
}

/// A weight in 16.16 fixed point: 0x10000 is 1. By custom the weight of a device is its size in TiB; as an OSD's reweight it
/// is the share of that which is used, from 0 (out) to 1 (in).
public struct CRUSHWeight: Identifier {
    public var rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// Takes no data.
    public static let zero = CRUSHWeight(0)
    /// A device of 1 TiB, or an OSD that is fully in.
    public static let one = CRUSHWeight(0x10000)

    /// The customary weight of a device of this size: its TiB, at least the smallest weight that is not zero and at most
    /// the limit of a device.
    public init(capacity: ByteCount) {
        let parts = capacity.rawValue >> 24
        let limit = UInt64(CRUSHLimits.deviceWeight.rawValue)
        rawValue = UInt32(min(max(parts, 1), limit))
    }

    /// A weight from decimal text as the field's tools read it: into a 32-bit float, and what is left of 16 binary places is
    /// cut off. Nil for what is no number, negative, or too large.
    public init?(text: String) {
        guard text.utf8.allSatisfy({ "0123456789.eE+-".utf8.contains($0) }), let value = Float(text), value >= 0,
            let weight = UInt32(exactly: (value * 65536).rounded(.towardZero))
        else { return nil }
        rawValue = weight
    }

    /// With three decimals, as administrators see it.
    public var description: String { FixedPoint.text(rawValue, decimals: 3) }
}
