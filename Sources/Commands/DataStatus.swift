import Glibc
import Monitor
import TextTable

/// Objects, copies and recovery as `nacre status` and `nacre pg ls` show them.
extension Administration {
    /// All groups as the monitor knows them.
    func groups() async throws(CommandError) -> GroupDump {
        let json = try await result("pg dump")
        do {
            return try GroupDump(json: json)
        } catch {
            throw CommandError(errno: EPROTO, "\(error): are this program and the monitor of the same version?")
        }
    }

    /// Shows groups with what they have; of one pool, or in one state, when that is given.
    public func groupList(pool: String?, states: [String]) async throws(CommandError) {
        var dump = try await groups()
        if let pool {
            let numbers = try await poolNumber(pool)
            dump.pgStats.removeAll { !$0.pgid.hasPrefix("\(numbers).") }
        }
        if !states.isEmpty {
            dump.pgStats.removeAll { group in
                let words = Set(group.state.split(separator: "+").map(String.init))
                return !states.contains { words.contains($0) }
            }
        }
        output.show(dump) { Self.listing($0) }
    }

    private func poolNumber(_ name: String) async throws(CommandError) -> Int64 {
        let dump: MapDump
        do {
            dump = try MapDump(json: try await result("osd dump"))
        } catch let error as CommandError {
            throw error
        } catch {
            throw CommandError(errno: EPROTO, "\(error): are this program and the monitor of the same version?")
        }
        guard let pool = dump.pools.first(where: { $0.poolName == name }) else {
            throw CommandError(errno: ENOENT, "pool '\(name)' does not exist: `nacre pool ls` names those that do")
        }
        return pool.pool
    }

    static func listing(_ dump: GroupDump) -> String {
        func set(_ osds: [Int32]) -> String { "[\(osds.map(String.init).joined(separator: ","))]" }
        let rows = dump.pgStats.map { group -> [String] in
            var row = [group.pgid]
            if let data = group.statSum {
                let numbers = [
                    data.numObjects, data.numObjectsDegraded, data.numObjectsMisplaced, data.numObjectsUnfound,
                    UInt64(data.numObjectsInconsistent),
                ]
                row += numbers.map { "\($0)" }
                row.append(Layout.bytes(data.numBytes))
            } else {
                row += Array(repeating: "-", count: 6)
            }
            row += [group.state, group.version, set(group.up), "\(set(group.acting))p\(group.actingPrimary)"]
            row.append(Layout.time(group.statSum?.lastScrubStamp ?? 0))
            row.append(Layout.time(group.statSum?.lastDeepScrubStamp ?? 0))
            return row
        }
        let titles: [(String, Alignment)] = [
            ("PG", .left), ("OBJECTS", .right), ("DEGRADED", .right), ("MISPLACED", .right), ("UNFOUND", .right),
            ("INCONSISTENT", .right), ("BYTES", .right), ("STATE", .left), ("VERSION", .left), ("UP", .left),
            ("ACTING", .left), ("SCRUB_STAMP", .left), ("DEEP_SCRUB_STAMP", .left),
        ]
        return Layout.table(titles, rows)
    }

    /// The line of `status` about objects.
    static func objects(_ data: DataReport) -> String {
        "\(data.numObjects) \(data.numObjects == 1 ? "object" : "objects"), \(Layout.bytes(data.dataBytes))"
    }

    /// Lines of `status` about copies that are not where they should be; none when all are.
    static func deviations(_ data: DataReport) -> [String] {
        var lines: [String] = []
        func add(_ count: UInt64, _ total: UInt64, _ ratio: Double, _ word: String) {
            if count > 0 { lines.append("\(count)/\(total) objects \(word) (\(Layout.decimal(ratio * 100, 3)) %)") }
        }
        add(data.degradedObjects, data.degradedTotal, data.degradedRatio, "degraded")
        add(data.misplacedObjects, data.misplacedTotal, data.misplacedRatio, "misplaced")
        if data.unfoundObjects > 0 { lines.append("\(data.unfoundObjects) objects unfound") }
        if data.scrubErrors > 0 { lines.append("\(data.scrubErrors) scrub errors") }
        return lines
    }

    /// The section of `status` about recovery; empty when there is none.
    static func recovery(_ data: DataReport) -> String {
        guard data.degradedObjects > 0 || data.misplacedObjects > 0, data.recoveringObjectsPerSec > 0 else { return "" }
        var text =
            "\n  io:\n    recovery: \(Layout.bytes(UInt64(min(max(0, data.recoveringBytesPerSec.rounded()), 1e18))))/s, "
        text += "\(Layout.decimal(data.recoveringObjectsPerSec, data.recoveringObjectsPerSec < 10 ? 1 : 0)) objects/s"
        if let left = data.recoverySecondsLeft { text += ", about \(Layout.duration(left)) left" }
        return text + "\n"
    }
}

extension Layout {
    /// A time in UTC as people write it, to the second; a hyphen for never.
    static func time(_ seconds: UInt64) -> String {
        guard seconds > 0, var clock = time_t(exactly: seconds) else { return "-" }
        var parts = tm()
        guard gmtime_r(&clock, &parts) != nil else { return "-" }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A number of seconds as hours, minutes and seconds, as far as they are needed.
    static func duration(_ seconds: UInt64) -> String {
        if seconds >= 3600 { return "\(seconds / 3600) h \(seconds % 3600 / 60) min" }
        return seconds >= 60 ? "\(seconds / 60) min \(seconds % 60) s" : "\(seconds) s"
    }
}
