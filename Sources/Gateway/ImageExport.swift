import NBD
import NIOCore
import Protocol
import RADOS
import RBD
import Wire

/// The answer to an NBD request, as an image gives it.
package struct ExportReply: ImageReply {
    enum Kind {
        case read, change
    }

    let reply: PendingReply
    let kind: Kind

    package func finish(_ outcome: ImageOutcome) {
        switch outcome {
        case .done: kind == .read ? reply.complete(with: .empty) : reply.complete()
        case .data(let data): reply.complete(with: data)
        case .zeroes: reply.completeWithZeroes()
        case .failed(let errno): reply.fail(Self.failure(errno))
        }
    }

    /// What NBD has for an errno of the cluster.
    package static func failure(_ errno: Int32) -> IOFailure {
        switch errno {
        case Errno.noSpace: .noSpace
        case Errno.invalid: .invalid
        case Errno.tryAgain: .outOfMemory
        default: .inputOutput
        }
    }
}

/// Passes answers on to an export's image; not generic, so that their way is compiled for NBD's replies.
final class ExportReceiver: ReplyReceiver {
    private let image: OpenImage<ExportReply>

    init(_ image: OpenImage<ExportReply>) { self.image = image }

    func received(_ reply: OperationReply, token: UInt64) { image.received(reply, token: token) }
    func clusterChanged() { image.clusterChanged() }
}

/// An RBD image as an NBD export, shared by all connections that use it. Confined to the event loop of the server, which is
/// that of the cluster's connection.
///
/// What NBD asks of an export follows from the image:
/// - Order: overlapping requests, of whichever connection, are done in the order of their calls, since requests on one
///   object are. Those of a connection that died go on, and what is sent again elsewhere comes after them.
/// - Durability: an answered change is replicated and durable, so a flush has nothing to wait for, FUA costs nothing, and
///   several connections (or gateways) see one disk.
public final class ImageExport: Export, SharedDisk, @unchecked Sendable {
    let spec: ImageSpec
    let image: OpenImage<ExportReply>
    /// True when changes are refused.
    public let isReadOnly: Bool

    init(spec: ImageSpec, image: OpenImage<ExportReply>, isReadOnly: Bool) {
        self.spec = spec
        self.image = image
        self.isReadOnly = isReadOnly
    }

    public var name: String { spec.description }
    public var summary: String { "RBD image \(spec), replicated and durable before every reply" }
    public var size: UInt64 { image.size }
    public var blockSizes: BlockSizes { BlockSizes(minimum: 1, preferred: 4096) }
    public var features: ExportFeatures { [.trim, .writeZeroes, .fastZero, .multipleConnections] }

    public func read(offset: UInt64, length: Int, reply: PendingReply) {
        image.read(offset: offset, length: length, reply: ExportReply(reply: reply, kind: .read))
    }

    public func write(offset: UInt64, data: Bytes, fua: Bool, reply: PendingReply) {
        image.write(offset: offset, data: data, reply: ExportReply(reply: reply, kind: .change))
    }

    public func flush(reply: PendingReply) {
        image.flush(reply: ExportReply(reply: reply, kind: .change))
    }

    public func trim(offset: UInt64, length: UInt64, fua: Bool, reply: PendingReply) {
        image.discard(offset: offset, length: length, reply: ExportReply(reply: reply, kind: .change))
    }

    public func writeZeroes(offset: UInt64, length: UInt64, options: ZeroOptions, reply: PendingReply) {
        let keepsSpace = options.contains(.noHole)
        // Keeping the space means writing the zeros, which is no faster than writing.
        if keepsSpace, options.contains(.fast) { return reply.fail(.notSupported) }
        image.writeZeroes(
            offset: offset, length: length, keepsSpace: keepsSpace, reply: ExportReply(reply: reply, kind: .change))
    }

    public func connectionLost(_ connection: ConnectionID) {}

    package func isGone() async -> Bool {
        (try? await image.loop.submit { [image] in image.isRemoved }.get()) ?? false
    }

    package func close() async { await image.close() }
}
