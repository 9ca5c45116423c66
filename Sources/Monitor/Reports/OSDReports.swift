/// The answer to `osd tree`.
public struct OSDTree: Report, Hashable, Sendable {
    /// A bucket or an OSD.
    public struct Node: Codable, Hashable, Sendable {
        /// Its CRUSH number.
        public var id: Int32
        /// Its class; absent for a bucket and for an OSD without one.
        public var deviceClass: String?
        /// Its name.
        public var name: String
        /// The name of its level.
        public var type: String
        /// The number of its level.
        public var typeId: Int
        /// Its weight in TiB by custom.
        public var crushWeight: Double
        /// How far below a root it is.
        public var depth: Int
        /// 1 when the OSD is in the map; absent for a bucket.
        public var exists: Int?
        /// `up` or `down`; absent for a bucket.
        public var status: String?
        /// The share of the weight that is used, from 0 to 1; absent for a bucket.
        public var reweight: Double?
        /// The share of the groups that it could lead and does, from 0 to 1; absent for a bucket.
        public var primaryAffinity: Double?
        /// The numbers of what is below it, in the reverse order of what follows; absent for an OSD.
        public var children: [Int32]?
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
        /// The share of the groups that it could lead and does.
        public var primaryAffinity: Double
        /// The epoch that marked it up last.
        public var upFrom: UInt32
        /// The newest epoch by which it is known to have been alive.
        public var upThru: UInt32
        /// The epoch that marked it down last.
        public var downAt: UInt32
        /// Where it serves; empty before its first boot.
        public var publicAddr: String
    }

    /// A group with OSDs of its own.
    public struct Upmap: Codable, Hashable, Sendable {
        /// The group.
        public var pgid: String
        /// Its OSDs.
        public var osds: [Int32]
    }

    /// A group with replacements.
    public struct UpmapItems: Codable, Hashable, Sendable {
        /// One replacement.
        public struct Mapping: Codable, Hashable, Sendable {
            /// The OSD that is replaced.
            public var from: Int32
            /// The OSD in its place.
            public var to: Int32
        }

        /// The group.
        public var pgid: String
        /// Its replacements.
        public var mappings: [Mapping]
    }

    /// A group with a leader of its own.
    public struct Primary: Codable, Hashable, Sendable {
        /// The group.
        public var pgid: String
        /// Its leader.
        public var osd: Int32
    }

    /// The map's epoch.
    public var epoch: UInt32
    /// The cluster's id.
    public var fsid: String
    /// The pools in order.
    public var pools: [PoolReport]
    /// The OSDs in order.
    public var osds: [OSD]
    /// The groups whose OSDs stand for CRUSH's choice.
    public var pgUpmap: [Upmap]
    /// The groups of which OSDs are replaced.
    public var pgUpmapItems: [UpmapItems]
    /// The groups that others serve for a while.
    public var pgTemp: [Upmap]
    /// The groups that another leads for a while.
    public var primaryTemp: [Primary]
}

/// The answer to `osd df`.
public struct OSDUsage: Report, Hashable, Sendable {
    /// One OSD, or in the form of a tree a bucket with the sums of its OSDs.
    public struct Node: Codable, Hashable, Sendable {
        /// Its CRUSH number.
        public var id: Int32
        /// Its class; absent for a bucket and for an OSD without one.
        public var deviceClass: String?
        /// Its name.
        public var name: String
        /// The name of its level.
        public var type: String
        /// The number of its level.
        public var typeId: Int
        /// Its weight in TiB by custom.
        public var crushWeight: Double
        /// How far below a root it is; 0 where it is no tree.
        public var depth: Int
        /// The share of the weight that is used; of a bucket by its weight.
        public var reweight: Double
        /// Its size in KiB; 0 while it does not report.
        public var kb: UInt64
        /// What is used of it.
        public var kbUsed: UInt64
        /// What is free of it.
        public var kbAvail: UInt64
        /// The share that is used, in percent.
        public var utilization: Double
        /// That share as a multiple of the cluster's.
        public var `var`: Double
        /// Copies of groups that it is to hold.
        public var pgs: Int
        /// Copies of groups that its weight asks for under the rules of the pools.
        public var idealPgs: Double
        /// `up` or `down`; empty for a bucket.
        public var status: String
        /// The numbers of what is below it; absent for an OSD and where it is no tree.
        public var children: [Int32]?
    }

    /// The sums.
    public struct Summary: Codable, Hashable, Sendable {
        /// The size of all OSDs that report, in KiB.
        public var totalKb: UInt64
        /// What is used of it.
        public var totalKbUsed: UInt64
        /// What is free of it.
        public var totalKbAvail: UInt64
        /// The share that is used, in percent.
        public var averageUtilization: Double
        /// The least multiple of it that an OSD is at.
        public var minVar: Double
        /// The largest.
        public var maxVar: Double
        /// The standard deviation of the OSDs' shares, in percent.
        public var dev: Double
        /// The most copies of groups that an OSD lacks to its ideal, 0 or less.
        public var lowestPgs: Double
        /// The most that an OSD has above it, 0 or more.
        public var highestPgs: Double
    }

    /// The OSDs in order, or the roots with what is below them.
    public var nodes: [Node]
    /// OSDs that stand in no bucket.
    public var stray: [Node]
    /// The sums.
    public var summary: Summary
}

/// The answer to `osd balance`.
public struct BalanceReport: Report, Hashable, Sendable {
    /// How far OSDs are from their ideal numbers of copies.
    public struct Spread: Codable, Hashable, Sendable {
        /// The most that one lacks, 0 or less.
        public var lowest: Double
        /// The most that one has too many, 0 or more.
        public var highest: Double
    }

    /// One pool.
    public struct Pool: Codable, Hashable, Sendable {
        /// Its number.
        public var pool: Int64
        /// Its name.
        public var poolName: String
        /// The spread as it is; absent when it is not balanced.
        public var before: Spread?
        /// The spread with the changes; absent when it is not balanced.
        public var after: Spread?
        /// Why it is not balanced; absent when it is.
        public var reason: String?
    }

    /// A group whose replacements change.
    public struct Change: Codable, Hashable, Sendable {
        /// The group.
        public var pgid: String
        /// What its replacements become; empty for none.
        public var mappings: [MapDump.UpmapItems.Mapping]
    }

    /// The map's epoch.
    public var epoch: UInt32
    /// Whether the changes are only shown.
    public var dryRun: Bool
    /// The pools.
    public var pools: [Pool]
    /// The spread over all these pools as it is.
    public var before: Spread
    /// The spread over all these pools with the changes.
    public var after: Spread
    /// Copies that move.
    public var moves: Int
    /// The least number of copies that would have to move, were there no rules.
    public var leastMoves: Int
    /// Whether the limit of moves cut it off.
    public var cut: Bool
    /// What keeps the spread from being smaller, a line each.
    public var bound: [String]
    /// The changes.
    public var changes: [Change]
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
    /// Placement groups that there will be in the end.
    public var pgNumTarget: UInt32
    /// Placement groups that there will be when those are merged that are quiet now.
    public var pgNumPending: UInt32
    /// Placement groups as far as placement is concerned.
    public var pgPlacementNum: UInt32
    /// The CRUSH rule's number.
    public var crushRule: Int32
    /// The epoch that brought it.
    public var created: UInt32
    /// What it is for; empty for none.
    public var application: String
}
