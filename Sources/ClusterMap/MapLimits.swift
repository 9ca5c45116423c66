/// The limits of a cluster map, in one place.
public enum MapLimits {
    /// Bytes of a pool's name.
    public static let name = 255
    /// Copies of an object.
    public static let poolSize: UInt8 = 10
    /// Placement groups of a pool.
    public static let groupsPerPool: UInt32 = 65536
    /// Pools of a cluster.
    public static let pools = 4096
    /// OSDs of a cluster.
    public static let osds = 16384
    /// Groups of a cluster that one kind of exception (`GroupExceptions`) may name.
    public static let exceptions = 1 << 20
    /// Runs of removed snapshots of a pool, and so about as many snapshots that live.
    public static let snapRuns = 32768
    /// Runs of clients that are blocklisted.
    public static let blocklist = 65536
    /// Bytes of an encoded map.
    public static let encodedSize = 64 << 20
}
