import Wire

/// What an object store applies in one atomic, durable step: after a crash either all of it is there or nothing.
///
/// The operations are applied in order. Their arguments were checked by whoever ordered them; a store treats an
/// operation that cannot apply (a write past the object limit) as a broken invariant, never as a user's error.
public struct Transaction: Sendable {
    /// One step. Objects come into being with the first step that gives them something.
    public enum Operation: Sendable, Equatable {
        /// Makes the object exist with size 0 if it does not exist.
        case touch(ObjectID)
        /// Puts `data` at `offset`; the object grows when it ends before the end of the data.
        case write(ObjectID, offset: UInt64, data: Bytes)
        /// Makes a range read as zeros and frees the space of whole blocks in it. Never grows the object.
        case zero(ObjectID, offset: UInt64, length: UInt64)
        /// Sets the size; growth reads as zeros, what is cut is freed.
        case truncate(ObjectID, size: UInt64)
        /// Removes the object with its attributes and omap. No object is no error.
        case remove(ObjectID)
        /// Sets one attribute, kept with the object's record: small and read with it.
        case setAttribute(ObjectID, name: String, value: Bytes)
        case removeAttribute(ObjectID, name: String)
        /// Sets keys of the object's ordered map.
        case setOmap(ObjectID, entries: [KeyValue])
        case removeOmap(ObjectID, keys: [Bytes])
        /// Removes the object's keys in `from ..< to`; without `to`, all from `from` on.
        case removeOmapRange(ObjectID, from: Bytes, to: Bytes?)
        case clearOmap(ObjectID)
        /// Makes the second object equal to the first as it is now, with its attributes and omap; what it was before is gone.
        /// Data is shared until either changes; the omap is copied. Without the first object the second is removed; onto itself nothing
        /// happens.
        case clone(ObjectID, to: ObjectID)
        /// Puts the bytes `offset ..< offset + length` of the first object, as they are now, at `at` of the second, which may
        /// be the same one; holes arrive as holes. The second comes into being, and grows when it ends before the end of
        /// what arrives. What lies behind the end of the first is left out; without the first nothing happens. Whole units
        /// at places in the same phase are shared until either changes.
        case cloneRange(ObjectID, to: ObjectID, offset: UInt64, length: UInt64, at: UInt64)
        /// Sets keys in the ordered map of a placement group itself (its log and info). The group exists from its first key.
        case setGroupKeys(PGID, entries: [KeyValue])
        /// Removes the group's keys in `from ..< to`.
        case removeGroupKeys(PGID, from: Bytes, to: Bytes)
        /// Removes every key of the group; it is then no longer listed. Its objects are removed before, one by one.
        case removeGroup(PGID)
    }

    public var operations: [Operation]

    @inlinable
    public init(_ operations: [Operation] = []) {
        self.operations = operations
    }
}

/// A key with its value in an ordered map.
public struct KeyValue: Hashable, Sendable {
    public var key: Bytes
    public var value: Bytes

    @inlinable
    public init(_ key: Bytes, _ value: Bytes) {
        self.key = key
        self.value = value
    }
}

extension Transaction {
    /// Bytes of object data that the operations carry.
    public var dataSize: Int {
        operations.reduce(0) { sum, operation in
            if case .write(_, _, let data) = operation { sum + data.count } else { sum }
        }
    }

    /// Bytes that the operations may come to occupy beside whole units at the ends of ranges, and the number of ranges: a
    /// range that is zeroed, cut or cloned may end within what is shared with another object, which then becomes two.
    public var spaceNeeded: (bytes: Int, ranges: Int) {
        var bytes = 0, ranges = 0
        for operation in operations {
            switch operation {
            case .write(_, _, let data):
                bytes += data.count
                ranges += 1
            case .zero, .truncate:
                ranges += 1
            case .cloneRange(_, _, _, let length, _):
                bytes += Int(length)
                ranges += 1
            case .touch, .remove, .setAttribute, .removeAttribute, .setOmap, .removeOmap, .removeOmapRange, .clearOmap,
                .clone, .setGroupKeys, .removeGroupKeys, .removeGroup:
                break
            }
        }
        return (bytes, ranges)
    }

    private enum Tag: UInt8 {
        case touch = 1, write, zero, truncate, remove, setAttribute, removeAttribute, setOmap, removeOmap, clearOmap
        case setGroupKeys, removeGroupKeys, removeGroup, removeOmapRange, clone, cloneRange
    }

    /// The transaction, with the data of writes inside it.
    public func encode(into writer: inout ByteWriter) {
        writer.writeArray(operations) { writer, operation in Self.encode(operation, into: &writer) }
    }

