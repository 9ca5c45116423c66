import ObjectStore
import Protocol
import Simulation
import Wire

/// What a store must contain: the plain meaning of the operations.
struct Model: Equatable {
    struct Object: Equatable {
        var data: [UInt8] = []
        var attributes: [String: Bytes] = [:]
        var omap: [Bytes: Bytes] = [:]
    }

    var objects: [ObjectID: Object] = [:]
    var groups: [PGID: [Bytes: Bytes]] = [:]

    mutating func apply(_ transaction: Transaction) {
        for operation in transaction.operations { apply(operation) }
    }

    private mutating func apply(_ operation: Transaction.Operation) {
        switch operation {
        case .touch(let id):
            objects[id, default: Object()].attributes["", default: .empty] = .empty
            objects[id]?.attributes[""] = nil
        case .write(let id, let offset, let data):
            let end = Int(offset) + data.count
            var object = objects[id] ?? Object()
            if object.data.count < end { object.data += repeatElement(0, count: end - object.data.count) }
            object.data.replaceSubrange(Int(offset)..<end, with: data.array)
            objects[id] = object
        case .zero(let id, let offset, let length):
            guard let size = objects[id]?.data.count, Int(offset) < size else { return }
            let range = Int(offset)..<min(size, Int(offset + length))
            objects[id]?.data.replaceSubrange(range, with: repeatElement(0, count: range.count))
        case .truncate(let id, let size):
            var object = objects[id] ?? Object()
            let size = Int(size)
            object.data = Array(object.data.prefix(size)) + repeatElement(0, count: max(0, size - object.data.count))
            objects[id] = object
        case .remove(let id):
            objects[id] = nil
        case .setAttribute(let id, let name, let value):
            objects[id, default: Object()].attributes[name] = value
        case .removeAttribute(let id, let name):
            objects[id]?.attributes[name] = nil
        case .setOmap(let id, let entries):
            for entry in entries { objects[id, default: Object()].omap[entry.key] = entry.value }
        case .removeOmap(let id, let keys):
            for key in keys { objects[id]?.omap[key] = nil }
        case .clearOmap(let id):
            objects[id]?.omap = [:]
        case .removeOmapRange(let id, let from, let to):
            for key in objects[id]?.omap.keys.filter({ key in !(key < from) && to.map { key < $0 } ?? true }) ?? [] {
                objects[id]?.omap[key] = nil
            }
        case .clone(let id, let target):
            if id != target { objects[target] = objects[id] }
        case .cloneRange(let id, let target, let offset, let length, let at):
            guard let source = objects[id] else { return }
            apply(.touch(target))
            let piece = Array(source.data.dropFirst(Int(offset)).prefix(Int(length)))
            if !piece.isEmpty { apply(.write(target, offset: at, data: Bytes(piece))) }
        case .setGroupKeys(let group, let entries):
            for entry in entries { groups[group, default: [:]][entry.key] = entry.value }
        case .removeGroupKeys(let group, let from, let to):
            groups[group] = groups[group]?.filter { $0.key < from || $0.key >= to }
            if groups[group]?.isEmpty == true { groups[group] = nil }
        case .removeGroup(let group):
            groups[group] = nil
        }
    }
}

extension SeededGenerator {
    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
}

/// Random transactions over few objects and groups, so that they meet.
struct Workload {
    var generator: SeededGenerator
    let objects: [ObjectID]
    let groups: [PGID]
    var largestObject = 400 << 10
    /// Only writes of whole units, which go to fresh space: on a small disk each takes what another has just left.
    var wholeUnits = false

    init(seed: UInt64, objects: Int? = nil) {
        generator = SeededGenerator(seed: seed)
        // Sometimes few that meet often, sometimes more than the cache holds. Some share hash or name, some names hold zeros.
        let count = [4, 9, 30][generator.number(0..<3)]
        self.objects = (0..<(objects ?? count)).map(Self.object)
        groups = [PGID(pool: PoolID(1), seed: 0), PGID(pool: PoolID(1), seed: 255), PGID(pool: PoolID(2), seed: 1)]
    }

    private static func object(_ n: Int) -> ObjectID {
        let name = n % 4 == 1 ? "o\0\(n)" : "object\(n / 3)"
        let snap = n % 3 == 0 ? SnapID.head : SnapID(UInt64(n))
        let hash = UInt32(n / 2) &* 0x9e37_79b9
        return ObjectID(pool: PoolID(n % 6 < 5 ? 1 : -3), hash: hash, name: ObjectName(name), snap: snap)
    }

