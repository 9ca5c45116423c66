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
    var coverage = Coverage()
    /// Reads in flight beside writes.
    private var reads: [UInt64: PendingRead] = [:]
    private var nextRead: UInt64 = 1000

    private struct PendingRead {
        var object: ObjectID
        var offset: Int
        var length: Int
        /// The state that was the newest when it was issued.
        var from: Int
    }

    init(seed: UInt64, journal: UInt64? = nil, capacity: UInt64 = 32 << 20, objects: Int? = nil) throws {
        chooser = SeededGenerator(seed: seed ^ 0xdead_beef)
        workload = Workload(seed: seed, objects: objects)
        device = SimulatedDevice(capacity: capacity)
        options = StoreOptions()
        options.journalSize = [1 << 20, 2 << 20].randomElement(using: &chooser) ?? 1 << 20
        if let journal { options.journalSize = journal }
        options.growth = 1 << 20
        options.salt = seed | 1
        options.dirtyBlocks = [0, 8, 64, 1000].randomElement(using: &chooser) ?? 8
        options.batchesInFlight = Int.random(in: 1...3, using: &chooser)
        // Tests that damage the disk want to see the disk.
        options.cachedData = 0
        options.cachedObjects = [2, 100].randomElement(using: &chooser) ?? 2
        options.replayedKeys = [1 << 10, 16 << 20].randomElement(using: &chooser) ?? 1 << 10
        let identity = StoreIdentity(
            cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 4, low: seed))
        try SimulatedStore.format(device, identity: identity, options: options)
        store = try SimulatedStore.open(device, keys, options: options)
    }

    mutating func drain() throws {
        var all: [Completion] = []
        store.drainCompletions { all.append($0) }
        try take(all)
    }

    private mutating func take(_ completions: [Completion]) throws {
        for (n, completion) in completions.enumerated() {
            switch completion {
            case .committed(let token):
                committed += 1
                guard token == UInt64(committed) else { throw Failure("committed \(token), expected \(committed)") }
            case .failed(let error):
                for case .committed(let token) in completions[n...] {
                    throw Failure("\(token) is committed after the stop")
                }
                throw error
            case .read(let token, let result): try check(token, result)
            }
        }
    }

    /// A read beside writes gives one of the states since it was issued.
    private mutating func check(_ token: UInt64, _ result: Result<Bytes, StoreError>) throws {
        guard let read = reads.removeValue(forKey: token) else { throw Failure("read \(token) was not asked for") }
        let found: [UInt8]?
        switch result {
        case .success(let bytes): found = bytes.array
        case .failure(let error) where error.code == .notFound: found = nil
        case .failure(let error): throw Failure("read of \(read.object): \(error)")
        }
        let matches = states[read.from...].contains { state in
            let data = state.objects[read.object]?.data
            return found == data.map { Array($0.dropFirst(read.offset).prefix(read.length)) }
        }
        guard matches else { throw Failure("read of \(read.object) at \(read.offset)+\(read.length) gives no state") }
        coverage.concurrentReads += 1
    }

    private mutating func beginRead() {
        let object = workload.objects[chooser.number(0..<workload.objects.count)]
        let offset = chooser.number(0..<workload.largestObject), length = chooser.number(1..<100_000)
        nextRead += 1
        reads[nextRead] = PendingRead(object: object, offset: offset, length: length, from: states.count - 1)
        store.read(object, offset: UInt64(offset), length: length, token: nextRead)
        if Bool.random(using: &chooser) { store.endOfTurn() }
    }

    mutating func submit(_ transaction: Transaction) throws {
        submitted += 1
        var next = states[states.count - 1]
        next.apply(transaction)
        states.append(next)
        store.submit(transaction, token: UInt64(submitted))
    }

    /// One event: a transaction, the end of a turn, a finished operation.
    mutating func event() throws {
        switch Int.random(in: 0..<10, using: &chooser) {
        case 0, 1, 2:
            guard submitted - committed < 12 else { fallthrough }
            let transaction = workload.transaction()
            let pieces = transaction.operations.compactMap { operation -> Int? in
                switch operation {
                case .write(_, _, let data): data.count
                // A part of a shared unit becomes one of its own.
                case .zero, .truncate: 0
                case .cloneRange(_, _, _, let length, _): Int(length)
                default: nil
                }
            }
            // On a small disk units are used again as soon as they may be.
            if store.canAccept(pieces.reduce(0, +), writes: pieces.count, as: .essential) {
                try submit(transaction)
            } else {
                try submit(Transaction([.remove(workload.objects[chooser.number(0..<workload.objects.count)])]))
            }
            if Bool.random(using: &chooser) { store.endOfTurn() }
        case 3:
            store.endOfTurn()
        case 4:
            switch chooser.number(0..<60) {
            case 0: store.requestCheckpoint()
            case 1: try compareRunning()
            case 2..<12: beginRead()
            default: break
            }
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
        while true {
            store.endOfTurn()
            guard committed < submitted || store.isCheckpointing || device.pendingOperations > 0 else { return }
            device.step(using: &chooser)
            keys.step()
            store.poll()
            try drain()
            rounds += 1
            guard rounds < 100_000 else { throw Failure("nothing goes on: \(store.counters)") }
        }
    }

    /// The process is killed, and what it wrote can be read but is not on the disk, or the power goes. What the process has of
    /// keys is gone either way.
    private mutating func end() {
        if chooser.number(0..<3) == 0 {
            coverage.kills += 1
            device.kill(using: &chooser)
        } else {
            device.crash(using: &chooser)
        }
        keys.crash(using: &chooser)
    }

    /// Killed or powered off, perhaps again during the next start, then compares with the model.
    mutating func crash() throws {
        coverage.crashes += 1
        coverage.crashesAtStep[store.checkpointStep, default: 0] += 1
        coverage.add(store.counters)
        reads = [:]
        end()
        while Int.random(in: 0..<3, using: &chooser) == 0 {
            // Interrupt the start itself at any of its calls.
            if chooser.number(0..<4) == 0 {
                keys.writesUntilCrash = chooser.number(0..<10)
            } else {
                device.callsUntilCrash = Int.random(in: 0..<[60, 400][chooser.number(0..<2)], using: &chooser)
            }
            do {
                _ = try SimulatedStore.open(device, keys, options: options)
            } catch let error where error.description.contains("simulated crash") {
                coverage.interruptedStarts += 1
            }
            end()
        }
        store = try SimulatedStore.open(device, keys, options: options)
        try compare()
    }

    /// The store equals some state from the committed one on; that becomes the new beginning.
    mutating func compare() throws {
        let found = try contents()
        guard let index = (committed..<states.count).last(where: { states[$0] == found }) else {
            throw Failure(
                "after crash \(coverage.crashes): \(describe(found)) (committed \(committed), submitted \(submitted))")
        }
        if submitted > committed { coverage.crashesWithOpenWork += 1 }
        if index > committed { coverage.crashesKeepingOpenWork += 1 }
        states = [states[index]]
        committed = 0
        submitted = 0
    }

    /// The running store shows everything submitted, committed or not.
    mutating func compareRunning() throws {
        let found = try contents()
        guard found == states[states.count - 1] else { throw Failure("while running: \(describe(found))") }
        coverage.comparisons += 1
    }

    /// The store has what the model has.
    mutating func compareContents(with model: Model) throws {
        let found = try contents()
        guard found == model else { throw Failure("not the expected state: \(describe(found))") }
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
                let first = listed.count
                var after: ObjectID?
                while let next = try store.list(range, after: after, limit: 1).first {
                    listed.append(next)
                    after = next
                }
                let part = Array(listed[first...])
                guard part == part.sorted(), part.allSatisfy(range.contains) else {
                    throw Failure("list of \(range): \(part)")
                }
                guard try store.list(range, limit: 1000) == part else { throw Failure("two lists of \(range) differ") }
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
            var holes = object.data
            for extent in try store.extents(id) {
                let range = Int(extent.lowerBound)..<Int(extent.upperBound)
                holes.replaceSubrange(range, with: repeatElement(0, count: range.count))
            }
            guard holes.allSatisfy({ $0 == 0 }) else { throw Failure("\(id) has data outside its extents") }
            for (name, value) in try store.attributes(id) { object.attributes[name] = value }
            for entry in try store.omap(id, limit: 10_000) { object.omap[entry.key] = entry.value }
            model.objects[id] = object
        }
        for group in try store.groups() {
            var values: [Bytes: Bytes] = [:]
            for entry in try store.groupKeys(group, limit: 10_000) { values[entry.key] = entry.value }
            model.groups[group] = values
        }
        return model
    }

    mutating func read(_ id: ObjectID, offset: UInt64, length: Int) throws -> Bytes {
        store.read(id, offset: offset, length: length, token: 99)
        store.endOfTurn()
        var result: Result<Bytes, StoreError>?
        var rounds = 0
        while true {
            var others: [Completion] = []
            store.drainCompletions { completion in
                if case .read(99, let found) = completion { result = found } else { others.append(completion) }
            }
            try take(others)
            if result != nil { break }
            device.step(using: &chooser)
            keys.step()
            store.poll()
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
