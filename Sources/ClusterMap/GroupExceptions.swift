import Wire

/// A replacement in what CRUSH chose for a group.
public struct UpmapItem: Hashable, Sendable, CustomStringConvertible {
    /// The OSD that is replaced.
    public var from: OSDID
    /// The OSD that takes its place.
    public var to: OSDID

    /// A replacement of `from` by `to`.
    public init(from: OSDID, to: OSDID) {
        self.from = from
        self.to = to
    }

    /// Both numbers with an arrow between them.
    public var description: String { "\(from.rawValue)->\(to.rawValue)" }
}

/// Groups whose OSDs are not, or not only, what CRUSH chooses. Each kind is a table by group; `Placement` says when an entry
/// is ignored.
public struct GroupExceptions: Hashable, Sendable {
    /// OSDs that stand for CRUSH's choice.
    public var upmaps: [PGID: [OSDID]] = [:]
    /// OSDs of CRUSH's choice that are replaced, one after the other.
    public var upmapItems: [PGID: [UpmapItem]] = [:]
    /// Who serves instead of the up set until that has caught up: asked for by a group's primary.
    public var temporary: [PGID: [OSDID]] = [:]
    /// Who leads instead of the first of the acting set.
    public var temporaryPrimaries: [PGID: OSDID] = [:]

    /// No exceptions.
    public init() {}

    /// True when no group has any.
    public var isEmpty: Bool {
        upmaps.isEmpty && upmapItems.isEmpty && temporary.isEmpty && temporaryPrimaries.isEmpty
    }

    /// Changes the table: an empty list, or `OSDID.none` for a primary, takes the group's entry out.
    public mutating func apply(_ changes: GroupExceptions) {
        for (group, osds) in changes.upmaps { upmaps[group] = osds.isEmpty ? nil : osds }
        for (group, items) in changes.upmapItems { upmapItems[group] = items.isEmpty ? nil : items }
        for (group, osds) in changes.temporary { temporary[group] = osds.isEmpty ? nil : osds }
        for (group, osd) in changes.temporaryPrimaries { temporaryPrimaries[group] = osd == .none ? nil : osd }
    }

    /// Takes up more changes, those that take entries out included: the later change of a group counts.
    public mutating func gather(_ changes: GroupExceptions) {
        upmaps.merge(changes.upmaps) { $1 }
        upmapItems.merge(changes.upmapItems) { $1 }
        temporary.merge(changes.temporary) { $1 }
        temporaryPrimaries.merge(changes.temporaryPrimaries) { $1 }
    }

    /// Forgets the groups of a pool.
    public mutating func removeAll(of pool: PoolID) {
        func keep<Value>(_ table: inout [PGID: Value]) {
            if table.contains(where: { $0.key.pool == pool }) { table = table.filter { $0.key.pool != pool } }
        }
        keep(&upmaps)
        keep(&upmapItems)
        keep(&temporary)
        keep(&temporaryPrimaries)
    }

    // MARK: Encoding

    init(from reader: inout ByteReader) throws(WireError) {
        func osd(_ r: inout ByteReader) throws(WireError) -> OSDID {
            let id = OSDID(try r.readI32())
            guard id == .none || OSDID.valid.contains(id.rawValue) else {
                throw WireError("OSD number \(id.rawValue) of an exception is out of range")
            }
            return id
        }
        func table<Value>(
            _ r: inout ByteReader, _ value: (inout ByteReader) throws(WireError) -> Value
        ) throws(WireError) -> [PGID: Value] {
            var table: [PGID: Value] = [:]
            let entries = try r.readArray(atMost: MapLimits.exceptions) { r throws(WireError) in
                (try PGID(from: &r), try value(&r))
            }
            table.reserveCapacity(entries.count)
            for (group, value) in entries where table.updateValue(value, forKey: group) != nil {
                throw WireError("group \(group) stands twice among the exceptions")
            }
            return table
        }
        let copies = Int(MapLimits.poolSize)
        upmaps = try table(&reader) { r throws(WireError) in try r.readArray(atMost: copies, osd) }
        upmapItems = try table(&reader) { r throws(WireError) in
            try r.readArray(atMost: copies) { r throws(WireError) in
                UpmapItem(from: try osd(&r), to: try osd(&r))
            }
        }
        temporary = try table(&reader) { r throws(WireError) in try r.readArray(atMost: copies, osd) }
        temporaryPrimaries = try table(&reader, osd)
    }

    func encode(into writer: inout ByteWriter) {
        func table<Value>(
            _ table: [PGID: Value], _ w: inout ByteWriter, _ value: (inout ByteWriter, Value) -> Void
        ) {
            w.writeArray(table.sorted { $0.key < $1.key }) { w, entry in
                entry.key.encode(into: &w)
                value(&w, entry.value)
            }
        }
        table(upmaps, &writer) { w, osds in w.writeArray(osds) { $0.writeI32($1.rawValue) } }
        table(upmapItems, &writer) { w, items in
            w.writeArray(items) { w, item in
                w.writeI32(item.from.rawValue)
                w.writeI32(item.to.rawValue)
            }
        }
        table(temporary, &writer) { w, osds in w.writeArray(osds) { $0.writeI32($1.rawValue) } }
        table(temporaryPrimaries, &writer) { $0.writeI32($1.rawValue) }
    }
}

extension OSDID {
    /// No OSD: the hole that an erasure-coded pool has where no OSD can be. The number is that of the format of CRUSH.
    public static let none = OSDID(0x7fff_ffff)

    /// The numbers that OSDs of a map have.
    public static let valid = 0..<Int32(MapLimits.osds)
}
