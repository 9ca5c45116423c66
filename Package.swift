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
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2")
    ],
    targets: [
        .target(name: "CSupport"),
        .target(name: "Wire", dependencies: ["CSupport"], swiftSettings: settings),
        .target(name: "Protocol", dependencies: ["Wire"], swiftSettings: settings),
        .target(
            name: "NBD",
            dependencies: [
                "Wire",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),

        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: settings),
        .testTarget(
            name: "NBDTests",
            dependencies: [
                "NBD", "Wire",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings),
    ]
)
