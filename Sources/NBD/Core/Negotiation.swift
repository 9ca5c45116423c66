import NIOCore

/// The handshake of one connection: fixed newstyle ("Newstyle negotiation"). No I/O: bytes in, bytes out, and an action
/// for the shell.
///
/// `receive` is called until it says `.wait`. After `.open` and `.list` it is not called until `opened`, `refused` or
/// `listed` has given the answer; what the client sends meanwhile stays with the caller.
package struct Negotiation {
    /// What the shell must do. Output is to be sent before any of them.
    package enum Action: Hashable {
        /// More bytes of the client are needed.
        case wait
        /// Find the export and answer with `opened` or `refused`.
        case open(name: String)
        /// Find the names and answer with `listed` or `refused`.
        case list
        /// The export opened last serves the rest of the connection, beginning with the input that is left.
        case beginTransmission
        /// Close the connection.
        case close(End)
    }

    /// Why a negotiation ended without an export.
    package enum End: Hashable {
        /// The client took leave (NBD_OPT_ABORT).
        case aborted
        /// The client took longer than `Limits.handshakeSeconds`.
        case tooSlow
        /// EXPORT_NAME was refused, for which the protocol has no other answer.
        case refused(String)
        /// The client broke the protocol.
        case violation(String)
    }

    private enum State {
        case clientFlags
        case option
        /// The payload of an option of at most `Limits.optionPayloadBytes`.
        case payload(OptionHeader)
        /// A payload that is not kept, answered once it has been skipped.
        case skipping(UInt32, option: UInt32, OptionReply, String)
        case opening(Opening)
        case listing
        case ended
    }

    private struct Opening {
        let option: UInt32
        let asked: Set<UInt16>
    }

    private var state = State.clientFlags
    private var noZeroes = false
    private var options = 0
    private var isStopping = false

    package init() {}

    /// True while the shell, not the client, is to move.
    package var isWaitingForExport: Bool {
        switch state {
        case .opening, .listing: true
        case .clientFlags, .option, .payload, .skipping, .ended: false
        }
    }

    // MARK: Events

    /// The connection is there: greets the client.
    package func begin(_ output: inout ByteBuffer) {
        output.writeMultipleIntegers(
            Magic.server, Magic.option, UInt16(HandshakeFlags.fixedNewstyle | HandshakeFlags.noZeroes))
    }

    /// Takes what it can from `input`.
    package mutating func receive(_ input: inout ByteBuffer, _ output: inout ByteBuffer) -> Action {
        while true {
            switch state {
            case .clientFlags:
                guard let flags = input.readInteger(as: UInt32.self) else { return .wait }
                if let action = take(clientFlags: flags) { return action }
            case .option:
                guard let header = OptionHeader(takenFrom: &input) else { return .wait }
                if let action = take(header) { return action }
            case .payload(let header):
                guard let payload = input.readSlice(length: Int(header.length)) else { return .wait }
                state = .option
                if let action = take(header, payload, &output) { return action }
            case .skipping(let count, let option, let reply, let text):
                let skipped = min(count, UInt32(clamping: input.readableBytes))
                input.moveReaderIndex(forwardBy: Int(skipped))
                guard skipped == count else {
                    state = .skipping(count - skipped, option: option, reply, text)
                    return .wait
                }
                state = .option
                output.writeOptionError(reply, to: option, text)
            case .opening, .listing, .ended:
                preconditionFailure("bytes taken while \(state)")
            }
        }
    }

    /// The export asked for is open.
    package mutating func opened(_ export: ExportDescription, _ output: inout ByteBuffer) -> Action {
        guard case .opening(let opening) = state else { preconditionFailure("opened while \(state)") }
        switch opening.option {
        case OptionCode.exportName:
            output.writeOldStyleExport(export, zeroes: !noZeroes)
        case OptionCode.go:
            output.writeInformation(export, to: opening.option, asked: opening.asked)
        default:
            output.writeInformation(export, to: opening.option, asked: opening.asked)
            state = .option
            return .wait
        }
        state = .ended
        return .beginTransmission
    }

    /// The names asked for are there.
    package mutating func listed(_ names: [String], _ output: inout ByteBuffer) -> Action {
        guard case .listing = state else { preconditionFailure("listed while \(state)") }
        state = .option
        if names.count > Limits.listedNames {
            output.writeOptionError(
                .tooBig, to: OptionCode.list, "\(names.count) exports, a list is limited to \(Limits.listedNames)")
        } else {
            output.writeList(names)
        }
        return .wait
    }

    /// The export or the names asked for cannot be had.
    package mutating func refused(_ failure: OpenFailure, _ output: inout ByteBuffer) -> Action {
        switch state {
        case .opening(let opening):
            return refuse(failure, opening.option, &output)
        case .listing:
            return refuse(failure, OptionCode.list, &output)
        case .clientFlags, .option, .payload, .skipping, .ended:
            preconditionFailure("refused while \(state)")
        }
    }

    /// The time for a handshake is over. `.wait` while the client waits for us: then it has the same time again.
    package mutating func timeExpired() -> Action {
        isWaitingForExport ? .wait : end(.tooSlow)
    }

    /// The server is stopping: nothing is opened any more.
    package mutating func stop() {
        isStopping = true
    }

    // MARK: Options

    private mutating func take(clientFlags flags: UInt32) -> Action? {
        let unknown = flags & ~(HandshakeFlags.fixedNewstyle | HandshakeFlags.noZeroes)
        guard unknown == 0 else { return end(.violation("unknown client flags 0x\(String(unknown, radix: 16))")) }
        // Without "fixed newstyle" a client may send only EXPORT_NAME. Serving it more does no harm.
        noZeroes = flags & HandshakeFlags.noZeroes != 0
        state = .option
        return nil
    }

    private mutating func take(_ header: OptionHeader) -> Action? {
        guard header.magic == Magic.option else {
            return end(.violation("option with magic 0x\(String(header.magic, radix: 16))"))
        }
        options += 1
        guard options <= Limits.options else { return end(.violation("more than \(Limits.options) options")) }
        switch header.code {
        case OptionCode.exportName:
            guard header.length <= Limits.stringBytes else {
                return end(.violation("export name of \(header.length) bytes, the limit is \(Limits.stringBytes)"))
            }
            state = .payload(header)
        case OptionCode.abort, OptionCode.list, OptionCode.info, OptionCode.go:
            guard header.length <= Limits.optionPayloadBytes else {
                let text = "option of \(header.length) bytes, the limit is \(Limits.optionPayloadBytes)"
                state = .skipping(header.length, option: header.code, .tooBig, text)
                return nil
            }
            state = .payload(header)
        default:
            state = .skipping(
                header.length, option: header.code, .unsupported, "option \(header.code) is not supported")
        }
        return nil
    }

    /// Nil means: go on with the next option.
    private mutating func take(_ header: OptionHeader, _ payload: ByteBuffer, _ output: inout ByteBuffer) -> Action? {
        if header.code == OptionCode.abort {
            output.writeOptionReply(.ack, to: header.code)
            return end(.aborted)
        }
        do throws(OpenFailure) {
            guard !isStopping else { throw OpenFailure(.shutdown, "the server is stopping, try again later") }
            switch header.code {
            case OptionCode.exportName:
                let name = try exportName(payload)
                state = .opening(Opening(option: header.code, asked: []))
                return .open(name: name)
            case OptionCode.list:
                guard payload.readableBytes == 0 else { throw OpenFailure(.invalid, "a list request has no payload") }
                state = .listing
                return .list
            default:
                let request = try InfoRequest(payload)
                state = .opening(Opening(option: header.code, asked: request.types))
                return .open(name: request.name)
            }
        } catch {
            let action = refuse(error, header.code, &output)
            return action == .wait ? nil : action
        }
    }

    private mutating func refuse(_ failure: OpenFailure, _ option: UInt32, _ output: inout ByteBuffer) -> Action {
        if option == OptionCode.exportName { return end(.refused(failure.description)) }
        state = .option
        output.writeOptionError(OptionReply(failure.kind), to: option, failure.description)
        return .wait
    }

    private mutating func end(_ reason: End) -> Action {
        state = .ended
        return .close(reason)
    }
}
