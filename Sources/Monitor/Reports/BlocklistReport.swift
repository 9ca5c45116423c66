import Glibc
import Wire

/// A run of a client that is blocklisted.
public struct BlocklistReport: Report, Hashable, Sendable {
    /// The run: `client.` and its number in hexadecimal digits.
    public var addr: String
    /// When that ends, in ISO 8601 with the time zone of UTC.
    public var until: String

    init(_ entry: (key: UInt64, value: UInt64)) {
        addr = Self.name(entry.key)
        until = Self.time(entry.value)
    }

    static func name(_ client: UInt64) -> String { "client.\(String(client, radix: 16))" }

    static func time(_ seconds: UInt64) -> String {
        var (time, parts) = (time_t(clamping: seconds), tm())
        gmtime_r(&time, &parts)
        var buffer = [CChar](repeating: 0, count: 64)
        strftime(&buffer, 64, "%Y-%m-%dT%H:%M:%S+0000", &parts)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
