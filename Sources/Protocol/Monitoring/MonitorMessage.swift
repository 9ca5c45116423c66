import ClusterMap
import Wire

/// What is said between a monitor and everyone else.
public enum MonitorMessage: Sendable {
    /// Anyone → monitor: send me the OSD map after this epoch (0: the newest whole map), and every later one as it is made.
    case subscribe(have: Epoch)
    /// Monitor → subscriber: maps, oldest first.
    case maps(MapUpdate)
    /// OSD → monitor: I am up. Answered by a map that says so.
    case boot(OSDBoot)
    /// Monitor → OSD: the boot comes to nothing, for this reason, until an administrator does something.
    case bootRefused(String)
    /// OSD → monitor: this peer's process does not answer.
    case failure(OSDFailure)
    /// OSD → monitor: the peer that was reported answers again.
    case failureWithdrawn(OSDFailure)
    /// OSD → monitor: this run of me lives in this epoch; a map that says so (`up_thru`) is what its groups wait for before
    /// they serve.
    case alive(OSDID, incarnation: UInt64, epoch: Epoch)
    /// OSD → monitor: groups that this run of me leads are to be served by these OSDs (by none: by the up set again).
    case acting(OSDID, incarnation: UInt64, [ActingRequest])
    /// OSD → monitor, every few seconds: alive, and how things are.
    case statistics(OSDStatistics)
    /// OSD → monitor: I am going, mark me down.
    case leaving(OSDID, incarnation: UInt64)
    /// Anyone → monitor: an administrator's command.
    case command(CommandRequest)
    case commandReply(CommandReply)
}

/// OSD maps from a monitor: increments from what the subscriber has, or a whole map where it has none or is too old.
public struct MapUpdate: Sendable {
    public var cluster: UniqueID
    /// An encoded `OSDMap`.
    public var full: Bytes?
    /// Encoded increments, following `full` or the subscriber's map without a gap.
    public var increments: [Bytes]

    public init(cluster: UniqueID, full: Bytes?, increments: [Bytes]) {
        self.cluster = cluster
        self.full = full
        self.increments = increments
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        cluster = try UniqueID(from: &reader)
        full = try reader.readOptional { r throws(WireError) in try r.readBytes(atMost: MapLimits.encodedSize) }
        increments = try reader.readArray(atMost: MonitorLimits.increments) { r throws(WireError) in
            try r.readBytes(atMost: MapLimits.encodedSize)
        }
    }

    public func encode(into writer: inout ByteWriter) {
        cluster.encode(into: &writer)
        writer.writeOptional(full) { $0.writeBytes($1) }
        writer.writeArray(increments) { $0.writeBytes($1) }
    }
}

/// An OSD's announcement that it serves.
public struct OSDBoot: Hashable, Sendable {
    public var id: OSDID
    /// The disk's identity; the monitor refuses a number that belongs to another disk.
    public var uuid: UniqueID
    /// This run of the daemon.
    public var incarnation: UInt64
    public var endpoint: Endpoint

    public init(id: OSDID, uuid: UniqueID, incarnation: UInt64, endpoint: Endpoint) {
        self.id = id
        self.uuid = uuid
        self.incarnation = incarnation
        self.endpoint = endpoint
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        id = OSDID(try reader.readI32())
        uuid = try UniqueID(from: &reader)
        incarnation = try reader.readU64()
        endpoint = try Endpoint(from: &reader)
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeI32(id.rawValue)
        uuid.encode(into: &writer)
        writer.writeU64(incarnation)
        endpoint.encode(into: &writer)
    }
}

/// Whom a group's primary wants to serve it; see `MonitorMessage.acting`.
public struct ActingRequest: Hashable, Sendable {
    /// Which group.
    public var group: PGID
    /// The acting set, primary first; empty for the up set.
    public var osds: [OSDID]

    /// A request with these values.
    public init(group: PGID, osds: [OSDID]) {
        self.group = group
        self.osds = osds
    }

    init(from reader: inout ByteReader) throws(WireError) {
        group = try PGID(from: &reader)
        osds = try reader.readArray(atMost: Int(MapLimits.poolSize)) { r throws(WireError) in OSDID(try r.readI32()) }
    }

    func encode(into writer: inout ByteWriter) {
        group.encode(into: &writer)
        writer.writeArray(osds) { $0.writeI32($1.rawValue) }
    }
}

/// What an OSD tells the monitor about itself and the groups it leads.
public struct OSDStatistics: Sendable {
    public var id: OSDID
    public var incarnation: UInt64
    /// The newest map it has.
    public var epoch: Epoch
    public var capacity: UInt64
    public var used: UInt64
    public var groups: [GroupStatistics]
    /// True when these are all groups that it leads; false when those that are not named are as they were.
    public var isWhole = true
    /// Copies of objects that groups of this run brought back, and their bytes.
    public var recoveredObjects: UInt64 = 0
    public var recoveredBytes: UInt64 = 0
    /// Peers that answer heartbeats late, the latest first.
    public var slowPeers: [SlowPeer] = []
    /// Writes of clients that some member has not committed for long, and how long the oldest has waited, in seconds.
    public var slowWrites: UInt32 = 0
    public var oldestWrite: UInt32 = 0

