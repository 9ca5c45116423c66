import Monitor
import RADOS
import RBD
import TextTable
import Wire

/// What `nacre rbd` does with images.
public struct ImageAdministration: Sendable {
    private let cluster: Cluster
    let output: Output
    private let progress: ProgressLine?

    /// Commands on the images of `cluster`. Progress goes to `progress`, or nowhere.
    public init(cluster: Cluster, output: Output, progress: ProgressLine? = nil) {
        self.cluster = cluster
        self.output = output
        self.progress = progress
    }

    /// Makes an image. Sizes are as people write them: the image's in MiB without a suffix, an object's in bytes.
    public func create(_ spec: ImageSpec, size: String, objectSize: String?) async throws(CommandError) {
        try await run { () async throws(any Error) in
            var options = ImageOptions()
            if let objectSize { options.order = try SizeText.parseObjectSize(objectSize) }
            let size = try SizeText.parseImageSize(size)
            try await images(spec.pool).create(spec.image, size: size, options: options)
        }
    }

    /// Shows the names of a pool's images, or with `long` a table.
    public func list(pool: String, long: Bool) async throws(CommandError) {
        try await run { () async throws(any Error) in
            let images = try await images(pool)
            let names = try await images.list()
            guard long else { return output.show(names) { $0.map { $0 + "\n" }.joined() } }
            var rows: [ImageRow] = []
            for name in names {
                // One that is being made or removed has no row, as it has no size.
                guard let info = try? await images.info(name) else { continue }
                rows.append(ImageRow(info))
                rows += info.header.snapshots.map { ImageRow(info, $0) }
            }
            output.show(rows, plain: Self.table)
        }
    }

    /// Shows what an image, or a snapshot of it, is.
    public func info(_ spec: ImageSpec) async throws(CommandError) {
        try await run { () async throws(any Error) in
            let images = try await images(spec.pool)
            let info = try await images.info(spec.image)
            var snapshot: ImageSnapshot?
            if let name = spec.snapshot { snapshot = try images.find(name, info) }
            output.show(ImageReport(info, snapshot), plain: Self.text)
        }
    }

    /// Shows who has an image open.
    public func status(_ spec: ImageSpec) async throws(CommandError) {
        try await run { () async throws(any Error) in
            let images = try await images(spec.pool)
            let watchers = try await images.watchers(of: try await images.info(spec.image))
            let report = ImageStatus(
                watchers: watchers.map { .init(client: $0.client, cookie: $0.cookie, name: $0.name) })
            output.show(report) { report in
                if report.watchers.isEmpty { return "Watchers: none" }
                return "Watchers:\n"
                    + report.watchers.map {
                        "\twatcher=\($0.name) client.\(String($0.client, radix: 16)) cookie=\($0.cookie)\n"
                    }.joined()
            }
        }
    }

    /// Sets an image's size.
    public func resize(_ spec: ImageSpec, size: String, allowShrink: Bool) async throws(CommandError) {
        try await run("Resizing image") { (report: Progress?) async throws(any Error) in
            let size = try SizeText.parseImageSize(size)
            try await images(spec.pool).resize(spec.image, to: size, allowShrink: allowShrink, progress: report)
        }
    }

    /// Removes an image and its data.
    public func remove(_ spec: ImageSpec) async throws(CommandError) {
        try await run("Removing image") { (report: Progress?) async throws(any Error) in
            try await images(spec.pool).remove(spec.image, progress: report)
        }
    }

    func images(_ pool: String) async throws -> Images { Images(pool: try await cluster.pool(named: pool)) }

    func run(_ body: () async throws -> Void) async throws(CommandError) {
        do { try await body() } catch { throw CommandError(error) }
    }

    /// Shows how far an operation is and how it ended.
    func run(_ name: String, _ body: (Progress?) async throws -> Void) async throws(CommandError) {
        let progress = progress
        var report: Progress?
        if let progress { report = { done, total in progress.show(name, done, total) } }
        do {
            try await body(report)
            progress?.end(name, "done")
        } catch {
            progress?.end(name, "failed")
            throw CommandError(error)
        }
    }

