/// The answer to `osd tree`.
public struct OSDTree: Report, Hashable, Sendable {
    /// A bucket or an OSD.
    public struct Node: Codable, Hashable, Sendable {
        /// Its CRUSH number.
        public var id: Int32
        /// Its name.
        public var name: String
        /// The name of its level.
        public var type: String
        /// Its weight in TiB by custom.
        public var crushWeight: Double
        /// How far below a root it is.
        public var depth: Int
        /// The numbers of what is below it; absent for an OSD.
        public var children: [Int32]?
        /// `up` or `down`; absent for a bucket.
        public var status: String?
        /// The share of the weight that is used, from 0 to 1; absent for a bucket.
        public var reweight: Double?
    }

    /// The roots with what is below them, each before what it holds.
    public var nodes: [Node]
    /// OSDs that stand in no bucket.
    public var stray: [Node]
}

/// The answer to `osd dump`.
public struct MapDump: Report, Hashable, Sendable {
    /// One OSD.
    public struct OSD: Codable, Hashable, Sendable {
        /// Its number.
        public var osd: Int32
        /// The identity of its disk.
        public var uuid: String
        /// 1 when it is up.
        public var up: Int
        /// 1 when it gets data.
        public var `in`: Int
        /// The share of its CRUSH weight that is used.
        public var weight: Double
        /// The epoch that marked it up last.
        public var upFrom: UInt32
        /// The newest epoch by which it is known to have been alive.
        public var upThru: UInt32
        /// The epoch that marked it down last.
        public var downAt: UInt32
        /// Where it serves; empty before its first boot.
        public var publicAddr: String
    }

    /// The map's epoch.
    public var epoch: UInt32
    /// The cluster's id.
    public var fsid: String
    /// The pools in order.
    public var pools: [PoolReport]
    /// The OSDs in order.
    public var osds: [OSD]
}

/// The answer to `osd df`.
public struct OSDUsage: Report, Hashable, Sendable {
    /// One OSD.
    public struct Node: Codable, Hashable, Sendable {
        /// Its number.
        public var id: Int32
        /// Its name.
        public var name: String
        /// Its weight in TiB by custom.
        public var crushWeight: Double
        /// The share of the weight that is used.
        public var reweight: Double
        /// Its size in bytes; 0 while it does not report.
        public var bytesTotal: UInt64
        /// What is used of it.
        public var bytesUsed: UInt64
        /// The share that is used, in percent.
        public var utilization: Double
        /// Groups that it is to hold.
        public var pgs: Int
        /// `up` or `down`.
        public var status: String
    }

    /// The OSDs in order.
    public var nodes: [Node]
}

/// One pool: an element of the answer to `osd pool ls`, and of `osd dump`.
public struct PoolReport: Report, Hashable, Sendable {
    /// Its number.
    public var pool: Int64
    /// Its name.
    public var poolName: String
    /// Copies of every object.
    public var size: Int
    /// Copies that must be there before a group serves.
    public var minSize: Int
    /// Placement groups.
    public var pgNum: UInt32
    /// Placement groups as far as placement is concerned.
    public var pgPlacementNum: UInt32
    /// The CRUSH rule's number.
    public var crushRule: Int32
    /// The epoch that brought it.
    public var created: UInt32
    /// What it is for; empty for none.
    public var application: String
}

/// The answer to `osd new`.
public struct NewOSD: Report, Hashable, Sendable {
    /// The number of the OSD with this uuid.
    public var osdid: Int32
    /// The cluster's id.
    public var fsid: String
}
