/// The limits of a placement map, in one place. What is within them, `crushtool` of Ceph 16 can compile.
public enum CRUSHLimits {
    /// Device numbers are below this.
    public static let devices = 1 << 16
    /// Bucket ids, those of shadows included, are from -1 down to minus this.
    public static let buckets = 1 << 16
    /// Items of all buckets together, shadows included.
    public static let items = 1 << 18
    /// Items of one bucket: the place of one is counted in 15 bits where it matters.
    public static let bucketItems = 1 << 15
    /// Items of one bucket of the kind tree: the format counts its nodes in a byte.
    public static let treeItems = 64
    /// Buckets on the way from a root to a device.
    public static let depth = 64
    /// Type numbers are below this.
    public static let types = 1 << 12
    /// Classes of devices.
    public static let classes = 256
    /// Rule numbers are below this.
    public static let rules = 256
    /// Steps of one rule.
    public static let steps = 256
    /// Bytes of a name.
    public static let name = 255
    /// OSDs that one mapping can ask for, and the count a choose step can name.
    public static let replicas = 64
    /// Tries that a tunable or a step can ask for.
    public static let tries: UInt32 = 1000
    /// Tries of a choose step times those of the search for a device in each: bounds the work of one mapping, which for a
    /// rule that cannot be satisfied is all of it.
    public static let triesTogether = 1 << 16
    /// Sets of choose arguments: one for each pool that has its own, and the default.
    public static let argumentSets = 1 << 10
    /// Sets of choose arguments times the highest number of a bucket: each set is laid out with a place for every bucket.
    public static let argumentPlaces = 1 << 22
    /// Weights and numbers in all choose arguments together.
    public static let argumentValues = 1 << 20
    /// The weight of one device in one bucket.
    public static let deviceWeight = CRUSHWeight(100 << 16)
    /// The weight of one bucket in another, and the sum of a bucket.
    public static let bucketWeight = CRUSHWeight(65535 << 16)
    /// Bytes of a file with a map, text or compiled.
    public static let fileBytes = 64 << 20
}
