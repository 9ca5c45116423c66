import NBD
import Wire

/// An export that answers when the test says so, and writes down what it was asked.
final class HeldExport: Export, @unchecked Sendable {
    let name = "held"
    let summary = "answers by hand"
    var size: UInt64
    var isReadOnly = false
    var blockSizes = BlockSizes()
    var features: ExportFeatures = [.trim, .writeZeroes, .fastZero, .multipleConnections]
    /// One line for each call, in order.
    private(set) var calls: [String] = []
    /// What is to be answered, oldest first: the length for a read, nil for others.
    private(set) var pending: [(reply: PendingReply, length: Int?)] = []

    init(size: UInt64 = 1 << 20) {
        self.size = size
    }

    /// The calls since the last time.
    func takeCalls() -> [String] {
        defer { calls = [] }
        return calls
    }

    /// Answers the operation at `index` with success; a read with bytes of the value `fill`.
    func answer(_ index: Int = 0, fill: UInt8 = 0xaa) {
        let (reply, length) = pending.remove(at: index)
        if let length { reply.complete(with: Bytes(repeating: fill, count: length)) } else { reply.complete() }
    }

    func answerWithZeroes(_ index: Int = 0) {
        pending.remove(at: index).reply.completeWithZeroes()
    }

    func fail(_ index: Int = 0, _ failure: IOFailure) {
        pending.remove(at: index).reply.fail(failure)
    }

    func answerAll() {
        while !pending.isEmpty { answer() }
    }

    func read(offset: UInt64, length: Int, reply: PendingReply) {
        calls.append("read \(offset)+\(length)")
        pending.append((reply, length))
    }

    func write(offset: UInt64, data: Bytes, fua: Bool, reply: PendingReply) {
        let sum = Checksum.crc32c(data)
        calls.append("write \(offset)+\(data.count)\(fua ? " fua" : "") \(String(sum, radix: 16))")
        pending.append((reply, nil))
    }

    func flush(reply: PendingReply) {
        calls.append("flush")
        pending.append((reply, nil))
    }

    func trim(offset: UInt64, length: UInt64, fua: Bool, reply: PendingReply) {
        calls.append("trim \(offset)+\(length)\(fua ? " fua" : "")")
        pending.append((reply, nil))
    }

    func writeZeroes(offset: UInt64, length: UInt64, options: ZeroOptions, reply: PendingReply) {
        var words = ""
        if options.contains(.durable) { words += " fua" }
        if options.contains(.noHole) { words += " nohole" }
        if options.contains(.fast) { words += " fast" }
        calls.append("zero \(offset)+\(length)\(words)")
        pending.append((reply, nil))
    }

    func connectionLost(_ connection: ConnectionID) {
        calls.append("lost \(connection.rawValue)")
    }
}
