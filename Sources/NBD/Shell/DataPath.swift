import NIOCore

/// The two entrances to the data path, compiled for one type of export.
///
/// SwiftNIO calls a handler through a witness table, and the methods of a generic class reached that way are the
/// unspecialised ones: from there every request would go through witnesses of `Export`. These functions are made where
/// the type is known, with the server, and are called once per event, not once per request.
struct DataPath<Disk: Export>: Sendable {
    let receive: @Sendable (Transmission, ByteBuffer, Disk) -> Void
    let resume: @Sendable (Transmission, Disk, _ isSocketFull: Bool) -> Void

    @inline(__always)
    init() {
        receive = { transmission, bytes, disk in transmission.receive(bytes, for: disk) }
        resume = { transmission, disk, isSocketFull in transmission.resume(for: disk, isSocketFull: isSocketFull) }
    }
}
