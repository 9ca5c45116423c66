import Wire

/// Changes to a map as administrators and the monitors make them. A change that throws leaves the map as it was; the error
/// says what to do about it or names the limit. Shadow trees and choose arguments follow every change.
extension CRUSHMap {
    // MARK: OSDs

    /// Adds an OSD below the host with this name, and the host below `root` when there is none yet. The weights of all
    /// buckets above grow accordingly. Refuses an OSD that is in the map already.
    public mutating func add(
        _ osd: OSDID, weight: CRUSHWeight, host: String, root: String = defaultRoot, deviceClass: String? = nil
    ) throws(CRUSHError) {
        try checkNew(osd)
        var draft = Draft(self)
        guard let level = type(named: "host") else { throw CRUSHError("the CRUSH map has no type 'host'") }
        let holder: ItemID
        if let bucket = bucket(named: host) {
            guard bucket.type == level else {
                throw CRUSHError("'\(host)' is a \(types[bucket.type] ?? "bucket") in the CRUSH map, not a host")
            }
            holder = bucket.id
        } else {
            let top = try existingBucket(root)
            holder = draft.makeBucket(named: host, type: level)
            try draft.setWeight(of: holder, in: top.id, to: .zero)
        }
        draft.devices.append(Device(id: osd, name: osd.description, deviceClass: deviceClass))
        try draft.setWeight(of: ItemID(osd), in: holder, to: weight)
        self = try draft.finish()
    }

    /// Adds an OSD under a name at a place given by type and name of the buckets above it. Buckets that do not exist are
    /// made, up to the first that does. Refuses an OSD or a name that is in the map already, a bucket of another type, and a
    /// place without any bucket.
    public mutating func add(
        _ osd: OSDID, named name: String, weight: CRUSHWeight, at location: [TypeID: String]
    ) throws(CRUSHError) {
        try checkNew(osd)
        if item(named: name) != nil { throw CRUSHError("the name '\(name)' is taken in the CRUSH map") }
        var draft = Draft(self)
        draft.devices.append(Device(id: osd, name: name))
        let holder = try insert(ItemID(osd), at: location, &draft)
        try draft.setWeight(of: ItemID(osd), in: holder, to: weight)
        self = try draft.finish()
    }

    private func checkNew(_ osd: OSDID) throws(CRUSHError) {
        // Before anything else: a negative number would mean a bucket.
        guard (0..<CRUSHLimits.devices).contains(Int(osd.rawValue)) else {
            throw CRUSHError("\(osd): the numbers of OSDs are from 0 to \(CRUSHLimits.devices - 1)")
        }
        guard !contains(osd) else { throw CRUSHError("\(osd) is in the CRUSH map already") }
    }

    /// Takes an OSD out of the map. Its host stays, be it empty. Refuses an OSD that is not there, or that a rule takes.
    public mutating func remove(_ osd: OSDID) throws(CRUSHError) {
        guard contains(osd) else { throw CRUSHError("\(osd) is not in the CRUSH map") }
        var draft = Draft(self)
        for holder in draft.holders(of: ItemID(osd)) { try draft.setWeight(of: ItemID(osd), in: holder, to: nil) }
        draft.devices.removeAll { $0.id == osd }
        self = try draft.finish()
    }

    /// Gives an OSD another weight, wherever it stands; the weights of all buckets above change accordingly.
    public mutating func reweight(_ osd: OSDID, to weight: CRUSHWeight) throws(CRUSHError) {
        var draft = Draft(self)
        let holders = contains(osd) ? draft.holders(of: ItemID(osd)) : []
        guard !holders.isEmpty else { throw CRUSHError("\(osd) is in no bucket of the CRUSH map") }
        for holder in holders { try draft.setWeight(of: ItemID(osd), in: holder, to: weight) }
        self = try draft.finish()
    }

    /// Makes the weight of every bucket within another the sum of its items. That is what it is, unless a text map said
    /// otherwise.
    public mutating func reweightBuckets() throws(CRUSHError) {
        var draft = Draft(self)
        // Upwards from every bucket that holds no other; what it holds keeps its weight.
        for bucket in buckets where !bucket.items.contains(where: \.id.isBucket) {
            for parent in draft.holders(of: bucket.id) {
                try draft.setWeight(of: bucket.id, in: parent, to: bucket.weight)
            }
        }
        self = try draft.finish()
    }

    /// Gives an OSD a class. Refuses to change the class of one that has another: rules would silently lose it.
    public mutating func setDeviceClass(_ osd: OSDID, to name: String) throws(CRUSHError) {
        var draft = Draft(self)
        guard let index = draft.devices.firstIndex(where: { $0.id == osd }) else {
            throw CRUSHError("\(osd) is not in the CRUSH map")
        }
        try Validation.check(name: name, of: "device class")
        if let old = draft.devices[index].deviceClass, old != name {
            throw CRUSHError("\(osd) has the class '\(old)' already: remove that first to set '\(name)'")
        }
        draft.devices[index].deviceClass = name
        self = try draft.finish()
    }

