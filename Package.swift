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
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
    ],
    targets: [
        .target(name: "CSupport"),
        .target(name: "Wire", dependencies: ["CSupport"], swiftSettings: settings),
        .target(name: "CRUSH", dependencies: ["Wire"], swiftSettings: settings),
        .target(name: "ClusterMap", dependencies: ["CRUSH", "Wire"], swiftSettings: settings),
        .target(name: "Protocol", dependencies: ["ClusterMap", "Wire"], swiftSettings: settings),
        .target(
            name: "PlacementGroup",
            dependencies: [
                "ClusterMap", "Protocol", "Wire", .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: settings),
        .target(
            name: "Messenger",
            dependencies: [
                "ClusterMap", "Protocol", "Wire", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .target(
            name: "MonitorClient",
            dependencies: [
                "ClusterMap", "Messenger", "Protocol", "Wire", .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),

        .testTarget(
            name: "MessengerTests",
            dependencies: [
                "ClusterMap", "Messenger", "Protocol", "Wire", .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "MonitorClientTests",
            dependencies: [
                "ClusterMap", "CRUSH", "Messenger", "MonitorClient", "Protocol", "Wire",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
    ]
)
