import Wire

/// Locks of the object class `lock`: what its methods take and give, and the steps that call them.
public enum ObjectLock {
    public static let className = "lock"
    /// Bytes of each text.
    public static let textSize = 4096
    /// Holders of one lock.
    public static let holders = 128

    /// How a lock is shared; the numbers are those of RADOS.
    public enum Kind: UInt8, Sendable, Hashable {
        case exclusive = 1
        case shared = 2
        /// Exclusive; the object goes with the lock.
        case ephemeral = 3

        public var isExclusive: Bool { self != .shared }
    }

    /// Someone who holds a lock.
    public struct Holder: Hashable, Sendable {
        /// The run of a client.
        public var client: UInt64
        /// What the client tells its locks apart by.
        public var cookie: String
        /// Nanoseconds since 1970; 0 for a lock without end.
        public var expires: UInt64
        /// How the client called itself.
        public var name: String
        public var description: String

        public init(client: UInt64, cookie: String, expires: UInt64, name: String, description: String) {
            (self.client, self.cookie, self.expires) = (client, cookie, expires)
            (self.name, self.description) = (name, description)
        }
    }

    /// A lock as it is.
    public struct State: Hashable, Sendable {
        /// Nil for a lock that nobody has ever taken.
        public var kind: Kind?
        public var tag = ""
        public var holders: [Holder] = []

        /// A lock that nobody holds.
        public init() {}
    }

    /// Takes or renews a lock.
    public struct Request: Hashable, Sendable {
        public var name: String
        public var kind: Kind
        public var cookie: String
        /// All holders give the same.
        public var tag = ""
        public var description = ""
        /// Nanoseconds; 0 without end.
        public var duration: UInt64 = 0
        /// Who holds it already renews it instead of failing with EEXIST.
        public var mayRenew = false
        /// Fails with ENOENT when the caller does not hold it.
        public var mustRenew = false

        public init(_ name: String, _ kind: Kind, cookie: String) {
            (self.name, self.kind, self.cookie) = (name, kind, cookie)
        }
    }

    public static func text(_ reader: inout ByteReader) throws(WireError) -> String {
        try reader.readString(atMost: textSize)
    }

    /// A step that takes a lock: EBUSY while others hold it in a way that excludes this one.
    public static func take(_ request: Request) -> ObjectOperation {
        .call(ClassCall(className, "lock", input: request.encoded, changes: true))
    }

    /// A step that gives a lock up; ENOENT when the caller does not hold it.
    public static func unlock(_ lock: String, cookie: String) -> ObjectOperation {
        let input = Bytes.encoding { writer in
            writer.writeString(lock)
            writer.writeString(cookie)
        }
        return .call(ClassCall(className, "unlock", input: input, changes: true))
    }

    /// A step that takes a lock away from its holder; ENOENT when that does not hold it. Safe only when the holder can do no
    /// more: see to it that it is blocklisted first.
    public static func breakLock(_ lock: String, client: UInt64, cookie: String) -> ObjectOperation {
        let input = Bytes.encoding { writer in
            writer.writeString(lock)
            writer.writeU64(client)
            writer.writeString(cookie)
        }
        return .call(ClassCall(className, "break_lock", input: input, changes: true))
    }

    /// A step whose output is the `State`.
    public static func information(of lock: String) -> ObjectOperation {
        .call(ClassCall(className, "get_info", input: .encoding { $0.writeString(lock) }, changes: false))
    }

    /// A step whose output is an array of the names of the object's locks.
    public static var list: ObjectOperation {
        .call(ClassCall(className, "list_locks", input: .empty, changes: false))
    }

    /// A guard that fails with EBUSY unless the caller holds the lock as the request says.
    public static func assertLocked(_ request: Request) -> ObjectOperation {
        .call(ClassCall(className, "assert_locked", input: request.encoded, changes: false))
    }
}

extension ObjectLock.State {
    public init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("lock", supported: 1) { r, _ throws(WireError) in
            var state = ObjectLock.State()
            state.kind = ObjectLock.Kind(rawValue: try r.readU8())
            state.tag = try ObjectLock.text(&r)
            state.holders = try r.readArray(atMost: ObjectLock.holders) { r throws(WireError) in
                ObjectLock.Holder(
                    client: try r.readU64(), cookie: try ObjectLock.text(&r), expires: try r.readU64(),
                    name: try ObjectLock.text(&r), description: try ObjectLock.text(&r))
            }
            return state
        }
    }

    public var encoded: Bytes {
        .encoding { writer in
            writer.versioned(1) { writer in
                writer.writeU8(kind?.rawValue ?? 0)
                writer.writeString(tag)
                writer.writeArray(holders) { writer, holder in
                    writer.writeU64(holder.client)
                    writer.writeString(holder.cookie)
                    writer.writeU64(holder.expires)
                    writer.writeString(holder.name)
                    writer.writeString(holder.description)
                }
            }
        }
    }
}

extension ObjectLock.Request {
    public init(from reader: inout ByteReader) throws(WireError) {
        name = try ObjectLock.text(&reader)
        let raw = try reader.readU8()
        guard let kind = ObjectLock.Kind(rawValue: raw) else { throw WireError("unknown kind of lock \(raw)") }
        self.kind = kind
        cookie = try ObjectLock.text(&reader)
        tag = try ObjectLock.text(&reader)
        description = try ObjectLock.text(&reader)
        duration = try reader.readU64()
        mayRenew = try reader.readBool()
        mustRenew = try reader.readBool()
    }

    public var encoded: Bytes {
        .encoding { writer in
            writer.writeString(name)
            writer.writeU8(kind.rawValue)
            for text in [cookie, tag, description] { writer.writeString(text) }
            writer.writeU64(duration)
            writer.writeBool(mayRenew)
            writer.writeBool(mustRenew)
        }
    }
}
