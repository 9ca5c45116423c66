import KeyValueStore
import ObjectStore
import Protocol
import Wire

/// One kind of load on a store that `fill` has written once: what it does, how many at a time, and what is told of it.
struct StoreWorkload {
    private enum Kind {
        /// Writes of blocks at random, as transactions of their own.
        case write
        /// The same with what an OSD adds: the object's version, a log entry, the group's info.
        case groupWrite
        case read
        case sequentialWrite, sequentialRead
        /// Writes everything once.
        case fill
    }

    private let name: String
    private let kind: Kind
    private let depth: Int
    private let objects: Int

    private static let large = 1 << 20
    /// Log entries that a group keeps.
    private static let keptEntries = 3000

    init?(_ name: String, objects: Int) {
        let kinds: [String: (Kind, Int)] = [
            "fill": (.fill, 8), "write_qd32": (.write, 32), "write_qd1": (.write, 1),
            "group_write_qd32": (.groupWrite, 32),
            "group_write_qd1": (.groupWrite, 1), "read_qd32": (.read, 32), "read_qd1": (.read, 1),
            "read_hot_qd1": (.read, 1), "write_1m": (.sequentialWrite, 8), "read_1m": (.sequentialRead, 8),
        ]
        guard let (kind, depth) = kinds[name] else { return nil }
        self.name = name
        self.kind = kind
        self.depth = depth
        // What is hot fits into the store's cache.
        self.objects = name == "read_hot_qd1" ? min(objects, 4) : objects
    }

    private var isLarge: Bool { kind == .sequentialWrite || kind == .sequentialRead || kind == .fill }
    private var isWrite: Bool { kind != .read && kind != .sequentialRead }

    /// Runs `count` operations and tells how they went.
    func run<Device, Keys>(_ owner: StoreOwner<Device, Keys>, count: Int) throws {
        let issue = issuer(owner.store)
        try report(owner, prefix: "") { try owner.run(depth: depth, issue) { $0 >= count } }
    }

    /// Runs for `runtime` seconds and tells how it went, with `prefix` before the names.
    func run<Device, Keys>(_ owner: StoreOwner<Device, Keys>, runtime: Double, prefix: String = "") throws {
        let issue = issuer(owner.store)
        if kind == .fill {
            try report(owner, prefix: prefix) { try owner.run(depth: depth, issue) { $0 + depth > total } }
            return try owner.checkpoint()
        }
        // Writes are measured in their steady state, from the end of one checkpoint to that of another.
        let warm = Bench.now + min(1, runtime / 2)
        let hasCheckpoints = kind == .write || kind == .groupWrite
        var checkpoints = owner.store.counters.checkpoints
        let isSteady = { hasCheckpoints && depth > 1 ? owner.store.counters.checkpoints > checkpoints : true }
        _ = try owner.run(depth: depth, issue) { _ in Bench.now > warm && (isSteady() || Bench.now > warm + 10) }
        try report(owner, prefix: prefix) {
            let end = Bench.now + runtime
            return try owner.run(depth: depth, issue) { _ in
                guard Bench.now > end else {
                    checkpoints = owner.store.counters.checkpoints
                    return false
                }
                return isSteady() || Bench.now > end + 10
            }
        }
    }

    /// Operations that go once over everything.
    private var total: Int { objects * StoreBench.objectSize / Self.large }

