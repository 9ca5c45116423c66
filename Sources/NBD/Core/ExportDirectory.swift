/// The exports a server offers, by name. Opening may talk to a cluster and take its time; connections wait for it without
/// holding up others.
public protocol ExportDirectory: AnyObject, Sendable {
    /// The type of the exports, one per server so that the data path is compiled for it.
    associatedtype Disk: Export

    /// Opens the export called `name` (valid UTF-8 of at most `Limits.stringBytes`, without NUL; empty means the default
    /// export). Called once for each connection that uses it, and matched by one `close`; connections may be given the
    /// same object. It must be ready for calls on the event loop of the server.
    func open(_ name: String) async throws(OpenFailure) -> Disk

    /// The names that `open` takes, for clients that ask. Names longer than `Limits.listedNameBytes` are left out of the
    /// reply.
    func list() async throws(OpenFailure) -> [String]

    /// A connection that opened `export` is done with it, and every operation it had pending has been answered.
    func close(_ export: Disk) async
}

/// Why an export could not be opened or the exports not listed.
public struct OpenFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What a client may make of it.
    public enum Kind: Hashable, Sendable {
        /// There is no export of that name (NBD_REP_ERR_UNKNOWN).
        case notFound
        /// It exists and this client may not use it, or not now (NBD_REP_ERR_POLICY).
        case refused
        /// The name or request makes no sense (NBD_REP_ERR_INVALID).
        case invalid
        /// It could not be found out: the cluster does not answer (NBD_REP_ERR_UNKNOWN, the text says so).
        case unavailable
        /// The server is stopping (NBD_REP_ERR_SHUTDOWN).
        case shutdown
    }

    /// What a client may make of it.
    public let kind: Kind
    /// One line for the user of the client, naming the export and what to do. Cut to `Limits.errorTextBytes` on the wire.
    public let description: String

    /// A failure of `kind` with a line for the user.
    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// What the negotiation tells a client about an export, taken once so that INFO and GO agree.
package struct ExportDescription: Hashable, Sendable {
    package var name: String
    package var summary: String
    package var size: UInt64
    package var flags: TransmissionFlags
    package var blockSizes: BlockSizes

    package init(name: String, summary: String, size: UInt64, flags: TransmissionFlags, blockSizes: BlockSizes) {
        self.name = name
        self.summary = summary
        self.size = size
        self.flags = flags
        self.blockSizes = blockSizes
    }

    package init(of export: some Export) {
        self.init(
            name: export.name, summary: export.summary, size: export.size, flags: TransmissionFlags(of: export),
            blockSizes: export.blockSizes)
    }
}

extension TransmissionFlags {
    /// What is offered for `export`. Flushes, FUA and CACHE (a hint that this server may ignore) always are.
    package init(of export: some Export) {
        self = [.hasFlags, .sendFlush, .sendFUA, .sendCache]
        let features = export.features
        if features.contains(.multipleConnections) { insert(.multipleConnections) }
        if export.isReadOnly {
            insert(.readOnly)
            return
        }
        if features.contains(.trim) { insert(.sendTrim) }
        if features.contains(.writeZeroes) { insert(.sendWriteZeroes) }
        if features.isSuperset(of: [.writeZeroes, .fastZero]) { insert(.sendFastZero) }
    }
}
