import Protocol
import Wire

/// The form in which placement groups travel from store to store, in a file or through a pipe.
///
/// | bytes | what |
/// |---|---|
/// | 8 | `NACREEXP` |
/// | 4 | version of the form, 1; a reader refuses a newer one |
/// | 16, 4, 16 | cluster, OSD and store that it comes from |
/// | 4 | CRC32C of the bytes before |
/// | … | frames |
///
/// A frame is a kind (1 byte), the length of its payload (4), the payload, and a CRC32C (4) of all that, which goes on from
/// the checksum before it: frames that are missing, doubled or in another order do not verify. A group is its `group` frame,
/// then for each object an `object` frame with `omap` and `data` frames, then one `keys` frame; the last frame of all is
/// `end`, so that a stream that was cut off is known by that. Whatever of an object no `data` frame covers is zeros.
///
/// Little-endian. The checksums find accidents; nothing authenticates a stream.
enum ExportStream {
    static let magic: UInt64 = 0x5058_4545_5243_414e
    static let version: UInt32 = 1
    static let headerBytes = 52

    /// Bytes of the largest payload: all keys of a group, which go into a store in one transaction.
    static let largestPayload = 64 << 20
    /// Bytes of an object in one frame.
    static let dataBytes = 1 << 20
    /// Bytes of omap entries gathered into a frame.
    static let omapBytes = 1 << 20
    /// Attributes of an object.
    static let attributes = StorageLimits.operations * 16
    /// Keys of a group.
    static let keys = 4 << 20

    enum Frame {
        /// The group that follows.
        case group(PGID)
        /// An object of the group: its size and attributes.
        case object(ObjectID, size: UInt64, attributes: [(name: String, value: Bytes)])
        /// Bytes of the object last named.
        case data(offset: UInt64, Bytes)
        /// Keys of that object's omap, in order.
        case omap([KeyValue])
        /// The keys of the group itself: its last frame.
        case keys([KeyValue])
        /// The last frame: how many groups and objects there were.
        case end(groups: UInt64, objects: UInt64)

        var kind: UInt8 {
            switch self {
            case .group: 1
            case .object: 2
            case .data: 3
            case .omap: 4
            case .keys: 5
            case .end: 6
            }
        }

        var payload: Bytes {
            switch self {
            case .group(let group):
                return .encoding(capacity: 16) { group.encode(into: &$0) }
            case .object(let id, let size, let attributes):
                return .encoding { writer in
                    id.encode(into: &writer)
                    writer.writeU64(size)
                    writer.writeArray(attributes) { writer, attribute in
                        writer.writeString(attribute.name)
                        writer.writeBytes(attribute.value)
                    }
                }
            case .data(let offset, let bytes):
                return .encoding(capacity: bytes.count + 8) { writer in
                    writer.writeU64(offset)
                    writer.writeRaw(bytes)
                }
            case .omap(let entries), .keys(let entries):
                return .encoding(capacity: 64 * entries.count + 8) { writer in
                    writer.writeArray(entries) { writer, entry in
                        writer.writeBytes(entry.key)
                        writer.writeBytes(entry.value)
                    }
                }
            case .end(let groups, let objects):
                return .encoding(capacity: 16) { writer in
                    writer.writeU64(groups)
                    writer.writeU64(objects)
                }
            }
        }

        init(kind: UInt8, _ payload: Bytes) throws(WireError) {
            var reader = ByteReader(payload)
            func entry(_ reader: inout ByteReader) throws(WireError) -> KeyValue {
                let key = try reader.readBytes(atMost: StorageLimits.omapKey)
                return KeyValue(key, try reader.readBytes(atMost: ExportStream.largestPayload))
            }
            switch kind {
            case 1: self = .group(try PGID(from: &reader))
            case 2:
                let id = try ObjectID(from: &reader)
                let size = try reader.readU64()
                try StorageLimits.check(offset: 0, length: size)
                let attributes = try reader.readArray(atMost: ExportStream.attributes) {
                    r throws(WireError) -> (name: String, value: Bytes) in
                    let name = try r.readString(atMost: StorageLimits.attributeName)
                    return (name, try r.readBytes(atMost: StorageLimits.attributeValue))
                }
                self = .object(id, size: size, attributes: attributes)
            case 3:
                let offset = try reader.readU64()
                let bytes = try reader.readRaw(reader.remaining)
                guard !bytes.isEmpty, bytes.count <= ExportStream.dataBytes else {
                    throw WireError("\(bytes.count) bytes of data in one frame")
                }
                try StorageLimits.check(offset: offset, length: UInt64(bytes.count))
                self = .data(offset: offset, bytes)
            case 4, 5:
                let entries = try reader.readArray(atMost: ExportStream.keys, entry)
                if kind == 4, let long = entries.first(where: { $0.value.count > StorageLimits.omapValue }) {
                    throw WireError("an omap value of \(long.value.count) bytes")
                }
                self = kind == 4 ? .omap(entries) : .keys(entries)
            case 6: self = .end(groups: try reader.readU64(), objects: try reader.readU64())
            default: throw WireError("frame of unknown kind \(kind)")
            }
            try reader.expectEnd()
        }
    }

