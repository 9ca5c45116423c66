import Protocol
import Wire

/// The keys of the metadata store. The first byte tells the kind; numbers are big-endian so that bytes sort as they do.
///
/// | key | value |
/// |---|---|
/// | `O` pool, reversed hash, escaped name, snapshot | `ObjectRecord` |
/// | `U` object number, index of the unit (u32) | `UnitRecord` |
/// | `M` object number, key | omap value |
/// | `R` unit number (u32) | how many refer to it (u32), if more than one |
/// | `H` number of a stretch of units (u32) | nothing: it is a hole |
/// | `S` | `Binding`: whose keys these are |
/// | `G` pool, seed, key | value of a group |
///
/// Objects lie in the order of `ObjectID`: a placement group is one range. In names the byte 0 is written as 0 255 and
/// the end as 0 0, so that a name sorts before those it begins.
enum StoreKeys {
    static let objectTag = UInt8(ascii: "O")
    static let unitTag = UInt8(ascii: "U")
    static let omapTag = UInt8(ascii: "M")
    static let referencesTag = UInt8(ascii: "R")
    static let groupTag = UInt8(ascii: "G")
    static let holeTag = UInt8(ascii: "H")
    static let bindingTag = UInt8(ascii: "S")
    static let binding = Bytes([bindingTag])
    /// All kinds of keys that there are.
    static let tags = [bindingTag, holeTag, objectTag, unitTag, omapTag, referencesTag, groupTag]

    private static func tagged(_ tag: UInt8, _ capacity: Int, _ body: (inout ByteWriter) -> Void) -> Bytes {
        Bytes.encoding(capacity: capacity) { writer in
            writer.writeU8(tag)
            body(&writer)
        }
    }

    private static func write(_ pool: PoolID, into writer: inout ByteWriter) {
        // Flipping the sign bit makes negative numbers sort before positive ones.
        writer.writeU64((UInt64(bitPattern: pool.rawValue) ^ (1 << 63)).byteSwapped)
    }

    static func object(_ id: ObjectID) -> Bytes {
        tagged(objectTag, 32 + id.name.bytes.count) { writer in
            write(id.pool, into: &writer)
            writer.writeU32(id.reversedHash.byteSwapped)
            if id.name.bytes.contains(0) {
                for byte in id.name.bytes {
                    writer.writeU8(byte)
                    if byte == 0 { writer.writeU8(255) }
                }
            } else {
                id.name.bytes.withUnsafeBytes { writer.writeRaw($0) }
            }
            writer.writeU16(0)
            writer.writeU64(id.snap.rawValue.byteSwapped)
        }
    }

    /// How a name, or what a name begins with, stands in an object's key.
    static func escaped(_ name: Bytes) -> Bytes {
        guard name.array.contains(0) else { return name }
        return Bytes(name.array.flatMap { $0 == 0 ? [0, 255] : [$0] })
    }

    /// Bytes before the name in an object's key.
    private static let namePrefix = 13

    /// Whether the name in an object's key begins with what `escaped` made.
    static func hasName(_ key: Bytes, beginningWith prefix: Bytes) -> Bool {
        let end = namePrefix + prefix.count
        return key.count >= end && key[namePrefix..<end] == prefix
    }

    /// The object of a key that `object` made.
    static func objectID(_ key: Bytes) throws(WireError) -> ObjectID {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        let pool = PoolID(Int64(bitPattern: try reader.readU64().byteSwapped ^ (1 << 63)))
        let hash = try reader.readU32().byteSwapped.bitReversed
        var name: [UInt8] = []
        while true {
            let byte = try reader.readU8()
            if byte == 0, try reader.readU8() == 0 { break }
            name.append(byte)
        }
        let snap = SnapID(try reader.readU64().byteSwapped)
        guard let name = ObjectName(name) else { throw WireError("object key with a name of \(name.count) bytes") }
        return ObjectID(pool: pool, hash: hash, name: name, snap: snap)
    }

