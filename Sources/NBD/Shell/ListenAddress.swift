/// Where a server listens and how clients are told of it.
public enum ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A host name or address and a port; port 0 lets the system choose one.
    case tcp(host: String, port: UInt16)
    /// The path of a socket file, at most `Limits.unixPathBytes` long.
    case unix(path: String)

    /// The port that the NBD URI specification makes the default.
    public static let defaultPort: UInt16 = 10809

    /// For messages: `host:port` or the path.
    public var description: String {
        switch self {
        case .tcp(let host, let port): "\(Self.bracketed(host)):\(port)"
        case .unix(let path): path
        }
    }

    /// Whether only this machine can reach it. Says no for a name other than `localhost`, wherever that leads.
    public var isLocal: Bool {
        switch self {
        case .tcp(let host, _):
            host == "localhost" || host == "::1" || (host.hasPrefix("127.") && !host.contains(where: \.isLetter))
        case .unix: true
        }
    }

    /// The NBD URI (`doc/uri.md`) of an export here, safe to paste into a shell between quotes.
    public func uri(export: String) -> String {
        switch self {
        case .tcp(let host, let port):
            let reachable = host == "0.0.0.0" || host == "::" ? "localhost" : Self.bracketed(host)
            let suffix = port == Self.defaultPort ? "" : ":\(port)"
            return "nbd://\(reachable)\(suffix)/\(Self.escaped(export))"
        case .unix(let path):
            return "nbd+unix:///\(Self.escaped(export))?socket=\(Self.escaped(path))"
        }
    }

    private static func bracketed(_ host: String) -> String {
        host.contains(":") ? "[\(host)]" : host
    }

    /// Percent-encodes what RFC 3986 does not allow in a path or query, and "?", "&", "=", "+" and "%", which mean something
    /// there.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "/"), UInt8(ascii: "@"), UInt8(ascii: ":"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}

/// Why a server cannot listen: one line that names the address and what to do.
public struct ListenFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The line.
    public let description: String

    init(_ address: ListenAddress, _ reason: String) {
        description = "cannot listen on \(address): \(reason)"
    }
}
