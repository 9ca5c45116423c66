import KeyValueStore
import ObjectStore
import Protocol
import Wire

/// What months of random overwrites do to a store: it is filled to four fifths, read, overwritten in blocks of 4 KiB at
/// random for several times its size, and read again.
enum Ageing {
    /// Share of the store that is filled.
    private static let share = 0.8
    /// Seconds of each reading.
    private static let reading = 5.0

    /// `runtime` is how many times the store's data is overwritten.
    static func run(_ directory: String, runtime times: Double) throws {
        let owner = try StoreOwner(directory)
        let store = owner.store
        let objects = Int(Double(store.usage.total) * share) / StoreBench.objectSize
        func measure(_ prefix: String) throws {
            for phase in ["read_1m", "read_qd32"] {
                guard let workload = StoreWorkload(phase, objects: objects) else { continue }
                try workload.run(owner, runtime: reading, prefix: prefix + "_")
            }
        }
        try StoreWorkload("fill", objects: objects)?.run(owner, runtime: 0)
        Bench.report("objects", Double(objects))
        try measure("fresh")
        try StoreWorkload("write_qd32", objects: objects)?.run(
            owner, count: Int(times * Double(objects * StoreBench.objectSize / StoreBench.blockSize)))
        try owner.checkpoint()
        try measure("aged")
    }
}