    /// The first key that an object of the range can have, and the first after all of them.
    static func bounds(_ range: ObjectRange) -> (Bytes, Bytes) {
        let lower = tagged(objectTag, 16) { writer in
            write(range.pool, into: &writer)
            writer.writeU32(range.firstReversedHash.byteSwapped)
        }
        let last = range.lastReversedHash
        guard last < .max else {
            return (lower, end(ofPrefix: tagged(objectTag, 16) { write(range.pool, into: &$0) }))
        }
        let upper = tagged(objectTag, 16) { writer in
            write(range.pool, into: &writer)
            writer.writeU32((last + 1).byteSwapped)
        }
        return (lower, upper)
    }

    static func unit(_ object: UInt64, _ index: UInt32) -> Bytes {
        tagged(unitTag, 13) { writer in
            writer.writeU64(object.byteSwapped)
            writer.writeU32(index.byteSwapped)
        }
    }

    /// The index of a key that `unit` made.
    static func unitIndex(_ key: Bytes) throws(WireError) -> Int {
        var reader = ByteReader(key)
        _ = try reader.readRaw(9)
        return Int(try reader.readU32().byteSwapped)
    }

    /// The object's number in a key that `unit` made.
    static func objectNumber(_ key: Bytes) throws(WireError) -> UInt64 {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        return try reader.readU64().byteSwapped
    }

    static func references(_ unit: UInt32) -> Bytes {
        tagged(referencesTag, 5) { $0.writeU32(unit.byteSwapped) }
    }

    static func hole(_ stretch: UInt32) -> Bytes {
        tagged(holeTag, 5) { $0.writeU32(stretch.byteSwapped) }
    }

    /// The number in a key that `references` or `hole` made.
    static func referencedUnit(_ key: Bytes) throws(WireError) -> UInt32 {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        return try reader.readU32().byteSwapped
    }

    static func omap(_ object: UInt64, _ key: Bytes) -> Bytes {
        tagged(omapTag, 9 + key.count) { writer in
            writer.writeU64(object.byteSwapped)
            writer.writeRaw(key)
        }
    }

    /// Bytes before the owner's key in a key of an omap.
    static let omapPrefix = 9

    static func group(_ group: PGID, _ key: Bytes) -> Bytes {
        tagged(groupTag, 13 + key.count) { writer in
            write(group.pool, into: &writer)
            writer.writeU32(group.seed.byteSwapped)
            writer.writeRaw(key)
        }
    }

    /// Bytes before the owner's key in a key of a group.
    static let groupPrefix = 13

    static func groupID(_ key: Bytes) throws(WireError) -> PGID {
        var reader = ByteReader(key)
        _ = try reader.readU8()
        let pool = PoolID(Int64(bitPattern: try reader.readU64().byteSwapped ^ (1 << 63)))
        return PGID(pool: pool, seed: try reader.readU32().byteSwapped)
    }

    /// The first key that does not begin with `prefix`, whose last byte is counted up (with a carry).
    static func end(ofPrefix prefix: Bytes) -> Bytes {
        var bytes = prefix.array
        while let last = bytes.last {
            if last < 255 {
                bytes[bytes.count - 1] = last + 1
                break
            }
            bytes.removeLast()
        }
        return Bytes(bytes)
    }
}

/// What binds the metadata store to the device: written with every checkpoint's keys, before the superblock says that they are
/// there. Keys of another store, or an old copy of these, are noticed by it.
///
/// | bytes | what |
/// |---|---|
/// | 16 | store |
/// | 8 | LSN from which on the journal has what these keys have not |
struct Binding: Equatable {
    var store: UniqueID
    var lsn: UInt64

    init(store: UniqueID, lsn: UInt64) {
        self.store = store
        self.lsn = lsn
    }

    init(_ bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        store = try UniqueID(from: &reader)
        lsn = try reader.readU64()
        try reader.expectEnd()
    }

    func encoded() -> Bytes {
        Bytes.encoding(capacity: 24) { writer in
            store.encode(into: &writer)
            writer.writeU64(lsn)
        }
    }
}
