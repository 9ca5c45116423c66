import Glibc
import KeyValueStore
import Protocol
import Wire

/// What a transfer has moved.
public struct TransferSummary: Hashable, Sendable, Codable {
    /// Placement groups.
    public var groups: UInt64 = 0
    /// Objects, clones of snapshots included.
    public var objects: UInt64 = 0
    /// Bytes of objects' data, without holes.
    public var dataBytes: UInt64 = 0
    /// Keys of objects' omaps and of groups.
    public var keys: UInt64 = 0
}

extension StoreDirectory {
    /// Writes placement groups of the store, all or `only` one, as an `ExportStream`; `write` gets the bytes in order. Reads
    /// and verifies every block, and throws at the first that does not verify: a copy that cannot vouch for itself is of no use.
    ///
    /// Replays the journal and changes nothing else. Throws `notFound` when the store does not have the group.
    public func export(
        only: PGID?, progress: (UInt64) -> Void = { _ in }, to write: @escaping (Bytes) throws(StoreError) -> Void
    ) throws(StoreError) -> TransferSummary {
        let store = try openStore()
        let groups = try store.groups()
        if let only, !groups.contains(only) {
            throw StoreError(.notFound, "the store in \(path) has no group \(only)")
        }
        var export = GroupExport(
            owner: TransferOwner(store: store), ownership: GroupOwnership(groups),
            writer: try ExportStream.Writer(from: store.identity, write))
        for group in only.map({ [$0] }) ?? groups { try export.write(group, progress) }
        return try export.finish()
    }

    /// Puts the groups of an `ExportStream` into the store. `open` begins to read the stream and is called twice: nothing is
    /// written before all of it was read, verified, and found to fit.
    ///
    /// Throws when the stream is truncated, damaged, of a newer version or of another cluster, when the store has one of its
    /// groups already (`exists`), or not the space. A group appears in one step, with its last transaction: an import that was
    /// cut off leaves objects that no group claims, which the next import of that group replaces.
    public func importGroups(
        progress: (UInt64) -> Void = { _ in },
        from open: () throws(StoreError) -> (Int) throws(StoreError) -> Bytes
    ) throws(StoreError) -> TransferSummary {
        // Without a look at the store nothing of the stream is worth reading, and without the whole stream nothing of the
        // store may change, its journal included.
        let identity = try identity()
        var check = ImportCheck(identity: identity, path: path)
        try check.read(try ExportStream.Reader(try open()))
        let store = try openStore()
        try check.compare(with: store, path)
        var groupImport = GroupImport(owner: TransferOwner(store: store))
        return try groupImport.run(try ExportStream.Reader(try open()), progress)
    }
}

/// The owner of a store that has nothing else to do: waits for what it has asked for.
struct TransferOwner {
    let store: DiskStore
    /// Transactions under way at a time.
    private static let depth: UInt64 = 8
    private var submitted: UInt64 = 0
    private var committed: UInt64 = 0

    init(store: DiskStore) { self.store = store }

    private mutating func wait(_ body: (Completion) -> Void = { _ in }) throws(StoreError) {
        var failure: StoreError?
        func drain() {
            store.drainCompletions { completion in
                switch completion {
                case .committed: committed += 1
                case .failed(let error): failure = error
                case .read: break
                }
                body(completion)
            }
        }
        var descriptor = pollfd(fd: store.eventDescriptor, events: Int16(POLLIN), revents: 0)
        if Glibc.poll(&descriptor, 1, 1000) == 1 {
            var value: UInt64 = 0
            _ = Glibc.read(store.eventDescriptor, &value, 8)
        }
        store.poll()
        drain()
        if let failure { throw failure }
    }

    mutating func submit(_ transaction: Transaction) throws(StoreError) {
        submitted += 1
        store.submit(transaction, token: submitted)
        store.endOfTurn()
        while submitted - committed > Self.depth { try wait() }
    }

    /// Waits until everything is durable and written home.
    mutating func finish() throws(StoreError) {
        while committed < submitted { try wait() }
        store.requestCheckpoint()
        store.endOfTurn()
        while store.isCheckpointing { try wait() }
    }

    mutating func read(_ object: ObjectID, _ offset: UInt64, _ length: Int) throws(StoreError) -> Bytes {
        var result: Result<Bytes, StoreError>?
        store.read(object, offset: offset, length: length, token: 0)
        store.endOfTurn()
        func take(_ completion: Completion) {
            if case .read(_, let found) = completion { result = found }
        }
        store.drainCompletions(take)
        while result == nil { try wait(take) }
        switch result {
        case .success(let bytes): return bytes
        case .failure(let error): throw error
        case nil: preconditionFailure("a read of \(object) ended without a result")
        }
    }
}