    private static func encode(_ operation: Operation, into writer: inout ByteWriter) {
        func tag(_ tag: Tag, _ object: ObjectID, _ writer: inout ByteWriter) {
            writer.writeU8(tag.rawValue)
            object.encode(into: &writer)
        }
        switch operation {
        case .touch(let object):
            tag(.touch, object, &writer)
        case .write(let object, let offset, let data):
            tag(.write, object, &writer)
            writer.writeU64(offset)
            writer.writeBytes(data)
        case .zero(let object, let offset, let length):
            tag(.zero, object, &writer)
            writer.writeU64(offset)
            writer.writeU64(length)
        case .truncate(let object, let size):
            tag(.truncate, object, &writer)
            writer.writeU64(size)
        case .remove(let object):
            tag(.remove, object, &writer)
        case .setAttribute(let object, let name, let value):
            tag(.setAttribute, object, &writer)
            writer.writeString(name)
            writer.writeBytes(value)
        case .removeAttribute(let object, let name):
            tag(.removeAttribute, object, &writer)
            writer.writeString(name)
        case .setOmap(let object, let entries):
            tag(.setOmap, object, &writer)
            writer.writeArray(entries) { $1.encode(into: &$0) }
        case .removeOmap(let object, let keys):
            tag(.removeOmap, object, &writer)
            writer.writeArray(keys) { $0.writeBytes($1) }
        case .removeOmapRange(let object, let from, let to):
            tag(.removeOmapRange, object, &writer)
            writer.writeBytes(from)
            writer.writeOptional(to) { $0.writeBytes($1) }
        case .clearOmap(let object):
            tag(.clearOmap, object, &writer)
        case .clone(let object, let target):
            tag(.clone, object, &writer)
            target.encode(into: &writer)
        case .cloneRange(let object, let target, let offset, let length, let at):
            tag(.cloneRange, object, &writer)
            target.encode(into: &writer)
            for value in [offset, length, at] { writer.writeU64(value) }
        case .setGroupKeys(let group, let entries):
            writer.writeU8(Tag.setGroupKeys.rawValue)
            group.encode(into: &writer)
            writer.writeArray(entries) { $1.encode(into: &$0) }
        case .removeGroupKeys(let group, let from, let to):
            writer.writeU8(Tag.removeGroupKeys.rawValue)
            group.encode(into: &writer)
            writer.writeBytes(from)
            writer.writeBytes(to)
        case .removeGroup(let group):
            writer.writeU8(Tag.removeGroup.rawValue)
            group.encode(into: &writer)
        }
    }

    /// Decodes what `encode` wrote; everything is bounded by `StorageLimits`.
    public init(from reader: inout ByteReader) throws(WireError) {
        operations = try reader.readArray(atMost: StorageLimits.operations) { r throws(WireError) in
            try Self.operation(from: &r)
        }
    }

    private static func operation(from reader: inout ByteReader) throws(WireError) -> Operation {
        let raw = try reader.readU8()
        guard let tag = Tag(rawValue: raw) else { throw WireError("unknown store operation \(raw)") }
        switch tag {
        case .setGroupKeys, .removeGroupKeys, .removeGroup:
            return try groupOperation(tag, from: &reader)
        default:
            break
        }
        let object = try ObjectID(from: &reader)
        switch tag {
        case .touch:
            return .touch(object)
        case .write:
            let offset = try reader.readU64()
            let data = try reader.readBytes(atMost: StorageLimits.writeSize)
            try StorageLimits.check(offset: offset, length: UInt64(data.count))
            return .write(object, offset: offset, data: data)
        case .zero:
            let (offset, length) = (try reader.readU64(), try reader.readU64())
            try StorageLimits.check(offset: offset, length: length)
            return .zero(object, offset: offset, length: length)
        case .truncate:
            let size = try reader.readU64()
            try StorageLimits.check(offset: size, length: 0)
            return .truncate(object, size: size)
        case .remove:
            return .remove(object)
        case .setAttribute:
            let name = try reader.readString(atMost: StorageLimits.attributeName)
            return .setAttribute(object, name: name, value: try reader.readBytes(atMost: StorageLimits.attributeValue))
        case .removeAttribute:
            return .removeAttribute(object, name: try reader.readString(atMost: StorageLimits.attributeName))
        case .setOmap:
            return .setOmap(object, entries: try Self.entries(from: &reader))
        case .removeOmap:
            let keys = try reader.readArray(atMost: StorageLimits.omapEntries) { r throws(WireError) in
                try r.readBytes(atMost: StorageLimits.omapKey)
            }
            return .removeOmap(object, keys: keys)
        case .removeOmapRange:
            let from = try reader.readBytes(atMost: StorageLimits.omapKey)
            let to = try reader.readOptional { r throws(WireError) in try r.readBytes(atMost: StorageLimits.omapKey) }
            return .removeOmapRange(object, from: from, to: to)
        case .clearOmap:
            return .clearOmap(object)
        case .clone:
            return .clone(object, to: try ObjectID(from: &reader))
        case .cloneRange:
            let target = try ObjectID(from: &reader)
            let (offset, length, at) = (try reader.readU64(), try reader.readU64(), try reader.readU64())
            try StorageLimits.check(offset: offset, length: length)
            try StorageLimits.check(offset: at, length: length)
            return .cloneRange(object, to: target, offset: offset, length: length, at: at)
        case .setGroupKeys, .removeGroupKeys, .removeGroup:
            preconditionFailure("\(tag) is decoded before")
        }
    }

    private static func groupOperation(_ tag: Tag, from reader: inout ByteReader) throws(WireError) -> Operation {
        let group = try PGID(from: &reader)
        switch tag {
        case .setGroupKeys:
            return .setGroupKeys(group, entries: try entries(from: &reader))
        case .removeGroupKeys:
            let from = try reader.readBytes(atMost: StorageLimits.omapKey)
            return .removeGroupKeys(group, from: from, to: try reader.readBytes(atMost: StorageLimits.omapKey))
        default:
            return .removeGroup(group)
        }
    }

    private static func entries(from reader: inout ByteReader) throws(WireError) -> [KeyValue] {
        try reader.readArray(atMost: StorageLimits.omapEntries) { r throws(WireError) in try KeyValue(from: &r) }
    }
}

extension KeyValue {
    public func encode(into writer: inout ByteWriter) {
        writer.writeBytes(key)
        writer.writeBytes(value)
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        key = try reader.readBytes(atMost: StorageLimits.omapKey)
        value = try reader.readBytes(atMost: StorageLimits.omapValue)
    }
}
