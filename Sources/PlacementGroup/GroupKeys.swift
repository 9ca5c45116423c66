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
/// | `v` | the `ScrubRecord` |
/// | `x` + encoded object | an `InconsistentObject` |
///
/// What speaks of objects as they are changes only in the transaction that changes them.
enum GroupKeys {
    static let info = Bytes("i")
    static let logStart = Bytes("l")
    static let logEnd = Bytes("m")
    static let missingStart = Bytes("m")
    static let missingEnd = Bytes("n")

    static let requestsStart = Bytes("r")
    static let requestsEnd = Bytes("s")

    static let scrub = Bytes("v")
    static let scrubEnd = Bytes("w")
    static let inconsistentStart = Bytes("x")
    static let inconsistentEnd = Bytes("y")

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

    static func inconsistent(_ object: ObjectID) -> Bytes {
        Bytes.encoding(capacity: 64) { writer in
            writer.writeU8(UInt8(ascii: "x"))
            object.encode(into: &writer)
        }
    }

    static func entry(_ record: ScrubRecord) -> KeyValue {
        KeyValue(scrub, .encoding(capacity: 80) { record.encode(into: &$0) })
    }

    static func entry(_ found: InconsistentObject) -> KeyValue {
        KeyValue(inconsistent(found.object), .encoding(capacity: 512) { found.encode(into: &$0) })
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
