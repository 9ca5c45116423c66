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
/// | `s` + snapshot (8 bytes, big-endian) + reversed hash (big-endian) + clone | nothing: the clone stands for the snapshot |
/// | `t` + snapshot (8 bytes, big-endian) | the last number of a run of snapshots of which this copy has nothing left |
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

    static let snapsStart = Bytes("s")
    static let snapsEnd = Bytes("t")
    static let trimmedStart = Bytes("t")
    static let trimmedEnd = Bytes("u")

    /// The index of a snapshot lies between this and that of the next.
    static func snap(_ snap: UInt64) -> Bytes {
        .encoding(capacity: 9) { writer in
            writer.writeU8(UInt8(ascii: "s"))
            writer.writeU64(snap.byteSwapped)
        }
    }

    static func snap(_ snap: SnapID, _ clone: ObjectID) -> Bytes {
        .encoding(capacity: 80) { writer in
            writer.writeU8(UInt8(ascii: "s"))
            writer.writeU64(snap.rawValue.byteSwapped)
            writer.writeU32(clone.reversedHash.byteSwapped)
            clone.encode(into: &writer)
        }
    }

    /// The snapshot and the clone of a key of the index.
    static func clone(ofIndex key: Bytes) throws(WireError) -> (snap: SnapID, clone: ObjectID) {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        let snap = SnapID(try reader.readU64().byteSwapped)
        _ = try reader.readU32()
        return (snap, try ObjectID(from: &reader))
    }

    static func trimmed(_ first: UInt64) -> Bytes {
        .encoding(capacity: 9) { writer in
            writer.writeU8(UInt8(ascii: "t"))
            writer.writeU64(first.byteSwapped)
        }
    }

    static func trimmed(_ run: ClosedRange<UInt64>) -> KeyValue {
        KeyValue(trimmed(run.lowerBound), .encoding(capacity: 8) { $0.writeU64(run.upperBound) })
    }

    /// The run of a pair that `trimmed` made.
    static func trimmedRun(_ pair: KeyValue) throws(WireError) -> ClosedRange<UInt64> {
        var key = ByteReader(pair.key)
        _ = try key.readU8()
        let first = try key.readU64().byteSwapped
        var value = ByteReader(pair.value)
        let last = try value.readU64()
        guard first > 0, first <= last, last <= SnapID.last.rawValue else {
            throw WireError("snapshots \(first) to \(last) are no run")
        }
        return first...last
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

/// What a group knows of an object beside its version, where that is more than usual.
struct ObjectFlags: OptionSet, Hashable, Sendable {
    let rawValue: UInt8

    /// Snapshots know of the object: a head has a `SnapSet`, a clone a `CloneRecord`.
    static let hasSnapshots = ObjectFlags(rawValue: 1)
    /// The object was removed; it stands for its clones only.
    static let isWhiteout = ObjectFlags(rawValue: 2)
}

/// What a group keeps of each object beside what clients put there, in the attribute `_`, as RADOS does.
struct ObjectInfo: Hashable {
    /// The operation that changed the object last.
    var version: Version
    /// When that was, by the primary's clock: nanoseconds since 1970.
    var modified: UInt64
    /// Where it is more than usual.
    var flags: ObjectFlags = []

    static let attribute = "_"

    /// Version 2 appends flags, where there are any.
    var encoded: Bytes {
        .encoding(capacity: 32) { writer in
            writer.versioned(flags.isEmpty ? 1 : 2, compatible: flags.isEmpty ? 1 : 2) { writer in
                version.encode(into: &writer)
                writer.writeU64(modified)
                if !flags.isEmpty { writer.writeU8(flags.rawValue) }
            }
        }
    }

    /// What an attribute of this copy says; a value that cannot be read is a broken store and stops the OSD.
    init(_ bytes: Bytes) {
        do {
            try self.init(decoding: bytes)
        } catch {
            preconditionFailure("object info of \(bytes.count) bytes: \(error)")
        }
    }

    /// Decodes what `encoded` gave, for what another member sends.
    init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("object info", supported: 2) { r, number throws(WireError) in
            var info = ObjectInfo(version: try Version(from: &r), modified: try r.readU64())
            if number >= 2 { info.flags = ObjectFlags(rawValue: try r.readU8()) }
            return info
        }
    }

    init(version: Version, modified: UInt64, flags: ObjectFlags = []) {
        self.version = version
        self.modified = modified
        self.flags = flags
    }
}
