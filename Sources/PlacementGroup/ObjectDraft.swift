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
    /// True when it was removed on the way, whatever stands in its place now.
    private(set) var isRemoved = false
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
        if case .remove = operation {
            exists = false
            isRemoved = isStored
        } else {
            exists = true
        }
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

    /// The object's bytes in a range, short where it ends; nil when the store's have to be fetched first.
    func data(offset: UInt64, length: UInt64, in execution: Execution) -> Bytes? {
        let draft = execution.draft
        var stored = Bytes.empty
        if draft.isStored, !draft.isRemoved {
            guard let fetched = execution.fetched.first(where: { $0.offset == offset && $0.length == length }) else {
                return nil
            }
            stored = fetched.data
        }
        guard !draft.operations.isEmpty else { return stored }
        let size = size(in: draft)
        var window = stored.array
        window.append(contentsOf: [UInt8](repeating: 0, count: Int(length) - window.count))
        /// The part of the window that a range of the object is.
        func part(_ start: UInt64, _ end: UInt64) -> Range<Int> {
            let from = min(max(start, offset) - offset, length)
            return Int(from)..<Int(max(from, min(max(end, offset) - offset, length)))
        }
        for operation in draft.operations {
            switch operation {
            case .write(_, let start, let data):
                let range = part(start, start + UInt64(data.count))
                let skipped = Int(offset) + range.lowerBound - Int(start)
                for index in range { window[index] = data[skipped + index - range.lowerBound] }
            case .zero(_, let start, let count):
                for index in part(start, start + count) { window[index] = 0 }
            case .truncate(_, let size):
                for index in part(size, .max) { window[index] = 0 }
            case .remove:
                for index in window.indices { window[index] = 0 }
            default: break
            }
        }
        return Bytes(Array(window.prefix(Int(min(length, size > offset ? size - offset : 0)))))
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
            case .removeOmapRange(_, let from, let to): if key >= from, to.map({ key < $0 }) ?? true { return nil }
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
        // What operations remove is not among what they leave, so the stored ones are gone through until there is enough.
        var (from, entries): (Bytes, [KeyValue]) = (after, [])
        while draft.isStored, entries.count < limit {
            let part = environment.omap(of: draft.object, after: from, prefix: prefix, limit: limit)
            entries += part.filter { draft.keepsStored($0.key) }
            guard part.count == limit, let last = part.last else { break }
            from = last.key
        }
        let end = entries.count < limit ? nil : entries.last?.key
        let isWanted = { (key: Bytes) in
            key > after && key.array.starts(with: prefix.array) && (end.map { key <= $0 } ?? true)
        }
        var changed: [Bytes: Bytes] = [:]
        for operation in draft.operations {
            switch operation {
            case .setOmap(_, let entries):
                for entry in entries where isWanted(entry.key) { changed[entry.key] = entry.value }
            case .removeOmap(_, let keys): for key in keys { changed[key] = nil }
            case .removeOmapRange(_, let from, let to):
                changed = changed.filter { key, _ in key < from || (to.map { key >= $0 } ?? false) }
            case .clearOmap, .remove: changed.removeAll()
            default: break
            }
        }
        let untouched = entries.filter { changed[$0.key] == nil }
        return Array((untouched + changed.map { KeyValue($0.key, $0.value) }).sorted { $0.key < $1.key }.prefix(limit))
    }
}

extension ObjectDraft {
    fileprivate var changesOmap: Bool {
        operations.contains { operation in
            switch operation {
            case .setOmap, .removeOmap, .removeOmapRange, .clearOmap, .remove: true
            default: false
            }
        }
    }

    /// False when an operation removes the entry that the store has under this key.
    fileprivate func keepsStored(_ key: Bytes) -> Bool {
        !operations.contains { operation in
            switch operation {
            case .removeOmap(_, let keys): keys.contains(key)
            case .removeOmapRange(_, let from, let to): key >= from && (to.map { key < $0 } ?? true)
            case .clearOmap, .remove: true
            default: false
            }
        }
    }
}
