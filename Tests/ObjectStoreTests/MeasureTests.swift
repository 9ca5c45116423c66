import Foundation
import Glibc
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Figures of the store on a real directory: `NACRE_MEASURE=1`, in `NACRE_MEASURE_DIR` (default the temporary directory).
///
/// No pass or fail but that everything completes: a shared machine's figures are for people.
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["NACRE_MEASURE"] != nil))
struct MeasureTests {
    private static let blocksPerObject = 1024
    private static let objects = 64

    private let objects = (0..<MeasureTests.objects).map { n in
        ObjectID(
            pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("rbd_data.1.\(n)"), snap: .head)
    }

    /// A store in a directory of its own and the loop of its owner.
    private final class Bench {
        let path: String
        let directory: StoreDirectory
        let store: DiskStore
        var generator = SeededGenerator(seed: 1)
        private var done: [UInt64] = []
        private var failure: StoreError?

        init() throws {
            let parent = ProcessInfo.processInfo.environment["NACRE_MEASURE_DIR"] ?? NSTemporaryDirectory()
            path = parent + "/nacre-measure-" + UUID().uuidString
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            directory = try StoreDirectory(path)
            let identity = StoreIdentity(
                cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))
            try directory.format(identity)
            store = try directory.openStore()
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        private func drain() throws {
            store.drainCompletions { completion in
                switch completion {
                case .committed(let token): done.append(token)
                case .read(let token, .success): done.append(token)
                case .read(_, .failure(let error)), .failed(let error): failure = error
                }
            }
            if let failure { throw failure }
        }

        /// Runs `count` operations with `depth` in flight and prints what they took.
        func run(_ name: String, count: Int, depth: Int, bytes: Int, _ issue: (UInt64) -> Void) throws {
            var begun = [UInt64](repeating: 0, count: count)
            var latencies: [UInt64] = []
            var next = 0
            let cpu = Self.cpu(), start = Self.now()
            while latencies.count < count {
                while next < count, next - latencies.count < depth {
                    begun[next] = Self.now()
                    issue(UInt64(next))
                    next += 1
                }
                store.endOfTurn()
                try drain()
                while done.isEmpty {
                    var descriptor = pollfd(fd: store.eventDescriptor, events: Int16(POLLIN), revents: 0)
                    guard Glibc.poll(&descriptor, 1, 20000) == 1 else { throw Failure("\(name): nothing completes") }
                    var value: UInt64 = 0
                    _ = Glibc.read(store.eventDescriptor, &value, 8)
                    store.poll()
                    try drain()
                }
                let now = Self.now()
                for token in done { latencies.append(now - begun[Int(token)]) }
                done.removeAll(keepingCapacity: true)
            }
            let seconds = Double(Self.now() - start) / 1e9
            let used = Self.cpu() - cpu
            latencies.sort()
            let (p50, p99) = (latencies[count / 2] / 1000, latencies[count * 99 / 100] / 1000)
            print(
                String(
                    format: "%@: %.0f/s, %.0f MiB/s, p50 %d us, p99 %d us, cpu %.1f us/op", name,
                    Double(count) / seconds,
                    Double(count * bytes) / seconds / 1_048_576, Int(p50), Int(p99), used / Double(count)))
        }

        static func now() -> UInt64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }

