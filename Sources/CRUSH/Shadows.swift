import Wire

/// The shadow trees: for each class of devices, a copy of the hierarchy that holds only the devices of the class. A rule that
/// takes a class takes the shadow of its root.
///
/// The copies are buckets with numbers of their own, and numbers enter the hashes, so each bucket remembers those of its
/// shadows. New ones are given as other tools give them: class by class, children before parents, the free number nearest to
/// zero.
struct Shadows {
    /// What stands between the name of a bucket and the class in the name of its shadow. No other name may hold it.
    static let separator: Character = "~"

    private let classes: [DeviceClass]
    private let classOf: [ItemID: String]
    private var originals: [ItemID: Bucket]
    private var used: Set<ItemID>
    private var next = ItemID(-1)
    private var made: [ItemID: [String: Bucket]] = [:]

    /// Makes the shadows of all classes for a hierarchy without cycles. Returns the buckets, each with exactly the shadows
    /// that it has, and the shadows.
    static func make(
        devices: [Device], buckets: [Bucket], classes: [DeviceClass]
    ) throws(CRUSHError) -> (buckets: [Bucket], shadows: [Bucket]) {
        guard buckets.count * (classes.count + 1) <= CRUSHLimits.buckets else {
            throw CRUSHError(
                "\(buckets.count) buckets in \(classes.count) device classes: "
                    + "with their shadows more than \(CRUSHLimits.buckets) buckets")
        }
        var shadows = Shadows(devices: devices, buckets: buckets, classes: classes)
        var held: Set<ItemID> = []
        for bucket in buckets { for item in bucket.items where item.id.isBucket { held.insert(item.id) } }
        for root in buckets.sorted(by: { $0.id < $1.id }) where !held.contains(root.id) {
            for each in classes { _ = try shadows.shadow(of: root.id, in: each.name) }
        }
        let marked = buckets.map { bucket in
            var bucket = bucket
            bucket.shadows = shadows.made[bucket.id]?.mapValues(\.id) ?? [:]
            return bucket
        }
        return (marked, shadows.made.values.flatMap(\.values).sorted { $0.id > $1.id })
    }

    private init(devices: [Device], buckets: [Bucket], classes: [DeviceClass]) {
        self.classes = classes
        var classOf: [ItemID: String] = [:]
        for device in devices { classOf[ItemID(device.id)] = device.deviceClass }
        self.classOf = classOf
        originals = Dictionary(uniqueKeysWithValues: buckets.map { ($0.id, $0) })
        used = Set(buckets.map(\.id))
        for bucket in buckets { used.formUnion(bucket.shadows.values) }
    }

    /// The shadow of a bucket, made with all below it when it is not there yet. Recursion is bounded by `CRUSHLimits.depth`.
    private mutating func shadow(of id: ItemID, in deviceClass: String) throws(CRUSHError) -> Bucket {
        if let made = made[id]?[deviceClass] { return made }
        guard let original = originals[id] else { preconditionFailure("bucket \(id) is missing") }
        var items: [Bucket.Item] = []
        for item in original.items {
            if item.id.isBucket {
                let child = try shadow(of: item.id, in: deviceClass)
                items.append(Bucket.Item(id: child.id, weight: child.weight))
            } else if classOf[item.id] == deviceClass {
                items.append(item)
            }
        }
        // Below a uniform bucket stand shadows of different weights, or devices of the one weight it has.
        var kind = original.kind
        if kind == .uniform, items.contains(where: { $0.weight != items[0].weight }) { kind = .straw2 }
        var number = original.shadows[deviceClass]
        if number == nil { number = try unused() }
        guard let number else { preconditionFailure("no number for a shadow of \(id)") }
        let shadow = Bucket(
            id: number, name: "\(original.name)\(Self.separator)\(deviceClass)",
            type: original.type, kind: kind, items: items)
        made[id, default: [:]][deviceClass] = shadow
        return shadow
    }

    private mutating func unused() throws(CRUSHError) -> ItemID {
        while !used.insert(next).inserted { next = ItemID(next.rawValue - 1) }
        guard Int(next.rawValue) >= -CRUSHLimits.buckets else {
            throw CRUSHError("all \(CRUSHLimits.buckets) numbers of buckets are in use")
        }
        return next
    }
}