/// Writes groups into a stream.
struct GroupExport {
    var owner: TransferOwner
    let ownership: GroupOwnership
    var writer: ExportStream.Writer
    private var summary = TransferSummary()

    private static let listed = 1000
    /// Entries of an omap asked for at a time: each may have a megabyte.
    private static let omapEntries = 64
    private static let groupKeys = 1024

    init(owner: TransferOwner, ownership: GroupOwnership, writer: ExportStream.Writer) {
        self.owner = owner
        self.ownership = ownership
        self.writer = writer
    }

    mutating func write(_ group: PGID, _ progress: (UInt64) -> Void) throws(StoreError) {
        try writer.append(.group(group))
        summary.groups += 1
        var after: ObjectID?
        while true {
            let found = try owner.store.list(GroupOwnership.range(of: group), after: after, limit: Self.listed)
            for object in found where ownership.group(of: object) == group {
                try write(object)
                summary.objects += 1
                progress(summary.objects)
            }
            guard found.count == Self.listed, let last = found.last else { break }
            after = last
        }
        var keys: [KeyValue] = []
        while true {
            let from = keys.last.map { Bytes($0.key.array + [0]) } ?? .empty
            let found = try owner.store.groupKeys(group, from: from, limit: Self.groupKeys)
            keys += found
            if found.count < Self.groupKeys { break }
        }
        summary.keys += UInt64(keys.count)
        try writer.append(.keys(keys))
    }

    mutating func finish() throws(StoreError) -> TransferSummary {
        try writer.append(.end(groups: summary.groups, objects: summary.objects))
        return summary
    }

    private mutating func write(_ object: ObjectID) throws(StoreError) {
        let size = try owner.store.stat(object) ?? 0
        try writer.append(.object(object, size: size, attributes: try owner.store.attributes(object)))
        var next: Bytes? = .empty
        while let from = next {
            let found = try owner.store.omap(object, from: from, limit: Self.omapEntries)
            next = found.count < Self.omapEntries ? nil : found.last.map { Bytes($0.key.array + [0]) }
            // Many small ones go together, large ones alone.
            var rest = found[...]
            while !rest.isEmpty {
                var bytes = 0
                let fitting = rest.prefix { entry in
                    bytes += entry.key.count + entry.value.count
                    return bytes <= ExportStream.omapBytes
                }
                let frame = fitting.isEmpty ? rest.prefix(1) : fitting
                try writer.append(.omap(Array(frame)))
                rest = rest.dropFirst(frame.count)
            }
            summary.keys += UInt64(found.count)
        }
        var offset: UInt64 = 0
        while offset < size {
            let piece = try owner.read(object, offset, ExportStream.dataBytes)
            try write(piece, at: offset)
            offset += UInt64(ExportStream.dataBytes)
        }
    }

    /// The runs of a piece that are not zeros, by units.
    private mutating func write(_ piece: Bytes, at offset: UInt64) throws(StoreError) {
        var start = 0
        while start < piece.count {
            var end = start
            while end < piece.count, !Self.isZero(piece, end) { end = min(piece.count, end + StoreLimits.unitSize) }
            if end > start {
                try writer.append(.data(offset: offset + UInt64(start), piece[start..<end]))
                summary.dataBytes += UInt64(end - start)
            }
            start = end + StoreLimits.unitSize
        }
    }

    private static func isZero(_ bytes: Bytes, _ start: Int) -> Bool {
        bytes.withUnsafeBytes { all in
            all[start..<min(all.count, start + StoreLimits.unitSize)].allSatisfy { $0 == 0 }
        }
    }
}

/// Reads a whole stream without writing anything: is it whole, and what would it need?
struct ImportCheck {
    let identity: StoreIdentity
    let path: String
    private(set) var groups: [PGID] = []
    /// Units of data that the objects fill.
    private(set) var units: UInt64 = 0
    private var objects: UInt64 = 0
    /// Bytes of the keys that go into the store in one step, where they are the most.
    private var largestStep = 0

    init(identity: StoreIdentity, path: String) {
        self.identity = identity
        self.path = path
    }

