import ClusterMap
import Wire

extension GroupMessage {
    private enum Tag: UInt8 {
        case replicate = 1, replicated, queryInfo, info, queryLog, log, activate, activated, pull, push, pushed
        case cannotPush, scan, scanned, backfillProgress, backfilled, backfillStored, reserve, reserved, started, clean
        case remove, scrub
        case replicateTogether = 64, partStored, noRoom
    }

    public func encode(into writer: inout ByteWriter) {
        group.encode(into: &writer)
        writer.writeU32(interval.rawValue)
        func tag(_ tag: Tag, _ writer: inout ByteWriter) { writer.writeU8(tag.rawValue) }
        switch body {
        case .replicate(let entry, let operations, let trimTo):
            tag(.replicate, &writer)
            entry.encode(into: &writer)
            trimTo.encode(into: &writer)
            operations.encode(into: &writer)
        case .replicateTogether(let entries, let operations, let trimTo):
            tag(.replicateTogether, &writer)
            writer.writeArray(entries) { $1.encode(into: &$0) }
            trimTo.encode(into: &writer)
            operations.encode(into: &writer)
        case .replicated(let version, let isFull):
            tag(.replicated, &writer)
            version.encode(into: &writer)
            writer.writeBool(isFull)
        case .queryInfo: tag(.queryInfo, &writer)
        case .info(let info, let leases):
            tag(.info, &writer)
            info.encode(into: &writer)
            writer.writeArray(leases) { $1.encode(into: &$0) }
        case .queryLog(let since):
            tag(.queryLog, &writer)
            since.encode(into: &writer)
        case .log(let info, let entries, let missing):
            tag(.log, &writer)
            info.encode(into: &writer)
            writer.writeArray(entries) { $1.encode(into: &$0) }
            writer.writeArray(missing) { $1.encode(into: &$0) }
        case .activate(let activation):
            tag(.activate, &writer)
            activation.encode(into: &writer)
        case .activated(let isFull):
            tag(.activated, &writer)
            writer.writeBool(isFull)
        case .pull(let object, let need):
            tag(.pull, &writer)
            ObjectVersion(object, need).encode(into: &writer)
        case .push(let part):
            tag(.push, &writer)
            part.encode(into: &writer)
        case .partStored(let object):
            tag(.partStored, &writer)
            object.encode(into: &writer)
        case .noRoom(let object):
            tag(.noRoom, &writer)
            object.encode(into: &writer)
        case .pushed(let object, let version):
            tag(.pushed, &writer)
            ObjectVersion(object, version).encode(into: &writer)
        case .cannotPush(let object, let need):
            tag(.cannotPush, &writer)
            ObjectVersion(object, need).encode(into: &writer)
        case .scan(let after, let limit):
            tag(.scan, &writer)
            writer.writeOptional(after) { $1.encode(into: &$0) }
            writer.writeU32(limit)
        case .scanned(let objects, let more):
            tag(.scanned, &writer)
            writer.writeArray(objects) { $1.encode(into: &$0) }
            writer.writeBool(more)
        case .backfillProgress(let object):
            tag(.backfillProgress, &writer)
            object.encode(into: &writer)
        case .backfilled: tag(.backfilled, &writer)
        case .backfillStored: tag(.backfillStored, &writer)
        case .reserve: tag(.reserve, &writer)
        case .reserved(let isGranted):
            tag(.reserved, &writer)
            writer.writeBool(isGranted)
        case .clean(let epoch):
            tag(.clean, &writer)
            writer.writeU32(epoch.rawValue)
        case .remove: tag(.remove, &writer)
        case .scrub(let message):
            tag(.scrub, &writer)
            message.encode(into: &writer)
        case .started(let epoch):
            tag(.started, &writer)
            writer.writeU32(epoch.rawValue)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        group = try PGID(from: &reader)
        interval = Epoch(try reader.readU32())
        body = try Self.body(from: &reader)
    }

    private static func body(from reader: inout ByteReader) throws(WireError) -> Body {
        let raw = try reader.readU8()
        guard let tag = Tag(rawValue: raw) else { throw WireError("unknown group message \(raw)") }
        switch tag {
        case .replicate:
            let entry = try LogEntry(from: &reader)
            let trimTo = try Version(from: &reader)
            return .replicate(entry: entry, operations: try Transaction(from: &reader), trimTo: trimTo)
        case .replicateTogether:
            let entries = try reader.readArray(atMost: GroupLimits.entriesTogether) { r throws(WireError) in
                try LogEntry(from: &r)
            }
            guard entries.count > 1 else { throw WireError("\(entries.count) entries together") }
            let trimTo = try Version(from: &reader)
            return .replicateTogether(
                entries: entries, operations: try Transaction(from: &reader), trimTo: trimTo)
        case .replicated: return .replicated(try Version(from: &reader), isFull: try reader.readBool())
        case .queryInfo: return .queryInfo
        case .info:
            let info = try GroupInfo(from: &reader)
            let leases = try reader.readArray(atMost: MapLimits.osds) { r throws(WireError) in
                try LeasePromise(from: &r)
            }
            return .info(info, leases: leases)
        case .queryLog: return .queryLog(since: try Version(from: &reader))
        case .log:
            let info = try GroupInfo(from: &reader)
            let entries = try Self.entries(from: &reader)
            return .log(info, entries: entries, missing: try Self.missing(from: &reader))
        case .activate: return .activate(try Activation(from: &reader))
        case .activated: return .activated(isFull: try reader.readBool())
        case .pull:
            let wanted = try ObjectVersion(from: &reader)
            return .pull(wanted.object, need: wanted.version)
        case .push: return .push(try ObjectPart(from: &reader))
        case .partStored: return .partStored(try ObjectID(from: &reader))
        case .noRoom: return .noRoom(try ObjectID(from: &reader))
        case .pushed:
            let stored = try ObjectVersion(from: &reader)
            return .pushed(stored.object, stored.version)
        case .cannotPush:
            let wanted = try ObjectVersion(from: &reader)
            return .cannotPush(wanted.object, need: wanted.version)
        case .scan:
            let after = try reader.readOptional { r throws(WireError) in try ObjectID(from: &r) }
            return .scan(after: after, limit: min(try reader.readU32(), GroupLimits.scan))
        case .scanned:
            let objects = try reader.readArray(atMost: GroupLimits.scanned) { r throws(WireError) in
                try ObjectVersion(from: &r)
            }
            return .scanned(objects, more: try reader.readBool())
        case .backfillProgress: return .backfillProgress(try ObjectID(from: &reader))
        case .backfilled: return .backfilled
        case .backfillStored: return .backfillStored
        case .reserve: return .reserve
        case .reserved: return .reserved(try reader.readBool())
        case .clean: return .clean(Epoch(try reader.readU32()))
        case .remove: return .remove
        case .scrub: return .scrub(try ScrubMessage(from: &reader))
        case .started: return .started(Epoch(try reader.readU32()))
        }
    }

    fileprivate static func entries(from reader: inout ByteReader) throws(WireError) -> [LogEntry] {
        try reader.readArray(atMost: GroupLimits.logEntries) { r throws(WireError) in try LogEntry(from: &r) }
    }

    fileprivate static func missing(from reader: inout ByteReader) throws(WireError) -> [MissingObject] {
        try reader.readArray(atMost: GroupLimits.missingObjects) { r throws(WireError) in try MissingObject(from: &r) }
    }
}

extension Activation {
    public init(from reader: inout ByteReader) throws(WireError) {
        info = try GroupInfo(from: &reader)
        rewindTo = try Version(from: &reader)
        entries = try GroupMessage.entries(from: &reader)
        missing = try GroupMessage.missing(from: &reader)
        removals = try reader.readArray(atMost: GroupLimits.missingObjects) { r throws(WireError) in
            try ObjectID(from: &r)
        }
        requests = try reader.readArray(atMost: GroupLimits.requests) { r throws(WireError) in
            try RecordedRequest(from: &r)
        }
    }

