import Glibc
import Monitor
import ObjectStore
import Wire

extension StoreContents: Report {}
extension StoreFinding: Report {}
extension TransferSummary: Report {}

/// Who owns a store, and what is in it.
public struct StoreSummary: Report, Hashable, Sendable {
    /// The OSD's name.
    public var osd: String
    /// The ids of the cluster and of the store.
    public var cluster: String
    /// The id of the store.
    public var store: String
    /// What is in it.
    public var contents: StoreContents
}

/// What a check of a store has found.
public struct StoreVerdict: Report, Hashable, Sendable {
    /// What was looked at.
    public var contents: StoreContents
    /// What is not as it must be; at most `StoreTools.listedFindings`, `contents.findings` counts them all.
    public var findings: [StoreFinding]
}

/// `nacre osd store …`: looks at the store of an OSD that is not running.
public struct StoreTools {
    /// Findings that a result in JSON lists.
    public static let listedFindings = 10_000

    private let output: Output
    private let progress: ProgressLine?

    /// Tools that show results on `output`, and what is done of long work on `progress`.
    public init(output: Output, progress: ProgressLine?) {
        self.output = output
        self.progress = progress
    }

    /// Checks every key, reference and, unless `isQuick`, block of data. Throws with status 1 when something is wrong, after
    /// each finding was shown.
    public func check(directory: String, isQuick: Bool) throws(CommandError) {
        var listed: [StoreFinding] = []
        let contents = try look(directory, readingData: !isQuick, name: "Checking store") { finding in
            if listed.count < Self.listedFindings { listed.append(finding) }
            if output.format == .plain { output.say(Self.text(of: finding)) }
        }
        output.show(StoreVerdict(contents: contents, findings: listed)) { verdict in
            Self.text(of: verdict.contents)
                + (isQuick ? "data was not read\n" : "\(verdict.contents.verifiedBlocks) blocks verified\n")
        }
        guard contents.findings == 0 else {
            throw CommandError(
                errno: 1,
                "\(contents.findings) findings in the store \(directory): with its peers whole, recreate this OSD")
        }
    }

    /// Checks like `check` and tells of each finding what would mend it, and at the end which objects other members must
    /// bring. Throws with status 1 when there is any.
    public func repairReport(directory: String, isQuick: Bool) throws(CommandError) {
        var report = RepairReport()
        let contents = try look(directory, readingData: !isQuick, name: "Checking store") { finding in
            report.add(finding)
            if output.format == .plain { output.say(Self.text(of: finding) + "\n    " + finding.remedy.text) }
        }
        report.findings = contents.findings
        output.show(report) { $0.text }
        guard contents.findings == 0 else {
            throw CommandError(errno: 1, "\(contents.findings) findings in the store \(directory)")
        }
    }

    /// Writes groups of the store, all or `only` one, to the file `path` or to standard output (`-`). A file comes into being
    /// when everything is in it.
    public func export(directory: String, only: String?, to path: String) throws(CommandError) {
        let group = try only.map { text throws(CommandError) in try Self.group(text) }
        let file = try ExportFile(path)
        let summary: TransferSummary
        do throws(StoreError) {
            summary = try StoreDirectory(directory, holdsStore: true).export(only: group) { bytes throws(StoreError) in
                try file.write(bytes)
            }
            try file.finish()
        } catch {
            file.abandon()
            throw CommandError(errno: error.status, error.description)
        }
        // What goes to standard output is the export.
        if path != "-" { output.show(summary) { Self.text(of: $0, "exported") } }
    }

    /// Puts the groups of an export, the file `path` or what standard input (`-`) is of, into the store. Writes nothing unless
    /// all of it can be taken.
    public func importGroups(directory: String, from path: String) throws(CommandError) {
        let file = try ImportFile(path)
        let summary = try attempt { () throws(StoreError) in
            try StoreDirectory(directory, holdsStore: true).importGroups { () throws(StoreError) in
                try file.rewind()
                return file.read
            }
        }
        output.show(summary) { Self.text(of: $0, "imported") }
    }

    private static func group(_ text: String) throws(CommandError) -> PGID {
        guard let group = PGID(text) else {
            throw CommandError(errno: EINVAL, "'\(text)' is no placement group: say POOL.SEED, as 3.1f")
        }
        return group
    }

    private static func text(of summary: TransferSummary, _ verb: String) -> String {
        "\(verb) \(summary.groups) groups, \(summary.objects) objects, \(Layout.bytes(summary.dataBytes)) of data\n"
    }

    /// Shows whose store it is and what is in it.
    public func stat(directory: String) throws(CommandError) {
        let identity = try attempt { () throws(StoreError) in try StoreDirectory(directory, holdsStore: true).identity()
        }
        let contents = try look(directory, readingData: false, name: "Reading store") { _ in }
        let summary = StoreSummary(
            osd: identity.osd.description, cluster: identity.cluster.description, store: identity.store.description,
            contents: contents)
        output.show(summary) {
            "\($0.osd)\ncluster \($0.cluster)\nstore \($0.store)\n" + Self.text(of: $0.contents)
        }
    }

    private func look(
        _ directory: String, readingData: Bool, name: String, _ report: @escaping (StoreFinding) -> Void
    ) throws(CommandError) -> StoreContents {
        do {
            let contents = try attempt { () throws(StoreError) in
                try StoreDirectory(directory, holdsStore: true).check(
                    readingData: readingData,
                    progress: { progress?.show(name, UInt64($0 * 1000), 1000) }, report: report)
            }
            progress?.end(name, "done")
            return contents
        } catch {
            progress?.end(name, "failed")
            throw error
        }
    }

    private func attempt<Value>(_ body: () throws(StoreError) -> Value) throws(CommandError) -> Value {
        do throws(StoreError) { return try body() } catch {
            throw CommandError(errno: error.status, error.description)
        }
    }

    private static func text(of finding: StoreFinding) -> String {
        "\(finding.kind.rawValue): " + (finding.object.map { "object \($0): " } ?? "") + finding.detail
    }

    private static func text(of contents: StoreContents) -> String {
        let unit: UInt64 = UInt64(StoreLimits.unitSize)
        let used = Layout.bytes(UInt64(contents.units) * unit), all = Layout.bytes(UInt64(contents.allUnits) * unit)
        var text = "\(contents.objects) objects, \(contents.groups) groups, \(contents.omapKeys) omap keys\n"
        text +=
            "\(used) of \(all) allocated, \(Layout.bytes(UInt64(contents.blocks * StoreLimits.blockSize))) of data\n"
        if contents.replayedRecords > 0 { text += "\(contents.replayedRecords) records of the journal replayed\n" }
        return text
    }
}
