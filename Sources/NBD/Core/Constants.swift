/// The numbers of the protocol (`doc/proto.md`, "Values"), under the names used there without their prefix.
package enum Magic {
    /// "NBDMAGIC", the first eight bytes of a server.
    package static let server: UInt64 = 0x4e42_444d_4147_4943
    /// "IHAVEOPT": newstyle, and the start of each option.
    package static let option: UInt64 = 0x4948_4156_454f_5054
    package static let optionReply: UInt64 = 0x0003_e889_0455_65a9
    package static let request: UInt32 = 0x2560_9513
    package static let simpleReply: UInt32 = 0x6744_6698
}

/// Flags of the handshake, the same bits in both directions.
package enum HandshakeFlags {
    package static let fixedNewstyle: UInt32 = 1 << 0
    package static let noZeroes: UInt32 = 1 << 1
}

/// Options this server knows by name; every other number is answered as unsupported.
package enum OptionCode {
    package static let exportName: UInt32 = 1
    package static let abort: UInt32 = 2
    package static let list: UInt32 = 3
    package static let startTLS: UInt32 = 5
    package static let info: UInt32 = 6
    package static let go: UInt32 = 7
    package static let structuredReply: UInt32 = 8
    package static let listMetaContext: UInt32 = 9
    package static let setMetaContext: UInt32 = 10
    package static let extendedHeaders: UInt32 = 11
}

/// Types of an option reply. Errors have the top bit set and may carry a text for the user.
package enum OptionReply: UInt32 {
    case ack = 1
    case server = 2
    case info = 3
    case unsupported = 0x8000_0001
    case policy = 0x8000_0002
    case invalid = 0x8000_0003
    case unknown = 0x8000_0006
    case shutdown = 0x8000_0007
    case tooBig = 0x8000_0009
}

/// Types of information about an export.
package enum InfoType {
    package static let export: UInt16 = 0
    package static let name: UInt16 = 1
    package static let description: UInt16 = 2
    package static let blockSize: UInt16 = 3
}

/// Flags that describe an export to the client.
package struct TransmissionFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let hasFlags = TransmissionFlags(rawValue: 1 << 0)
    package static let readOnly = TransmissionFlags(rawValue: 1 << 1)
    package static let sendFlush = TransmissionFlags(rawValue: 1 << 2)
    package static let sendFUA = TransmissionFlags(rawValue: 1 << 3)
    package static let sendTrim = TransmissionFlags(rawValue: 1 << 5)
    package static let sendWriteZeroes = TransmissionFlags(rawValue: 1 << 6)
    package static let multipleConnections = TransmissionFlags(rawValue: 1 << 8)
    package static let sendCache = TransmissionFlags(rawValue: 1 << 10)
    package static let sendFastZero = TransmissionFlags(rawValue: 1 << 11)
}

/// Types of a request.
package enum Command {
    package static let read: UInt16 = 0
    package static let write: UInt16 = 1
    package static let disconnect: UInt16 = 2
    package static let flush: UInt16 = 3
    package static let trim: UInt16 = 4
    package static let cache: UInt16 = 5
    package static let writeZeroes: UInt16 = 6
}

/// Flags of a request.
package struct CommandFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let fua = CommandFlags(rawValue: 1 << 0)
    package static let noHole = CommandFlags(rawValue: 1 << 1)
    package static let fastZero = CommandFlags(rawValue: 1 << 4)
}
