import ClusterMap
import Glibc
import NIOCore
import NIOPosix

/// One socket: what it brings goes to the core as it lies in the receive buffer; what the core writes is gathered.
final class ConnectionHandler<Handler: MessengerHandler>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let id: ConnectionID
    private let messenger: Messenger<Handler>
    private var context: ChannelHandlerContext?
    private var gathered = ByteBuffer()
    private var isClosing = false
    private var why = Interruption.closedByPeer
    /// The socket takes more; what is gathered does not count.
    private(set) var isWritable = true

    init(id: ConnectionID, messenger: Messenger<Handler>) {
        self.id = id
        self.messenger = messenger
    }

    // MARK: Events of the channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return }
        unwrapInboundIn(data).withUnsafeReadableBytes { messenger.bytesArrived($0, id) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable, !isClosing { messenger.writable(id) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if (error as? IOError)?.errnoCode == ETIMEDOUT { why = .timedOut }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        if !isClosing {
            isClosing = true
            messenger.inactive(id, why: why)
        }
        messenger.socketClosed()
    }

    // MARK: From the core

    func write(_ frame: OutgoingFrame) {
        guard context != nil else { return }
        if gathered.readableBytes > 0, gathered.readableBytes + frame.byteCount > MessengerLimits.gatherBytes {
            handOver()
        }
        gathered.writeWithUnsafeMutableBytes(minimumWritableBytes: frame.byteCount) { bytes in
            frame.encode(into: bytes)
            return frame.byteCount
        }
    }

    func flush() {
        guard let context else { return }
        guard gathered.readableBytes > 0 else { return context.flush() }
        context.writeAndFlush(wrapOutboundOut(gathered), promise: nil)
        reuse()
    }

    /// Gives the socket what is gathered, to be sent with what follows.
    private func handOver() {
        guard gathered.readableBytes > 0, let context else { return }
        context.write(wrapOutboundOut(gathered), promise: nil)
        reuse()
    }

    /// A large buffer is not kept for the next turn; a small one is used again, unless the socket still has it.
    private func reuse() {
        if gathered.capacity > MessengerLimits.gatherBytes { gathered = ByteBuffer() } else { gathered.clear() }
    }

    func setReading(_ isReading: Bool) {
        guard let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    /// Closes once everything written is out, or after a second.
    func closeWhenSent() {
        guard !isClosing, let context else { return }
        isClosing = true
        handOver()
        let sent = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: sent)
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { [self] in
            self.context?.close(promise: nil)
        }
        sent.futureResult.assumeIsolated().whenComplete { [self] _ in
            timer.cancel()
            self.context?.close(promise: nil)
        }
    }
}

/// What all sockets have in common, and what their errors mean.
enum SocketOptions {
    static let receiveAllocator = AdaptiveRecvByteBufferAllocator(
        minimum: 4096, initial: 16384, maximum: MessengerLimits.receiveBytes)
    static let marks = ChannelOptions.Types.WriteBufferWaterMark(
        low: MessengerLimits.unsentBytes.low, high: MessengerLimits.unsentBytes.high)

    /// True for an address that only this host has.
    static func isLocal(_ address: SocketAddress?) -> Bool {
        switch address {
        case .v4(let v4): UInt32(bigEndian: v4.address.sin_addr.s_addr) >> 24 == 127
        case .v6: address?.ipAddress == "::1"
        case .unixDomainSocket: true
        case nil: false
        }
    }

    static func listenReason(_ error: any Error) -> String {
        guard let system = error as? IOError else { return "\(error)" }
        switch system.errnoCode {
        case EADDRINUSE: return "another process listens there: stop it or choose another port"
        case EADDRNOTAVAIL: return "not an address of this machine: choose one that is, such as 127.0.0.1"
        case EACCES: return "permission denied: choose a port above 1023"
        default: return text(system.errnoCode)
        }
    }

    static func dialReason(_ error: any Error, _ endpoint: Endpoint) -> Interruption {
        if let several = error as? NIOConnectionError {
            // Of the addresses of a name, the one that answers at all says most.
            let reasons = several.connectionErrors.map { dialReason($0.error, endpoint) }
            if reasons.contains(.connectionRefused) { return .connectionRefused }
            if let first = reasons.first { return first }
            return .unreachable("\(endpoint): the host name is not known")
        }
        if let system = error as? IOError {
            switch system.errnoCode {
            case ECONNREFUSED: return .connectionRefused
            case ECONNRESET: return .closedByPeer
            case ETIMEDOUT: return .timedOut
            default: return .unreachable("\(endpoint): \(text(system.errnoCode))")
            }
        }
        if case .connectTimeout = error as? ChannelError { return .timedOut }
        return .unreachable("\(endpoint): \(error)")
    }

    private static func text(_ code: CInt) -> String { String(cString: strerror(code)) }
}