    mutating func number(_ range: Range<Int>) -> Int { generator.number(range) }

    mutating func bytes(_ count: Int) -> Bytes {
        var word = generator.next()
        return Bytes(count: count) { target in
            for n in 0..<count {
                if n % 8 == 0 { word = word &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 }
                target[n] = UInt8(truncatingIfNeeded: word >> UInt64(n % 8 * 8))
            }
        }
    }

    private mutating func range() -> (offset: UInt64, length: Int) {
        switch number(0..<8) {
        case 0...3:
            return (UInt64(number(0..<largestObject / 4096) * 4096), 4096 * number(1..<3))
        case 4, 5:
            return (UInt64(number(0..<largestObject)), number(1..<9000))
        case 6:
            return (UInt64(number(0..<4) * 65536), 65536 * number(1..<3))
        default:
            return (UInt64(number(0..<largestObject / 512) * 512), number(1..<100_000))
        }
    }

    private mutating func key() -> Bytes { Bytes("key\(number(0..<12))") }

    private mutating func manyKeys() -> [KeyValue] {
        let first = number(0..<12)
        return (0..<number(60..<90)).map { KeyValue(Bytes("key\(first).\($0)"), bytes(3)) }
    }

    /// Mostly in phase, so that units can be shared; often up to the end of the object.
    private mutating func cloneRange(_ object: ObjectID) -> Transaction.Operation {
        let target = objects[number(0..<objects.count)]
        let (offset, length) = range()
        let count = UInt64([length, 65536 * number(1..<5), largestObject][number(0..<3)])
        switch number(0..<4) {
        case 0, 1:
            let from = UInt64(number(0..<4) * 65536)
            return .cloneRange(object, to: target, offset: from, length: count, at: UInt64(number(0..<4) * 65536))
        case 2:
            return .cloneRange(object, to: target, offset: offset, length: count, at: offset)
        default:
            return .cloneRange(
                object, to: target, offset: offset, length: count, at: UInt64(number(0..<largestObject)))
        }
    }

    private mutating func operation() -> Transaction.Operation {
        let object = objects[number(0..<objects.count)]
        let group = groups[number(0..<groups.count)]
        if wholeUnits {
            return .write(object, offset: UInt64(number(0..<4) * 65536), data: bytes(65536 * number(1..<3)))
        }
        switch number(0..<32) {
        case 24...26: return .clone(object, to: objects[number(0..<objects.count)])
        case 27, 28: return cloneRange(object)
        case 29:
            let (a, b) = (key(), key())
            return .removeOmapRange(object, from: min(a, b), to: number(0..<3) == 0 ? nil : max(a, b))
        case 30:
            // More than are removed one by one.
            return .setOmap(object, entries: manyKeys())
        case 31: return .setGroupKeys(group, entries: manyKeys())
        case 0: return .touch(object)
        case 1...9:
            let (offset, length) = range()
            return .write(object, offset: offset, data: bytes(length))
        case 10, 11:
            let (offset, length) = range()
            return .zero(object, offset: offset, length: UInt64(length))
        case 12: return .truncate(object, size: UInt64(number(0..<largestObject)))
        case 13: return .remove(object)
        case 14, 15: return .setAttribute(object, name: "a\(number(0..<4))", value: bytes(number(0..<300)))
        case 16: return .removeAttribute(object, name: "a\(number(0..<4))")
        case 17: return .setOmap(object, entries: [KeyValue(key(), bytes(20)), KeyValue(key(), bytes(200))])
        case 18: return .removeOmap(object, keys: [key(), key()])
        case 19: return .clearOmap(object)
        case 20, 21: return .setGroupKeys(group, entries: [KeyValue(key(), bytes(150)), KeyValue(key(), bytes(9))])
        case 22:
            let (a, b) = (key(), key())
            return .removeGroupKeys(group, from: min(a, b), to: max(a, b))
        default:
            return number(0..<4) == 0 ? .removeGroup(group) : .setGroupKeys(group, entries: [KeyValue(key(), bytes(5))])
        }
    }

    mutating func transaction() -> Transaction {
        Transaction((0..<number(1..<5)).map { _ in operation() })
    }
}
