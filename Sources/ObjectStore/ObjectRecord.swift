import Protocol
import Wire

/// What the store knows about one object, kept under its key.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version of this record, 1 |
/// | 1 | bit 0: there may be omap keys |
/// | 8 | object number: under it lie the units and omap keys; never used twice |
/// | 8 | size |
/// | 4 | number of attributes, then name and value of each |
struct ObjectRecord: Equatable {
    struct Attribute: Equatable {
        var name: String
        var value: Bytes
    }

    var number: UInt64
    var size: UInt64 = 0
    var mayHaveOmap = false
    var attributes: [Attribute] = []

    init(number: UInt64) { self.number = number }

    func attribute(_ name: String) -> Bytes? { attributes.first { $0.name == name }?.value }

    mutating func set(_ name: String, _ value: Bytes) {
        if let index = attributes.firstIndex(where: { $0.name == name }) {
            attributes[index].value = value
        } else {
            attributes.append(Attribute(name: name, value: value))
        }
    }

    func encoded() -> Bytes {
        Bytes.encoding { writer in
            writer.writeU8(1)
            writer.writeU8(mayHaveOmap ? 1 : 0)
            writer.writeU64(number)
            writer.writeU64(size)
            writer.writeArray(attributes) { writer, attribute in
                writer.writeString(attribute.name)
                writer.writeBytes(attribute.value)
            }
        }
    }

    init(_ bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.readU8()
        guard version == 1 else { throw WireError("object record of version \(version)") }
        mayHaveOmap = try reader.readU8() & 1 != 0
        number = try reader.readU64()
        size = try reader.readU64()
        attributes = try reader.readArray(atMost: StorageLimits.operations * 16) { r throws(WireError) in
            let name = try r.readString(atMost: StorageLimits.attributeName)
            return Attribute(name: name, value: try r.readBytes(atMost: StorageLimits.attributeValue))
        }
        try reader.expectEnd()
    }
}

/// An object in memory. Always the newest state, committed or not; what it says can be had again from the keys.
final class CachedObject {
    let id: ObjectID
    let key: Bytes
    /// Nil when the object does not exist.
    var record: ObjectRecord?
    /// By index in the object; nil is a hole. Complete when `unitsLoaded`.
    var units: [UnitRecord?] = []
    var unitsLoaded = false
    /// How many of its units the limit of the cache counts.
    var countedUnits = 0
    /// What the transaction being applied has changed.
    var recordChanged = false
    var changedUnits: [Int] = []
    var touched = false

    init(id: ObjectID, key: Bytes, record: ObjectRecord?) {
        self.id = id
        self.key = key
        self.record = record
        unitsLoaded = record == nil
    }

    func unit(_ index: Int) -> UnitRecord? { index < units.count ? units[index] : nil }

    func setUnit(_ index: Int, _ unit: UnitRecord?) {
        if index >= units.count {
            if unit == nil { return }
            units.append(contentsOf: repeatElement(nil, count: index + 1 - units.count))
        }
        units[index] = unit
        if changedUnits.last != index { changedUnits.append(index) }
    }
}
