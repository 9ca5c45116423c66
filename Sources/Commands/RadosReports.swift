import Glibc
import Monitor
import Synchronization
import Wire

/// An object of a pool.
struct ObjectEntry: Report {
    var namespace = ""
    var name: String
}

/// How an object is.
struct ObjectStatusReport: Report {
    var pool: String
    var name: String
    var size: UInt64
    var mtime: String
    var version: String
}

/// Someone who watches an object.
struct WatcherEntry: Report {
    var address: String
    var client: String
    var cookie: UInt64
}

/// A key of an object's map, with its value in hexadecimal digits.
struct MapEntry: Report {
    var key: String
    var hex: String
}

/// A watch's cookie, known only after its handler was made.
final class CookieBox: Sendable {
    private let cookie = Mutex<UInt64>(0)
    var value: UInt64 { cookie.withLock { $0 } }
    func set(_ value: UInt64) { cookie.withLock { $0 = value } }
}

package enum TimeText {
    /// A time in this machine's zone, to the microsecond, with the zone.
    package static func local(nanoseconds: UInt64) -> String {
        var (time, parts) = (time_t(clamping: nanoseconds / 1_000_000_000), tm())
        localtime_r(&time, &parts)
        func format(_ form: String) -> String {
            var buffer = [CChar](repeating: 0, count: 64)
            strftime(&buffer, 64, form, &parts)
            return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        let micros = String(nanoseconds % 1_000_000_000 / 1000)
        return format("%Y-%m-%dT%H:%M:%S.") + String(repeating: "0", count: 6 - micros.count) + micros + format("%z")
    }
}

/// Bytes as `rados` shows them.
package enum HexDump {
    private static func hex(_ value: Int, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    static func digits(_ bytes: Bytes) -> String { bytes.array.map { hex(Int($0), 2) }.joined() }

    /// Lines of sixteen bytes, each with its offset and its characters, then the length; a run of equal lines is shown once,
    /// with a star.
    package static func lines(_ bytes: Bytes) -> String {
        let all = bytes.array
        var text = ""
        var last: ArraySlice<UInt8>?
        var isRun = false
        for offset in stride(from: 0, to: all.count, by: 16) {
            let row = all[offset..<min(offset + 16, all.count)]
            if let last, row.count == 16, row.elementsEqual(last) {
                if !isRun { text += "*\n" }
                isRun = true
                continue
            }
            isRun = false
            last = row
            text += hex(offset, 8) + " "
            for column in 0..<16 {
                if column == 8 { text += " " }
                text += column < row.count ? " " + hex(Int(row[row.startIndex + column]), 2) : "   "
            }
            let characters = row.map { (0x20..<0x7f).contains($0) ? Character(Unicode.Scalar($0)) : "." }
            text += "  |" + String(characters) + "|\n"
        }
        return text + hex(all.count, 8) + "\n"
    }

    /// A value as `rados listomapvals` shows it.
    static func value(_ bytes: Bytes) -> String { "value (\(bytes.count) bytes) :\n" + lines(bytes) }

    /// A key as it is when that can be shown, or as a dump.
    static func key(_ bytes: Bytes) -> String {
        guard bytes.array.contains(where: { !(0x20..<0x7f).contains($0) }) else { return String(bytes) }
        return "key (\(bytes.count) bytes):\n" + lines(bytes)
    }
}

/// What a run of `rados bench` has measured: bandwidths in MiB a second, latencies in seconds.
struct BenchReport: Report, Sendable {
    var totalTimeRun: Double
    var totalMade: UInt64
    var size: UInt64
    var objectSize: UInt64
    var bandwidth: Double
    var stddevBandwidth: Double
    var maxBandwidth: Double
    var minBandwidth: Double
    var averageIops: Double
    var stddevIops: Double
    var maxIops: Double
    var minIops: Double
    var averageLatency: Double
    var stddevLatency: Double
    var maxLatency: Double
    var minLatency: Double

    func text(_ mode: ObjectBench.Mode) -> String {
        let isWrite = mode == .write
        var rows: [(String, String)] = [
            ("Total time run", Layout.decimal(totalTimeRun, 6)),
            ("Total \(isWrite ? "writes" : "reads") made", "\(totalMade)"),
            ("\(isWrite ? "Write" : "Read") size", "\(size)"), ("Object size", "\(objectSize)"),
            ("Bandwidth (MB/sec)", Layout.decimal(bandwidth, 3)),
        ]
        if isWrite {
            rows += [
                ("Stddev Bandwidth", Layout.decimal(stddevBandwidth, 3)),
                ("Max bandwidth (MB/sec)", Layout.decimal(maxBandwidth, 3)),
                ("Min bandwidth (MB/sec)", Layout.decimal(minBandwidth, 3)),
            ]
        }
        rows += [
            ("Average IOPS", Layout.decimal(averageIops, 0)), ("Stddev IOPS", Layout.decimal(stddevIops, 3)),
            ("Max IOPS", Layout.decimal(maxIops, 0)), ("Min IOPS", Layout.decimal(minIops, 0)),
            ("Average Latency(s)", Layout.decimal(averageLatency, 6)),
        ]
        if isWrite { rows.append(("Stddev Latency(s)", Layout.decimal(stddevLatency, 6))) }
        rows += [
            ("Max latency(s)", Layout.decimal(maxLatency, 6)), ("Min latency(s)", Layout.decimal(minLatency, 6)),
        ]
        return rows.map { name, value in
            let title = name + ":"
            return title + String(repeating: " ", count: max(1, 24 - title.count)) + value + "\n"
        }.joined()
    }
}
