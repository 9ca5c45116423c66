import ClusterMap
import Wire

extension MonitorMessage {
    private enum Tag: UInt8 {
        case subscribe = 1, maps, boot, failure, statistics, leaving, command, commandReply, alive, acting,
            failureWithdrawn, bootRefused
    }

    public func encode(into writer: inout ByteWriter) {
        func tag(_ tag: Tag, _ writer: inout ByteWriter) { writer.writeU8(tag.rawValue) }
        switch self {
        case .subscribe(let have):
            tag(.subscribe, &writer)
            writer.writeU32(have.rawValue)
        case .maps(let update):
            tag(.maps, &writer)
            update.encode(into: &writer)
        case .boot(let boot):
            tag(.boot, &writer)
            boot.encode(into: &writer)
        case .bootRefused(let reason):
            tag(.bootRefused, &writer)
            writer.writeString(reason)
        case .failure(let failure):
            tag(.failure, &writer)
            failure.encode(into: &writer)
        case .failureWithdrawn(let failure):
            tag(.failureWithdrawn, &writer)
            failure.encode(into: &writer)
        case .statistics(let statistics):
            tag(.statistics, &writer)
            statistics.encode(into: &writer)
        case .leaving(let osd, let incarnation):
            tag(.leaving, &writer)
            writer.writeI32(osd.rawValue)
            writer.writeU64(incarnation)
        case .alive(let osd, let incarnation, let epoch):
            tag(.alive, &writer)
            writer.writeI32(osd.rawValue)
            writer.writeU64(incarnation)
            writer.writeU32(epoch.rawValue)
        case .acting(let osd, let incarnation, let requests):
            tag(.acting, &writer)
            writer.writeI32(osd.rawValue)
            writer.writeU64(incarnation)
            writer.writeArray(requests) { $1.encode(into: &$0) }
        case .command(let request):
            tag(.command, &writer)
            request.encode(into: &writer)
        case .commandReply(let reply):
            tag(.commandReply, &writer)
            reply.encode(into: &writer)
        }
    }

    public init(from reader: inout ByteReader) throws(WireError) {
        let raw = try reader.readU8()
        guard let tag = Tag(rawValue: raw) else { throw WireError("unknown monitor message \(raw)") }
        switch tag {
        case .subscribe: self = .subscribe(have: Epoch(try reader.readU32()))
        case .maps: self = .maps(try MapUpdate(from: &reader))
        case .boot: self = .boot(try OSDBoot(from: &reader))
        case .bootRefused: self = .bootRefused(try reader.readString(atMost: MonitorLimits.word))
        case .failure: self = .failure(try OSDFailure(from: &reader))
        case .failureWithdrawn: self = .failureWithdrawn(try OSDFailure(from: &reader))
        case .statistics: self = .statistics(try OSDStatistics(from: &reader))
        case .leaving: self = .leaving(OSDID(try reader.readI32()), incarnation: try reader.readU64())
        case .alive:
            self = .alive(
                OSDID(try reader.readI32()), incarnation: try reader.readU64(), epoch: Epoch(try reader.readU32()))
        case .acting:
            let (osd, incarnation) = (OSDID(try reader.readI32()), try reader.readU64())
            self = .acting(
                osd, incarnation: incarnation,
                try reader.readArray(atMost: Int(MapLimits.groupsPerPool)) { r throws(WireError) in
                    try ActingRequest(from: &r)
                })
        case .command: self = .command(try CommandRequest(from: &reader))
        case .commandReply: self = .commandReply(try CommandReply(from: &reader))
        }
    }
}
