import Wire

/// The limits of what a store keeps, in one place.
public enum StorageLimits {
    /// Bytes of one object, as in RBD (object sizes up to 32 MiB), with room for what other users of the store may want.
    public static let objectSize: UInt64 = 128 << 20
    /// Bytes of one write.
    public static let writeSize = 32 << 20
    /// Operations of one transaction.
    public static let operations = 4096
    /// Bytes of an attribute's name and value.
    public static let attributeName = 255
    public static let attributeValue = 64 << 10
    /// Entries of one omap operation; bytes of a key and of a value.
    public static let omapEntries = 16384
    public static let omapKey = 4096
    public static let omapValue = 1 << 20

    /// Throws when a range lies outside the largest object.
    public static func check(offset: UInt64, length: UInt64) throws(WireError) {
        guard offset <= objectSize, length <= objectSize - offset else {
            throw WireError("range \(offset)+\(length) is outside the object limit of \(objectSize) bytes")
        }
    }
}
