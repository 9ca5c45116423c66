import Protocol
import Wire

/// An object as the steps of a request so far leave it: what the store has, and the operations that those steps will have it
/// do. Later steps of the request see it so, before anything is stored.
///
/// Requests have few steps, so what is seen is found by going through the operations; a request that reads nothing pays
/// nothing.
struct ObjectDraft {
    /// Whom the operations change.
    let object: ObjectID
    /// Whether the object exists after the operations.
    var exists: Bool
    /// Whether the store has it, so that what no operation has set is the store's.
    let isStored: Bool
    /// What the steps have the store do, all of it to `object`.
    private(set) var operations: [Transaction.Operation] = []
    /// What the steps give the client.
    var outputs: [Bytes] = []

    /// What the group knows of the object as the store has it.
    let flags: ObjectFlags

    init(_ object: ObjectID, exists: Bool, flags: ObjectFlags = []) {
        self.object = object
        self.exists = exists
        self.flags = flags
        isStored = exists
    }

    /// False when the object is as it was: also when it did not exist, and was made and removed again.
    var isChanged: Bool { !operations.isEmpty && (isStored || exists) }

    /// Has the store do one more operation.
    mutating func append(_ operation: Transaction.Operation) {
        operations.append(operation)
        if case .remove = operation { exists = false } else { exists = true }
    }
}

extension PlacementGroup {
    func size(in draft: ObjectDraft) -> UInt64 {
        var size = draft.isStored ? environment.size(of: draft.object) ?? 0 : 0
        for operation in draft.operations {
            switch operation {
            case .write(_, let offset, let data): size = max(size, offset + UInt64(data.count))
            case .truncate(_, let cut): size = cut
            case .remove: size = 0
            default: break
            }
        }
        return size
    }

    func attribute(_ name: String, in draft: ObjectDraft) -> Bytes? {
        for operation in draft.operations.reversed() {
            switch operation {
            case .setAttribute(_, name, let value): return value
            case .removeAttribute(_, name), .remove: return nil
            default: break
            }
        }
        return draft.isStored ? environment.attribute(name, of: draft.object) : nil
    }

    /// All attributes, also those that are not a client's.
    func attributes(in draft: ObjectDraft) -> [String: Bytes] {
        var result: [String: Bytes] = [:]
        if draft.isStored {
            for attribute in environment.attributes(of: draft.object) { result[attribute.name] = attribute.value }
        }
        for operation in draft.operations {
            switch operation {
            case .setAttribute(_, let name, let value): result[name] = value
            case .removeAttribute(_, let name): result[name] = nil
            case .remove: result.removeAll()
            default: break
            }
        }
        return result
    }

    func omapValues(in draft: ObjectDraft, keys: [Bytes]) -> [KeyValue] {
        guard draft.changesOmap else {
            return draft.isStored ? environment.omapValues(of: draft.object, keys: keys) : []
        }
        return keys.compactMap { key in omapValue(in: draft, key).map { KeyValue(key, $0) } }
    }

    private func omapValue(in draft: ObjectDraft, _ key: Bytes) -> Bytes? {
        for operation in draft.operations.reversed() {
            switch operation {
            case .setOmap(_, let entries):
                if let entry = entries.last(where: { $0.key == key }) { return entry.value }
            case .removeOmap(_, let keys): if keys.contains(key) { return nil }
            case .clearOmap, .remove: return nil
            default: break
            }
        }
        return draft.isStored ? environment.omapValues(of: draft.object, keys: [key]).first?.value : nil
    }

    /// Entries with keys after `after` that begin with `prefix`, in order, at most `limit`.
    func omap(in draft: ObjectDraft, after: Bytes, prefix: Bytes, limit: Int) -> [KeyValue] {
        guard draft.changesOmap else {
            return draft.isStored
                ? environment.omap(of: draft.object, after: after, prefix: prefix, limit: limit) : []
        }
        // As many more as the operations may take away, so that enough are left.
        let wanted = limit + draft.removedKeys
        let stored =
            draft.isStored ? environment.omap(of: draft.object, after: after, prefix: prefix, limit: wanted) : []
        var end = stored.count < wanted ? nil : stored.last?.key
        var entries = Dictionary(uniqueKeysWithValues: stored.map { ($0.key, $0.value) })
        for operation in draft.operations {
            switch operation {
            case .setOmap(_, let changed):
                for entry in changed where entry.key > after && entry.key.array.starts(with: prefix.array) {
                    if end.map({ entry.key <= $0 }) ?? true { entries[entry.key] = entry.value }
                }
            case .removeOmap(_, let keys): for key in keys { entries[key] = nil }
            case .clearOmap, .remove:
                entries.removeAll()
                end = nil
            default: break
            }
        }
        return entries.sorted { $0.key < $1.key }.prefix(limit).map { KeyValue($0.key, $0.value) }
    }
}

extension ObjectDraft {
    fileprivate var changesOmap: Bool {
        operations.contains { operation in
            switch operation {
            case .setOmap, .removeOmap, .clearOmap, .remove: true
            default: false
            }
        }
    }

    fileprivate var removedKeys: Int {
        operations.reduce(0) { sum, operation in
            if case .removeOmap(_, let keys) = operation { sum + keys.count } else { sum }
        }
    }
}
