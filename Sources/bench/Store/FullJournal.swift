import KeyValueStore
import ObjectStore
import Protocol
import Wire

/// Leaves a store whose journal is full to the last record, so that a start has the most to replay.
enum FullJournal {
    enum Content {
        /// Blocks at random places: each has a way home of its own.
        case blocks
        /// Small keys of omaps, which are many for their bytes.
        case keys
    }

    /// A device on which no checkpoint ends: it says nothing about flushes. What has been written is written.
    private final class Flushless: BlockDevice {
        let device: FileDevice
        init(_ device: FileDevice) { self.device = device }

        var size: UInt64 { device.size }
        var growable: UInt64 { device.growable }
        func write(_ parts: [UnsafeRawBufferPointer], at offset: UInt64, durable: Bool, tag: IOTag) {
            device.write(parts, at: offset, durable: durable, tag: tag)
        }
        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, tag: IOTag) {
            device.read(into: buffer, at: offset, tag: tag)
        }
        func flush(tag: IOTag) {}
        func grow(to size: UInt64, tag: IOTag) { device.grow(to: size, tag: tag) }
        func submit() throws(DeviceError) { try device.submit() }
        func poll(_ completions: inout [IOCompletion]) { device.poll(&completions) }
        func readNow(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError) {
            try device.readNow(into: buffer, at: offset)
        }
        func writeNow(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(DeviceError) {
            try device.writeNow(buffer, at: offset)
        }
        func flushNow() throws(DeviceError) { try device.flushNow() }
        func growNow(to size: UInt64) throws(DeviceError) { try device.growNow(to: size) }
        func punchNow(at offset: UInt64, count: Int) throws(DeviceError) {
            try device.punchNow(at: offset, count: count)
        }
        func fillNow(at offset: UInt64, count: Int) throws(DeviceError) { try device.fillNow(at: offset, count: count) }
    }

    static func make(_ path: String, objects: Int, of content: Content) throws {
        let directory = try StoreDirectory(path)
        let device = try FileDevice(path: path + "/block")
        let keys = try RocksDBStore(directory: path + "/meta", create: false)
        let store = try ObjectStore.open(Flushless(device), keys)
        let owner = StoreOwner(store, eventDescriptor: device.eventDescriptor, directory: directory)
        var random = BenchGenerator()
        let data = Bytes(repeating: 0x5a, count: StoreBench.blockSize)
        let blocks = StoreBench.objectSize / StoreBench.blockSize
        let target = store.counters.journalFull
        // Until a record has found no room; operations that wait for it stay in flight.
        var isFull: Bool { store.counters.journalFull > target }
        var token: UInt64 = 0
        while !isFull {
            token += 1
            let object = StoreBench.object(random.number(below: objects))
            switch content {
            case .blocks:
                let offset = UInt64(random.number(below: blocks) * StoreBench.blockSize)
                store.submit(Transaction([.write(object, offset: offset, data: data)]), token: token)
            case .keys:
                let entries = (0..<100).map { _ in
                    KeyValue(Bytes(String(random.next(), radix: 36)), Bytes(repeating: 1, count: 1))
                }
                store.submit(Transaction([.setOmap(object, entries: entries)]), token: token)
            }
            if token % 16 == 0 || content == .keys {
                store.endOfTurn()
                if !isFull { try owner.wait(atMost: 1) }
            }
        }
        // What is written by now is to be complete.
        while try owner.wait(atMost: 0.5) {}
        Bench.report("journal_mib", Double(store.counters.journalBytes) / 1_048_576)
    }
}
