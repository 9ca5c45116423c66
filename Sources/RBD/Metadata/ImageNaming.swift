import Wire

/// Where an image's parts are kept: names of objects and of omap keys, those of RBD's format 2.
package enum ImageNaming {
    package static let idPrefix = "rbd_id."
    package static let directory = ObjectName("rbd_directory")

    package static func idObject(_ name: String) -> ObjectName { ObjectName(idPrefix + name) }
    package static func header(_ id: String) -> ObjectName { ObjectName("rbd_header." + id) }
    package static func dataPrefix(_ id: String) -> String { "rbd_data." + id }

    /// Directory: the id of a name.
    package static func nameKey(_ name: String) -> Bytes { Bytes("name_" + name) }
    /// Directory: the name of an id.
    package static func idKey(_ id: String) -> Bytes { Bytes("id_" + id) }

    // The header's keys.
    package static let size = Bytes("size")
    package static let order = Bytes("order")
    package static let objectPrefix = Bytes("object_prefix")
    package static let features = Bytes("features")
    package static let snapshotSequence = Bytes("snap_seq")
    package static let created = Bytes("create_timestamp")
    package static let accessed = Bytes("access_timestamp")
    package static let modified = Bytes("modify_timestamp")

    /// What the keys of snapshots begin with.
    package static let snapshotPrefix = Bytes("snapshot_")
    /// Header: a snapshot.
    package static func snapshotKey(_ snap: SnapID) -> Bytes { Bytes("snapshot_" + hexadecimal(snap.rawValue)) }

    // Keys that RBD does not have; it ignores what it does not know.

    /// Header: a removal has begun; nobody opens the image any more.
    package static let removing = Bytes("nacre_removing")
    /// Header: the cookie of the watch of a command that resizes the image.
    package static let resizing = Bytes("nacre_resizing")
    /// Header: the image is being made what it was at this snapshot; nobody opens it meanwhile.
    package static let rollingBack = Bytes("nacre_rolling_back")
    package static let seenPrefix = Bytes("nacre_seen_")
    /// Header: the newest snapshot that the holder of this watch knows of, and no write of its that does not is under way.
    package static func seenKey(_ cookie: UInt64) -> Bytes { Bytes("nacre_seen_" + hexadecimal(cookie)) }

    static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// `rbd_id.NAME`: the id once more, since guards compare omap values only.
    package static let claimedID = Bytes("id")
    /// `rbd_id.NAME`: there while the image is being created.
    package static let creating = Bytes("nacre_creating")

    /// A string as RBD's values have it: u32 length, then the bytes.
    package static func string(_ text: String) -> Bytes { .encoding { $0.writeString(text) } }

    package static func number(_ value: UInt64) -> Bytes { .encoding { $0.writeU64(value) } }

    /// The name of the data object with this number: the prefix, a dot, sixteen hexadecimal digits.
    package static func dataObject(prefix: [UInt8], number: UInt64) -> ObjectName {
        let name = [UInt8](unsafeUninitializedCapacity: prefix.count + 17) { buffer, count in
            _ = buffer.initialize(from: prefix)
            buffer.initializeElement(at: prefix.count, to: UInt8(ascii: "."))
            for digit in 0..<16 {
                let value = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * digit)) & 15
                buffer.initializeElement(
                    at: prefix.count + 1 + digit,
                    to: value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10)
            }
            count = prefix.count + 17
        }
        guard let object = ObjectName(name) else { preconditionFailure("data object name of \(name.count) bytes") }
        return object
    }

    /// The number of a data object of the image with this prefix; nil when the name is not one.
    package static func number(of object: ObjectName, prefix: [UInt8]) -> UInt64? {
        guard object.bytes.count == prefix.count + 17, object.bytes.starts(with: prefix),
            object.bytes[prefix.count] == UInt8(ascii: ".")
        else { return nil }
        return UInt64(String(decoding: object.bytes[(prefix.count + 1)...], as: UTF8.self), radix: 16)
    }
}
