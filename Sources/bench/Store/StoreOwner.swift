@preconcurrency import Glibc
import KeyValueStore
import ObjectStore
import Protocol
import Wire

/// A store and its owner's loop: submits, waits for the device, and hears of completions, as an OSD's loop does.
final class StoreOwner<Device: BlockDevice, Keys: KeyValueStore> {
    let store: ObjectStore<Device, Keys>
    private let eventDescriptor: Int32
    /// Keeps the directory locked.
    private let directory: AnyObject?
    private var done: [UInt64] = []
    private var failure: StoreError?

    init(_ store: ObjectStore<Device, Keys>, eventDescriptor: Int32, directory: AnyObject?) {
        self.store = store
        self.eventDescriptor = eventDescriptor
        self.directory = directory
    }

    /// Takes what is complete; throws when the store has failed.
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

    /// Waits for the device; false when nothing has happened for `seconds`.
    @discardableResult
    func wait(atMost seconds: Double = 30) throws -> Bool {
        var descriptor = pollfd(fd: eventDescriptor, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&descriptor, 1, Int32(seconds * 1000)) == 1 else { return false }
        var value: UInt64 = 0
        _ = Glibc.read(eventDescriptor, &value, 8)
        store.poll()
        try drain()
        return true
    }

    /// Keeps `depth` operations in flight until `until` says so, which is asked with the number of those complete. The answer
    /// is how long each took, in nanoseconds.
    func run(depth: Int, _ issue: (UInt64) -> Void, until ends: (Int) -> Bool) throws -> [UInt32] {
        var begun = [UInt64](repeating: 0, count: depth)
        var free = Array(0..<depth)
        var latencies: [UInt32] = []
        latencies.reserveCapacity(1 << 20)
        while true {
            let isEnding = ends(latencies.count)
            if isEnding && free.count == depth { return latencies }
            if !isEnding {
                let now = nanoseconds()
                while let slot = free.popLast() {
                    begun[slot] = now
                    issue(UInt64(slot))
                }
            }
            store.endOfTurn()
            try drain()
            while done.isEmpty {
                guard try wait() else { throw StoreError(.failed, "nothing completes: \(store.counters)") }
            }
            let now = nanoseconds()
            for token in done {
                latencies.append(UInt32(clamping: now - begun[Int(token)]))
                free.append(Int(token))
            }
            done.removeAll(keepingCapacity: true)
        }
    }

    /// Runs `count` operations.
    func run(count: Int, depth: Int, _ issue: @escaping (Int) -> (UInt64) -> Void) throws {
        var next = 0
        _ = try run(depth: depth) { slot in
            issue(next)(slot)
            next += 1
        } until: { _ in
            next >= count
        }
    }

    /// Has everything committed written home and waits for that.
    func checkpoint() throws {
        store.requestCheckpoint()
        store.endOfTurn()
        while store.isCheckpointing { try wait() }
    }
}

extension StoreOwner where Device == FileDevice, Keys == RocksDBStore {
    /// Opens the store in a directory.
    convenience init(_ path: String, options: StoreOptions = StoreOptions()) throws {
        let directory = try StoreDirectory(path)
        let store = try directory.openStore(options: options)
        self.init(store, eventDescriptor: store.eventDescriptor, directory: directory)
    }
}

/// A clock that only goes forward.
func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// What the process has used so far.
struct ProcessUse {
    /// Microseconds of all threads, in user mode and in the kernel.
    let user: Double
    let system: Double
    /// Bytes that it has caused to be written to the disk.
    let written: Double

    init() {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        user = Double(usage.ru_utime.tv_sec) * 1e6 + Double(usage.ru_utime.tv_usec)
        system = Double(usage.ru_stime.tv_sec) * 1e6 + Double(usage.ru_stime.tv_usec)
        var bytes = 0.0
        if let file = fopen("/proc/self/io", "r") {
            defer { fclose(file) }
            var line = [CChar](repeating: 0, count: 128)
            while fgets(&line, 128, file) != nil {
                let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" || $0 == ":" })
                if words.first == "write_bytes", words.count > 1 { bytes = Double(words[1]) ?? 0 }
            }
        }
        written = bytes
    }
}
