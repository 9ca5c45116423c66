import NBD
import RADOS
import RBD

/// The images of a cluster as the exports of an NBD server. Export names are image specs, `[pool/]image[@snap]`; a snapshot
/// is read-only.
///
/// Connections that use one image share one handle, which is closed after the last of them. The server must run on the
/// cluster's event loop: `NBDServer(directory: directory, on: cluster.loop)`.
public final class ImageDirectory: ExportDirectory {
    public typealias Disk = ImageExport

    /// What pools that hold images say they are for.
    public static let application = "rbd"

    private let cluster: Cluster
    private let defaultPool: String
    private let isReadOnly: Bool
    private let disks = SharedDisks<ImageExport>()

    /// The images of `cluster`; names without a pool mean `defaultPool`. With `isReadOnly` every change is refused.
    public init(cluster: Cluster, defaultPool: String = ImageSpec.defaultPool, isReadOnly: Bool = false) {
        self.cluster = cluster
        self.defaultPool = defaultPool
        self.isReadOnly = isReadOnly
    }

    public func open(_ name: String) async throws(OpenFailure) -> ImageExport {
        let spec = try Self.spec(name, defaultPool: defaultPool)
        do {
            return try await disks.use(spec) { [cluster, isReadOnly] in
                let pool = try await cluster.pool(named: spec.pool)
                let image = try await OpenImage<ExportReply>.open(spec.image, at: spec.snapshot, in: pool) {
                    ExportReceiver($0)
                }
                return ImageExport(spec: spec, image: image, isReadOnly: isReadOnly || spec.snapshot != nil)
            }
        } catch {
            throw Self.failure(error)
        }
    }

    public func list() async throws(OpenFailure) -> [String] {
        var names: [String] = []
        do {
            for pool in try await cluster.pools() where pool.application == Self.application {
                let images = Images(pool: try await cluster.pool(named: pool.name))
                names += try await images.list().map { "\(pool.name)/\($0)" }
            }
        } catch {
            throw Self.failure(error)
        }
        return names
    }

    public func close(_ export: ImageExport) async { await disks.release(export, export.spec) }

    package static func spec(_ name: String, defaultPool: String) throws(OpenFailure) -> ImageSpec {
        guard !name.isEmpty else {
            throw OpenFailure(.notFound, "there is no default export: name an image, as in nbd://host/rbd/image")
        }
        do {
            return try ImageSpec(parsing: name, defaultPool: defaultPool)
        } catch {
            throw OpenFailure(.invalid, error.description)
        }
    }

    package static func failure(_ error: any Error) -> OpenFailure {
        let (errno, text) =
            switch error {
            case let error as RBDError: (error.errno, error.description)
            case let error as RADOSError: (error.errno, error.description)
            default: (Errno.inputOutput, "\(error)")
            }
        return switch errno {
        case Errno.noEntry: OpenFailure(.notFound, text)
        case Errno.invalid: OpenFailure(.invalid, text)
        case Errno.busy, Errno.exists: OpenFailure(.refused, text)
        default: OpenFailure(.unavailable, text)
        }
    }
}
