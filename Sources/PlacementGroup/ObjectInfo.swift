import Protocol
import Wire

/// What a group keeps with each object, in the attribute `_` as in RADOS: its version, and digests of its other metadata, so
/// that a copy can tell by itself whether it is what was written. The data's checksums are the store's.
///
/// | bytes | field |
/// |---|---|
/// | 12 | version |
/// | 8 | when it was changed |
/// | 4, 4 | digests of attributes and omap |
/// | 1 | flags |
/// | 4 | CRC-32C of these fields as four numbers |
struct ObjectInfo: Hashable {
    static let attribute = "_"

    /// The operation that changed the object last.
    var version: Version
    /// When that was, by the primary's clock: nanoseconds since 1970.
    var modified: UInt64
    var digests: MetadataDigests
    /// What is more than usual.
    var flags: ObjectFlags = []

    /// What no object is: its version is before all others.
    static let none = ObjectInfo(version: .zero, modified: 0, digests: .empty)

    init(version: Version, modified: UInt64, digests: MetadataDigests, flags: ObjectFlags = []) {
        self.flags = flags
        self.version = version
        self.modified = modified
        self.digests = digests
    }

    /// Decodes what `encoded` gave, with its checksum.
    init(decoding bytes: Bytes) throws(WireError) {
        self = try Self.decode(bytes, isChecked: true)
    }

    private static func decode(_ bytes: Bytes, isChecked: Bool) throws(WireError) -> ObjectInfo {
        var reader = ByteReader(bytes)
        return try reader.versioned("object info", supported: 1) { r, _ throws(WireError) in
            let info = ObjectInfo(
                version: try Version(from: &r), modified: try r.readU64(), digests: try MetadataDigests(from: &r),
                flags: ObjectFlags(rawValue: try r.readU8()))
            let check = try r.readU32()
            guard !isChecked || check == info.check else { throw WireError("object info fails its checksum") }
            return info
        }
    }

    /// Over the fields, as one number after the other.
    private var check: UInt32 {
        var fields = (
            UInt64(version.epoch.rawValue) | UInt64(flags.rawValue) << 32, version.counter, modified,
            UInt64(digests.attributes) << 32 | UInt64(digests.omap)
        )
        return withUnsafeBytes(of: &fields) { Checksum.crc32c($0) }
    }

    var encoded: Bytes {
        .encoding(capacity: 40) { writer in
            writer.versioned(1) {
                version.encode(into: &$0)
                $0.writeU64(modified)
                digests.encode(into: &$0)
                $0.writeU8(flags.rawValue)
                $0.writeU32(check)
            }
        }
    }

