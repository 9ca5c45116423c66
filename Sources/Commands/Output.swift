import Monitor
import TextTable
import Wire

/// How a command shows its result.
public struct Output: Sendable {
    /// A form of results.
    public enum Format: String, CaseIterable, Sendable {
        /// For people.
        case plain
        /// For programs.
        case json
    }

    /// The form.
    public var format: Format
    /// Whether JSON is laid out over lines.
    public var isPretty: Bool
    private let write: @Sendable (String) -> Void

    /// Output in a form. `write` gets text with its line ends.
    public init(format: Format, isPretty: Bool, write: @escaping @Sendable (String) -> Void) {
        self.format = format
        self.isPretty = isPretty
        self.write = write
    }

    /// Shows a line, if there is something to say, in either form: JSON has it as a string.
    public func say(_ line: String) {
        guard format == .plain, !line.isEmpty else { return }
        write(line + "\n")
    }

    /// Shows a result: as it is in JSON, or as `plain` says it.
    public func show<Result: Report>(_ result: Result, plain: (Result) -> String) {
        switch format {
        case .plain:
            let text = plain(result)
            if !text.isEmpty { write(text.hasSuffix("\n") ? text : text + "\n") }
        case .json: write(String(result.json(pretty: isPretty)) + "\n")
        }
    }

    /// Shows what a monitor answered as JSON. Throws when it is not a `Result`.
    func show<Result: Report>(_ json: Bytes, as type: Result.Type, plain: (Result) -> String) throws(CommandError) {
        do throws(WireError) { show(try Result(json: json), plain: plain) } catch {
            throw CommandError(errno: 71, "\(error): are this program and the monitor of the same version?")
        }
    }
}

/// Tables and numbers as administrators know them.
enum Layout {
    /// A table with a line of titles and columns as wide as their longest cell; nothing without rows.
    static func table(_ titles: [(String, Alignment)], _ rows: [[String]]) -> String {
        let table = TextTable<[String]> { row in
            zip(titles, row).map { title, cell in Column(title: title.0 + " ", value: cell + " ", align: title.1) }
        }
        let text = table.string(for: rows, style: Style.plain) ?? ""
        return text.split(separator: "\n").map { line in
            String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
        }.joined()
    }

    /// A number of bytes with three digits and a binary unit.
    static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        if unit == "B" || value >= 99.5 { return "\(Int(value.rounded())) \(unit)" }
        return "\(decimal(value, value >= 9.95 ? 0 : 1)) \(unit)"
    }

    /// A number with this many decimals.
    static func decimal(_ value: Double, _ decimals: Int) -> String {
        guard decimals > 0 else { return "\(Int(value.rounded()))" }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let digits = String(Int((value * scale).rounded()))
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return padded.dropLast(decimals) + "." + padded.suffix(decimals)
    }
}