    /// Makes the bytes of a stream, which go to `write` in order.
    struct Writer {
        private let write: (Bytes) throws(StoreError) -> Void
        private var checksum: UInt32 = 0

        /// Writes the header.
        init(from identity: StoreIdentity, _ write: @escaping (Bytes) throws(StoreError) -> Void) throws(StoreError) {
            self.write = write
            try emit(
                .encoding(capacity: ExportStream.headerBytes) { writer in
                    writer.writeU64(ExportStream.magic)
                    writer.writeU32(ExportStream.version)
                    identity.cluster.encode(into: &writer)
                    writer.writeI32(identity.osd.rawValue)
                    identity.store.encode(into: &writer)
                })
        }

        mutating func append(_ frame: Frame) throws(StoreError) {
            let payload = frame.payload
            guard payload.count <= ExportStream.largestPayload else {
                throw StoreError(
                    .failed, "\(payload.count) bytes belong into one frame of the stream, which takes \(largestPayload)"
                )
            }
            try emit(
                .encoding(capacity: payload.count + 8) { writer in
                    writer.writeU8(frame.kind)
                    writer.writeBytes(payload)
                })
        }

        /// The bytes and their checksum.
        private mutating func emit(_ bytes: Bytes) throws(StoreError) {
            checksum = Checksum.crc32c(bytes, after: checksum)
            try write(bytes)
            try write(.encoding(capacity: 4) { $0.writeU32(checksum) })
        }
    }

    /// Takes a stream apart. `read` gives the next bytes: as many as asked, fewer only at the end.
    struct Reader {
        let cluster: UniqueID
        let osd: OSDID
        let store: UniqueID
        private let read: (Int) throws(StoreError) -> Bytes
        private var checksum: UInt32

        init(_ read: @escaping (Int) throws(StoreError) -> Bytes) throws(StoreError) {
            self.read = read
            let header = try read(ExportStream.headerBytes)
            do {
                var reader = ByteReader(header)
                guard header.count >= 8, try reader.readU64() == ExportStream.magic else {
                    throw StoreError(.foreign, "it is no export of a store")
                }
                guard header.count >= 12 else { throw ExportStream.truncated }
                let version = try reader.readU32()
                guard version <= ExportStream.version else {
                    throw StoreError(
                        .newerFormat,
                        "it is an export of version \(version), this build reads up to \(ExportStream.version): upgrade it"
                    )
                }
                guard header.count == ExportStream.headerBytes else { throw ExportStream.truncated }
                cluster = try UniqueID(from: &reader)
                osd = OSDID(try reader.readI32())
                store = try UniqueID(from: &reader)
                let body = header[0..<ExportStream.headerBytes - 4]
                checksum = Checksum.crc32c(body)
                guard try reader.readU32() == checksum else { throw ExportStream.damaged }
            } catch let error as StoreError {
                throw error
            } catch {
                throw ExportStream.damaged
            }
        }

        /// The next frame; the last is `end`, behind which nothing may follow.
        mutating func next() throws(StoreError) -> Frame {
            let head = try read(5)
            guard head.count == 5 else { throw ExportStream.truncated }
            let kind = head[0]
            let length = Int(head[1]) | Int(head[2]) << 8 | Int(head[3]) << 16 | Int(head[4]) << 24
            guard length <= ExportStream.largestPayload else { throw ExportStream.damaged }
            let payload = try read(length)
            let tail = try read(4)
            guard payload.count == length, tail.count == 4 else { throw ExportStream.truncated }
            checksum = Checksum.crc32c(payload, after: Checksum.crc32c(head, after: checksum))
            guard tail == Bytes.encoding(capacity: 4, { $0.writeU32(checksum) }) else { throw ExportStream.damaged }
            let frame: Frame
            do throws(WireError) {
                frame = try Frame(kind: kind, payload)
            } catch {
                throw StoreError(.foreign, "the export is not understood: \(error)")
            }
            if case .end = frame, try !read(1).isEmpty {
                throw StoreError(.foreign, "something follows the end of the export")
            }
            return frame
        }
    }

    private static var truncated: StoreError { StoreError(.foreign, "the export ends early: truncated?") }
    private static var damaged: StoreError { StoreError(.foreign, "the export is damaged: a checksum does not match") }
}