    mutating func read(_ stream: ExportStream.Reader) throws(StoreError) {
        var stream = stream
        guard stream.cluster == identity.cluster else {
            throw StoreError(
                .otherCluster,
                "the export is of cluster \(stream.cluster), the store in \(path) belongs to \(identity.cluster)")
        }
        var group: PGID?
        var object: ObjectID?
        var lastUnit: UInt64?
        while true {
            switch try stream.next() {
            case .group(let found):
                guard group == nil, !groups.contains(found) else { throw Self.disordered("group \(found)") }
                group = found
                groups.append(found)
            case .object(let found, _, _):
                guard let group, GroupOwnership.mayHold(group, found) else { throw Self.disordered("object \(found)") }
                object = found
                lastUnit = nil
                objects += 1
            case .data(let offset, let bytes):
                guard object != nil, !bytes.isEmpty else { throw Self.disordered("data") }
                let unitSize = UInt64(StoreLimits.unitSize)
                let first = offset / unitSize, last = (offset + UInt64(bytes.count) - 1) / unitSize
                units += last - first + (first == lastUnit ? 0 : 1)
                lastUnit = last
            case .omap(let entries):
                guard object != nil else { throw Self.disordered("omap keys") }
                measure(entries)
            case .keys(let entries):
                guard group != nil else { throw Self.disordered("keys") }
                measure(entries)
                group = nil
                object = nil
            case .end(let countedGroups, let countedObjects):
                guard group == nil, countedGroups == UInt64(groups.count), countedObjects == objects else {
                    throw Self.disordered("the end")
                }
                return
            }
        }
    }

    private mutating func measure(_ entries: [KeyValue]) {
        // Each with its lengths and the prefix of the store's own key.
        largestStep = max(largestStep, entries.reduce(0) { $0 + $1.key.count + $1.value.count + 32 })
    }

    private static func disordered(_ what: String) -> StoreError {
        StoreError(.foreign, "the export is not understood: \(what) where it does not belong")
    }

    /// Throws when the store cannot take the groups.
    func compare(with store: DiskStore, _ path: String) throws(StoreError) {
        let present = Set(try store.groups())
        if let group = groups.first(where: { present.contains($0) }) {
            throw StoreError(.exists, "the store in \(path) has group \(group) already")
        }
        let limit = StoreLimits.largestTransaction(journal: store.superblock.journalLength)
        guard largestStep < limit else {
            throw StoreError(
                .noSpace,
                "the export has \(largestStep >> 20) MiB of keys that belong together, the journal of the store in \(path) "
                    + "takes \(limit >> 20) MiB in one step: format it with a larger one")
        }
        let usage = store.usage
        let needed = units * UInt64(StoreLimits.unitSize)
        guard Double(usage.used + needed) <= Double(usage.total) * StoreLimits.recoveryRatio else {
            throw StoreError(
                .noSpace,
                "the export needs \(needed >> 20) MiB, the store in \(path) has \(usage.available >> 20) MiB left")
        }
    }
}

/// Puts the groups of a checked stream into a store.
struct GroupImport {
    var owner: TransferOwner
    private var summary = TransferSummary()

    /// Attributes set by one transaction.
    private static let attributes = 64

    init(owner: TransferOwner) { self.owner = owner }

    mutating func run(_ stream: ExportStream.Reader, _ progress: (UInt64) -> Void) throws(StoreError) -> TransferSummary
    {
        var stream = stream
        var group: PGID?
        var object: ObjectID?
        while true {
            switch try stream.next() {
            case .group(let found): group = found
            case .object(let id, let size, let attributes):
                object = id
                // What an import that was cut off has left goes first.
                try owner.submit(Transaction([.remove(id), .truncate(id, size: size)]))
                var rest = attributes[...]
                while !rest.isEmpty {
                    try owner.submit(
                        Transaction(
                            rest.prefix(Self.attributes).map { .setAttribute(id, name: $0.name, value: $0.value) }))
                    rest = rest.dropFirst(Self.attributes)
                }
                summary.objects += 1
                progress(summary.objects)
            case .data(let offset, let bytes):
                guard let object else { throw Self.changed }
                try owner.submit(Transaction([.write(object, offset: offset, data: bytes)]))
                summary.dataBytes += UInt64(bytes.count)
            case .omap(let entries):
                guard let object else { throw Self.changed }
                try owner.submit(Transaction([.setOmap(object, entries: entries)]))
                summary.keys += UInt64(entries.count)
            case .keys(let entries):
                guard let found = group else { throw Self.changed }
                try owner.submit(Transaction([.setGroupKeys(found, entries: entries)]))
                summary.keys += UInt64(entries.count)
                summary.groups += 1
                group = nil
            case .end:
                try owner.finish()
                return summary
            }
        }
    }

    private static var changed: StoreError { StoreError(.foreign, "the export has changed while it was read") }
}