    static func text(_ image: ImageReport) -> String {
        """
        rbd image '\(image.name)':
        \tsize \(Layout.bytes(image.size)) in \(image.objects) objects
        \torder \(image.order) (\(Layout.bytes(image.objectSize)) objects)
        \tsnapshot_count: \(image.snapshotCount)
        \tid: \(image.id)
        \tblock_name_prefix: \(image.blockNamePrefix)
        \tformat: \(image.format)

        """ + (image.protected.map { "\tprotected: \($0 == "true" ? "True" : "False")\n" } ?? "")
    }

    private static func table(_ rows: [ImageRow]) -> String {
        Layout.table(
            [("NAME", .left), ("SIZE", .right), ("PARENT", .left), ("FMT", .right), ("PROT", .left), ("LOCK", .left)],
            rows.map { row in
                let name = row.snapshot.map { "\(row.image)@\($0)" } ?? row.image
                return [
                    name, Layout.bytes(row.size), "", "\(row.format)", row.protected == "true" ? "yes" : "", "",
                ]
            })
    }
}

/// A line of `rbd ls -l`.
public struct ImageRow: Report, Hashable, Sendable {
    /// The image's name.
    public var image: String
    /// The id that names its objects.
    public var id: String
    /// The snapshot's name; absent for the image itself.
    public var snapshot: String?
    /// The snapshot's number.
    public var snapshotId: UInt64?
    /// Its bytes.
    public var size: UInt64
    /// The image format.
    public var format: Int
    /// For a snapshot: `true` or `false`, as a string, as the field has it.
    public var protected: String?

    init(_ info: ImageInfo, _ snapshot: ImageSnapshot? = nil) {
        image = info.name
        id = info.id
        self.snapshot = snapshot?.name
        snapshotId = snapshot?.id.rawValue
        size = (snapshot?.size ?? info.header.size).rawValue
        format = 2
        protected = snapshot.map { "\($0.isProtected)" }
    }
}

/// The answer to `rbd info`.
public struct ImageReport: Report, Hashable, Sendable {
    /// The image's name.
    public var name: String
    /// The id that names its objects.
    public var id: String
    /// Its bytes.
    public var size: UInt64
    /// Data objects that it has when full.
    public var objects: UInt64
    /// Bytes of a data object, as a power of two.
    public var order: UInt8
    /// Bytes of a data object.
    public var objectSize: UInt64
    /// Snapshots.
    public var snapshotCount: Int
    /// What the names of its data objects begin with.
    public var blockNamePrefix: String
    /// The image format.
    public var format: Int
    /// When it was made, in seconds since 1970; absent when its header does not say.
    public var createTimestamp: UInt32?
    /// For a snapshot: `true` or `false`, as a string, as the field has it.
    public var protected: String?

    init(_ info: ImageInfo, _ snapshot: ImageSnapshot? = nil) {
        name = info.name
        id = info.id
        protected = snapshot.map { "\($0.isProtected)" }
        let bytes = snapshot?.size ?? info.header.size
        size = bytes.rawValue
        objects = (bytes.rawValue + info.header.objectSize - 1) / info.header.objectSize
        order = info.header.order
        objectSize = info.header.objectSize
        snapshotCount = info.header.snapshots.count
        blockNamePrefix = info.header.objectPrefix
        format = 2
        createTimestamp = info.header.created?.seconds
    }
}

/// The answer to `rbd status`.
public struct ImageStatus: Report, Hashable, Sendable {
    /// One who has the image open.
    public struct Watcher: Codable, Hashable, Sendable {
        /// The number of its client.
        public var client: UInt64
        /// The number of its watch.
        public var cookie: UInt64
        /// How the client calls itself.
        public var name: String
    }

    /// All who have the image open.
    public var watchers: [Watcher]
}

/// Progress on a line that is written over: `Removing image: 42% complete...`.
public struct ProgressLine: Sendable {
    private let write: @Sendable (String) -> Void

    /// Progress that goes to `write`, standard error in production.
    public init(write: @escaping @Sendable (String) -> Void) { self.write = write }

    func show(_ name: String, _ done: UInt64, _ total: UInt64) {
        guard total > 0, done < total else { return }
        write("\r\(name): \(done * 100 / total)% complete...")
    }

    func end(_ name: String, _ word: String) {
        write(word == "done" ? "\r\(name): 100% complete...done.\n" : "\r\(name): failed.\n")
    }
}
