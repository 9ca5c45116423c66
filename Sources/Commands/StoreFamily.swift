import Glibc
import Monitor
import ObjectStore

extension StoreContents: Report {}
extension StoreFinding: Report {}

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

    /// Shows whose store it is and what is in it.
    public func stat(directory: String) throws(CommandError) {
        let identity = try attempt { () throws(StoreError) in try StoreDirectory(directory).identity() }
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
                try StoreDirectory(directory).check(
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
