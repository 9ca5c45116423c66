import PlacementGroup
import Protocol
import Wire

/// A store in memory that knows what is durable: transactions become durable in order, and a crash keeps any number of
/// those that were not, from the oldest on.
struct MemoryStore {
    struct Object: Equatable {
        var data: [UInt8] = []
        var attributes: [String: Bytes] = [:]
        var omap: [Bytes: Bytes] = [:]
    }

    struct Content {
        var objects: [ObjectID: Object] = [:]
        var groups: [PGID: [Bytes: Bytes]] = [:]

        mutating func apply(_ transaction: Transaction) {
            for operation in transaction.operations { apply(operation) }
        }

        private mutating func apply(_ operation: Transaction.Operation) {
            switch operation {
            case .touch(let object): objects[object, default: Object()].data += []
            case .write(let object, let offset, let data):
                var content = objects[object, default: Object()]
                let end = Int(offset) + data.count
                if content.data.count < end {
                    content.data += [UInt8](repeating: 0, count: end - content.data.count)
                }
                content.data.replaceSubrange(Int(offset)..<end, with: data.array)
                objects[object] = content
            case .zero(let object, let offset, let length):
                guard var content = objects[object] else { return }
                for index in Int(offset)..<min(content.data.count, Int(offset + length)) { content.data[index] = 0 }
                objects[object] = content
            case .truncate(let object, let size):
                var content = objects[object, default: Object()]
                let missing = max(0, Int(size) - content.data.count)
                content.data = Array(content.data.prefix(Int(size))) + [UInt8](repeating: 0, count: missing)
                objects[object] = content
            case .remove(let object): objects[object] = nil
            case .setAttribute(let object, let name, let value):
                objects[object, default: Object()].attributes[name] = value
            case .removeAttribute(let object, let name): objects[object]?.attributes[name] = nil
            case .setOmap(let object, let entries):
                for entry in entries { objects[object, default: Object()].omap[entry.key] = entry.value }
            case .removeOmap(let object, let keys): for key in keys { objects[object]?.omap[key] = nil }
            case .clearOmap(let object): objects[object]?.omap = [:]
            case .removeOmapRange(let object, let from, let to):
                guard let omap = objects[object]?.omap else { return }
                objects[object]?.omap = omap.filter { key, _ in
                    key < from || to.map { !(key < $0) } ?? false
                }
            case .clone(let object, let target):
                if object != target { objects[target] = objects[object] }
            case .cloneRange(let object, let target, let offset, let length, let at):
                guard let source = objects[object] else { return }
                let piece = source.data.dropFirst(Int(offset)).prefix(Int(length))
                objects[target, default: Object()].data += []
                if !piece.isEmpty { apply(.write(target, offset: at, data: Bytes(Array(piece)))) }
            case .setGroupKeys(let group, let entries):
                for entry in entries { groups[group, default: [:]][entry.key] = entry.value }
            case .removeGroupKeys(let group, let from, let to):
                groups[group] = groups[group]?.filter { $0.key < from || $0.key >= to }
            case .removeGroup(let group): groups[group] = nil
            }
        }
    }

    private(set) var durable = Content()
    private(set) var current = Content()
    private(set) var pending: [(transaction: Transaction, slot: GroupSlot)] = []

    /// Objects whose data fails its checksums.
    private(set) var rotten: Set<ObjectID> = []

    /// What may go wrong with a copy of an object.
    enum Rot: CaseIterable { case data, omap, attribute, info, missing, extra }

    /// Damages an object on the disk, as if by itself.
    mutating func rot(_ object: ObjectID, _ kind: Rot) {
        switch kind {
        case .data: rotten.insert(object)
        case .omap: both { $0.objects[object]?.omap[Bytes("rot")] = Bytes("x") }
        case .attribute: both { $0.objects[object]?.attributes["a"] = Bytes("rot") }
        case .info:
            guard var value = current.objects[object]?.attributes["_"]?.array else { return }
            value[value.count - 1] ^= 1
            both { $0.objects[object]?.attributes["_"] = Bytes(value) }
        case .missing: both { $0.objects[object] = nil }
        case .extra: both { $0.objects[object] = Object(data: [1, 2, 3]) }
        }
    }

    /// Data that was never written and yet has good checksums.
    mutating func replaceData(of object: ObjectID, with data: [UInt8]) { both { $0.objects[object]?.data = data } }

    private mutating func both(_ body: (inout Content) -> Void) {
        body(&current)
        body(&durable)
    }

    mutating func submit(_ transaction: Transaction, for slot: GroupSlot) {
        current.apply(transaction)
        for operation in transaction.operations {
            switch operation {
            case .remove(let object), .truncate(let object, 0): rotten.remove(object)
            default: break
            }
        }
        pending.append((transaction, slot))
    }

    /// The oldest transaction becomes durable; whose it was.
    mutating func completeOldest() -> GroupSlot {
        let (transaction, slot) = pending.removeFirst()
        durable.apply(transaction)
        return slot
    }

    mutating func crash(keeping count: Int) {
        for (transaction, _) in pending.prefix(count) { durable.apply(transaction) }
        pending.removeAll()
        current = durable
    }
}

/// A generator that gives the same numbers for the same seed on every machine (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}
