import KeyValueStore
import Protocol
import Wire

/// Reads of what is not data. They are answered at once and see everything submitted, committed or not.
extension ObjectStore {
    /// The object's size; nil when it does not exist.
    public func stat(_ object: ObjectID) throws(StoreError) -> UInt64? { try cached(object).record?.size }

    /// An attribute's value; nil when there is none, or no object.
    public func attribute(_ object: ObjectID, _ name: String) throws(StoreError) -> Bytes? {
        try cached(object).record?.attribute(name)
    }

    /// All attributes, by name; empty when there is no object.
    public func attributes(_ object: ObjectID) throws(StoreError) -> [(name: String, value: Bytes)] {
        (try cached(object).record?.attributes ?? []).map { ($0.name, $0.value) }.sorted { $0.0 < $1.0 }
    }

    /// Up to `limit` entries of the object's omap from key `from` on, in order.
    public func omap(_ object: ObjectID, from: Bytes = .empty, limit: Int) throws(StoreError) -> [KeyValue] {
        guard let record = try cached(object).record, record.mayHaveOmap else { return [] }
        let end = StoreKeys.end(ofPrefix: StoreKeys.omap(record.number, .empty))
        return try entries(
            from: StoreKeys.omap(record.number, from), to: end, prefix: StoreKeys.omapPrefix, limit: limit)
    }

    /// Bytes of the keys and values of the object's omap; counting stops where it passes `limit`. That much is logged by a
    /// clone of the object, on top of 120 bytes for every 64 KiB of data: whoever orders one keeps it below
    /// `StoreLimits.largestTransaction`.
    public func omapSize(_ object: ObjectID, limit: Int) throws(StoreError) -> Int {
        guard let record = try cached(object).record, record.mayHaveOmap else { return 0 }
        let prefix = StoreKeys.omap(record.number, .empty)
        var size = 0
        try scan(from: prefix, to: StoreKeys.end(ofPrefix: prefix)) { key, value in
            size += key.count + value.count
            return size <= limit
        }
        return size
    }

    /// One value of the object's omap.
    public func omapValue(_ object: ObjectID, _ key: Bytes) throws(StoreError) -> Bytes? {
        guard let record = try cached(object).record, record.mayHaveOmap else { return nil }
        return try value(StoreKeys.omap(record.number, key))
    }

    /// Up to `limit` keys of the group in `from ..< to`, in order; without `to`, to the group's last.
    public func groupKeys(_ group: PGID, from: Bytes = .empty, to: Bytes? = nil, limit: Int) throws(StoreError)
        -> [KeyValue]
    {
        let end = to.map { StoreKeys.group(group, $0) } ?? StoreKeys.end(ofPrefix: StoreKeys.group(group, .empty))
        return try entries(from: StoreKeys.group(group, from), to: end, prefix: StoreKeys.groupPrefix, limit: limit)
    }

    /// One value of the group's keys.
    public func groupValue(_ group: PGID, _ key: Bytes) throws(StoreError) -> Bytes? {
        try value(StoreKeys.group(group, key))
    }

    /// The groups that have keys, in order.
    public func groups() throws(StoreError) -> [PGID] {
        let all = Bytes([StoreKeys.groupTag])
        let end = StoreKeys.end(ofPrefix: all)
        var from = all
        var result: [PGID] = []
        while true {
            var found: Bytes?
            try scan(from: from, to: end) { key, _ in
                found = key
                return false
            }
            guard let found else { return result }
            do throws(WireError) {
                let group = try StoreKeys.groupID(found)
                result.append(group)
                from = StoreKeys.end(ofPrefix: StoreKeys.group(group, .empty))
            } catch {
                throw StoreError(.failed, "metadata store: \(error)")
            }
        }
    }

    // MARK: - Keys, with what is not committed

    func value(_ key: Bytes) throws(StoreError) -> Bytes? {
        if let change = young.table.change(of: key) { return change.value }
        for generation in closed.reversed() {
            if let change = generation.table.change(of: key) { return change.value }
        }
        do throws(KeyValueError) {
            return try keys.value(key)
        } catch {
            throw StoreError(.failed, error.description)
        }
    }