    private func report<Device, Keys>(
        _ owner: StoreOwner<Device, Keys>, prefix: String, _ body: () throws -> [UInt32]
    ) throws {
        let before = ProcessUse(), counters = owner.store.counters, began = Bench.now
        var latencies = try body()
        let seconds = Bench.now - began
        let used = ProcessUse(), after = owner.store.counters
        let count = Double(latencies.count)
        latencies.sort()
        func percentile(_ share: Double) -> Double {
            Double(latencies[min(latencies.count - 1, Int(count * share))]) / 1000
        }
        let bytes = count * Double(isLarge ? Self.large : StoreBench.blockSize)
        func tell(_ what: String, _ value: Double) { Bench.report("\(prefix)\(name)_\(what)", value) }
        tell("iops", count / seconds)
        tell("mibs", bytes / seconds / 1_048_576)
        tell("p50_us", percentile(0.5))
        tell("p99_us", percentile(0.99))
        tell("p999_us", percentile(0.999))
        tell("cpu_us", (used.user + used.system - before.user - before.system) / count)
        tell("user_us", (used.user - before.user) / count)
        guard isWrite else { return }
        tell("amplification", (used.written - before.written) / bytes)
        tell("journal_share", Double(after.journalBytes - counters.journalBytes) / bytes)
        tell("home_share", Double(after.homeBytes - counters.homeBytes) / bytes)
        tell("checkpoints", Double(after.checkpoints - counters.checkpoints))
        tell("records", Double(after.records - counters.records))
    }

    /// What begins one operation under a token.
    private func issuer<Device, Keys>(_ store: ObjectStore<Device, Keys>) -> (UInt64) -> Void {
        var random = BenchGenerator()
        // Bytes that differ from block to block, so that nothing below can share or compress them.
        let pool = Bytes(count: 8 << 20) { target in
            var random = BenchGenerator()
            for n in 0..<target.count / 8 { target.storeBytes(of: random.next(), toByteOffset: n * 8, as: UInt64.self) }
        }
        let blocksPerObject = StoreBench.objectSize / StoreBench.blockSize
        let ids = (0..<objects).map(StoreBench.object)
        var next = 0
        func data(_ count: Int) -> Bytes {
            let at = random.number(below: (pool.count - count) / StoreBench.blockSize) * StoreBench.blockSize
            return pool[at..<at + count]
        }
        func place() -> (ObjectID, UInt64) {
            let block = random.number(below: ids.count * blocksPerObject)
            return (ids[block / blocksPerObject], UInt64(block % blocksPerObject * StoreBench.blockSize))
        }
        func following() -> (ObjectID, UInt64) {
            let perObject = StoreBench.objectSize / Self.large
            let at = next % (ids.count * perObject)
            next += 1
            return (ids[at / perObject], UInt64(at % perObject * Self.large))
        }
        switch kind {
        case .write:
            return { token in
                let (object, offset) = place()
                store.submit(
                    Transaction([.write(object, offset: offset, data: data(StoreBench.blockSize))]), token: token)
            }
        case .groupWrite:
            let group = PGID(pool: PoolID(1), seed: 3)
            func entryKey(_ number: Int) -> Bytes { Bytes("log.\(1_000_000_000 + number)") }
            return { token in
                let (object, offset) = place()
                next += 1
                var operations: [Transaction.Operation] = [
                    .write(object, offset: offset, data: data(StoreBench.blockSize)),
                    .setAttribute(object, name: "_", value: data(120)),
                    .setGroupKeys(
                        group, entries: [KeyValue(entryKey(next), data(180)), KeyValue(Bytes("info"), data(120))]),
                ]
                // The log is trimmed a hundred entries at a time.
                if next % 100 == 0, next > Self.keptEntries {
                    let last = next - Self.keptEntries
                    operations.append(.removeGroupKeys(group, from: entryKey(last - 100), to: entryKey(last)))
                }
                store.submit(Transaction(operations), token: token)
            }
        case .sequentialWrite, .fill:
            return { token in
                let (object, offset) = following()
                store.submit(Transaction([.write(object, offset: offset, data: data(Self.large))]), token: token)
            }
        case .read:
            return { token in
                let (object, offset) = place()
                store.read(object, offset: offset, length: StoreBench.blockSize, token: token)
            }
        case .sequentialRead:
            return { token in
                let (object, offset) = following()
                store.read(object, offset: offset, length: Self.large, token: token)
            }
        }
    }
}
