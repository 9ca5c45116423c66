import Wire

extension ObjectOperation {
    private enum Tag: UInt8 {
        case read = 1, stat, getAttribute, getOmap, listOmap, listWatchers, assertExists, compareOmap
        case create, write, writeFull, zero, truncate, remove, setAttribute, setOmap, removeOmap, watch, unwatch
        case listObjects
        case sparseRead, getAttributes, compareAttribute, compareExtent, assertVersion, assertUnwatched
        case append, writeSame, removeAttribute, clearOmap, call, notify, acknowledge
        case removeOmapRange
        case administer
        case rollback = 100
        case listSnaps
    }

    public func encode(into writer: inout ByteWriter) {
        func tag(_ tag: Tag, _ writer: inout ByteWriter) { writer.writeU8(tag.rawValue) }
        switch self {
        case .read(let offset, let length):
            tag(.read, &writer)
            writer.writeU64(offset)
            writer.writeU32(length)
        case .stat: tag(.stat, &writer)
        case .getAttribute(let name):
            tag(.getAttribute, &writer)
            writer.writeString(name)
        case .getOmap(let keys):
            tag(.getOmap, &writer)
            writer.writeArray(keys) { $0.writeBytes($1) }
        case .listOmap(let after, let prefix, let limit):
            tag(.listOmap, &writer)
            writer.writeBytes(after)
            writer.writeBytes(prefix)
            writer.writeU32(limit)
        case .listWatchers: tag(.listWatchers, &writer)
        case .assertExists: tag(.assertExists, &writer)
        case .compareOmap(let key, let expected):
            tag(.compareOmap, &writer)
            writer.writeBytes(key)
            writer.writeOptional(expected) { $0.writeBytes($1) }
        case .create(let exclusive):
            tag(.create, &writer)
            writer.writeBool(exclusive)
        case .write(let offset, let data):
            tag(.write, &writer)
            writer.writeU64(offset)
            writer.writeBytes(data)
        case .writeFull(let data):
            tag(.writeFull, &writer)
            writer.writeBytes(data)
        case .zero(let offset, let length):
            tag(.zero, &writer)
            writer.writeU64(offset)
            writer.writeU64(length)
        case .truncate(let size):
            tag(.truncate, &writer)
            writer.writeU64(size)
        case .remove: tag(.remove, &writer)
        case .setAttribute(let name, let value):
            tag(.setAttribute, &writer)
            writer.writeString(name)
            writer.writeBytes(value)
        case .setOmap(let entries):
            tag(.setOmap, &writer)
            writer.writeArray(entries) { $1.encode(into: &$0) }
        case .removeOmap(let keys):
            tag(.removeOmap, &writer)
            writer.writeArray(keys) { $0.writeBytes($1) }
        case .watch(let cookie, let timeout):
            tag(.watch, &writer)
            writer.writeU64(cookie)
            writer.writeU32(timeout)
        case .unwatch(let cookie):
            tag(.unwatch, &writer)
            writer.writeU64(cookie)
        case .rollback(let snap):
            tag(.rollback, &writer)
            writer.writeU64(snap.rawValue)
        case .listSnaps: tag(.listSnaps, &writer)
        case .listObjects(let after, let prefix, let limit):
            tag(.listObjects, &writer)
            writer.writeOptional(after) { $1.encode(into: &$0) }
            writer.writeBytes(prefix)
            writer.writeU32(limit)
        default: encodeRarer(into: &writer)
        }
    }