    /// Like the metadata store's own scan, with the keys merged in that it does not have yet.
    func scan(from lower: Bytes, to upper: Bytes, _ body: (Bytes, Bytes) -> Bool) throws(StoreError) {
        let newest = newerChanges(from: lower, to: upper)
        var newer = newest.changes[...]
        var goesOn = true
        var from: Bytes? = lower
        while goesOn, let start = from, start < upper {
            from = nil
            do throws(KeyValueError) {
                try keys.scan(from: start, to: upper) { key, value in
                    while goesOn, let next = newer.first, next.key < key {
                        newer.removeFirst()
                        if let value = next.value { goesOn = body(next.key, value) }
                    }
                    guard goesOn else { return false }
                    if let next = newer.first, next.key == key {
                        newer.removeFirst()
                        if let value = next.value { goesOn = body(key, value) }
                    } else if let range = newest.removed.range(of: key) {
                        // There may be many more: go on behind them.
                        from = range.upper
                        return false
                    } else {
                        goesOn = body(key, value)
                    }
                    return goesOn
                }
            } catch {
                throw StoreError(.failed, error.description)
            }
        }
        while goesOn, let next = newer.popFirst() {
            if let value = next.value { goesOn = body(next.key, value) }
        }
    }

    /// What the metadata store does not have yet.
    private func newerChanges(from lower: Bytes, to upper: Bytes) -> NewerChanges {
        var result = NewerChanges()
        for generation in closed { result.add(generation.table, from: lower, to: upper) }
        result.add(young.table, from: lower, to: upper)
        return result
    }

    func entries(from lower: Bytes, to upper: Bytes, prefix: Int, limit: Int) throws(StoreError) -> [KeyValue] {
        var result: [KeyValue] = []
        guard limit > 0, lower < upper else { return [] }
        try scan(from: lower, to: upper) { key, value in
            result.append(KeyValue(key[prefix..<key.count], value))
            return result.count < limit
        }
        return result
    }

    // MARK: - Objects in memory

    /// The object, from memory or the metadata store.
    func cached(_ id: ObjectID) throws(StoreError) -> CachedObject {
        if let latestObject, latestObject.id == id { return latestObject }
        let object = try lookedUp(id)
        latestObject = object
        return object
    }

    private func lookedUp(_ id: ObjectID) throws(StoreError) -> CachedObject {
        if let found = youngObjects[id] { return found }
        let object: CachedObject
        if let found = oldObjects.removeValue(forKey: id) {
            object = found
        } else {
            let key = StoreKeys.object(id)
            let stored = try value(key)
            do throws(WireError) {
                var record: ObjectRecord?
                if let stored { record = try ObjectRecord(stored) }
                object = CachedObject(id: id, key: key, record: record)
            } catch {
                throw StoreError(.failed, "metadata store: record of object \(id): \(error)")
            }
        }
        makeRoom()
        youngObjects[id] = object
        object.countedUnits = 0
        countUnits(of: object)
        return object
    }

    /// Turns the generations when the younger is full. Objects being changed stay referenced by `touchedObjects`, so
    /// they are moved along.
    private func makeRoom() {
        guard youngObjects.count >= options.cachedObjects / 2 || youngUnits >= options.cachedUnits / 2 else { return }
        latestObject = nil
        oldObjects = youngObjects
        youngObjects = [:]
        youngUnits = 0
        for object in touchedObjects {
            oldObjects[object.id] = nil
            youngObjects[object.id] = object
            object.countedUnits = 0
            countUnits(of: object)
        }
    }

    /// Counts the units that the object in the younger generation has gained.
    func countUnits(of object: CachedObject) {
        youngUnits += object.units.count - object.countedUnits
        object.countedUnits = object.units.count
    }

    /// Makes all units of the object known.
    func loadUnits(_ object: CachedObject) throws(StoreError) {
        guard !object.unitsLoaded, let record = object.record else { return }
        let prefix = StoreKeys.unit(record.number, 0)
        var failure: WireError?
        try scan(from: prefix, to: StoreKeys.unit(record.number, .max)) { key, value in
            do throws(WireError) {
                object.setUnit(try StoreKeys.unitIndex(key), try UnitRecord(value))
            } catch {
                failure = error
            }
            return failure == nil
        }
        if let failure { throw StoreError(.failed, "metadata store: units of object \(object.id): \(failure)") }
        object.changedUnits.removeAll()
        object.unitsLoaded = true
        countUnits(of: object)
    }
}
