import Protocol
import RADOS
import Wire

/// A moment as RBD's headers keep it.
public struct Timestamp: Hashable, Sendable {
    /// Seconds since 1970, UTC.
    public var seconds: UInt32
    /// And nanoseconds.
    public var nanoseconds: UInt32

    /// A moment.
    public init(seconds: UInt32, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    var encoded: Bytes {
        .encoding {
            $0.writeU32(seconds)
            $0.writeU32(nanoseconds)
        }
    }
}

/// What an image's header says.
public struct ImageHeader: Hashable, Sendable {
    /// Bytes of the image.
    public var size: ByteCount
    /// Bytes of a data object, as a power of two.
    public var order: UInt8
    /// What the names of its data objects begin with.
    public var objectPrefix: String
    /// RBD's feature bits.
    public var features: UInt64
    /// The newest snapshot; 0 for none ever.
    public var snapshotSequence: UInt64
    /// When it was made; nil when the header does not say.
    public var created: Timestamp?
    /// A removal has begun.
    var isBeingRemoved = false
    /// The image is being made what it was at this snapshot.
    var rollingBack: SnapID?
    /// The snapshots, oldest first; also those whose removal has begun.
    public internal(set) var snapshots: [ImageSnapshot] = []

    /// The snapshots as writers must know them.
    package var context: SnapContext {
        SnapContext(sequence: SnapID(snapshotSequence), snaps: snapshots.reversed().map(\.id)) ?? .none
    }

    /// The bytes of one data object.
    public var objectSize: UInt64 { 1 << UInt64(order) }
    /// Data objects that a full image has.
    public var objectCount: UInt64 { (size.rawValue + objectSize - 1) >> UInt64(order) }

    /// The keys that are asked for.
    static let keys = [
        ImageNaming.size, ImageNaming.order, ImageNaming.objectPrefix, ImageNaming.features,
        ImageNaming.snapshotSequence, ImageNaming.created, ImageNaming.removing, ImageNaming.rollingBack,
    ]

    /// What is asked of the header, for `init(decoding:)`.
    static let steps: [ObjectOperation] = [
        .getOmap(keys: keys),
        .listOmap(
            after: .empty, prefix: ImageNaming.snapshotPrefix, limit: UInt32(SnapLimits.contextSnaps)),
    ]

    /// Decodes the outputs of `steps`. Throws what is wrong with the header.
    package init(decoding outputs: [Bytes]) throws(WireError) {
        try self.init(decoding: outputs.first ?? .empty)
        guard outputs.count > 1 else { throw WireError("the snapshots are missing") }
        var reader = ByteReader(outputs[1])
        let entries = try reader.readArray(atMost: SnapLimits.contextSnaps) { r throws(WireError) in
            try KeyValue(from: &r)
        }
        guard try !reader.readBool() else {
            throw WireError("there are more than \(SnapLimits.contextSnaps) snapshots")
        }
        for entry in entries { snapshots.append(try ImageSnapshot(decoding: entry.value)) }
        snapshots.sort { $0.id < $1.id }
        guard SnapContext(sequence: SnapID(snapshotSequence), snaps: snapshots.reversed().map(\.id)) != nil else {
            throw WireError("snapshots \(snapshots.map(\.id)) do not go with the newest, \(snapshotSequence)")
        }
    }

    package init(size: ByteCount, order: UInt8, objectPrefix: String, created: Timestamp) {
        self.size = size
        self.order = order
        self.objectPrefix = objectPrefix
        self.created = created
        features = 0
        snapshotSequence = 0
    }

    /// Decodes the output of a `getOmap` of `keys`. Throws what is wrong with the header.
    package init(decoding output: Bytes) throws(WireError) {
        var reader = ByteReader(output)
        let entries = try reader.readArray(atMost: Self.keys.count) { r throws(WireError) in try KeyValue(from: &r) }
        func value(_ key: Bytes) -> ByteReader? { entries.first { $0.key == key }.map { ByteReader($0.value) } }
        func required(_ key: Bytes) throws(WireError) -> ByteReader {
            guard let reader = value(key) else { throw WireError("'\(String(key))' is missing") }
            return reader
        }
        var field = try required(ImageNaming.size)
        size = ByteCount(try field.readU64())
        field = try required(ImageNaming.order)
        order = try field.readU8()
        field = try required(ImageNaming.objectPrefix)
        objectPrefix = try field.readString(atMost: ObjectName.limit - 17)
        field = try required(ImageNaming.features)
        features = try field.readU64()
        field = try required(ImageNaming.snapshotSequence)
        snapshotSequence = try field.readU64()
        if var field = value(ImageNaming.created) {
            created = Timestamp(seconds: try field.readU32(), nanoseconds: try field.readU32())
        }
        isBeingRemoved = value(ImageNaming.removing) != nil
        if var field = value(ImageNaming.rollingBack) { rollingBack = SnapID(try field.readU64()) }
        guard ImageLimits.order.contains(order) else { throw WireError("order \(order) is out of range") }
        guard size <= ImageLimits.size.upperBound else { throw WireError("size \(size) is out of range") }
        guard !objectPrefix.isEmpty else { throw WireError("the object prefix is empty") }
        guard features == 0 else {
            throw WireError("features \(String(features, radix: 16)) are not known to this version: upgrade it")
        }
    }

    package var entries: [KeyValue] {
        var entries = [
            KeyValue(ImageNaming.size, ImageNaming.number(size.rawValue)),
            KeyValue(ImageNaming.order, .encoding { $0.writeU8(order) }),
            KeyValue(ImageNaming.objectPrefix, ImageNaming.string(objectPrefix)),
            KeyValue(ImageNaming.features, ImageNaming.number(features)),
            KeyValue(ImageNaming.snapshotSequence, ImageNaming.number(snapshotSequence)),
        ]
        if let created {
            for key in [ImageNaming.created, ImageNaming.accessed, ImageNaming.modified] {
                entries.append(KeyValue(key, created.encoded))
            }
        }
        return entries
    }
}
