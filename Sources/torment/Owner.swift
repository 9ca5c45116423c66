@preconcurrency import Glibc
import ObjectStore
import Protocol
import Wire

/// The loop around a store that a torment needs.
final class Owner {
    private let store: DiskStore
    private var result: Result<Bytes, StoreError>?

    /// Transactions under way at a time.
    private static let depth: UInt64 = 12

    init(_ store: DiskStore) { self.store = store }

    private func drain(_ committed: (UInt64) -> Void = { _ in }) throws {
        var failure: StoreError?
        store.drainCompletions { completion in
            switch completion {
            case .committed(let token): committed(token)
            case .read(_, let found): result = found
            case .failed(let error): failure = error
            }
        }
        if let failure { throw failure }
    }

    private func wait() {
        var descriptor = pollfd(fd: store.eventDescriptor, events: Int16(POLLIN), revents: 0)
        if Glibc.poll(&descriptor, 1, 1000) == 1 {
            var value: UInt64 = 0
            _ = Glibc.read(store.eventDescriptor, &value, 8)
        }
        store.poll()
    }

    /// Writes transactions from number `first` on for ever.
    func write(
        from first: UInt64, _ transaction: (UInt64) -> Transaction, acknowledged: (UInt64) -> Void
    ) throws {
        var next = first
        var done = first - 1
        while true {
            while next - done <= Self.depth {
                store.submit(transaction(next), token: next)
                next += 1
                if next % 5 == 0 { store.endOfTurn() }
            }
            store.endOfTurn()
            let before = done
            wait()
            try drain { done = $0 }
            if done > before { acknowledged(done) }
        }
    }

    /// The number that the last transaction in the store has left; 0 in an empty one.
    func lastTransaction() throws -> UInt64 {
        guard let value = try store.groupValue(Workload.group, Workload.numberKey) else { return 0 }
        var reader = ByteReader(value)
        return try reader.readU64()
    }

    private func read(_ object: ObjectID) throws -> Bytes {
        result = nil
        store.read(object, offset: 0, length: Int(StorageLimits.objectSize), token: 0)
        store.endOfTurn()
        try drain()
        while result == nil {
            wait()
            try drain()
        }
        return try result?.get() ?? .empty
    }

    /// Throws unless the store holds what the model does.
    func compare(with model: Model) throws {
        for (number, id) in Workload.objects.enumerated() {
            let size = try store.stat(id)
            guard let object = model.objects[number] else {
                guard size == nil else { throw Failure("object \(id) was removed and is there") }
                continue
            }
            guard size == UInt64(object.data.count) else {
                throw Failure("object \(id) has \(size.map { "\($0)" } ?? "no") bytes, not \(object.data.count)")
            }
            let data = try read(id)
            if data != Bytes(object.data) {
                let at = zip(data.array, object.data).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
                throw Failure("object \(id) differs at byte \(at) of \(object.data.count)")
            }
            let attributes = try store.attributes(id).map { KeyValue(Bytes($0.name), $0.value) }
            let wanted = object.attributes.sorted { $0.key < $1.key }.map { KeyValue(Bytes($0.key), $0.value) }
            guard attributes == wanted else { throw Failure("attributes of object \(id) differ") }
            let omap = try store.omap(id, limit: 1000)
            guard omap == object.omap.sorted(by: { $0.key < $1.key }).map({ KeyValue($0.key, $0.value) }) else {
                throw Failure("the omap of object \(id) differs")
            }
        }
        let keys = try store.groupKeys(Workload.group, limit: 1000).filter { $0.key != Workload.numberKey }
        guard keys == model.groupKeys.sorted(by: { $0.key < $1.key }).map({ KeyValue($0.key, $0.value) }) else {
            throw Failure("the keys of group \(Workload.group) differ")
        }
    }
}