        /// Microseconds of CPU of all threads, so that the metadata store's own are in it.
        private static func cpu() -> Double {
            var usage = rusage()
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
            return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6
                + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
        }
    }

    @Test func figures() throws {
        let bench = try Bench()
        let store = bench.store
        let block = Bytes(repeating: 7, count: 4096), large = Bytes(repeating: 9, count: 1 << 20)
        let info = Bytes(repeating: 1, count: 120), entry = Bytes(repeating: 2, count: 180)
        let group = PGID(pool: PoolID(1), seed: 3)
        let count =
            ProcessInfo.processInfo.environment["NACRE_MEASURE"].flatMap { Int($0) }.map { max($0, 1000) } ?? 1000
        func place() -> (ObjectID, UInt64) {
            let n = bench.generator.number(0..<Self.objects * Self.blocksPerObject)
            return (objects[n / Self.blocksPerObject], UInt64(n % Self.blocksPerObject * 4096))
        }
        func write(_ token: UInt64) {
            let (object, offset) = place()
            guard store.canAccept(4 << 20) else { return }
            store.submit(Transaction([.write(object, offset: offset, data: block)]), token: token)
        }
        /// What the primary and the replicas submit: data, object info, log entry, group info.
        func replicated(_ token: UInt64) {
            let (object, offset) = place()
            guard store.canAccept(4 << 20) else { return }
            store.submit(
                Transaction([
                    .write(object, offset: offset, data: block), .setAttribute(object, name: "_", value: info),
                    .setGroupKeys(
                        group,
                        entries: [KeyValue(Bytes("log.\(100_000_000 + token)"), entry), KeyValue(Bytes("info"), info)]),
                ]), token: token)
        }
        func read(_ token: UInt64) {
            let (object, offset) = place()
            store.read(object, offset: offset, length: 4096, token: token)
        }
        try bench.run("4 KiB first touch QD1 ", count: count, depth: 1, bytes: 4096, write)
        try bench.run("4 KiB first touch QD32", count: count * 5, depth: 32, bytes: 4096, write)
        for pass in 1...2 {
            try bench.run("1 MiB sequential QD4, pass \(pass)", count: Self.objects * 4, depth: 4, bytes: 1 << 20) {
                token in
                let (object, offset) = (self.objects[Int(token) / 4], (token % 4) << 20)
                store.submit(Transaction([.write(object, offset: offset, data: large)]), token: token)
            }
        }
        try bench.run("4 KiB overwrite QD1 ", count: count * 2, depth: 1, bytes: 4096, write)
        try bench.run("4 KiB overwrite QD32", count: count * 50, depth: 32, bytes: 4096, write)
        try bench.run("4 KiB replicated QD1 ", count: count * 2, depth: 1, bytes: 4096, replicated)
        try bench.run("4 KiB replicated QD32", count: count * 50, depth: 32, bytes: 4096, replicated)
        try bench.run("4 KiB read QD1 ", count: count * 4, depth: 1, bytes: 4096, read)
        try bench.run("4 KiB read QD32", count: count * 40, depth: 32, bytes: 4096, read)
        print(store.counters)
    }

    /// Kilobytes by a name in the process's status.
    private func status(_ name: String) throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }

    /// 400 GiB of thin images: 100,000 objects of 4 MiB with all their metadata, which share their data so that a test has the
    /// disk for them. DESIGN gives an OSD 512 MiB under load.
    @Test func memoryOfThinImages() throws {
        let bench = try Bench()
        let store = bench.store
        let count = 100_000
        func object(_ n: Int) -> ObjectID {
            ObjectID(
                pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("rbd_data.1.\(n)"), snap: .head)
        }
        let large = Bytes(repeating: 9, count: 1 << 20), info = Bytes(repeating: 1, count: 120)
        try bench.run("base", count: 4, depth: 4, bytes: 1 << 20) { token in
            store.submit(Transaction([.write(object(0), offset: token << 20, data: large)]), token: token)
        }
        try bench.run("clone of 4 MiB", count: count - 1, depth: 64, bytes: 0) { token in
            store.submit(
                Transaction([
                    .clone(object(0), to: object(Int(token) + 1)),
                    .setAttribute(object(Int(token) + 1), name: "_", value: info),
                ]), token: token)
        }
        print("resident \(try status("VmRSS") / 1024) MiB, at most \(try status("VmHWM") / 1024) MiB")
        try bench.run("4 KiB random read", count: count, depth: 32, bytes: 4096) { token in
            store.read(
                object(bench.generator.number(0..<count)), offset: UInt64(bench.generator.number(0..<1024)) * 4096,
                length: 4096, token: token)
        }
        try bench.run("4 KiB random write", count: 10_000, depth: 32, bytes: 4096) { token in
            store.submit(
                Transaction([
                    .write(
                        object(bench.generator.number(0..<count)),
                        offset: UInt64(bench.generator.number(0..<1024)) * 4096, data: large[0..<4096])
                ]), token: token)
        }
        let highest = try status("VmHWM") / 1024
        print("resident \(try status("VmRSS") / 1024) MiB, at most \(highest) MiB; \(store.counters)")
        #expect(highest <= 512)
    }

    /// How long the loop stands still for the first write to a shared unit, whose other blocks are read there: each write of
    /// 4 KiB meets a unit that no memory holds.
    @Test func timeOfCopyOnWrite() throws {
        let bench = try Bench()
        let store = bench.store
        let large = Bytes(repeating: 9, count: 1 << 20)
        try bench.run("base", count: Self.objects * 4, depth: 4, bytes: 1 << 20) { token in
            store.submit(
                Transaction([.write(objects[Int(token) / 4], offset: (token % 4) << 20, data: large)]), token: token)
        }
        for depth in [1, 32] {
            let copies = objects.map { ObjectID(pool: $0.pool, hash: $0.hash, name: ObjectName("\(depth).\($0.name)")) }
            try bench.run("clone", count: Self.objects, depth: 16, bytes: 0) { token in
                store.submit(Transaction([.clone(objects[Int(token)], to: copies[Int(token)])]), token: token)
            }
            var stood: [UInt64] = []
            try bench.run("4 KiB into shared units QD\(depth)", count: Self.objects * 64, depth: depth, bytes: 4096) {
                token in
                // Units in no order that reads ahead could follow.
                let unit = Int(token) &* 2017 % (Self.objects * 64)
                let began = Bench.now()
                store.submit(
                    Transaction([.write(copies[unit / 64], offset: UInt64(unit % 64) << 16, data: large[0..<4096])]),
                    token: token)
                stood.append(Bench.now() - began)
            }
            stood.sort()
            let (p50, p99) = (stood[stood.count / 2] / 1000, stood[stood.count * 99 / 100] / 1000)
            print("the loop stood still: p50 \(p50) us, p99 \(p99) us, at most \(stood[stood.count - 1] / 1000) us")
        }
        print(store.counters)
    }
}
