import Glibc
import NIOCore
import Protocol
import RADOS
import Wire

/// `rados bench`: writes objects for a time, or reads what such a run has left.
public enum ObjectBench {
    /// What is measured.
    public enum Mode: String, CaseIterable, Sendable {
        case write
        /// Reads in the order of writing.
        case seq
        /// Reads in no order.
        case rand
    }

    /// How it is measured, checked.
    public struct Plan: Sendable {
        let seconds: UInt32
        let mode: Mode
        let concurrency: Int
        let blockSize: Int
        let objectSize: Int
        let isCleaned: Bool
        let runName: String

        /// Throws EINVAL for what cannot be measured, naming the limit.
        public init(
            seconds: UInt32, mode: Mode, concurrency: Int, blockSize: Int, objectSize: Int, isCleaned: Bool,
            runName: String
        ) throws(CommandError) {
            func refuse(_ what: String) -> CommandError { CommandError(errno: EINVAL, what) }
            guard (1...86_400).contains(seconds) else {
                throw refuse("bench takes \(seconds) seconds: give 1 to 86400")
            }
            guard (1...1024).contains(concurrency) else {
                throw refuse("-t is \(concurrency): give 1 to 1024 requests at a time")
            }
            guard (1...StorageLimits.writeSize).contains(blockSize) else {
                throw refuse("-b is \(blockSize): give 1 to \(StorageLimits.writeSize) bytes")
            }
            guard (blockSize...Int(StorageLimits.objectSize)).contains(objectSize), objectSize % blockSize == 0 else {
                throw refuse(
                    "-O is \(objectSize): give a multiple of the block size up to \(StorageLimits.objectSize) bytes")
            }
            guard !runName.isEmpty, runName.utf8.count <= ObjectName.limit else {
                throw refuse("--run-name has to have 1 to \(ObjectName.limit) bytes")
            }
            (self.seconds, self.mode, self.concurrency, self.blockSize) = (seconds, mode, concurrency, blockSize)
            (self.objectSize, self.isCleaned, self.runName) = (objectSize, isCleaned, runName)
        }
    }

    /// What a run of writes leaves for reads, as the content of the object with the run's name.
    package struct Record: Equatable {
        var prefix: String
        var blockSize: UInt64
        var objectSize: UInt64
        var blocks: UInt64

        package init(prefix: String, blockSize: UInt64, objectSize: UInt64, blocks: UInt64) {
            (self.prefix, self.blockSize, self.objectSize, self.blocks) = (prefix, blockSize, objectSize, blocks)
        }

        package init(decoding bytes: Bytes) throws(WireError) {
            var reader = ByteReader(bytes)
            self = try reader.versioned("bench record", supported: 1) { r, _ throws(WireError) in
                Record(
                    prefix: try r.readString(atMost: ObjectName.limit), blockSize: try r.readU64(),
                    objectSize: try r.readU64(), blocks: try r.readU64())
            }
            guard (1...UInt64(StorageLimits.writeSize)).contains(blockSize), objectSize >= blockSize,
                objectSize % blockSize == 0, objectSize <= StorageLimits.objectSize, blocks <= 1 << 40
            else { throw WireError("a bench record of blocks of \(blockSize) in objects of \(objectSize) bytes") }
        }

        package var encoded: Bytes {
            .encoding { writer in
                writer.versioned(1) { writer in
                    writer.writeString(prefix)
                    for value in [blockSize, objectSize, blocks] { writer.writeU64(value) }
                }
            }
        }

        /// Where block `number` stands.
        package func place(of number: UInt64) -> (object: ObjectName, offset: UInt64) {
            let perObject = objectSize / blockSize
            return (object(number / perObject), number % perObject * blockSize)
        }

        func object(_ number: UInt64) -> ObjectName { ObjectName("\(prefix)_object\(number)") }

        package var objects: UInt64 { (blocks + objectSize / blockSize - 1) / (objectSize / blockSize) }
    }
}

