import Wire

/// Where a daemon listens: a numeric IP address or host name, and a TCP port. Written `host:port`, IPv6 in brackets.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: UInt16

    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Nil unless `text` is `host:port`, `[v6]:port`, or a host alone where there is a `defaultPort`.
    public init?(_ text: String, defaultPort: UInt16? = nil) {
        var host = Substring(text)
        var port = defaultPort
        if host.hasPrefix("["), let close = host.lastIndex(of: "]") {
            let rest = host[host.index(after: close)...]
            host = host[host.index(after: host.startIndex)..<close]
            if !rest.isEmpty {
                guard rest.first == ":", let given = UInt16(rest.dropFirst()) else { return nil }
                port = given
            }
        } else if let colon = host.lastIndex(of: ":") {
            guard let given = UInt16(host[host.index(after: colon)...]) else { return nil }
            port = given
            host = host[..<colon]
            guard !host.contains(":") else { return nil }
        }
        guard let port, !host.isEmpty, host.utf8.count <= 255 else { return nil }
        self.init(host: String(host), port: port)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// True for addresses that only this host can reach.
    public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

    public init(from reader: inout ByteReader) throws(WireError) {
        host = try reader.readString(atMost: 255)
        port = try reader.readU16()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.writeString(host)
        writer.writeU16(port)
    }
}
