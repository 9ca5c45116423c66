@preconcurrency import Glibc
import ObjectStore
import Protocol
import Wire

/// `bench store PHASE DIR [--runtime S] [--area MIB]`: one measurement of an object store in a directory, alone in this
/// process, through the devices of production and without a network. `tools/bench store` runs the phases, beside `fio` on the
/// same file system. What was measured is printed as lines `NAME VALUE`.
enum StoreBench {
    /// Bytes of an object: as in an image.
    static let objectSize = 4 << 20
    static let blockSize = StoreLimits.blockSize

    static func run(_ arguments: [String]) {
        var directory: String?
        var phase: String?
        var runtime = 5.0
        var area = 1024
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--runtime": runtime = rest.popFirst().flatMap(Double.init) ?? runtime
            case "--area": area = rest.popFirst().flatMap { Int($0) } ?? area
            default:
                if phase == nil { phase = argument } else { directory = argument }
            }
        }
        guard let phase, let directory, area >= 8 else { Bench.fail("store takes a phase and a directory") }
        do {
            try run(phase, directory, runtime: runtime, objects: area * (1 << 20) / objectSize)
        } catch {
            Bench.fail("store \(phase): \(error)")
        }
    }

    private static func run(_ phase: String, _ directory: String, runtime: Double, objects: Int) throws {
        switch phase {
        case "format": try format(directory, capacity: objects * objectSize * 2)
        case "fill-journal": try FullJournal.make(directory, objects: objects, of: .blocks)
        case "fill-journal-keys": try FullJournal.make(directory, objects: objects, of: .keys)
        case "open": try open(directory)
        case "age": try Ageing.run(directory, runtime: runtime)
        default:
            let owner = try StoreOwner(directory)
            guard let workload = StoreWorkload(phase, objects: objects) else {
                Bench.fail("store: there is no phase \(phase)")
            }
            try workload.run(owner, runtime: runtime)
        }
    }

    /// Makes an empty store of `capacity` bytes.
    static func format(_ directory: String, capacity: Int, options: StoreOptions = StoreOptions()) throws {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw StoreError(.failed, "cannot make \(directory)")
        }
        var options = options
        options.capacity = ByteCount(UInt64(capacity))
        let identity = StoreIdentity(
            cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))
        try StoreDirectory(directory).format(identity, options: options)
    }

    /// How long a start takes.
    private static func open(_ directory: String) throws {
        let began = Bench.now
        let owner = try StoreOwner(directory)
        Bench.report("open_s", Bench.now - began)
        Bench.report("replayed_records", Double(owner.store.counters.replayedRecords))
    }

    /// The object of a number, as an image would name it.
    static func object(_ number: Int) -> ObjectID {
        // The finaliser of a mixing function stands for the placement hash: near numbers lie far apart.
        var mixed = UInt64(number) &* 0x9e37_79b9_7f4a_7c15
        mixed ^= mixed >> 31
        let name = "rbd_data.1." + String(repeating: "0", count: 16 - String(number, radix: 16).count)
        return ObjectID(
            pool: PoolID(1), hash: UInt32(truncatingIfNeeded: mixed), name: ObjectName(name + String(number, radix: 16))
        )
    }
}

/// Numbers for workloads: the same in each run.
struct BenchGenerator: RandomNumberGenerator {
    private var state: UInt64 = 0x2545_f491_4f6c_dd1d

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func number(below limit: Int) -> Int { Int(next() >> 11) % limit }
}
