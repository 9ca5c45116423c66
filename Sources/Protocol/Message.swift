import Wire

/// Everything that one daemon or client says to another, whatever carries it.
public enum Message: Sendable {
    case operation(OperationRequest)
    case operationReply(OperationReply)
    case group(GroupMessage)
    case monitor(MonitorMessage)
    case heartbeat(Heartbeat)
    case watchEvent(WatchEvent)

    private enum Kind: UInt8 {
        case operation = 1, operationReply, group, monitor, heartbeat, watchEvent
    }

    /// The message as bytes: a kind, then its encoding.
    public var encoded: Bytes {
        var writer = ByteWriter(capacity: capacityHint)
        switch self {
        case .operation(let request):
            writer.writeU8(Kind.operation.rawValue)
            request.encode(into: &writer)
        case .operationReply(let reply):
            writer.writeU8(Kind.operationReply.rawValue)
            reply.encode(into: &writer)
        case .group(let message):
            writer.writeU8(Kind.group.rawValue)
            message.encode(into: &writer)
        case .monitor(let message):
            writer.writeU8(Kind.monitor.rawValue)
            message.encode(into: &writer)
        case .heartbeat(let heartbeat):
            writer.writeU8(Kind.heartbeat.rawValue)
            heartbeat.encode(into: &writer)
        case .watchEvent(let event):
            writer.writeU8(Kind.watchEvent.rawValue)
            event.encode(into: &writer)
        }
        return writer.finish()
    }

    /// Decodes what `encoded` gave; bytes left over are an error, like anything else that does not fit.
    public init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        let raw = try reader.readU8()
        guard let kind = Kind(rawValue: raw) else { throw WireError("unknown kind of message \(raw)") }
        switch kind {
        case .operation: self = .operation(try OperationRequest(from: &reader))
        case .operationReply: self = .operationReply(try OperationReply(from: &reader))
        case .group: self = .group(try GroupMessage(from: &reader))
        case .monitor: self = .monitor(try MonitorMessage(from: &reader))
        case .heartbeat: self = .heartbeat(try Heartbeat(from: &reader))
        case .watchEvent: self = .watchEvent(try WatchEvent(from: &reader))
        }
        try reader.expectEnd()
    }

    /// Enough for the headers and the data, so that encoding a write allocates once.
    private var capacityHint: Int {
        switch self {
        case .operation(let request):
            request.steps.reduce(256) { sum, step in
                switch step {
                case .write(_, let data), .writeFull(let data), .append(let data), .compareExtent(_, let data):
                    sum + data.count
                default: sum
                }
            }
        case .operationReply(let reply): reply.outputs.reduce(64) { $0 + $1.count + 8 }
        case .group(let message):
            switch message.body {
            case .replicate(_, let operations, _): operations.dataSize + 768
            case .replicateTogether(_, let operations, _): operations.dataSize + 2048
            case .push(let part): part.data.count + 512
            default: 256
            }
        case .monitor: 256
        case .heartbeat: 32
        case .watchEvent: 512
        }
    }
}

/// The limits of any message, in one place.
public enum MessageLimits {
    /// Bytes of an encoded message: the largest payload and what stands around it.
    public static let encodedSize = payload + (1 << 20)
    /// Bytes of the largest part of a message: a cluster map or a whole object.
    public static let payload = 64 << 20
}
