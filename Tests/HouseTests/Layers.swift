/// The rooms of the house and their layers, lowest first: the one place where the rule of `ARCHITECTURE.md` stands. A room
/// uses rooms of lower layers, and those of its own layer that are named here.
enum Layers {
    static let rooms: [(layer: Int, rooms: [String])] = [
        (0, ["CSupport", "CRocksDB", "COpenSSL", "CNBD"]),
        (1, ["Wire"]),
        (2, ["CRUSH", "ClusterMap", "Protocol", "Consensus", "PlacementGroup"]),
        (3, ["KeyValueStore", "SecureTransport", "ObjectStore", "Messenger"]),
        (4, ["MonitorClient"]),
        (5, ["Monitor", "OSD", "RADOS"]),
        (6, ["RBD", "NBD"]),
        (7, ["Gateway", "KernelMapping"]),
        (8, ["Commands", "Nacre"]),
        (9, ["nacre"]),
    ]

    /// Within a layer, who may use whom: a room builds on those to its right.
    static let beside: [String: Set<String>] = [
        "ClusterMap": ["CRUSH"],
        "Protocol": ["CRUSH", "ClusterMap"],
        "PlacementGroup": ["CRUSH", "ClusterMap", "Protocol"],
        "ObjectStore": ["KeyValueStore"],
        "Messenger": ["SecureTransport"],
        "Nacre": ["Commands"],
    ]

    /// Rooms of tests and measurements: they run the cores of production and are not installed, so they may use every room
    /// and no room of the house may use them.
    static let workshops: Set<String> = [
        "AllocationCounter", "Simulation", "simulate", "bench", "torment", "ClientTestSupport",
    ]

    /// Rooms that know only what they are given: these may use nothing of the house but what is named, whatever the layer.
    static let secluded: [String: Set<String>] = [
        "NBD": ["Wire", "SecureTransport"],
        "KernelMapping": ["Wire", "CSupport"],
    ]

    static let layers: [String: Int] = Dictionary(
        uniqueKeysWithValues: rooms.flatMap { layer, rooms in rooms.map { ($0, layer) } })

    /// Nil when `room` may use `other`, else why not.
    static func objection(_ room: String, uses other: String) -> String? {
        if workshops.contains(room) { return nil }
        if workshops.contains(other) { return "\(room) uses \(other), which is for tests" }
        guard let layer = layers[room] else { return "\(room) has no layer: name it in Layers.swift" }
        guard let below = layers[other] else { return "\(other) has no layer: name it in Layers.swift" }
        if let allowed = secluded[room], !allowed.contains(other) {
            return "\(room) uses \(other), but knows only \(allowed.sorted().joined(separator: " and "))"
        }
        if below < layer || (below == layer && beside[room]?.contains(other) == true) { return nil }
        return "\(room) (layer \(layer)) uses \(other) (layer \(below))"
    }
}
