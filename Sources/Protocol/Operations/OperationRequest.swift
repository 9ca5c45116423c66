import Wire

/// Names a client's request for ever: the client's instance and its counter. A resend carries the same one.
public struct RequestID: Hashable, Sendable, CustomStringConvertible {
    /// Drawn at random by each client instance.
    public var client: UInt64
    /// Counts the client's requests from 1.
    public var number: UInt64

    @inlinable
    public init(client: UInt64, number: UInt64) {
        self.client = client
        self.number = number
    }

    /// No client: what the cluster does on its own.
    public static let none = RequestID(client: 0, number: 0)

    public var description: String { "client.\(String(client, radix: 16)):\(number)" }

    @inlinable
    public init(from reader: inout ByteReader) throws(WireError) {
        client = try reader.readU64()
        number = try reader.readU64()
    }

    @inlinable
    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(client)
        writer.writeU64(number)
    }
}

/// What a client asks of the primary of an object's placement group.
public struct OperationRequest: Sendable {
    public var id: RequestID
    /// The client's map when it chose the primary.
    public var epoch: Epoch
    public var group: PGID
    /// The object; for operations on the group itself, any object of it.
    public var object: ObjectID
    /// Which version of the object a reading request is about: the head, or as it was at a snapshot.
    public var snap: SnapID
    /// For a request that changes something: the snapshots that its writer knows of.
    public var context: SnapContext
    public var steps: [ObjectOperation]

    public init(
        id: RequestID, epoch: Epoch, group: PGID, object: ObjectID, steps: [ObjectOperation], snap: SnapID = .head,
        context: SnapContext = .none
    ) {
        self.id = id
        self.epoch = epoch
        self.group = group
        self.object = object
        self.snap = snap
        self.context = context
        self.steps = steps
    }

    public var isWrite: Bool { steps.contains { $0.isWrite } }

    public init(from reader: inout ByteReader) throws(WireError) {
        id = try RequestID(from: &reader)
        epoch = Epoch(try reader.readU32())
        group = try PGID(from: &reader)
        let version = try ObjectID(from: &reader)
        snap = version.snap
        object = version.snap == .head ? version : version.head
        context = try SnapContext(from: &reader)
        steps = try reader.readArray(atMost: OperationLimits.steps) { r throws(WireError) in
            try ObjectOperation(from: &r)
        }
        guard !steps.isEmpty else { throw WireError("a request without steps") }
        guard snap == .head || (snap <= .last && snap > .none && !isWrite) else {
            throw WireError("a request that changes something at snapshot \(snap)")
        }
        if let excess = Self.excess(of: steps) { throw WireError(excess) }
    }

    /// What the steps together carry or ask for too much of; nil when what follows from the request, its reply and what the
    /// primary tells the members, fits into messages.
    public static func excess(of steps: [ObjectOperation]) -> String? {
        var (data, asked, keys) = (0, 0, 0)
        for step in steps {
            switch step {
            case .write(_, let bytes), .writeFull(let bytes), .append(let bytes), .compareExtent(_, let bytes):
                data += bytes.count
            case .writeSame(_, let length, _): data += Int(clamping: length)
            case .call(let call):
                data += call.input.count
                asked += OperationLimits.classData
            case .read(_, let length), .sparseRead(_, let length): asked += Int(length)
            case .removeOmapRange(let from, let to): keys += from.count + (to?.count ?? 0)
            case .getOmap(let names), .removeOmap(let names): keys += names.reduce(0) { $0 + $1.count }
            default: break
            }
        }
        if data > StorageLimits.writeSize {
            return "a request that writes \(data) bytes is over the limit of \(StorageLimits.writeSize)"
        }
        if asked > Int(OperationLimits.readSize) {
            return "a request that reads \(asked) bytes is over the limit of \(OperationLimits.readSize)"
        }
        guard keys > OperationLimits.metadataSize else { return nil }
        return "a request with \(keys) bytes of keys is over the limit of \(OperationLimits.metadataSize)"
    }

    public func encode(into writer: inout ByteWriter) {
        id.encode(into: &writer)
        writer.writeU32(epoch.rawValue)
        group.encode(into: &writer)
        if snap == .head { object.encode(into: &writer) } else { object.at(snap).encode(into: &writer) }
        context.encode(into: &writer)
        writer.writeArray(steps) { $1.encode(into: &$0) }
    }
}

/// What the primary answers. For a change, success means that every member of the acting set has it on disk.
public struct OperationReply: Sendable {
    /// How a request ended.
    public enum Outcome: Hashable, Sendable {
        /// 0, or the positive errno that failed it.
        case done(errno: Int32)
        /// Not done: the group is not this OSD's under the map of this epoch, which the client does not have yet.
        case misdirected(Epoch)
    }

    public var number: UInt64
    public var outcome: Outcome
    /// The version of the object's group that the request made, or saw.
    public var version: Version
    /// One for each step when successful.
    public var outputs: [Bytes]

    public init(number: UInt64, outcome: Outcome, version: Version = .zero, outputs: [Bytes] = []) {
        self.number = number
        self.outcome = outcome
        self.version = version
        self.outputs = outputs
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        number = try reader.readU64()
        switch try reader.readU8() {
        case 0: outcome = .done(errno: try reader.readI32())
        case 1: outcome = .misdirected(Epoch(try reader.readU32()))
        case let other: throw WireError("unknown outcome \(other)")
        }
        version = try Version(from: &reader)
        outputs = try reader.readArray(atMost: OperationLimits.steps) { r throws(WireError) in
            try r.readBytes(atMost: MessageLimits.payload)
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeU64(number)
        switch outcome {
        case .done(let errno):
            writer.writeU8(0)
            writer.writeI32(errno)
        case .misdirected(let epoch):
            writer.writeU8(1)
            writer.writeU32(epoch.rawValue)
        }
        version.encode(into: &writer)
        writer.writeArray(outputs) { $0.writeBytes($1) }
    }
}
