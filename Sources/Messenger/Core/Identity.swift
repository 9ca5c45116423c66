import ClusterMap
import Wire

/// Who speaks: a daemon or a client.
public enum Entity: Hashable, Sendable, CustomStringConvertible {
    /// A monitor, by its name.
    case monitor(String)
    case osd(OSDID)
    /// A client, named so that an administrator finds it, such as `nbd@host:pid`.
    case client(String)

    /// The form administrators know: `mon.a`, `osd.3`, `client.nbd@host:pid`.
    public var description: String {
        switch self {
        case .monitor(let name): "mon.\(name)"
        case .osd(let id): "\(id)"
        case .client(let name): "client.\(name)"
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.readU8()
        switch raw {
        case 1: self = .monitor(try reader.readString(atMost: MessengerLimits.nameBytes))
        case 2: self = .osd(OSDID(try reader.readI32()))
        case 3: self = .client(try reader.readString(atMost: MessengerLimits.nameBytes))
        default: throw WireError("unknown kind of entity \(raw)")
        }
    }

    func encode(into writer: inout ByteWriter) {
        switch self {
        case .monitor(let name):
            writer.writeU8(1)
            writer.writeString(name)
        case .osd(let id):
            writer.writeU8(2)
            writer.writeI32(id.rawValue)
        case .client(let name):
            writer.writeU8(3)
            writer.writeString(name)
        }
    }
}

/// What one end of a session says about itself.
public struct Identity: Hashable, Sendable {
    /// The cluster it belongs to; nil when it does not know yet and takes whichever it finds.
    public var cluster: UniqueID?
    public var entity: Entity
    /// Tells this run of the process from every other: random, or a count that is stored before it is used.
    public var incarnation: UInt64

    /// An identity; the name in `entity` has at most `MessengerLimits.nameBytes` bytes.
    public init(cluster: UniqueID?, entity: Entity, incarnation: UInt64) {
        self.cluster = cluster
        self.entity = entity
        self.incarnation = incarnation
    }
}

/// The other end of a session, as its handshake said.
public struct PeerIdentity: Hashable, Sendable {
    public var cluster: UniqueID?
    public var entity: Entity
    public var incarnation: UInt64
    /// The address of its socket, for logs and `status`.
    public var address: String

    /// The identity as seen at an address.
    public init(_ identity: Identity, address: String) {
        cluster = identity.cluster
        entity = identity.entity
        incarnation = identity.incarnation
        self.address = address
    }
}

/// Why a session has no connection now.
public enum Interruption: Hashable, Sendable, CustomStringConvertible {
    /// Nobody listens at the address: the process is gone. Proof of death for a peer that was there before.
    case connectionRefused
    /// The peer's side ended the connection; its kernel said so.
    case closedByPeer
    /// The peer was silent for too long, or did not finish the handshake in time.
    case timedOut
    /// The peer does not want this session, or is not the one expected; the text is one line.
    case handshakeRefused(String)
    /// The address cannot be reached, resolved, or is not permitted without authentication; the text is one line.
    case unreachable(String)
    /// What the peer sent makes no sense; the text is one line.
    case violation(String)
    /// The initiator came back on a new connection before the end of the old one was seen.
    case superseded

    public var description: String {
        switch self {
        case .connectionRefused: "connection refused"
        case .closedByPeer: "closed by the peer"
        case .timedOut: "timed out"
        case .handshakeRefused(let reason), .unreachable(let reason): reason
        case .violation(let reason): "protocol violation: \(reason)"
        case .superseded: "replaced by a newer connection"
        }
    }
}

/// A session of a messenger: a place in its table, and which use of the place. Never used twice by one messenger.
public struct SessionID: Hashable, Sendable, CustomStringConvertible {
    package let key: SlotKey

    init(key: SlotKey) { self.key = key }

    /// The place and its use in one number, for whoever keeps ids of sessions in a field of their own.
    public var rawValue: UInt64 { UInt64(key.generation) << 32 | UInt64(key.index) }

    /// An id from its `rawValue`.
    public init(rawValue: UInt64) {
        key = SlotKey(index: UInt32(truncatingIfNeeded: rawValue), generation: UInt32(rawValue >> 32))
    }

    /// The place alone, small, for an array beside the messenger's; another session has it after this one is closed.
    public var index: Int { Int(key.index) }

    public var description: String { "session \(key.index).\(key.generation)" }
}

/// A connection of a messenger, like `SessionID`.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    package let key: SlotKey

    init(key: SlotKey) { self.key = key }

    /// The place alone, for an array beside the core's.
    public var index: Int { Int(key.index) }

    public var description: String { "connection \(key.index).\(key.generation)" }
}