    public func encode(into writer: inout ByteWriter) {
        info.encode(into: &writer)
        rewindTo.encode(into: &writer)
        writer.writeArray(entries) { $1.encode(into: &$0) }
        writer.writeArray(missing) { $1.encode(into: &$0) }
        writer.writeArray(removals) { $1.encode(into: &$0) }
        writer.writeArray(requests) { $1.encode(into: &$0) }
    }
}

extension ObjectPart {
    public init(from reader: inout ByteReader) throws(WireError) {
        object = try ObjectID(from: &reader)
        version = try Version(from: &reader)
        isFirst = try reader.readBool()
        isLast = try reader.readBool()
        exists = try reader.readBool()
        size = try reader.readU64()
        offset = try reader.readU64()
        data = try reader.readBytes(atMost: GroupLimits.partSize)
        attributes = try reader.readArray(atMost: StorageLimits.operations) { r throws(WireError) in
            try Attribute(from: &r)
        }
        omap = try reader.readArray(atMost: GroupLimits.partEntries) { r throws(WireError) in try KeyValue(from: &r) }
        try StorageLimits.check(offset: size, length: 0)
        try StorageLimits.check(offset: offset, length: UInt64(data.count))
        guard offset + UInt64(data.count) <= size else { throw WireError("part of \(object) beyond its size \(size)") }
    }

    public func encode(into writer: inout ByteWriter) {
        object.encode(into: &writer)
        version.encode(into: &writer)
        writer.writeBool(isFirst)
        writer.writeBool(isLast)
        writer.writeBool(exists)
        writer.writeU64(size)
        writer.writeU64(offset)
        writer.writeBytes(data)
        writer.writeArray(attributes) { $1.encode(into: &$0) }
        writer.writeArray(omap) { $1.encode(into: &$0) }
    }
}

extension ObjectVersion {
    public init(from reader: inout ByteReader) throws(WireError) {
        object = try ObjectID(from: &reader)
        version = try Version(from: &reader)
    }

    public func encode(into writer: inout ByteWriter) {
        object.encode(into: &writer)
        version.encode(into: &writer)
    }
}
