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
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/ordo-one/TextTable.git", exact: "0.0.2"),
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
        .target(name: "NBD", dependencies: ["Wire"] + nio, swiftSettings: settings),
        .target(
            name: "RADOS",
            dependencies: [
                "CRUSH", "ClusterMap", "Messenger", "MonitorClient", "Protocol", "Wire", deque, logging,
            ] + nio,
            swiftSettings: settings),
        .target(
            name: "RBD",
            dependencies: ["Protocol", "RADOS", "Wire", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings),
        .target(
            name: "Gateway",
            dependencies: ["NBD", "Protocol", "RADOS", "RBD", "Wire", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings),
        .target(
            name: "Monitor",
            dependencies: ["CRUSH", "ClusterMap", "KeyValueStore", "Messenger", "Protocol", "Wire", logging] + nio,
            swiftSettings: settings),
        .target(
            name: "Commands",
            dependencies: [
                "CRUSH", "ClusterMap", "Monitor", "ObjectStore", "Protocol", "RADOS", "RBD", "Wire", logging,
                .product(name: "TextTable", package: "TextTable"),
            ] + nio,
            swiftSettings: settings),
        .target(
            name: "Nacre",
            dependencies: [
                "ClusterMap", "Commands", "Gateway", "Monitor", "NBD", "OSD", "RADOS", "Wire", logging,
            ] + nio,
            swiftSettings: settings),
        .executableTarget(
            name: "nacre",
            dependencies: [
                "CRUSH", "ClusterMap", "Commands", "Monitor", "NBD", "Nacre", "OSD", "RBD", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
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

        .executableTarget(
            name: "torment", dependencies: ["ObjectStore", "Protocol", "Wire"], swiftSettings: settings),
        .executableTarget(
            name: "bench",
            dependencies: [
                "AllocationCounter", "CRUSH", "ClusterMap", "KeyValueStore", "ObjectStore", "Protocol", "Wire",
            ], swiftSettings: settings),

        .testTarget(name: "HouseTests", swiftSettings: settings),
        .testTarget(
            name: "MonitorTests",
            dependencies: [
                "CRUSH", "ClusterMap", "KeyValueStore", "Messenger", "Monitor", "MonitorClient", "Protocol", "Wire",
                logging,
            ] + nio,
            swiftSettings: settings),
        .testTarget(
            name: "CommandsTests", dependencies: ["Commands", "Monitor", "Protocol", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "MessengerTests", dependencies: ["ClusterMap", "Messenger", "Protocol", "Wire", logging] + nio,
            swiftSettings: settings),
        .testTarget(
            name: "MonitorClientTests",
            dependencies: ["CRUSH", "ClusterMap", "Messenger", "MonitorClient", "Protocol", "Wire"] + nio,
            swiftSettings: settings),
        .testTarget(name: "KeyValueStoreTests", dependencies: ["KeyValueStore", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "ObjectStoreTests", dependencies: ["KeyValueStore", "ObjectStore", "Protocol", "Simulation", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "PlacementGroupTests", dependencies: ["PlacementGroup", "Protocol", "ClusterMap", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "ClusterMapTests", dependencies: ["AllocationCounter", "CRUSH", "ClusterMap", "Wire"],
            exclude: ["Fixtures"],
            swiftSettings: settings),
        .testTarget(name: "ProtocolTests", dependencies: ["ClusterMap", "Protocol", "Wire"], swiftSettings: settings),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .testTarget(name: "CRUSHTests", dependencies: ["AllocationCounter", "CRUSH", "Wire"], swiftSettings: settings),
        .target(
            name: "ClientTestSupport", dependencies: ["ClusterMap", "Protocol", "RADOS", "Wire"],
            path: "Tests/ClientTestSupport", swiftSettings: settings),
        .testTarget(
            name: "RADOSTests", dependencies: ["ClientTestSupport", "ClusterMap", "Protocol", "RADOS", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "RBDTests", dependencies: ["ClientTestSupport", "ClusterMap", "Protocol", "RADOS", "RBD", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "ClientTestSupport", "ClusterMap", "CRUSH", "Gateway", "Messenger", "NBD", "Protocol", "RADOS", "RBD",
                "Wire", logging,
            ] + nio, swiftSettings: settings),
        .testTarget(
            name: "NBDTests",
            dependencies: ["NBD", "Wire", .product(name: "NIOConcurrencyHelpers", package: "swift-nio")] + nio,
            swiftSettings: settings),
    ]
)
