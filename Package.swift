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
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0")
    ],
    targets: [
        .target(name: "CSupport"),
        .target(name: "Wire", dependencies: ["CSupport"], swiftSettings: settings),
        .target(name: "CRUSH", dependencies: ["Wire"], swiftSettings: settings),
        .target(name: "ClusterMap", dependencies: ["CRUSH", "Wire"], swiftSettings: settings),
        .target(name: "Protocol", dependencies: ["ClusterMap", "Wire"], swiftSettings: settings),
        .target(
            name: "RADOS",
            dependencies: [
                "ClusterMap", "Protocol", "Wire", .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: settings),
        .target(name: "RBD", dependencies: ["Protocol", "RADOS", "Wire"], swiftSettings: settings),

        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
        .target(
            name: "ClientTestSupport", dependencies: ["ClusterMap", "Protocol", "RADOS", "Wire"],
            path: "Tests/ClientTestSupport", swiftSettings: settings),
        .testTarget(
            name: "RADOSTests", dependencies: ["ClientTestSupport", "ClusterMap", "Protocol", "RADOS", "Wire"],
            swiftSettings: settings),
        .testTarget(
            name: "RBDTests", dependencies: ["ClientTestSupport", "ClusterMap", "Protocol", "RADOS", "RBD", "Wire"],
            swiftSettings: settings),
    ]
)