/// One run, confined to the loop of the cluster's connection.
final class BenchRun: ReplyReceiver, @unchecked Sendable {
    private let plan: ObjectBench.Plan
    private(set) var record: ObjectBench.Record
    private let loop: any EventLoop
    private var channel: PoolChannel!
    private let data: Bytes
    private let show: (String) -> Void
    private var began: [UInt64: NIODeadline] = [:]
    private let start = NIODeadline.now()
    private var deadline: NIODeadline
    private var next: UInt64 = 0
    private var finished: UInt64 = 0
    private var isEnding = false
    private var failure: Int32?
    private var latencies: [Double] = []
    private var lastLatency = 0.0
    private var perSecond: [UInt64] = []
    private var lastFinished: UInt64 = 0
    private var ticker: RepeatedTask?
    private var end: NIODeadline?
    private let promise: EventLoopPromise<Void>
    private var generator = SystemRandomNumberGenerator()

    init(_ plan: ObjectBench.Plan, _ record: ObjectBench.Record, _ pool: RADOSPool, show: @escaping (String) -> Void) {
        self.plan = plan
        self.record = record
        self.show = show
        loop = pool.loop
        promise = loop.makePromise(of: Void.self)
        deadline = .now() + .seconds(Int64(plan.seconds))
        data = Bytes(
            (0..<(plan.mode == .write ? plan.blockSize : 0)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        )
        channel = pool.channel(for: self)
    }

    /// Ends when all that was begun in time has ended.
    func run() -> EventLoopFuture<Void> {
        show("  sec Cur ops   started  finished  avg MB/s  cur MB/s last lat(s)  avg lat(s)\n")
        row(0)
        ticker = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { [weak self] _ in
            guard let self else { return }
            perSecond.append(finished - lastFinished)
            row(perSecond.count)
            lastFinished = finished
        }
        for _ in 0..<plan.concurrency { begin() }
        endIfDone()
        return promise.futureResult
    }

    private func begin() {
        guard failure == nil, NIODeadline.now() < deadline, plan.mode != .seq || next < record.blocks else {
            isEnding = true
            return
        }
        let number = next
        next += 1
        began[number] = .now()
        if plan.mode == .write {
            record.blocks = next
            let (object, offset) = record.place(of: number)
            channel.submit([.write(offset: offset, data: data)], on: object, token: number)
        } else {
            let block = plan.mode == .seq ? number : UInt64.random(in: 0..<record.blocks, using: &generator)
            let (object, offset) = record.place(of: block)
            channel.submit([.read(offset: offset, length: UInt32(record.blockSize))], on: object, token: number)
        }
    }

    func received(_ reply: OperationReply, token: UInt64) {
        guard let start = began.removeValue(forKey: token), case .done(let errno) = reply.outcome else {
            preconditionFailure("an answer to block \(token) nobody waits for")
        }
        if errno != 0 {
            failure = errno
        } else {
            finished += 1
            lastLatency = Double((NIODeadline.now() - start).nanoseconds) / 1e9
            latencies.append(lastLatency)
        }
        begin()
        endIfDone()
    }

    func clusterChanged() {}

    private func endIfDone() {
        guard isEnding, began.isEmpty, end == nil else { return }
        end = .now()
        ticker?.cancel()
        ticker = nil
        channel.close()
        if let failure {
            promise.fail(RADOSError(errno: failure, String(cString: strerror(failure))))
        } else {
            promise.succeed(())
        }
    }

    // MARK: What is shown

    private var elapsed: Double { max(1e-9, Double(((end ?? .now()) - start).nanoseconds) / 1e9) }
    private var blockMegabytes: Double { Double(record.blockSize) / 1_048_576 }

    private func row(_ second: Int) {
        let current = Double(finished - lastFinished) * blockMegabytes
        let average = second == 0 ? 0 : Double(finished) / elapsed * blockMegabytes
        let cells = [
            ("\(second)", 5), ("\(began.count)", 8), ("\(next)", 10), ("\(finished)", 10),
            (Layout.decimal(average, 3), 10), (Layout.decimal(current, 3), 10),
            (latencies.isEmpty ? "-" : Layout.decimal(lastLatency, 6), 12),
            (latencies.isEmpty ? "-" : Layout.decimal(Self.mean(latencies), 6), 12),
        ]
        show(cells.map { String(repeating: " ", count: max(0, $1 - $0.count)) + $0 }.joined() + "\n")
    }

    private static func mean(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    private static func deviation(_ values: [Double]) -> Double {
        guard values.count > 1 else { return 0 }
        let mean = mean(values)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }

    /// To be called when the run has ended: measures up to its end.
    var report: BenchReport {
        let rates = perSecond.map(Double.init)
        let bandwidths = rates.map { $0 * blockMegabytes }
        return BenchReport(
            totalTimeRun: latencies.isEmpty ? 0 : elapsed, totalMade: finished, size: record.blockSize,
            objectSize: record.objectSize, bandwidth: Double(finished) / elapsed * blockMegabytes,
            stddevBandwidth: Self.deviation(bandwidths), maxBandwidth: bandwidths.max() ?? 0,
            minBandwidth: bandwidths.min() ?? 0, averageIops: Double(finished) / elapsed,
            stddevIops: Self.deviation(rates), maxIops: rates.max() ?? 0, minIops: rates.min() ?? 0,
            averageLatency: Self.mean(latencies), stddevLatency: Self.deviation(latencies),
            maxLatency: latencies.max() ?? 0, minLatency: latencies.min() ?? 0)
    }
}

extension RadosAdministration {
    /// Measures.
    public func bench(_ plan: ObjectBench.Plan) async throws(CommandError) {
        let pool = try await openPool()
        do {
            let record = try await record(for: plan, pool)
            let (isShown, write) = (output.format == .plain, write)
            let shown: @Sendable (String) -> Void = { if isShown { write($0) } }
            if plan.mode == .write {
                shown(
                    "Maintaining \(plan.concurrency) concurrent writes of \(plan.blockSize) bytes to objects of size "
                        + "\(plan.objectSize) for up to \(plan.seconds) seconds or 0 objects\n")
                shown("Object prefix: \(record.prefix)\n")
            }
            let run = try await pool.loop.submit { BenchRun(plan, record, pool, show: shown) }.get()
            try await pool.loop.flatSubmit { run.run() }.get()
            // It has ended, so nothing of it changes any more.
            let (report, made) = (run.report, run.record)
            output.show(report) { $0.text(plan.mode) }
            guard plan.mode == .write else { return }
            if plan.isCleaned {
                try await clean(made, pool)
                shown("Removed \(made.objects) objects\n")
            } else {
                try await pool.perform([.writeFull(data: made.encoded)], on: ObjectName(plan.runName))
            }
        } catch let error as CommandError {
            throw error
        } catch {
            let line = (error as? RADOSError).map { "(\($0.errno)) \($0.description)" } ?? "\(error)"
            throw CommandError(errno: Self.status, "error during benchmark of pool '\(poolName)': \(line)")
        }
    }

    private func record(for plan: ObjectBench.Plan, _ pool: RADOSPool) async throws -> ObjectBench.Record {
        if plan.mode == .write {
            return ObjectBench.Record(
                prefix: "benchmark_data_\(HostName.current)_\(getpid())", blockSize: UInt64(plan.blockSize),
                objectSize: UInt64(plan.objectSize), blocks: 0)
        }
        do {
            let bytes = try await pool.perform([.read(offset: 0, length: 4096)], on: ObjectName(plan.runName)).first
            let record = try ObjectBench.Record(decoding: bytes ?? .empty)
            if record.blocks > 0 { return record }
        } catch let error as RADOSError {
            guard error.errno == ENOENT else { throw error }
        }
        throw CommandError(
            errno: Self.status, "Must write data before running a read benchmark: use bench write --no-cleanup")
    }

    private func clean(_ record: ObjectBench.Record, _ pool: RADOSPool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for number in 0..<record.objects {
                if number >= UInt64(ClientLimits.administrativeRequests) { try await tasks.next() }
                tasks.addTask {
                    do { try await pool.perform([.remove], on: record.object(number)) } catch let error as RADOSError {
                        guard error.errno == ENOENT else { throw error }
                    }
                }
            }
            try await tasks.waitForAll()
        }
    }
}
