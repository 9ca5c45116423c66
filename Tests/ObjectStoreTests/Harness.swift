import Foundation
import KeyValueStore
import ObjectStore
import Protocol
import Simulation
import Wire

typealias SimulatedStore = ObjectStore<SimulatedDevice, SimulatedKeys>

/// The seed of this run: from NACRE_SEED, else fixed, so that a failure can be had again.
let baseSeed: UInt64 = ProcessInfo.processInfo.environment["NACRE_SEED"].flatMap { UInt64($0) } ?? 20_260_801

struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A store on simulated parts, with the model of what was submitted and what was told committed.
struct Harness {
    let device: SimulatedDevice
    let keys = SimulatedKeys()
    var store: SimulatedStore
    var options: StoreOptions
    var workload: Workload
    var chooser: SeededGenerator
    /// States after each submitted transaction, oldest first; the first is what was committed before them.
    var states: [Model] = [Model()]
    /// Transactions told committed since the store was opened; the index into `states`.
    var committed = 0
    var submitted = 0
    var total = StoreCounters()
    var crashes = 0

    init(seed: UInt64) throws {
        chooser = SeededGenerator(seed: seed ^ 0xdead_beef)
        workload = Workload(seed: seed)
        device = SimulatedDevice(capacity: 32 << 20)
        options = StoreOptions()
        options.journalSize = [1 << 20, 2 << 20].randomElement(using: &chooser) ?? 1 << 20
        options.growth = 1 << 20
        options.dirtyBlocks = [0, 8, 64, 1000].randomElement(using: &chooser) ?? 8
        options.batchesInFlight = Int.random(in: 1...3, using: &chooser)
        options.cachedObjects = [2, 100].randomElement(using: &chooser) ?? 2
        let identity = StoreIdentity(
            cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 4, low: seed))
        try SimulatedStore.format(device, identity: identity, options: options)
        store = try SimulatedStore.open(device, keys, options: options)
    }

    mutating func drain() throws {
        var failure: StoreError?
        var order: [UInt64] = []
        store.drainCompletions { completion in
            switch completion {
            case .committed(let token): order.append(token)
            case .failed(let error): failure = error
            case .read: break
            }
        }
        if let failure { throw Failure("store stopped: \(failure)") }
        for token in order {
            committed += 1
            guard token == UInt64(committed) else { throw Failure("committed \(token), expected \(committed)") }
        }
    }

    /// One event: a transaction, the end of a turn, a finished operation.
    mutating func event() throws {
        switch Int.random(in: 0..<10, using: &chooser) {
        case 0, 1, 2:
            guard submitted - committed < 12 else { fallthrough }
            let transaction = workload.transaction()
            submitted += 1
            var next = states[states.count - 1]
            next.apply(transaction)
            states.append(next)
            store.submit(transaction, token: UInt64(submitted))
            if Bool.random(using: &chooser) { store.endOfTurn() }
        case 3:
            store.endOfTurn()
        case 4:
            if Int.random(in: 0..<40, using: &chooser) == 0 { store.requestCheckpoint() }
            keys.step()
            store.poll()
        default:
            device.step(using: &chooser)
            if Bool.random(using: &chooser) { store.poll() }
        }
        try drain()
    }

    /// Runs until everything submitted is committed.
    mutating func settle() throws {
        var rounds = 0
        while committed < submitted || store.isCheckpointing || device.pendingOperations > 0 {
            store.endOfTurn()
            device.step(using: &chooser)
            keys.step()
            store.poll()
            try drain()
            rounds += 1
            guard rounds < 100_000 else { throw Failure("nothing goes on: \(store.counters)") }
        }
    }

    /// Power off, perhaps again during the next start, then compares with the model.
    mutating func crash() throws {
        crashes += 1
        add(store.counters)
        device.crash(using: &chooser)
        keys.crash(using: &chooser)
        while Int.random(in: 0..<3, using: &chooser) == 0 {
            // Interrupt the start itself at any of its calls.
            device.callsUntilCrash = Int.random(in: 0..<60, using: &chooser)
            do {
                _ = try SimulatedStore.open(device, keys, options: options)
            } catch let error where error.description.contains("simulated crash") {}
            device.crash(using: &chooser)
            keys.crash(using: &chooser)
        }
        store = try SimulatedStore.open(device, keys, options: options)
        try compare()
    }

    private mutating func add(_ counters: StoreCounters) {
        total.wraps += counters.wraps
        total.checkpoints += counters.checkpoints
        total.replayedRecords += counters.replayedRecords
        total.journalFull += counters.journalFull
        total.homeWrites += counters.homeWrites
        total.besideBytes += counters.besideBytes
        total.mergeReads += counters.mergeReads
    }

    /// The store equals some state from the committed one on; that becomes the new beginning.
    mutating func compare() throws {
        let found = try contents()
        guard let index = (committed..<states.count).last(where: { states[$0] == found }) else {
            throw Failure("after crash \(crashes): \(describe(found)) (committed \(committed), submitted \(submitted))")
        }
        states = [states[index]]
        committed = 0
        submitted = 0
    }

    private func describe(_ found: Model) -> String {
        let want = states[committed]
        if let earlier = states.firstIndex(of: found) { return "the store is at state \(earlier)" }
        for id in workload.objects where found.objects[id] != want.objects[id] {
            guard let a = found.objects[id], let b = want.objects[id] else {
                return "object \(id) is \(found.objects[id] == nil ? "missing" : "there"), it was not"
            }
            if a.data != b.data {
                let at = zip(a.data, b.data).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? -1
                return "object \(id): size \(a.data.count) and \(b.data.count), differs at \(at)"
            }
            return "object \(id) differs in attributes or omap"
        }
        return found.groups == want.groups ? "no state equals the store" : "groups differ"
    }

    /// Everything in the store, by its own reads.
    mutating func contents() throws -> Model {
        var model = Model()
        var listed: [ObjectID] = []
        for pool in [PoolID(-3), PoolID(1)] {
            for seed in 0..<UInt32(2) {
                let range = ObjectRange(pool: pool, seed: seed, bits: 1)
                var after: ObjectID?
                while let next = try store.list(range, after: after, limit: 1).first {
                    listed.append(next)
                    after = next
                }
            }
        }
        guard listed == listed.sorted() || Set(listed).count == listed.count else {
            throw Failure("list repeats: \(listed)")
        }
        for id in listed {
            guard let size = try store.stat(id) else { throw Failure("\(id) is listed and does not exist") }
            var object = Model.Object()
            object.data = try read(id, offset: 0, length: Int(size) + 10).array
            guard object.data.count == Int(size) else { throw Failure("\(id): \(object.data.count) of \(size) bytes") }
            for (name, value) in try store.attributes(id) { object.attributes[name] = value }
            for entry in try store.omap(id, limit: 1000) { object.omap[entry.key] = entry.value }
            model.objects[id] = object
        }
        for group in try store.groups() {
            var values: [Bytes: Bytes] = [:]
            for entry in try store.groupKeys(group, limit: 1000) { values[entry.key] = entry.value }
            model.groups[group] = values
        }
        return model
    }

    mutating func read(_ id: ObjectID, offset: UInt64, length: Int) throws -> Bytes {
        store.read(id, offset: offset, length: length, token: 99)
        store.endOfTurn()
        var result: Result<Bytes, StoreError>?
        var rounds = 0
        while result == nil {
            var order: [UInt64] = []
            store.drainCompletions { completion in
                switch completion {
                case .read(_, let found): result = found
                case .committed(let token): order.append(token)
                case .failed: break
                }
            }
            committed += order.count
            if result == nil {
                device.step(using: &chooser)
                keys.step()
                store.poll()
            }
            rounds += 1
            guard rounds < 10000 else { throw Failure("a read does not end") }
        }
        switch result {
        case .success(let bytes): return bytes
        case .failure(let error): throw error
        case nil: throw Failure("no result")
        }
    }
}
