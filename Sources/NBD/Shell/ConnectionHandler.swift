import NIOCore

/// One connection: turns bytes into events of `Negotiation` and `Transmission`, and their outcome into bytes. No policy.
///
/// Reading is asked for explicitly (`autoRead` is off), so that a machine without room stops the client through TCP.
final class ConnectionHandler<Directory: ExportDirectory>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case negotiating
        case transmitting(Transmission, Directory.Disk)
        /// The last bytes are on their way out.
        case closing
        /// The channel is gone; operations may still be pending with the export.
        case closed
    }

    let connection: ConnectionID
    private let server: ServerState<Directory>
    private var phase = Phase.negotiating
    private var negotiation = Negotiation()
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    /// The export opened last. It is kept from INFO for the GO that usually follows.
    private var opened: (name: String, disk: Directory.Disk)?
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    /// The next look for a sign of life, if one is due, and how long to wait for the one after it.
    private var look: Scheduled<Void>?
    private var lookAfter = LifeSign.firstLook
    private var isInTurn = false

    init(connection: ConnectionID, server: ServerState<Directory>) {
        self.connection = connection
        self.server = server
    }

    // MARK: Events of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch phase {
        case .negotiating: input.writeBuffer(&bytes)
        case .transmitting(let transmission, let disk): server.dataPath.receive(transmission, bytes, disk)
        case .closing, .closed: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        turn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        turn()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        server.report(.ended(connection, reason: "\(error)"))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        timer?.cancel()
        look?.cancel()
        switch phase {
        case .transmitting(let transmission, let disk):
            transmission.connectionClosed(for: disk)
            if transmission.isFinished { finish() }
        case .negotiating, .closing:
            // An export that is being opened comes back to `answer`, which then lets go of it.
            if !negotiation.isWaitingForExport { finish() } else { phase = .closed }
        case .closed:
            break
        }
    }

    // MARK: Events of the server

    /// Finishes what is in flight, then closes.
    func stop() {
        switch phase {
        case .negotiating:
            negotiation.stop()
            if !negotiation.isWaitingForExport { close() }
        case .transmitting(let transmission, _):
            transmission.stop()
            turn()
        case .closing, .closed:
            break
        }
    }

    /// Closes without waiting.
    func abandon() {
        context?.close(promise: nil)
    }

    // MARK: Turns

    /// Looks at the machine of the phase after one or several events: sends, goes on, reads or closes.
    private func turn() {
        guard !isInTurn else { return }
        isInTurn = true
        defer { isInTurn = false }
        switch phase {
        case .negotiating: negotiate()
        case .transmitting(let transmission, let disk): transmit(transmission, disk)
        case .closing, .closed: break
        }
    }

    private func begin(_ context: ChannelHandlerContext) {
        server.report(.connected(connection, peer: context.remoteAddress.map { "\($0)" } ?? "unix socket"))
        negotiation.begin(&output)
        startTimer(seconds: Limits.handshakeSeconds)
        send()
        context.read()
    }

    private func negotiate() {
        guard let context, !negotiation.isWaitingForExport else { return }
        // A client that does not take the answers gets no further ones.
        while context.channel.isWritable {
            let action = negotiation.receive(&input, &output)
            if !perform(action) { return }
        }
    }

    /// True when the negotiation can go on with input that is there.
    private func perform(_ action: Negotiation.Action) -> Bool {
        send()
        guard let context else { return false }
        switch action {
        case .wait:
            input.discardReadBytes()
            context.read()
            return false
        case .open(let name):
            return open(name)
        case .list:
            list()
            return false
        case .beginTransmission:
            beginTransmission()
            return false
        case .close(let end):
            server.report(.ended(connection, reason: "\(end)"))
            close()
            return false
        }
    }

    private func beginTransmission() {
        timer?.cancel()
        guard let (name, disk) = opened, let loop = context?.eventLoop else { preconditionFailure("no export is open") }
        server.report(.opened(connection, export: name))
        // Made once: the closure and what it captures serve every turn of the connection.
        let handler = NIOLoopBound(self, eventLoop: loop)
        let turn: @Sendable () -> Void = { handler.value.requestedTurn() }
        let transmission = Transmission(connection: connection, export: disk, budget: server.budget) {
            loop.execute(turn)
        }
        phase = .transmitting(transmission, disk)
        let rest = input
        input = ByteBuffer()
        if rest.readableBytes > 0 { server.dataPath.receive(transmission, rest, disk) }
        transmit(transmission, disk)
    }

    /// The export answered outside of an event of the channel.
    private func requestedTurn() {
        guard case .transmitting(let transmission, let disk) = phase else { return }
        if context != nil { return turn() }
        server.dataPath.resume(transmission, disk, true)
        if transmission.isFinished { finish() }
    }

    private func transmit(_ transmission: Transmission, _ disk: Directory.Disk) {
        guard let context else { return }
        repeat {
            if !transmission.replies.isEmpty {
                transmission.replies.drain { context.write(wrapOutboundOut($0), promise: nil) }
                context.flush()
                guard self.context != nil else { return }
            }
            if transmission.needsLifeSign, let count = LifeSign.bytesNotTaken(on: context.channel) {
                transmission.clientTook(allBut: count)
            }
            server.dataPath.resume(transmission, disk, !context.channel.isWritable)
        } while !transmission.replies.isEmpty
        transmission.endTurn()
        switch transmission.end {
        case nil:
            if transmission.needsLifeSign { return lookAgain(context) }
            lookAfter = LifeSign.firstLook
            if transmission.wantsBytes { context.read() }
        case .violation(let reason):
            server.report(.ended(connection, reason: reason))
            context.close(promise: nil)
        case .disconnected, .stopped, .lost:
            if transmission.isFinished { close() }
        }
    }

    /// No event tells that the client has taken what it was sent, so the shell looks.
    private func lookAgain(_ context: ChannelHandlerContext) {
        guard look == nil else { return }
        look = context.eventLoop.assumeIsolated().scheduleTask(in: lookAfter) { [self] in
            look = nil
            turn()
        }
        lookAfter = min(lookAfter + lookAfter, LifeSign.lastLook)
    }

    // MARK: Exports

    /// True when the export was there already and the negotiation goes on.
    private func open(_ name: String) -> Bool {
        if let opened, opened.name == name {
            let action = negotiation.opened(ExportDescription(of: opened.disk), &output)
            guard action == .wait else { return perform(action) }
            send()
            return true
        }
        releaseExport()
        let directory = server.directory
        ask { () async throws(OpenFailure) in
            try await directory.open(name)
        } answer: { handler, disk in
            handler.opened = (name, disk)
            return handler.negotiation.opened(ExportDescription(of: disk), &handler.output)
        }
        return false
    }

    private func list() {
        let directory = server.directory
        ask { () async throws(OpenFailure) in
            try await directory.list()
        } answer: { handler, names in
            handler.negotiation.listed(names, &handler.output)
        }
    }

    /// Asks the directory, which may take its time, and gives its answer to the negotiation on the event loop.
    private func ask<Answer: Sendable>(
        _ question: @escaping @Sendable () async throws(OpenFailure) -> Answer,
        answer: @escaping (ConnectionHandler, Answer) -> Negotiation.Action
    ) {
        guard let loop = context?.eventLoop else { return }
        let asked = loop.makeFutureWithTask { () async -> Result<Answer, OpenFailure> in
            do throws(OpenFailure) { return .success(try await question()) } catch { return .failure(error) }
        }
        asked.assumeIsolated().whenSuccess { [self] result in
            var action: Negotiation.Action
            switch result {
            case .success(let value): action = answer(self, value)
            case .failure(let failure): action = negotiation.refused(failure, &output)
            }
            guard context != nil else { return finish() }
            if server.isStopping, action == .wait || action == .beginTransmission {
                action = .close(.refused("the server is stopping"))
                output.clear()
            }
            isInTurn = true
            let goOn = perform(action)
            isInTurn = false
            if goOn || action == .wait { turn() }
        }
    }

    private func releaseExport() {
        guard let disk = opened?.disk else { return }
        opened = nil
        server.close(disk)
    }

    // MARK: The end

    private func startTimer(seconds: Int) {
        timer = context?.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(seconds))) { [self] in
            guard case .negotiating = phase else { return abandon() }
            let action = negotiation.timeExpired()
            if action == .wait { return startTimer(seconds: seconds) }
            _ = perform(action)
        }
    }

    /// Closes once everything written is out; a client that does not take it is cut off after a while.
    private func close() {
        guard let context else { return }
        phase = .closing
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(Limits.lingerSeconds))) { [self] in
            abandon()
        }
        let sent = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: sent)
        sent.futureResult.assumeIsolated().whenComplete { [self] _ in abandon() }
    }

    /// Nothing of this connection is left to wait for.
    private func finish() {
        phase = .closed
        releaseExport()
        server.ended(connection)
    }

    private func send() {
        guard output.readableBytes > 0, let context else { return }
        context.writeAndFlush(wrapOutboundOut(output), promise: nil)
        output.clear()
    }
}