    /// Takes the class from an OSD, if it has one.
    public mutating func removeDeviceClass(_ osd: OSDID) throws(CRUSHError) {
        var draft = Draft(self)
        guard let index = draft.devices.firstIndex(where: { $0.id == osd }) else {
            throw CRUSHError("\(osd) is not in the CRUSH map")
        }
        draft.devices[index].deviceClass = nil
        self = try draft.finish()
    }

    // MARK: Buckets

    /// Adds an empty bucket that nothing holds, or that `parent` holds. Refuses a name that is taken.
    public mutating func addBucket(
        named name: String, type: TypeID, under parent: String? = nil
    ) throws(CRUSHError) {
        if item(named: name) != nil { throw CRUSHError("the name '\(name)' is taken in the CRUSH map") }
        let above = try parent.map { name throws(CRUSHError) in try existingBucket(name) }
        var draft = Draft(self)
        let id = draft.makeBucket(named: name, type: type)
        if let above {
            try check(type, fitsUnder: above)
            try draft.setWeight(of: id, in: above.id, to: .zero)
        }
        self = try draft.finish()
    }

    /// Moves an item, with all that is below it, from wherever it stands to `parent`. Its weight goes along. Refuses to move
    /// a bucket below itself or below one of a lower or the same level.
    public mutating func move(_ name: String, under parent: String) throws(CRUSHError) {
        let item = try existingItem(name)
        let above = try existingBucket(parent)
        var draft = Draft(self)
        guard !draft.stands(above.id, below: item) else {
            throw CRUSHError("'\(parent)' is or stands below '\(name)'")
        }
        try check(bucket(item)?.type ?? .osd, fitsUnder: above)
        let holders = draft.holders(of: item)
        let weight = bucket(item)?.weight ?? weight(of: item)
        for holder in holders { try draft.setWeight(of: item, in: holder, to: nil) }
        try draft.setWeight(of: item, in: above.id, to: weight)
        self = try draft.finish()
    }

    /// Takes an empty bucket out of the map. Refuses one that is not there, not empty, or that a rule takes.
    public mutating func removeBucket(named name: String) throws(CRUSHError) {
        let bucket = try existingBucket(name)
        guard bucket.items.isEmpty else {
            throw CRUSHError("bucket '\(name)' still holds \(bucket.items.count) items: remove or move them first")
        }
        let numbers = Set(bucket.shadows.values).union([bucket.id])
        for rule in rules {
            for case .take(let item) in rule.steps where numbers.contains(item) {
                throw CRUSHError("rule '\(rule.name)' takes bucket '\(name)': remove the rule first")
            }
        }
        var draft = Draft(self)
        for holder in draft.holders(of: bucket.id) { try draft.setWeight(of: bucket.id, in: holder, to: nil) }
        draft.buckets[bucket.id] = nil
        self = try draft.finish()
    }

    // MARK: Tunables

    /// Sets the tunables.
    public mutating func setTunables(_ tunables: Tunables) throws(CRUSHError) {
        var parts = parts
        parts.tunables = tunables
        self = try CRUSHMap(parts)
    }

    // MARK: What they share

    private func existingBucket(_ name: String) throws(CRUSHError) -> Bucket {
        guard let bucket = bucket(named: name) else { throw CRUSHError("the CRUSH map has no bucket '\(name)'") }
        return bucket
    }

    private func existingItem(_ name: String) throws(CRUSHError) -> ItemID {
        guard let item = item(named: name) else { throw CRUSHError("the CRUSH map has no item '\(name)'") }
        return item
    }

    /// The weight of a device where it stands first.
    private func weight(of item: ItemID) -> CRUSHWeight {
        buckets.lazy.flatMap(\.items).first { $0.id == item }?.weight ?? .zero
    }

    private func check(_ type: TypeID, fitsUnder parent: Bucket) throws(CRUSHError) {
        guard type < parent.type else {
            let names = (types[type] ?? "\(type)", types[parent.type] ?? "\(parent.type)")
            throw CRUSHError("'\(parent.name)' is a \(names.1), which cannot hold a \(names.0)")
        }
    }

    /// Puts an item into the lowest bucket of a location, with a weight of 0, and makes the buckets that are missing. Returns
    /// that bucket.
    private func insert(
        _ item: ItemID, at location: [TypeID: String], _ draft: inout Draft
    ) throws(CRUSHError) -> ItemID {
        var lowest: ItemID?
        var current = item
        for (type, name) in location.sorted(by: { $0.key < $1.key }) where type != .osd {
            if let bucket = draft.bucket(named: name) {
                guard bucket.type == type else {
                    throw CRUSHError(
                        "'\(name)' is a \(types[bucket.type] ?? "bucket") in the CRUSH map, not a "
                            + "\(types[type] ?? "\(type)")")
                }
                try draft.setWeight(of: current, in: bucket.id, to: .zero)
                return lowest ?? bucket.id
            }
            let made = draft.makeBucket(named: name, type: type)
            try draft.setWeight(of: current, in: made, to: .zero)
            lowest = lowest ?? made
            current = made
        }
        guard let lowest else {
            throw CRUSHError("a place below which to add is needed: a type and the name of a bucket")
        }
        return lowest
    }
}
