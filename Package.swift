// swift-tools-version: 6.1
import PackageDescription

/// What every Swift target is compiled with. Cross-module optimisation lets the generic cores be specialised for their
/// production environment; without it the data path would go through witness tables.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

let package = Package(
    name: "nacre",
    dependencies: [],
    targets: [
        .target(name: "CSupport", linkerSettings: [.linkedLibrary("uring")]),
        .target(name: "Wire", dependencies: ["CSupport"], swiftSettings: settings),
        .target(name: "CRUSH", dependencies: ["Wire"], swiftSettings: settings),
        .target(name: "ClusterMap", dependencies: ["CRUSH", "Wire"], swiftSettings: settings),
        .target(name: "Protocol", dependencies: ["ClusterMap", "Wire"], swiftSettings: settings),

        .systemLibrary(name: "CRocksDB"),
        .target(name: "KeyValueStore", dependencies: ["CRocksDB", "Wire"], swiftSettings: settings),
        .target(
            name: "ObjectStore", dependencies: ["CSupport", "KeyValueStore", "Protocol", "Wire"], swiftSettings: settings),
        .target(
            name: "Simulation", dependencies: ["KeyValueStore", "ObjectStore", "Protocol", "Wire"],
            swiftSettings: settings),

        .testTarget(name: "KeyValueStoreTests", dependencies: ["KeyValueStore", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "ObjectStoreTests", dependencies: ["KeyValueStore", "ObjectStore", "Protocol", "Simulation", "Wire"],
            swiftSettings: settings),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
    ]
)
