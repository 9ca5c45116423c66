import Protocol
import Wire

/// How a placement group's own state is kept, as keys of the group in the store:
///
/// | key | value |
/// |---|---|
/// | `i` | the encoded `GroupInfo`; its `lastUpdate` may be older than the end of the log, which counts |
/// | `l` + version (12 bytes, big-endian) | a `LogEntry`; in version order |
/// | `m` + encoded object | a `MissingObject` |
/// | `r` + version (12 bytes, big-endian) | the requests that left the log when it was trimmed to that version |
///
/// They change only in the transaction that changes the objects they speak of.
enum GroupKeys {
    static let info = Bytes("i")
    static let logStart = Bytes("l")
    static let logEnd = Bytes("m")
    static let missingStart = Bytes("m")
    static let missingEnd = Bytes("n")

    static let requestsStart = Bytes("r")
    static let requestsEnd = Bytes("s")

    static func log(_ version: Version) -> Bytes { key("l", version) }
    static func requests(_ version: Version) -> Bytes { key("r", version) }

    private static func key(_ letter: Unicode.Scalar, _ version: Version) -> Bytes {
        Bytes.encoding(capacity: 16) { writer in
            writer.writeU8(UInt8(ascii: letter))
            writer.writeU32(version.epoch.rawValue.byteSwapped)
            writer.writeU64(version.counter.byteSwapped)
        }
    }

    static func entry(_ batch: GroupLog.Batch) -> KeyValue {
        KeyValue(
            requests(batch.upTo),
            .encoding(capacity: 40 * batch.requests.count + 8) { writer in
                writer.writeArray(batch.requests) { $1.encode(into: &$0) }
            })
    }

    static func requests(from value: Bytes) throws(WireError) -> [RecordedRequest] {
        var reader = ByteReader(value)
        return try reader.readArray(atMost: GroupLimits.requests) { r throws(WireError) in
            try RecordedRequest(from: &r)
        }
    }

    /// The version in a key that `requests` or `log` made.
    static func version(_ key: Bytes) throws(WireError) -> Version {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        let epoch = Epoch(try reader.readU32().byteSwapped)
        return Version(epoch: epoch, counter: try reader.readU64().byteSwapped)
    }

    /// The first key after that of `version`.
    static func logAfter(_ version: Version) -> Bytes {
        log(Version(epoch: version.epoch, counter: version.counter + 1))
    }

    static func missing(_ object: ObjectID) -> Bytes {
        Bytes.encoding(capacity: 64) { writer in
            writer.writeU8(UInt8(ascii: "m"))
            object.encode(into: &writer)
        }
    }

    static func entry(_ info: GroupInfo) -> KeyValue {
        KeyValue(Self.info, .encoding(capacity: 80) { info.encode(into: &$0) })
    }

    static func entry(_ entry: LogEntry) -> KeyValue {
        KeyValue(log(entry.version), .encoding(capacity: 160) { entry.encode(into: &$0) })
    }

    static func entry(_ missing: MissingObject) -> KeyValue {
        KeyValue(self.missing(missing.object), .encoding(capacity: 96) { missing.encode(into: &$0) })
    }
}

/// What a group keeps of each object beside what clients put there, in the attribute `_`, as RADOS does.
struct ObjectInfo: Hashable {
    /// The operation that changed the object last.
    var version: Version
    /// When that was, by the primary's clock: nanoseconds since 1970.
    var modified: UInt64

    static let attribute = "_"

    var encoded: Bytes {
        .encoding(capacity: 32) { writer in
            writer.versioned(1) { writer in
                version.encode(into: &writer)
                writer.writeU64(modified)
            }
        }
    }

    /// What an attribute says; a value that cannot be read is a broken store and stops the OSD.
    init(_ bytes: Bytes) {
        var reader = ByteReader(bytes)
        do {
            self = try reader.versioned("object info", supported: 1) { r, _ throws(WireError) in
                ObjectInfo(version: try Version(from: &r), modified: try r.readU64())
            }
        } catch {
            preconditionFailure("object info of \(bytes.count) bytes: \(error)")
        }
    }

    init(version: Version, modified: UInt64) {
        self.version = version
        self.modified = modified
    }
}
