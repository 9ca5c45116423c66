import Wire

/// What the primary tells someone who watches an object, beside the answers to requests.
public struct WatchEvent: Sendable {
    public enum Kind: Hashable, Sendable {
        /// Someone notifies the watchers; to be answered by `ObjectOperation.acknowledge`. May come more than once: again
        /// under another number when the primary changes.
        case notification(UInt64, notifier: UInt64, payload: Bytes)
        /// The watch is no more, with the errno of the field: ENOENT when the object was removed, ETIMEDOUT when it was not
        /// renewed in time, `ESHUTDOWN` when the client is blocklisted.
        case disconnected(errno: Int32)
    }

    public var object: ObjectID
    /// The watch it is for.
    public var cookie: UInt64
    public var kind: Kind

    public init(object: ObjectID, cookie: UInt64, kind: Kind) {
        self.object = object
        self.cookie = cookie
        self.kind = kind
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        object = try ObjectID(from: &reader)
        cookie = try reader.readU64()
        switch try reader.readU8() {
        case 1:
            let (number, notifier) = (try reader.readU64(), try reader.readU64())
            kind = .notification(
                number, notifier: notifier, payload: try reader.readBytes(atMost: OperationLimits.notification))
        case 2: kind = .disconnected(errno: try reader.readI32())
        case let other: throw WireError("unknown event of a watch \(other)")
        }
    }

    public func encode(into writer: inout ByteWriter) {
        object.encode(into: &writer)
        writer.writeU64(cookie)
        switch kind {
        case .notification(let number, let notifier, let payload):
            writer.writeU8(1)
            writer.writeU64(number)
            writer.writeU64(notifier)
            writer.writeBytes(payload)
        case .disconnected(let errno):
            writer.writeU8(2)
            writer.writeI32(errno)
        }
    }
}

/// What `ObjectOperation.notify` gives when all watchers have answered or the time is over.
public struct NotifyResult: Hashable, Sendable {
    /// A watcher's answer.
    public struct Answer: Hashable, Sendable {
        public var client: UInt64
        public var cookie: UInt64
        public var payload: Bytes

        public init(client: UInt64, cookie: UInt64, payload: Bytes) {
            self.client = client
            self.cookie = cookie
            self.payload = payload
        }
    }

    public var answers: [Answer]
    /// Those who have not answered in time.
    public var missed: [Watcher]

    public init(answers: [Answer] = [], missed: [Watcher] = []) {
        self.answers = answers
        self.missed = missed
    }

    public init(decoding output: Bytes) throws(WireError) {
        var reader = ByteReader(output)
        answers = try reader.readArray(atMost: OperationLimits.watchers) { r throws(WireError) in
            let (client, cookie) = (try r.readU64(), try r.readU64())
            return Answer(
                client: client, cookie: cookie, payload: try r.readBytes(atMost: OperationLimits.notification))
        }
        missed = try reader.readArray(atMost: OperationLimits.watchers) { r throws(WireError) in
            try Watcher(from: &r)
        }
        try reader.expectEnd()
    }

    public var encoded: Bytes {
        .encoding { writer in
            writer.writeArray(answers) { writer, answer in
                writer.writeU64(answer.client)
                writer.writeU64(answer.cookie)
                writer.writeBytes(answer.payload)
            }
            writer.writeArray(missed) { $1.encode(into: &$0) }
        }
    }
}
