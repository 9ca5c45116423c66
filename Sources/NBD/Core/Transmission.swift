import NIOCore
import Wire

/// The transmission phase of one connection: bytes in, operations to the export, replies out. No I/O.
///
/// A confined object and not a value, because the export answers it while it is giving the export requests.
///
/// - Requests are given to the export in the order of arrival, and replies leave in the order of completion.
/// - Bounds are met by taking no further bytes (`wantsBytes`), never by dropping a request.
/// - After `end` is set no request is given to the export. What it already has goes on; when the connection is gone the
///   answers are swallowed. A write that a client sends again elsewhere therefore comes after its first copy or instead
///   of it: bytes not yet taken when a connection dies, also those held back here for lack of room, are thrown away.
/// - A client that was left waiting for lack of room may have given the connection up meanwhile and sent its requests
///   again on another one, and newer ones after them. That need not show: its farewell stands behind what it had sent,
///   and that is not read. Nothing more is taken from it before the client has shown life (`needsLifeSign`).
package final class Transmission {
    /// Why no more requests are taken.
    package enum End: Hashable {
        /// The client took leave (NBD_CMD_DISC): outstanding requests are finished, then the connection is closed.
        case disconnected
        /// The server stops: as for `disconnected`; what was not taken is left to the client to ask again elsewhere.
        case stopped
        /// The client broke the protocol: the connection is closed at once.
        case violation(String)
        /// The connection is gone.
        case lost
    }

    /// What the next byte of input is part of.
    private enum Incoming {
        case header
        case payload(RequestHeader)
        /// The payload of a refused write, answered once it has been skipped.
        case skipping(Int, cookie: UInt64, IOFailure)
    }

    /// A request that the export holds. The generation tells a second answer from the answer to the slot's next request.
    private struct Slot {
        var cookie: UInt64 = 0
        var heldBytes: UInt32 = 0
        var generation: UInt32 = 0
        var isRead = false
        var isBusy = false
    }

    package let connection: ConnectionID
    /// Replies that wait to be sent.
    package var replies = ReplyQueue()
    package private(set) var end: End?
    /// Requests that the export holds.
    package private(set) var outstanding = 0

    private let offered: TransmissionFlags
    private let alignment: UInt64
    private let budget: ByteBudget
    private let requestTurn: () -> Void
    private var isTurnRequested = false
    /// True while input is being processed: the caller looks at the outcome, so no turn needs to be requested.
    private var isProcessing = false
    private var isGone = false
    private var isSocketFull = false
    /// Set when a turn ends without room, until the client shows life: it has when it takes more bytes of replies than these.
    private var stalledAt: Int?
    private var incoming = Incoming.header
    private var payload: ByteWriter?
    /// Input not taken yet: part of a header, or what came after room ran out.
    private var held = ByteBuffer()
    private var heldBytes = 0
    private var slots: ContiguousArray<Slot> = []
    private var free: ContiguousArray<UInt32> = []

    /// `requestTurn` is called when a reply came outside `receive` and `resume`, at most once until the next `resume`: it
    /// must lead to one. `budget` is that of the server.
    package init(
        connection: ConnectionID, export: some Export, budget: ByteBudget, requestTurn: @escaping () -> Void
    ) {
        self.connection = connection
        self.budget = budget
        self.requestTurn = requestTurn
        offered = TransmissionFlags(of: export)
        alignment = UInt64(export.blockSizes.minimum)
    }

    /// Whether the shell should read from the socket.
    package var wantsBytes: Bool { end == nil && hasRoom && stalledAt == nil }

    /// There is room again for a client that was left waiting: nothing is taken from it before `clientTook` says enough.
    package var needsLifeSign: Bool { end == nil && hasRoom && stalledAt != nil }

    /// Nothing more will happen: no request is taken and the export holds none.
    package var isFinished: Bool { end != nil && outstanding == 0 }

    private var hasRoom: Bool {
        outstanding < Limits.requestsInFlight && heldBytes < Limits.bytesInFlight
            && (heldBytes == 0 || budget.hasRoom) && replies.byteCount < Limits.replyBytes && !isSocketFull
    }

    // MARK: Events

    /// Bytes came from the client.
    package func receive(_ bytes: ByteBuffer, for export: some Export) {
        guard end == nil else { return }
        isProcessing = true
        defer { isProcessing = false }
        var input = bytes
        guard held.readableBytes > 0 else {
            process(&input, for: export)
            hold(input)
            return
        }
        var head = held
        held = ByteBuffer()
        // Complete the header alone, so that the rest need not be copied to stand behind it.
        let missing = RequestHeader.byteCount - head.readableBytes
        if missing > 0, var part = input.readSlice(length: min(missing, input.readableBytes)) {
            head.writeBuffer(&part)
        }
        process(&head, for: export)
        if head.readableBytes > 0 {
            head.writeBuffer(&input)
            if end == nil { held = head }
            return
        }
        process(&input, for: export)
        hold(input)
    }

    /// Goes on with input that was held back, if there is room now. To be called once per turn after the replies have been
    /// drained, with whether the socket can take more.
    package func resume(for export: some Export, isSocketFull: Bool) {
        isTurnRequested = false
        self.isSocketFull = isSocketFull
        guard wantsBytes, held.readableBytes > 0 else { return }
        isProcessing = true
        defer { isProcessing = false }
        var input = held
        held = ByteBuffer()
        process(&input, for: export)
        hold(input)
    }

    /// Nothing more happens in this turn: a client for which there is no room now is left waiting.
    package func endTurn() {
        guard end == nil, !hasRoom, stalledAt == nil else { return }
        // Of what fills the socket the last byte is still to be sent; otherwise the next reply is the first sent from now on,
        // and there will be one, since room comes from answers.
        stalledAt = isSocketFull ? replies.handedOut - 1 : replies.handedOut
    }

    /// The client's system has taken all replies handed out but the last `count` bytes, and the client has not closed. One
    /// sent since it was left waiting is a sign of life: the connection is in use, so its requests are nobody else's to
    /// repeat. `resume` then goes on with what is held.
    package func clientTook(allBut count: Int) {
        guard needsLifeSign, let mark = stalledAt else { return }
        if replies.handedOut - count > mark { stalledAt = nil }
    }

    /// The server stops: takes no more requests. An unfinished payload is forgotten, its write was never begun.
    package func stop() {
        if end == nil { finish(.stopped) }
    }

    /// The connection is gone, however it came about.
    package func connectionClosed(for export: some Export) {
        precondition(!isGone, "\(connection) closed twice")
        isGone = true
        let tookLeave = end == .disconnected || (end == .stopped && outstanding == 0)
        if end == nil { finish(.lost) }
        replies = ReplyQueue()
        if !tookLeave { export.connectionLost(connection) }
    }

    // MARK: Answers of the export

    func complete(_ reply: PendingReply, failure: IOFailure?) {
        let slot = release(reply)
        precondition(failure != nil || !slot.isRead, "\(connection): a read was answered without data")
        if !isGone { replies.append(failure, cookie: slot.cookie) }
        announce()
    }

    func complete(_ reply: PendingReply, data: Bytes) {
        let slot = release(reply)
        precondition(
            slot.isRead && data.count == slot.heldBytes,
            "\(connection): \(data.count) bytes answer a request for \(slot.heldBytes)")
        if !isGone { replies.append(data, cookie: slot.cookie) }
        announce()
    }

    func completeWithZeroes(_ reply: PendingReply) {
        let slot = release(reply)
        precondition(slot.isRead, "\(connection): only a read is answered with zeroes")
        if !isGone { replies.append(zeroes: Int(slot.heldBytes), cookie: slot.cookie) }
        announce()
    }

    private func release(_ reply: PendingReply) -> Slot {
        let index = Int(reply.slot)
        let slot = slots[index]
        precondition(slot.isBusy && slot.generation == reply.generation, "\(connection): a request was answered twice")
        slots[index].isBusy = false
        slots[index].generation &+= 1
        free.append(reply.slot)
        outstanding -= 1
        heldBytes -= Int(slot.heldBytes)
        budget.giveBack(Int(slot.heldBytes))
        return slot
    }

    private func announce() {
        guard !isProcessing, !isTurnRequested else { return }
        isTurnRequested = true
        requestTurn()
    }

    // MARK: Input

    private func process(_ input: inout ByteBuffer, for export: some Export) {
        while end == nil, stalledAt == nil {
            switch incoming {
            case .header:
                guard hasRoom, let header = RequestHeader(takenFrom: &input) else { return }
                take(header, &input, for: export)
            case .payload(let header):
                guard let data = collect(&input, of: header) else { return }
                incoming = .header
                write(data, header, for: export)
            case .skipping(let count, let cookie, let failure):
                let skipped = min(count, input.readableBytes)
                input.moveReaderIndex(forwardBy: skipped)
                guard skipped == count else {
                    incoming = .skipping(count - skipped, cookie: cookie, failure)
                    return
                }
                incoming = .header
                replies.append(failure, cookie: cookie)
            }
        }
    }

    private func take(_ header: RequestHeader, _ input: inout ByteBuffer, for export: some Export) {
        guard header.magic == Magic.request else {
            return finish(.violation("request with magic 0x\(String(header.magic, radix: 16))"))
        }
        if header.type == Command.disconnect { return finish(.disconnected) }
        if header.hasPayload, header.length > Limits.payloadBytes {
            return finish(.violation("write of \(header.length) bytes, the limit is \(Limits.payloadBytes)"))
        }
        if let refusal = header.refusal(size: export.size, offered: offered, alignment: alignment) {
            if header.hasPayload {
                incoming = .skipping(Int(header.length), cookie: header.cookie, refusal)
            } else {
                replies.append(refusal, cookie: header.cookie)
            }
            return
        }
        if header.hasPayload {
            let length = Int(header.length)
            guard input.readableBytes >= length else {
                incoming = .payload(header)
                payload = ByteWriter(capacity: length)
                return
            }
            let data = input.readWithUnsafeReadableBytes { bytes in
                (length, Bytes(copying: UnsafeRawBufferPointer(rebasing: bytes[..<length])))
            }
            return give(header, data, to: export)
        }
        give(header, .empty, to: export)
    }

    /// Adds what `input` has to the payload; the whole payload once it is there.
    private func collect(_ input: inout ByteBuffer, of header: RequestHeader) -> Bytes? {
        let have = payload?.count ?? 0
        let part = min(Int(header.length) - have, input.readableBytes)
        input.readWithUnsafeReadableBytes { bytes in
            payload?.writeRaw(UnsafeRawBufferPointer(rebasing: bytes[..<part]))
            return part
        }
        guard have + part == Int(header.length) else { return nil }
        return payload.take()?.finish()
    }

    /// A write whose payload came in parts: the size may have changed since its header was checked.
    private func write(_ data: Bytes, _ header: RequestHeader, for export: some Export) {
        if let refusal = header.refusal(size: export.size, offered: offered, alignment: alignment) {
            replies.append(refusal, cookie: header.cookie)
        } else {
            give(header, data, to: export)
        }
    }

    /// Gives a checked request to the export, or answers it here when there is nothing to do.
    private func give(_ header: RequestHeader, _ data: Bytes, to export: some Export) {
        if header.type == Command.flush { return export.flush(reply: admit(header)) }
        if header.length == 0 || header.type == Command.cache {
            return replies.append(nil, cookie: header.cookie)
        }
        let reply = admit(header)
        let isDurable = header.flags.contains(.fua)
        switch header.type {
        case Command.read:
            export.read(offset: header.offset, length: Int(header.length), reply: reply)
        case Command.write:
            export.write(offset: header.offset, data: data, fua: isDurable, reply: reply)
        case Command.trim:
            export.trim(offset: header.offset, length: UInt64(header.length), fua: isDurable, reply: reply)
        case Command.writeZeroes:
            var options: ZeroOptions = isDurable ? .durable : []
            if header.flags.contains(.noHole) { options.insert(.noHole) }
            if header.flags.contains(.fastZero) { options.insert(.fast) }
            export.writeZeroes(offset: header.offset, length: UInt64(header.length), options: options, reply: reply)
        default:
            preconditionFailure("request of type \(header.type) passed the checks")
        }
    }

    private func admit(_ header: RequestHeader) -> PendingReply {
        let index: UInt32
        if let last = free.popLast() {
            index = last
        } else {
            index = UInt32(slots.count)
            slots.append(Slot())
        }
        let carriesData = header.type == Command.read || header.type == Command.write
        let bytes = carriesData ? header.length : 0
        let generation = slots[Int(index)].generation
        slots[Int(index)] = Slot(
            cookie: header.cookie, heldBytes: bytes, generation: generation,
            isRead: header.type == Command.read, isBusy: true)
        outstanding += 1
        heldBytes += Int(bytes)
        budget.take(Int(bytes))
        return PendingReply(transmission: self, slot: index, generation: generation)
    }

    /// Keeps what could not be taken. Less than a header is copied, so as not to keep a large buffer for it.
    private func hold(_ input: ByteBuffer) {
        guard end == nil, input.readableBytes > 0 else { return }
        held = input.readableBytes < RequestHeader.byteCount ? ByteBuffer(bytes: input.readableBytesView) : input
    }

    private func finish(_ reason: End) {
        end = reason
        payload = nil
        held = ByteBuffer()
    }
}
