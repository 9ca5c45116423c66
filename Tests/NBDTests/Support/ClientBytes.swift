import NBD
import NIOCore
import Wire

/// Big-endian bytes of `value`.
func be(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) }
}

/// What a client says in the negotiation.
enum Say {
    static func flags(_ flags: UInt32 = 3) -> [UInt8] { be(flags) }

    static func option(_ code: UInt32, _ payload: [UInt8] = [], length: UInt32? = nil) -> [UInt8] {
        be(Magic.option) + be(code) + be(length ?? UInt32(payload.count)) + payload
    }

    /// INFO or GO; `nameLength` and `count` may lie.
    static func info(
        _ code: UInt32, _ name: String, _ types: [UInt16] = [], nameLength: UInt32? = nil, count: UInt16? = nil
    ) -> [UInt8] {
        let payload =
            be(nameLength ?? UInt32(name.utf8.count)) + Array(name.utf8) + be(count ?? UInt16(types.count))
            + types.flatMap { be($0) }
        return option(code, payload)
    }

    static func go(_ name: String) -> [UInt8] { info(OptionCode.go, name) }

    static func request(
        _ type: UInt16, flags: UInt16 = 0, cookie: UInt64 = 0, offset: UInt64 = 0, length: UInt32 = 0,
        data: [UInt8] = [], magic: UInt32 = Magic.request
    ) -> [UInt8] {
        be(magic) + be(flags) + be(type) + be(cookie) + be(offset) + be(length) + data
    }

    static func read(_ offset: UInt64, _ length: UInt32, cookie: UInt64 = 0) -> [UInt8] {
        request(Command.read, cookie: cookie, offset: offset, length: length)
    }

    static func write(_ offset: UInt64, _ data: [UInt8], cookie: UInt64 = 0, flags: UInt16 = 0) -> [UInt8] {
        request(Command.write, flags: flags, cookie: cookie, offset: offset, length: UInt32(data.count), data: data)
    }

    static let disconnect = request(Command.disconnect)
}

/// What the server is expected to say.
enum Hear {
    static let greeting = Array("NBDMAGICIHAVEOPT".utf8) + be(3 as UInt16)

    static func option(_ code: UInt32, _ type: OptionReply, _ payload: [UInt8] = []) -> [UInt8] {
        be(Magic.optionReply) + be(code) + be(type.rawValue) + be(UInt32(payload.count)) + payload
    }

    static func reply(_ cookie: UInt64, _ error: IOFailure? = nil, data: [UInt8] = []) -> [UInt8] {
        be(Magic.simpleReply) + be(error?.rawValue ?? 0) + be(cookie) + data
    }
}

/// A negotiation with its buffers.
struct Handshake {
    var machine = Negotiation()
    var input = ByteBuffer()
    var output = ByteBuffer()

    /// A handshake in which greeting and client flags are done.
    init(flags: UInt32? = 3) {
        machine.begin(&output)
        if let flags {
            _ = send(Say.flags(flags))
            output.clear()
        }
    }

    mutating func send(_ bytes: [UInt8]) -> Negotiation.Action {
        input.writeBytes(bytes)
        return machine.receive(&input, &output)
    }

    /// Everything said since the last time.
    mutating func hear() -> [UInt8] {
        output.readBytes(length: output.readableBytes)!
    }

    /// The option replies since the last time, errors without their text.
    mutating func replies() -> [OptionReply] {
        var result: [OptionReply] = []
        while let (_, _, type, length) = output.readMultipleIntegers(as: (UInt64, UInt32, UInt32, UInt32).self) {
            result.append(OptionReply(rawValue: type)!)
            output.moveReaderIndex(forwardBy: Int(length))
        }
        return result
    }
}

/// A transmission with its export.
final class Session {
    let export: HeldExport
    let machine: Transmission
    /// Turns asked for since the last look.
    var turns: Int { counter.value }
    private let counter = Counter()

    private final class Counter { var value = 0 }

    init(_ export: HeldExport = HeldExport(), connection: UInt64 = 1, budget: ByteBudget = ByteBudget()) {
        self.export = export
        let counter = counter
        machine = Transmission(connection: ConnectionID(connection), export: export, budget: budget) {
            counter.value += 1
        }
    }

    func send(_ bytes: [UInt8]) {
        machine.receive(ByteBuffer(bytes: bytes), for: export)
    }

    /// What a turn of the shell sends. The client takes it at once unless it is `isSilent`.
    func hear(isSocketFull: Bool = false, isSilent: Bool = false) -> [UInt8] {
        var result: [UInt8] = []
        repeat {
            machine.replies.drain { result += $0.readableBytesView }
            if !isSilent { machine.clientTook(allBut: 0) }
            machine.resume(for: export, isSocketFull: isSocketFull)
        } while !machine.replies.isEmpty
        machine.endTurn()
        return result
    }
}