    /// A peer whose answers to heartbeats take long, as they have lately on average.
    public struct SlowPeer: Hashable, Sendable {
        public var osd: OSDID
        public var milliseconds: UInt32

        public init(osd: OSDID, milliseconds: UInt32) {
            self.osd = osd
            self.milliseconds = milliseconds
        }
    }

    public init(
        id: OSDID, incarnation: UInt64, epoch: Epoch, capacity: UInt64, used: UInt64, groups: [GroupStatistics]
    ) {
        self.id = id
        self.incarnation = incarnation
        self.epoch = epoch
        self.capacity = capacity
        self.used = used
        self.groups = groups
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("OSD statistics", supported: 3) { r, _ throws(WireError) in
            var statistics = OSDStatistics(
                id: OSDID(try r.readI32()), incarnation: try r.readU64(), epoch: Epoch(try r.readU32()),
                capacity: try r.readU64(), used: try r.readU64(),
                groups: try r.readArray(atMost: Int(MapLimits.groupsPerPool)) { r throws(WireError) in
                    try GroupStatistics(from: &r)
                })
            statistics.isWhole = try r.readBool()
            statistics.recoveredObjects = try r.readU64()
            statistics.recoveredBytes = try r.readU64()
            statistics.slowPeers = try r.readArray(atMost: MonitorLimits.slowPeers) { r throws(WireError) in
                SlowPeer(osd: OSDID(try r.readI32()), milliseconds: try r.readU32())
            }
            statistics.slowWrites = try r.readU32()
            statistics.oldestWrite = try r.readU32()
            return statistics
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(3, compatible: 3) { w in
            w.writeI32(id.rawValue)
            w.writeU64(incarnation)
            w.writeU32(epoch.rawValue)
            w.writeU64(capacity)
            w.writeU64(used)
            w.writeArray(groups) { $1.encode(into: &$0) }
            w.writeBool(isWhole)
            w.writeU64(recoveredObjects)
            w.writeU64(recoveredBytes)
            w.writeArray(slowPeers) { w, peer in
                w.writeI32(peer.osd.rawValue)
                w.writeU32(peer.milliseconds)
            }
            w.writeU32(slowWrites)
            w.writeU32(oldestWrite)
        }
    }
}

/// An administrator's command: its words as typed after `nacre`, and options by name.
public struct CommandRequest: Hashable, Sendable {
    /// The sender's number for it; the reply carries the same.
    public var number: UInt64
    /// The command's words, such as `pool`, `create`.
    public var words: [String]
    /// Its arguments by name.
    public var arguments: [String: String]
    /// The file that it is given, where a command takes one; empty otherwise.
    public var input: Bytes

    public init(number: UInt64, words: [String], arguments: [String: String] = [:], input: Bytes = .empty) {
        self.number = number
        self.words = words
        self.arguments = arguments
        self.input = input
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        number = try reader.readU64()
        words = try reader.readArray(atMost: MonitorLimits.words) { r throws(WireError) in
            try r.readString(atMost: MonitorLimits.word)
        }
        let pairs = try reader.readArray(atMost: MonitorLimits.words) { r throws(WireError) in
            (try r.readString(atMost: MonitorLimits.word), try r.readString(atMost: MonitorLimits.word))
        }
        arguments = Dictionary(pairs, uniquingKeysWith: { $1 })
        input = try reader.readBytes(atMost: MonitorLimits.input)
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(number)
        writer.writeArray(words) { $0.writeString($1) }
        writer.writeArray(arguments.sorted { $0.key < $1.key }) { w, pair in
            w.writeString(pair.key)
            w.writeString(pair.value)
        }
        writer.writeBytes(input)
    }
}

/// The answer to a command.
public struct CommandReply: Hashable, Sendable {
    public var number: UInt64
    /// 0 or a positive errno: the exit status.
    public var errno: Int32
    /// One line for people: what was done, or what is wrong and what to do.
    public var message: String
    /// The result as JSON, or the file that was asked for, where the command has one; empty otherwise.
    public var output: Bytes

    public init(number: UInt64, errno: Int32, message: String, output: Bytes = .empty) {
        self.number = number
        self.errno = errno
        self.message = message
        self.output = output
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        number = try reader.readU64()
        errno = try reader.readI32()
        message = try reader.readString(atMost: MonitorLimits.message)
        output = try reader.readBytes(atMost: MonitorLimits.output)
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(number)
        writer.writeI32(errno)
        writer.writeString(message)
        writer.writeBytes(output)
    }
}

/// The limits of what monitors are told and tell, in one place.
public enum MonitorLimits {
    /// Increments in one map update; a subscriber further behind gets a whole map.
    public static let increments = 256
    /// Peers that one OSD says are slow; it names those that are slowest.
    public static let slowPeers = 32
    public static let words = 64
    public static let word = 4096
    public static let message = 16 << 10
    public static let output = 64 << 20
    /// Bytes of a file that a command is given.
    public static let input = 32 << 20
}
