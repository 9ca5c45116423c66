// swift-tools-version: 6.1
import PackageDescription

/// What every Swift target is compiled with. Cross-module optimisation lets the generic cores be specialised for their
/// production environment; without it the data path would go through witness tables. Exclusive access is checked in debug
/// builds, where it costs nothing that matters: each daemon's data path has one thread.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .unsafeFlags(
        ["-cross-module-optimization", "-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

let package = Package(
    name: "nacre",
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
    ],
    targets: [
        .target(name: "CSupport", linkerSettings: [.linkedLibrary("uring")]),
        .systemLibrary(name: "CRocksDB"),
        .target(name: "Wire", dependencies: ["CSupport"], swiftSettings: settings),
        .target(name: "CRUSH", dependencies: ["Wire"], swiftSettings: settings),
        .target(name: "ClusterMap", dependencies: ["CRUSH", "Wire"], swiftSettings: settings),
        .target(name: "Protocol", dependencies: ["ClusterMap", "Wire"], swiftSettings: settings),
        .target(
            name: "PlacementGroup", dependencies: ["ClusterMap", "Protocol", "Wire", deque], swiftSettings: settings),
        .target(name: "KeyValueStore", dependencies: ["CRocksDB", "Wire"], swiftSettings: settings),
        .target(
            name: "ObjectStore", dependencies: ["CSupport", "KeyValueStore", "Protocol", "Wire"],
            swiftSettings: settings),
        .target(
            name: "Messenger", dependencies: ["ClusterMap", "Protocol", "Wire", deque, logging] + nio,
            swiftSettings: settings),
        .target(
            name: "MonitorClient", dependencies: ["ClusterMap", "Messenger", "Protocol", "Wire", deque, logging] + nio,
            swiftSettings: settings),
        .target(
            name: "OSD",
            dependencies: [
                "ClusterMap", "KeyValueStore", "Messenger", "MonitorClient", "ObjectStore", "PlacementGroup",
                "Protocol",
                "Wire", logging,
            ] + nio,
            swiftSettings: settings),
        .target(
            name: "RADOS",
            dependencies: [
                "CRUSH", "ClusterMap", "Messenger", "MonitorClient", "Protocol", "Wire", deque, logging,
            ] + nio,
            swiftSettings: settings),
        .target(
            name: "Monitor",
            dependencies: ["CRUSH", "ClusterMap", "KeyValueStore", "Messenger", "Protocol", "Wire", logging] + nio,
            swiftSettings: settings),
        .target(
            name: "Simulation",
            dependencies: [
                "CRUSH", "ClusterMap", "KeyValueStore", "Messenger", "Monitor", "MonitorClient", "OSD", "ObjectStore",
                "PlacementGroup", "Protocol", "RADOS", "Wire", heap,
            ],
            swiftSettings: settings),
        .executableTarget(name: "simulate", dependencies: ["PlacementGroup", "Simulation"], swiftSettings: settings),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation"], swiftSettings: settings),
        .testTarget(
            name: "PlacementGroupTests", dependencies: ["PlacementGroup", "Protocol", "ClusterMap", "Wire"],
            swiftSettings: settings),
    ]
)
