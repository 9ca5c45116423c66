import Protocol
import RADOS
import Wire

/// A snapshot of an image.
public struct ImageSnapshot: Hashable, Sendable {
    /// Its number in the pool.
    public var id: SnapID
    /// Its name.
    public var name: String
    /// Bytes of the image when it was made.
    public var size: ByteCount
    /// When it was made.
    public var created: Timestamp
    /// It must not be removed.
    public var isProtected = false
    /// Its removal has begun; it may have lost data.
    public var isBeingRemoved = false

    package init(id: SnapID, name: String, size: ByteCount, created: Timestamp) {
        self.id = id
        self.name = name
        self.size = size
        self.created = created
    }

    /// Decodes what `encoded` gave.
    package init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("snapshot of an image", supported: 1) { r, _ throws(WireError) in
            let id = SnapID(try r.readU64())
            let name = try r.readString(atMost: ImageLimits.snapshotNameBytes)
            let size = ByteCount(try r.readU64())
            guard id > .none, id <= .last, size <= ImageLimits.size.upperBound else {
                throw WireError("snapshot \(id) of \(size) bytes")
            }
            let created = Timestamp(seconds: try r.readU32(), nanoseconds: try r.readU32())
            var snapshot = ImageSnapshot(id: id, name: name, size: size, created: created)
            snapshot.isProtected = try r.readBool()
            snapshot.isBeingRemoved = try r.readBool()
            return snapshot
        }
    }

    /// The snapshot as the header has it.
    package var encoded: Bytes {
        .encoding { writer in
            writer.versioned(1) { w in
                w.writeU64(id.rawValue)
                w.writeString(name)
                w.writeU64(size.rawValue)
                w.writeU32(created.seconds)
                w.writeU32(created.nanoseconds)
                w.writeBool(isProtected)
                w.writeBool(isBeingRemoved)
            }
        }
    }
}
