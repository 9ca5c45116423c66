import Protocol
import Wire

/// Random numbers from a seed.
struct Mixer: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x2545_f491_4f6c_dd1d }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func number(below limit: Int) -> Int { Int(next() >> 33) % limit }
}

/// Transactions by number: few objects, so that they meet, and every kind of operation. Each leaves its number in the group.
struct Workload {
    static let group = PGID(pool: PoolID(1), seed: 0)
    static let numberKey = Bytes("number")
    static let objects = (0..<6).map { n in
        ObjectID(pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("object\(n)"))
    }
    private static let largest = 320 << 10

    private let seed: UInt64
    private var random = Mixer(seed: 0)

    init(seed: UInt64) { self.seed = seed }

    private mutating func bytes(_ count: Int) -> Bytes {
        var word = random.next()
        return Bytes(count: count) { target in
            for n in 0..<count {
                if n % 8 == 0 { word = word &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 }
                target[n] = UInt8(truncatingIfNeeded: word >> UInt64(n % 8 * 8))
            }
        }
    }

    /// What transaction `number` does.
    mutating func transaction(_ number: UInt64) -> Transaction {
        random = Mixer(seed: seed &* 0x1_0000_0001 ^ number)
        var operations = (0..<1 + random.number(below: 3)).map { _ in operation() }
        let value = Bytes.encoding(capacity: 8) { $0.writeU64(number) }
        operations.append(.setGroupKeys(Self.group, entries: [KeyValue(Self.numberKey, value)]))
        return Transaction(operations)
    }

    private mutating func operation() -> Transaction.Operation {
        let object = Self.objects[random.number(below: Self.objects.count)]
        let key = Bytes("key\(random.number(below: 20))")
        let offset = random.number(below: Self.largest)
        switch random.number(below: 20) {
        case 0...7: return .write(object, offset: UInt64(offset / 4096 * 4096), data: bytes(4096))
        case 8, 9: return .write(object, offset: UInt64(offset), data: bytes(1 + random.number(below: 20_000)))
        case 10, 11:
            return .write(
                object, offset: UInt64(offset / 65536 * 65536), data: bytes(65536 * (1 + random.number(below: 2))))
        case 12: return .zero(object, offset: UInt64(offset), length: UInt64(1 + random.number(below: 100_000)))
        case 13: return .truncate(object, size: UInt64(offset))
        case 14:
            return .setAttribute(object, name: "a\(random.number(below: 4))", value: bytes(random.number(below: 200)))
        case 15, 16: return .setOmap(object, entries: [KeyValue(key, bytes(random.number(below: 100)))])
        case 17: return .removeOmap(object, keys: [key])
        case 18: return .setGroupKeys(Self.group, entries: [KeyValue(key, bytes(150))])
        default:
            return random.number(below: 6) == 0 ? .remove(object) : .clearOmap(object)
        }
    }
}

/// What the first transactions make.
struct Model {
    struct Object {
        var data: [UInt8] = []
        var attributes: [String: Bytes] = [:]
        var omap: [Bytes: Bytes] = [:]
    }

    /// How many of the transactions.
    private(set) var applied: UInt64 = 0
    /// By their place in `Workload.objects`.
    private(set) var objects: [Int: Object] = [:]
    private(set) var groupKeys: [Bytes: Bytes] = [:]

    mutating func apply(_ transaction: Transaction) {
        for operation in transaction.operations { apply(operation) }
        applied += 1
    }

    private func index(_ id: ObjectID) -> Int {
        guard let index = Workload.objects.firstIndex(of: id) else { preconditionFailure("unknown object \(id)") }
        return index
    }

    private mutating func apply(_ operation: Transaction.Operation) {
        switch operation {
        case .write(let id, let offset, let data):
            let end = Int(offset) + data.count
            let at = index(id)
            var object = objects.removeValue(forKey: at) ?? Object()
            if object.data.count < end {
                object.data.append(contentsOf: repeatElement(0, count: end - object.data.count))
            }
            object.data.replaceSubrange(Int(offset)..<end, with: data.array)
            objects[at] = object
        case .zero(let id, let offset, let length):
            guard var object = objects.removeValue(forKey: index(id)) else { return }
            let start = min(object.data.count, Int(offset)), end = min(object.data.count, Int(offset + length))
            object.data.replaceSubrange(start..<end, with: repeatElement(0, count: end - start))
            objects[index(id)] = object
        case .truncate(let id, let size):
            var object = objects.removeValue(forKey: index(id)) ?? Object()
            if object.data.count > Int(size) {
                object.data.removeLast(object.data.count - Int(size))
            } else {
                object.data.append(contentsOf: repeatElement(0, count: Int(size) - object.data.count))
            }
            objects[index(id)] = object
        case .remove(let id): objects[index(id)] = nil
        case .setAttribute(let id, let name, let value): objects[index(id), default: Object()].attributes[name] = value
        case .setOmap(let id, let entries):
            for entry in entries { objects[index(id), default: Object()].omap[entry.key] = entry.value }
        case .removeOmap(let id, let keys): for key in keys { objects[index(id)]?.omap[key] = nil }
        case .clearOmap(let id): objects[index(id)]?.omap = [:]
        case .setGroupKeys(_, let entries):
            for entry in entries where entry.key != Workload.numberKey { groupKeys[entry.key] = entry.value }
        default: preconditionFailure("an operation that the workload does not make: \(operation)")
        }
    }
}
