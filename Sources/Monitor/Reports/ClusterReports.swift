import FoundationEssentials
import Wire

/// What commands answer as JSON. The names of fields are those that administrators' scripts know, in snake case.
public protocol Report: Codable {}

extension Report {
    /// The report as JSON, its keys sorted.
    public func json(pretty: Bool = false) -> Bytes {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        do {
            return Bytes([UInt8](try encoder.encode(self)))
        } catch {
            preconditionFailure("a report does not encode: \(error)")
        }
    }

    /// The report that `json` gave; throws `WireError` when it is another.
    public init(json: Bytes) throws(WireError) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(Self.self, from: Data(json.array))
        } catch {
            throw WireError("the monitor's answer is not the expected JSON: \(error)")
        }
    }
}

extension HealthReport: Report {}
extension Array: Report where Element: Codable {}

/// The answer to `status`.
public struct ClusterStatus: Report, Hashable, Sendable {
    /// The monitors.
    public struct Monitors: Codable, Hashable, Sendable {
        /// How many there are.
        public var numMons: Int
        /// Each of them.
        public var mons: [MonitorReport]
    }

    /// The cluster's id.
    public var fsid: String
    /// The checks.
    public var health: HealthReport
    /// The monitors.
    public var monmap: Monitors
    /// The OSDs.
    public var osdmap: OSDCounts
    /// Pools, groups and usage.
    public var pgmap: GroupCounts
}

/// A monitor.
public struct MonitorReport: Report, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Where it listens.
    public var addr: String
}

/// The answer to `osd stat`.
public struct OSDCounts: Report, Hashable, Sendable {
    /// The map's epoch.
    public var epoch: UInt32
    /// OSDs in the map.
    public var numOsds: Int
    /// OSDs that are up.
    public var numUpOsds: Int
    /// OSDs that get data.
    public var numInOsds: Int
}

/// The answer to `pg stat`: pools, groups and usage in numbers.
public struct GroupCounts: Report, Hashable, Sendable {
    /// Groups in one state.
    public struct State: Codable, Hashable, Sendable {
        /// The state.
        public var stateName: String
        /// How many groups are in it.
        public var count: Int
    }

    /// Groups that do not serve for one reason.
    public struct Waiting: Codable, Hashable, Sendable {
        /// Why, as the end of a sentence that begins with the group.
        public var reason: String
        /// How many groups.
        public var count: Int
        /// The first of them.
        public var pgid: String
    }

    /// How many pools there are.
    public var numPools: Int
    /// How many groups there are.
    public var numPgs: Int
    /// Groups by state, the most frequent first.
    public var pgsByState: [State]
    /// Why groups do not serve.
    public var waiting: [Waiting]
    /// Bytes used on all OSDs that report.
    public var bytesUsed: UInt64
    /// Bytes free on all OSDs that report.
    public var bytesAvail: UInt64
    /// The size of all OSDs that report.
    public var bytesTotal: UInt64
    /// Objects and copies, and how they are made whole; in JSON its fields stand beside the others.
    public var data: DataReport
}

/// The answer to `pg dump`.
public struct GroupDump: Report, Hashable, Sendable {
    /// One placement group.
    public struct Group: Codable, Hashable, Sendable {
        /// Its name.
        public var pgid: String
        /// The state of the field, or `unknown`.
        public var state: String
        /// The newest write that its primary told of, in the form epoch'counter.
        public var version: String
        /// What CRUSH chose of those that are up.
        public var up: [Int32]
        /// Who serves.
        public var acting: [Int32]
        /// The first of the acting set, -1 for none.
        public var actingPrimary: Int32
        /// The OSDs that it waits for.
        public var waitingFor: [Int32]
        /// Why it does not serve; absent when it does.
        public var reason: String?
        /// What its primary says of its data; absent when it has not spoken.
        public var statSum: GroupData?
    }

    /// The map's epoch.
    public var epoch: UInt32
    /// All groups in order.
    public var pgStats: [Group]
}

/// The answer to `osd map`.
public struct ObjectMapping: Report, Hashable, Sendable {
    /// The map's epoch.
    public var epoch: UInt32
    /// The pool's name.
    public var pool: String
    /// The pool's number.
    public var poolId: Int64
    /// The object's name.
    public var objname: String
    /// Pool and hash of the object.
    public var rawPgid: String
    /// The placement group.
    public var pgid: String
    /// What CRUSH chose of those that are up.
    public var up: [Int32]
    /// The first of them, -1 for none.
    public var upPrimary: Int32
    /// Who serves.
    public var acting: [Int32]
    /// The first of them, -1 for none.
    public var actingPrimary: Int32
}
