import Foundation
import NBD
import NIOCore
import Testing

/// Not a test of anything: with NACRE_MEASURE=1, what fio gets from a disk in memory over a unix socket, and what the server's
/// thread spends on it. The budget is that of a bare server in DESIGN, "Budgets".
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["NACRE_MEASURE"] == "1")) struct MeasureTests {
    struct Job: Sendable {
        let name: String
        let arguments: [String]
    }

    static let jobs = [
        Job(name: "4k randread  QD1 ", arguments: ["--rw=randread", "--bs=4k", "--iodepth=1"]),
        Job(name: "4k randwrite QD1 ", arguments: ["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
        Job(name: "4k randread  QD32", arguments: ["--rw=randread", "--bs=4k", "--iodepth=32"]),
        Job(name: "4k randwrite QD32", arguments: ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
        Job(name: "1M read      QD4 ", arguments: ["--rw=read", "--bs=1m", "--iodepth=4"]),
        Job(name: "1M write     QD4 ", arguments: ["--rw=write", "--bs=1m", "--iodepth=4"]),
    ]

    private struct Report: Decodable {
        struct Side: Decodable {
            struct Latency: Decodable {
                let percentile: [String: Double]?
            }
            enum CodingKeys: String, CodingKey {
                case iops
                case bytesPerSecond = "bw_bytes"
                case operations = "total_ios"
                case latency = "clat_ns"
            }
            let iops: Double
            let bytesPerSecond: Double
            let operations: Double
            let latency: Latency
        }
        struct Job: Decodable {
            let read: Side
            let write: Side
        }
        let jobs: [Job]
    }

    @Test(arguments: [false, true]) func memoryDisk(later: Bool) async throws {
        let fio = try Tool("fio", package: "fio"), nbdkit = try Tool("nbdkit", package: "nbdkit")
        let python = try Tool("python3", package: "python3")
        // nbdkit ends by a signal, which the mask inherited from this thread may block.
        let unmask =
            "import os,signal,sys; signal.pthread_sigmask(signal.SIG_SETMASK, []); os.execv(sys.argv[1], sys.argv[1:])"
        let common = [
            "--name=m", "--ioengine=nbd", "--size=256m", "--time_based", "--runtime=2", "--output-format=json",
        ]
        try await RunningServer.with({ [MemoryExport(size: 256 << 20, later: later ? $0 : nil)] }) { running in
            for transport in [running.unix, running.tcp] {
                for job in Self.jobs {
                    let before = try await running.loop.submit { Self.threadMicroseconds() }.get()
                    let text = try await fio.succeed(
                        common + job.arguments + ["--uri=\(transport.uri(export: "memory"))"])
                    let after = try await running.loop.submit { Self.threadMicroseconds() }.get()
                    let side = try report(text)
                    let p50 = (side.latency.percentile?["50.000000"] ?? 0) / 1000
                    // The peer in the same minute: the machine may be busy with other things.
                    var peer = ""
                    if transport == running.unix, !later {
                        let command = "fio \((common + job.arguments).joined(separator: " ")) --uri=\"$uri\""
                        let other = try report(
                            try await python.succeed([
                                "-c", unmask, nbdkit.path, "-U", "-", "memory", "256m", "--run", command,
                            ]))
                        peer = ", nbdkit memory \(Int(other.iops)) IOPS"
                    }
                    print(
                        "\(transport == running.unix ? "unix" : "tcp ") \(later ? "later" : "now  ") \(job.name): "
                            + "\(Int(side.iops)) IOPS, \(Int(side.bytesPerSecond / 1_048_576)) MiB/s, p50 \(p50) µs, "
                            + "server \(((after - before) / side.operations * 100).rounded() / 100) µs CPU/op\(peer)")
                }
            }
        }
    }

    /// The side of fio's report that did the work.
    private func report(_ text: String) throws -> Report.Side {
        let report = try JSONDecoder().decode(Report.self, from: Data(text.drop { $0 != "{" }.utf8))
        return [report.jobs[0].read, report.jobs[0].write].max { $0.operations < $1.operations }!
    }

    private static func threadMicroseconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1e6 + Double(time.tv_nsec) / 1e3
    }
}