    /// The info in an attribute, as operations use it; a value that cannot be read is a broken store and stops the OSD.
    static func trusted(_ bytes: Bytes) -> ObjectInfo {
        do {
            return try decode(bytes, isChecked: false)
        } catch {
            preconditionFailure("object info of \(bytes.count) bytes: \(error)")
        }
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

/// Sums of what stands in an object's metadata: they follow a change without going through the rest.
enum MetadataDigest {
    /// What an attribute adds to the sum.
    static func of(_ name: String, _ value: Bytes) -> UInt32 {
        var name = name
        return mix(name.withUTF8 { Checksum.crc32c(UnsafeRawBufferPointer($0)) }, value)
    }

    /// What an omap entry adds to the sum.
    static func of(_ key: Bytes, _ value: Bytes) -> UInt32 { mix(Checksum.crc32c(key), value) }

    static func of(_ attributes: [Attribute]) -> UInt32 {
        attributes.reduce(0) { $1.name == ObjectInfo.attribute ? $0 : $0 &+ of($1.name, $1.value) }
    }

    /// CRCs are linear, so their sum alone would let a pair of errors cancel out.
    private static func mix(_ key: UInt32, _ value: Bytes) -> UInt32 {
        var z = UInt64(key) << 32 | UInt64(Checksum.crc32c(value, after: UInt32(truncatingIfNeeded: value.count)))
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return UInt32(truncatingIfNeeded: z ^ (z >> 31))
    }
}

extension PlacementGroup {
    /// An object's info in this copy; `.none` when it is not there.
    func objectInfo(of object: ObjectID) -> ObjectInfo {
        environment.attribute(ObjectInfo.attribute, of: object).map(ObjectInfo.trusted) ?? .none
    }

    /// The digests of an object after operations on it, none of which the store has yet. What leaves metadata alone costs
    /// nothing.
    func digests(of object: ObjectID, before: ObjectInfo, after operations: [Transaction.Operation]) -> MetadataDigests
    {
        guard operations.contains(where: { $0.changesMetadata }) else { return before.digests }
        var change = MetadataChange(digests: before.digests, source: object)
        for operation in operations { apply(operation, on: object, to: &change) }
        return settle(change)
    }

    private func apply(_ operation: Transaction.Operation, on object: ObjectID, to change: inout MetadataChange) {
        switch operation {
        case .remove(object): change = MetadataChange(digests: .empty, source: nil)
        case .setAttribute(object, let name, let value) where name != ObjectInfo.attribute:
            change.attributes[name] = .some(value)
        case .removeAttribute(object, let name): change.attributes[name] = .some(nil)
        case .setOmap(object, let entries): for entry in entries { change.omap[entry.key] = .some(entry.value) }
        case .removeOmap(object, let keys): for key in keys { change.omap[key] = .some(nil) }
        case .clearOmap(object):
            change.digests.omap = 0
            change.omap.removeAll()
            change.hasOldOmap = false
        case .removeOmapRange(object, let from, let to): removeRange(from, to, in: &change)
        case .clone(let source, to: object) where source != object:
            change = MetadataChange(digests: objectInfo(of: source).digests, source: source)
        default: break
        }
    }

    /// Takes every key of a range out: those that were set before, and those in the store.
    private func removeRange(_ from: Bytes, _ to: Bytes?, in change: inout MetadataChange) {
        func isWithin(_ key: Bytes) -> Bool { !(key < from) && to.map { key < $0 } ?? true }
        for key in change.omap.keys where isWithin(key) { change.omap[key] = .some(nil) }
        guard let source = change.source, change.hasOldOmap else { return }
        var found = environment.omapValues(of: source, keys: [from])
        var after = from
        while true {
            let page = environment.omap(of: source, after: after, prefix: .empty, limit: ScrubLimits.omapEntries)
            found += page.prefix { isWithin($0.key) }
            guard page.count == ScrubLimits.omapEntries, let last = page.last, isWithin(last.key) else { break }
            after = last.key
        }
        for entry in found where isWithin(entry.key) { change.omap[entry.key] = .some(nil) }
    }

    /// Takes what was there out of the sums and puts in what will be.
    private func settle(_ change: MetadataChange) -> MetadataDigests {
        var digests = change.digests
        for (name, value) in change.attributes {
            if let source = change.source, let old = environment.attribute(name, of: source) {
                digests.attributes &-= MetadataDigest.of(name, old)
            }
            if let value { digests.attributes &+= MetadataDigest.of(name, value) }
        }
        if let source = change.source, change.hasOldOmap {
            for old in environment.omapValues(of: source, keys: Array(change.omap.keys)) {
                digests.omap &-= MetadataDigest.of(old.key, old.value)
            }
        }
        for (key, value) in change.omap {
            if let value { digests.omap &+= MetadataDigest.of(key, value) }
        }
        return digests
    }
}

/// What operations make of an object's metadata.
private struct MetadataChange {
    /// The sums before.
    var digests: MetadataDigests
    /// The object in the store that they are sums of.
    var source: ObjectID?
    var hasOldOmap = true
    /// What is set, and (nil) what is removed.
    var attributes: [String: Bytes?] = [:]
    var omap: [Bytes: Bytes?] = [:]
}

extension Transaction.Operation {
    /// True when attributes other than the object's info, or omap entries, may be different afterwards.
    var changesMetadata: Bool {
        switch self {
        case .setAttribute, .removeAttribute, .setOmap, .removeOmap, .removeOmapRange, .clearOmap, .clone, .remove: true
        case .touch, .write, .zero, .truncate, .cloneRange, .setGroupKeys, .removeGroupKeys, .removeGroup: false
        }
    }
}
