import Wire

/// One operation in a placement group's log: enough to know which version of which object each member must have, and
/// which client request made it.
public struct LogEntry: Hashable, Sendable, CustomStringConvertible {
    public enum Kind: UInt8, Sendable {
        /// The object was changed or created.
        case modify = 1
        /// The object was removed.
        case delete = 2
        /// Nothing changed: a request that failed, remembered so that its resend fails the same way.
        case error = 3
        /// The object is a clone: it came into being as what the head was, in one transaction with the entry that follows.
        case clone = 4
    }

    public var kind: Kind
    public var object: ObjectID
    public var version: Version
    /// The object's version before; zero when it did not exist.
    public var prior: Version
    public var request: RequestID
    /// The errno the client was told, 0 for success.
    public var errno: Int32

    public init(
        kind: Kind, object: ObjectID, version: Version, prior: Version, request: RequestID, errno: Int32 = 0
    ) {
        self.kind = kind
        self.object = object
        self.version = version
        self.prior = prior
        self.request = request
        self.errno = errno
    }

    /// An entry in the same place that changed nothing and answers nobody.
    public var withoutMeaning: LogEntry {
        LogEntry(kind: .error, object: object, version: version, prior: prior, request: .none)
    }

    public var description: String { "\(version) \(kind) \(object) (prior \(prior), \(request))" }

    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("log entry", supported: 1) { r, _ throws(WireError) in
            let raw = try r.readU8()
            guard let kind = Kind(rawValue: raw) else { throw WireError("unknown kind of log entry \(raw)") }
            return LogEntry(
                kind: kind, object: try ObjectID(from: &r), version: try Version(from: &r),
                prior: try Version(from: &r),
                request: try RequestID(from: &r), errno: try r.readI32())
        }
    }

    public func encode(into writer: inout ByteWriter) {
        writer.versioned(1) { w in
            w.writeU8(kind.rawValue)
            object.encode(into: &w)
            version.encode(into: &w)
            prior.encode(into: &w)
            request.encode(into: &w)
            w.writeI32(errno)
        }
    }
}
