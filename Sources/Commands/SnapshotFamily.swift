import Glibc
import Monitor
import RBD
import Wire

/// What `nacre rbd snap` does.
extension ImageAdministration {
    /// Makes a snapshot.
    public func createSnapshot(_ spec: ImageSpec) async throws(CommandError) {
        try await run("Creating snap") { (report: Progress?) async throws(any Error) in
            try await images(spec.pool).createSnapshot(
                try Self.snapshot(of: spec), of: spec.image, progress: report)
        }
    }

    /// Shows an image's snapshots.
    public func listSnapshots(_ spec: ImageSpec) async throws(CommandError) {
        try await run { () async throws(any Error) in
            let snapshots = try await images(spec.pool).snapshots(of: spec.image)
            output.show(snapshots.map(SnapshotRow.init), plain: Self.snapshotTable)
        }
    }

    /// Removes a snapshot.
    public func removeSnapshot(_ spec: ImageSpec) async throws(CommandError) {
        try await run("Removing snap") { (_: Progress?) async throws(any Error) in
            try await images(spec.pool).removeSnapshot(try Self.snapshot(of: spec), of: spec.image)
        }
    }

    /// Removes all snapshots of an image that are not protected.
    public func purgeSnapshots(_ spec: ImageSpec) async throws(CommandError) {
        try await run("Removing all snapshots") { (report: Progress?) async throws(any Error) in
            try await images(spec.pool).purgeSnapshots(of: spec.image, progress: report)
        }
    }

    /// Makes an image what it was at a snapshot.
    public func rollBack(_ spec: ImageSpec) async throws(CommandError) {
        try await run("Rolling back to snapshot") { (report: Progress?) async throws(any Error) in
            try await images(spec.pool).rollBack(spec.image, to: try Self.snapshot(of: spec), progress: report)
        }
    }

    /// Protects a snapshot from being removed, or lets it be.
    public func protectSnapshot(_ spec: ImageSpec, _ isProtected: Bool) async throws(CommandError) {
        try await run { () async throws(any Error) in
            try await images(spec.pool).protectSnapshot(try Self.snapshot(of: spec), of: spec.image, isProtected)
        }
    }

    private static func snapshot(of spec: ImageSpec) throws(CommandError) -> String {
        guard let snapshot = spec.snapshot else {
            throw CommandError(errno: EINVAL, "no snapshot is named: give [pool/]image@snap")
        }
        return snapshot
    }

    static func snapshotTable(_ rows: [SnapshotRow]) -> String {
        guard !rows.isEmpty else { return "" }
        return Layout.table(
            [("SNAPID", .right), ("NAME", .left), ("SIZE", .left), ("PROTECTED", .left), ("TIMESTAMP", .left)],
            rows.map {
                ["\($0.id)", $0.name, Layout.bytes($0.size), $0.protected == "true" ? "yes" : "", $0.timestamp]
            })
    }
}

/// A line of `rbd snap ls`.
public struct SnapshotRow: Report, Hashable, Sendable {
    /// Its number.
    public var id: UInt64
    /// Its name.
    public var name: String
    /// Bytes of the image when it was made.
    public var size: UInt64
    /// `true` or `false`, as a string: so the field has it.
    public var protected: String
    /// When it was made, in this machine's time zone.
    public var timestamp: String

    init(_ snapshot: ImageSnapshot) {
        id = snapshot.id.rawValue
        name = snapshot.name
        size = snapshot.size.rawValue
        protected = snapshot.isProtected ? "true" : "false"
        timestamp = Self.text(snapshot.created)
    }

    /// A moment as `ctime` writes it.
    static func text(_ moment: Timestamp) -> String {
        var seconds = time_t(moment.seconds)
        var parts = tm()
        localtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let count = strftime(buffer.baseAddress!, buffer.count, "%a %b %e %H:%M:%S %Y", &parts)
            return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}