    private func encodeRarer(into writer: inout ByteWriter) {
        func tag(_ tag: Tag, _ writer: inout ByteWriter) { writer.writeU8(tag.rawValue) }
        switch self {
        case .sparseRead(let offset, let length):
            tag(.sparseRead, &writer)
            writer.writeU64(offset)
            writer.writeU32(length)
        case .getAttributes: tag(.getAttributes, &writer)
        case .compareAttribute(let name, let comparison, let value):
            tag(.compareAttribute, &writer)
            writer.writeString(name)
            writer.writeU8(comparison.rawValue)
            value.encode(into: &writer)
        case .compareExtent(let offset, let data):
            tag(.compareExtent, &writer)
            writer.writeU64(offset)
            writer.writeBytes(data)
        case .assertVersion(let version):
            tag(.assertVersion, &writer)
            version.encode(into: &writer)
        case .assertUnwatched: tag(.assertUnwatched, &writer)
        case .append(let data):
            tag(.append, &writer)
            writer.writeBytes(data)
        case .writeSame(let offset, let length, let data):
            tag(.writeSame, &writer)
            writer.writeU64(offset)
            writer.writeU64(length)
            writer.writeBytes(data)
        case .removeAttribute(let name):
            tag(.removeAttribute, &writer)
            writer.writeString(name)
        case .removeOmapRange(let from, let to):
            tag(.removeOmapRange, &writer)
            writer.writeBytes(from)
            writer.writeOptional(to) { $0.writeBytes($1) }
        case .clearOmap: tag(.clearOmap, &writer)
        case .call(let call):
            tag(.call, &writer)
            call.encode(into: &writer)
        case .notify(let payload, let timeout):
            tag(.notify, &writer)
            writer.writeBytes(payload)
            writer.writeU32(timeout)
        case .acknowledge(let notification, let cookie, let payload):
            tag(.acknowledge, &writer)
            writer.writeU64(notification)
            writer.writeU64(cookie)
            writer.writeBytes(payload)
        case .administer(let command):
            tag(.administer, &writer)
            command.encode(into: &writer)
        default: preconditionFailure("\(self) is encoded before")
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.readU8()
        guard let tag = Tag(rawValue: raw) else { throw WireError("unknown object operation \(raw)") }
        switch tag {
        case .read:
            let (offset, length) = try Self.range(from: &reader)
            self = .read(offset: offset, length: length)
        case .stat: self = .stat
        case .listSnaps: self = .listSnaps
        case .getAttribute: self = .getAttribute(name: try reader.readString(atMost: StorageLimits.attributeName))
        case .getOmap: self = .getOmap(keys: try Self.keys(from: &reader))
        case .listOmap:
            let after = try reader.readBytes(atMost: StorageLimits.omapKey)
            let prefix = try reader.readBytes(atMost: StorageLimits.omapKey)
            self = .listOmap(after: after, prefix: prefix, limit: min(try reader.readU32(), OperationLimits.listing))
        case .listWatchers: self = .listWatchers
        case .assertExists: self = .assertExists
        case .compareOmap:
            let key = try reader.readBytes(atMost: StorageLimits.omapKey)
            let expected = try reader.readOptional { r throws(WireError) in
                try r.readBytes(atMost: StorageLimits.omapValue)
            }
            self = .compareOmap(key: key, expected: expected)
        case .sparseRead, .getAttributes, .compareAttribute, .compareExtent, .assertVersion, .assertUnwatched, .append,
            .writeSame, .removeAttribute, .removeOmapRange, .clearOmap, .call, .notify, .acknowledge, .administer:
            self = try Self.rarer(tag, from: &reader)
        default: self = try Self.change(tag, from: &reader)
        }
    }

    private static func rarer(_ tag: Tag, from reader: inout ByteReader) throws(WireError) -> ObjectOperation {
        switch tag {
        case .sparseRead:
            let (offset, length) = try range(from: &reader)
            return .sparseRead(offset: offset, length: length)
        case .getAttributes: return .getAttributes
        case .compareAttribute:
            let name = try reader.readString(atMost: StorageLimits.attributeName)
            let raw = try reader.readU8()
            guard let comparison = Comparison(rawValue: raw) else { throw WireError("unknown comparison \(raw)") }
            return .compareAttribute(name: name, comparison, value: try AttributeOperand(from: &reader))
        case .compareExtent:
            let offset = try reader.readU64()
            let data = try reader.readBytes(atMost: StorageLimits.writeSize)
            try StorageLimits.check(offset: offset, length: UInt64(data.count))
            return .compareExtent(offset: offset, data: data)
        case .assertVersion: return .assertVersion(try Version(from: &reader))
        case .assertUnwatched: return .assertUnwatched
        case .append: return .append(data: try reader.readBytes(atMost: StorageLimits.writeSize))
        case .writeSame:
            let (offset, length) = (try reader.readU64(), try reader.readU64())
            try StorageLimits.check(offset: offset, length: length)
            return .writeSame(
                offset: offset, length: length, data: try reader.readBytes(atMost: StorageLimits.writeSize))
        case .removeAttribute:
            return .removeAttribute(name: try reader.readString(atMost: StorageLimits.attributeName))
        case .removeOmapRange:
            let from = try reader.readBytes(atMost: StorageLimits.omapKey)
            let to = try reader.readOptional { r throws(WireError) in try r.readBytes(atMost: StorageLimits.omapKey) }
            return .removeOmapRange(from: from, to: to)
        case .clearOmap: return .clearOmap
        case .call: return .call(try ClassCall(from: &reader))
        case .notify:
            let payload = try reader.readBytes(atMost: OperationLimits.notification)
            return .notify(
                payload: payload, timeoutMilliseconds: min(try reader.readU32(), OperationLimits.notifyMilliseconds))
        case .acknowledge:
            let (notification, cookie) = (try reader.readU64(), try reader.readU64())
            return .acknowledge(
                notification: notification, cookie: cookie,
                payload: try reader.readBytes(atMost: OperationLimits.notification))
        case .administer: return .administer(try GroupCommand(from: &reader))
        default: preconditionFailure("\(tag) is decoded elsewhere")
        }
    }

    /// What a read asks for.
    private static func range(from reader: inout ByteReader) throws(WireError) -> (offset: UInt64, length: UInt32) {
        let (offset, length) = (try reader.readU64(), try reader.readU32())
        guard length <= OperationLimits.readSize else {
            throw WireError("a read of \(length) bytes is over the limit of \(OperationLimits.readSize)")
        }
        try StorageLimits.check(offset: offset, length: UInt64(length))
        return (offset, length)
    }

    private static func keys(from reader: inout ByteReader) throws(WireError) -> [Bytes] {
        try reader.readArray(atMost: StorageLimits.omapEntries) { r throws(WireError) in
            try r.readBytes(atMost: StorageLimits.omapKey)
        }
    }

    private static func change(_ tag: Tag, from reader: inout ByteReader) throws(WireError) -> ObjectOperation {
        switch tag {
        case .create: return .create(exclusive: try reader.readBool())
        case .write:
            let offset = try reader.readU64()
            let data = try reader.readBytes(atMost: StorageLimits.writeSize)
            try StorageLimits.check(offset: offset, length: UInt64(data.count))
            return .write(offset: offset, data: data)
        case .writeFull: return .writeFull(data: try reader.readBytes(atMost: StorageLimits.writeSize))
        case .zero:
            let (offset, length) = (try reader.readU64(), try reader.readU64())
            try StorageLimits.check(offset: offset, length: length)
            return .zero(offset: offset, length: length)
        case .truncate:
            let size = try reader.readU64()
            try StorageLimits.check(offset: size, length: 0)
            return .truncate(size: size)
        case .remove: return .remove
        case .setAttribute:
            let name = try reader.readString(atMost: StorageLimits.attributeName)
            return .setAttribute(name: name, value: try reader.readBytes(atMost: StorageLimits.attributeValue))
        case .setOmap:
            return .setOmap(
                entries: try reader.readArray(atMost: StorageLimits.omapEntries) { r throws(WireError) in
                    try KeyValue(from: &r)
                })
        case .removeOmap: return .removeOmap(keys: try keys(from: &reader))
        case .watch:
            return .watch(cookie: try reader.readU64(), timeoutMilliseconds: try reader.readU32())
        case .unwatch: return .unwatch(cookie: try reader.readU64())
        case .rollback:
            let snap = SnapID(try reader.readU64())
            guard snap > .none, snap <= .last else { throw WireError("a rollback to snapshot \(snap)") }
            return .rollback(to: snap)
        case .listObjects:
            let after = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
            let prefix = try reader.readBytes(atMost: ObjectName.limit)
            return .listObjects(
                after: after, prefix: prefix, limit: min(try reader.readU32(), OperationLimits.listing))
        default:
            preconditionFailure("\(tag) is decoded before")
        }
    }
}
