import NBD
import NIOCore
import Wire

/// A disk in memory that checks what the server promises an export.
final class MemoryExport: Export, @unchecked Sendable {
    let name: String
    let summary = "memory for tests"
    private(set) var contents: [UInt8]
    var size: UInt64 { UInt64(contents.count) }
    let isReadOnly: Bool
    let blockSizes: BlockSizes
    let features: ExportFeatures
    /// Called at the beginning of each read, for tests that look around there.
    var onRead: (() -> Void)?
    private(set) var lost: [ConnectionID] = []
    /// While set, reads are not answered.
    private var holdsReads = false
    private var heldReads: [() -> Void] = []
    var heldReadCount: Int { heldReads.count }
    /// Where answers are put off to the next turn, as those of a cluster are; nil answers at once.
    private let later: (any EventLoop)?
    private var waiting: [() -> Void] = []

    init(
        name: String = "memory", size: Int, isReadOnly: Bool = false, blockSizes: BlockSizes = BlockSizes(),
        features: ExportFeatures = [.trim, .writeZeroes, .fastZero, .multipleConnections], later: (any EventLoop)? = nil
    ) {
        self.name = name
        contents = [UInt8](repeating: 0, count: size)
        self.isReadOnly = isReadOnly
        self.blockSizes = blockSizes
        self.features = features
        self.later = later
    }

    func resize(to size: Int) {
        if size < contents.count {
            contents.removeLast(contents.count - size)
        } else {
            contents += [UInt8](repeating: 0, count: size - contents.count)
        }
    }

    func read(offset: UInt64, length: Int, reply: PendingReply) {
        onRead?()
        check(offset, UInt64(length))
        let start = Int(offset)
        let data = contents.withUnsafeBytes {
            Bytes(copying: UnsafeRawBufferPointer(rebasing: $0[start..<start + length]))
        }
        if holdsReads { return heldReads.append { reply.complete(with: data) } }
        guard later != nil else { return reply.complete(with: data) }
        answerLater { reply.complete(with: data) }
    }

    /// From now on reads wait until they are let go.
    func holdReads() {
        holdsReads = true
    }

    func letReadsGo() {
        holdsReads = false
        let reads = heldReads
        heldReads = []
        for read in reads { read() }
    }

    func write(offset: UInt64, data: Bytes, fua: Bool, reply: PendingReply) {
        check(offset, UInt64(data.count))
        contents.withUnsafeMutableBytes { target in
            data.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)...]).copyMemory(from: $0)
            }
        }
        succeed(reply)
    }

    func flush(reply: PendingReply) {
        succeed(reply)
    }

    func trim(offset: UInt64, length: UInt64, fua: Bool, reply: PendingReply) {
        check(offset, length)
        zero(offset, length)
        succeed(reply)
    }

    func writeZeroes(offset: UInt64, length: UInt64, options: ZeroOptions, reply: PendingReply) {
        check(offset, length)
        zero(offset, length)
        succeed(reply)
    }

    func connectionLost(_ connection: ConnectionID) {
        lost.append(connection)
    }

    private func succeed(_ reply: PendingReply) {
        guard later != nil else { return reply.complete() }
        answerLater { reply.complete() }
    }

    private func answerLater(_ answer: @escaping () -> Void) {
        waiting.append(answer)
        guard waiting.count == 1 else { return }
        later?.execute {
            let answers = self.waiting
            self.waiting = []
            for answer in answers { answer() }
        }
    }

    private func zero(_ offset: UInt64, _ length: UInt64) {
        contents.withUnsafeMutableBytes { target in
            _ = UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<Int(offset + length)])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
    }

    private func check(_ offset: UInt64, _ length: UInt64) {
        precondition(length > 0 && length <= size && offset <= size - length, "\(offset)+\(length) of \(size)")
        precondition((offset | length) % UInt64(blockSizes.minimum) == 0, "\(offset)+\(length) is not aligned")
        precondition(!isReadOnly || lost.isEmpty, "use after loss")
    }
}

/// Memory disks by name.
final class MemoryDirectory: ExportDirectory, @unchecked Sendable {
    let disks: [MemoryExport]
    private let loop: any EventLoop
    /// Names opened and not closed, confined to the loop.
    private(set) var open: [String] = []

    init(_ disks: [MemoryExport], on loop: any EventLoop) {
        self.disks = disks
        self.loop = loop
    }

    func open(_ name: String) async throws(OpenFailure) -> MemoryExport {
        if name == "forbidden" { throw OpenFailure(.refused, "\(name) is not for you") }
        guard let disk = disks.first(where: { $0.name == name }) else {
            throw OpenFailure(.notFound, "there is no export \(name)")
        }
        _ = try? await loop.submit { self.open.append(name) }.get()
        return disk
    }

    func list() async throws(OpenFailure) -> [String] {
        disks.map(\.name)
    }

    func close(_ export: MemoryExport) async {
        let name = export.name
        _ = try? await loop.submit { self.open.remove(at: self.open.firstIndex(of: name)!) }.get()
    }
}
