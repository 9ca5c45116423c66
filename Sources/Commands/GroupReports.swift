import Monitor
import Protocol
import TextTable
import Wire

/// The answer to `pg list-inconsistent`, in the fields of `rados list-inconsistent-obj`.
struct InconsistencyReport: Report {
    struct Object: Codable {
        var name: String
        /// `head`, or a snapshot's number.
        var snap: String
        var version: String
    }

    struct Shard: Codable {
        var osd: Int32
        var primary: Bool
        var errors: [String]
        var size: UInt64?
        var version: String?
        var dataDigest: String?
        var omapDigest: String?
        var attrsDigest: String?
    }

    struct Inconsistent: Codable {
        var object: Object
        /// In what copies differ that each vouch for themselves.
        var errors: [String]
        /// What is wrong with any copy.
        var unionShardErrors: [String]
        /// Whose copy verifies and is the one to repair from; absent when there is none.
        var goodOsd: Int32?
        /// True when repair can heal it.
        var repairable: Bool
        var shards: [Shard]
    }

    /// The map's epoch when it was asked.
    var epoch: UInt32
    var inconsistents: [Inconsistent]

    init(_ found: [InconsistentObject], primary: Int32, epoch: UInt32) {
        self.epoch = epoch
        inconsistents = found.map { finding in
            let all = finding.shards.reduce(into: ScrubErrors()) { $0.formUnion($1.errors) }
            return Inconsistent(
                object: Object(
                    name: "\(finding.object.name)", snap: "\(finding.object.snap)",
                    version: finding.version.map { "\($0)" } ?? "-"), errors: finding.errors.words,
                unionShardErrors: all.words, goodOsd: finding.good?.rawValue, repairable: finding.isRepairable,
                shards: finding.shards.map { Self.shard($0, primary) })
        }
    }

    private static func shard(_ shard: InconsistentObject.Shard, _ primary: Int32) -> Shard {
        Shard(
            osd: shard.osd.rawValue, primary: shard.osd.rawValue == primary, errors: shard.errors.words,
            size: shard.entry?.size, version: shard.entry?.version.map { "\($0)" },
            dataDigest: shard.entry?.data.map(hexadecimal), omapDigest: shard.entry.map { hexadecimal($0.found.omap) },
            attrsDigest: shard.entry.map { hexadecimal($0.found.attributes) })
    }

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return "0x" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// A row for each copy.
    var text: String {
        var rows: [[String]] = []
        for found in inconsistents {
            for (index, shard) in found.shards.enumerated() {
                let words = shard.errors + (index == 0 ? found.errors : [])
                rows.append([
                    index == 0 ? found.object.name : "", index == 0 ? found.object.snap : "",
                    index == 0 ? found.object.version : "", "osd.\(shard.osd)\(shard.primary ? " (primary)" : "")",
                    words.isEmpty ? (found.goodOsd == nil ? "-" : "good") : words.joined(separator: ","),
                    shard.size.map { "\($0)" } ?? "-", shard.version ?? "-", shard.dataDigest ?? "-",
                    shard.omapDigest ?? "-",
                ])
            }
        }
        let titles: [(String, Alignment)] = [
            ("OBJECT", .left), ("SNAP", .left), ("SHOULD BE", .left), ("COPY", .left), ("ERRORS", .left),
            ("SIZE", .right), ("VERSION", .left), ("DATA DIGEST", .left), ("OMAP DIGEST", .left),
        ]
        return Layout.table(titles, rows)
    }
}

/// The answer to `pg query`.
struct GroupQuery: Report {
    struct Info: Codable {
        var lastUpdate: String
        var logTail: String
        var lastBackfill: String
        var logEntries: UInt32
        var lastEpochStarted: UInt32
        var historyLastEpochStarted: UInt32
        var historyLastEpochClean: UInt32
        var sameIntervalSince: UInt32
    }

    struct Peer: Codable {
        var osd: Int32
        var lastUpdate: String
        var lastBackfill: String
        var missing: UInt32
    }

    struct Scrubs: Codable {
        var lastScrub: String
        var lastScrubStamp: UInt64
        var lastDeepScrub: String
        var lastDeepScrubStamp: UInt64
        var numObjectsRepaired: UInt64
    }

    var pgid: String
    var state: String
    /// What the primary is doing.
    var recoveryState: String
    var up: [Int32]
    var acting: [Int32]
    var waitingFor: [Int32]
    var info: Info
    var stats: GroupDump.GroupData
    var scrub: Scrubs
    var members: [Peer]

    init(_ report: GroupReport) {
        pgid = report.info.group.description
        state = report.statistics.state.text
        recoveryState = report.phase
        up = report.up.map(\.rawValue)
        acting = report.acting.map(\.rawValue)
        waitingFor = report.statistics.waitingFor.map(\.rawValue)
        info = Info(
            lastUpdate: "\(report.info.lastUpdate)", logTail: "\(report.info.logTail)",
            lastBackfill: Self.text(report.info.lastBackfill), logEntries: report.logEntries,
            lastEpochStarted: report.info.lastEpochStarted.rawValue,
            historyLastEpochStarted: report.info.historyLastEpochStarted.rawValue,
            historyLastEpochClean: report.info.historyLastEpochClean.rawValue,
            sameIntervalSince: report.interval.rawValue)
        stats = GroupDump.GroupData(report.statistics)
        scrub = Scrubs(
            lastScrub: "\(report.scrub.last.version)", lastScrubStamp: report.scrub.last.seconds,
            lastDeepScrub: "\(report.scrub.lastDeep.version)", lastDeepScrubStamp: report.scrub.lastDeep.seconds,
            numObjectsRepaired: report.scrub.repaired)
        members = report.members.map { member in
            Peer(
                osd: member.osd.rawValue, lastUpdate: "\(member.committed)",
                lastBackfill: Self.text(member.position), missing: member.missing)
        }
    }

    private static func text(_ position: BackfillPosition) -> String {
        switch position {
        case .nothing: "MIN"
        case .complete: "MAX"
        case .upTo(let object): "\(object)"
        }
    }

    var text: String {
        func set(_ osds: [Int32]) -> String { "[\(osds.map(String.init).joined(separator: ","))]" }
        var lines = ["pg \(pgid) is \(state) (\(recoveryState)), up \(set(up)), acting \(set(acting))"]
        lines.append(
            "log \(info.logTail)..\(info.lastUpdate), \(info.logEntries) entries; interval since epoch "
                + "\(info.sameIntervalSince), started \(info.lastEpochStarted), all since "
                + "\(info.historyLastEpochStarted), clean \(info.historyLastEpochClean)")
        lines.append(
            "\(stats.numObjects) objects, \(Layout.bytes(stats.numBytes)); \(stats.numObjectsDegraded) copies degraded, "
                + "\(stats.numObjectsMisplaced) misplaced, \(stats.numObjectsUnfound) objects unfound, "
                + "\(stats.numObjectsInconsistent) inconsistent")
        let (shallow, deep) = (Layout.time(scrub.lastScrubStamp), Layout.time(scrub.lastDeepScrubStamp))
        lines.append(
            "scrubbed \(shallow) at \(scrub.lastScrub), deeply \(deep) at \(scrub.lastDeepScrub); "
                + "\(scrub.numObjectsRepaired) copies repaired")
        if !waitingFor.isEmpty { lines.append("waits for \(waitingFor.map { "osd.\($0)" }.joined(separator: ", "))") }
        for member in members {
            lines.append(
                "osd.\(member.osd): has everything up to \(member.lastUpdate), lacks \(member.missing) objects, filled up to "
                    + member.lastBackfill)
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
