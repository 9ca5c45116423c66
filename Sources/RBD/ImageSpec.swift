import RADOS
import Wire

/// The name of an image, or of a snapshot of one, as people write it: `[pool/]image[@snap]`. Namespaces are understood and
/// refused, since this version has none.
public struct ImageSpec: Hashable, Sendable, CustomStringConvertible {
    /// The pool's name.
    public var pool: String
    /// The image's name.
    public var image: String
    /// The snapshot's name; nil for the image as it is.
    public var snapshot: String?

    /// The pool where none is named.
    public static let defaultPool = "rbd"

    /// The image of a pool, or a snapshot of it; the names are checked.
    public init(pool: String, image: String, snapshot: String? = nil) throws(RBDError) {
        try Self.check(pool, "pool")
        try Self.checkName(image)
        if let snapshot { try Self.checkSnapshotName(snapshot) }
        self.pool = pool
        self.image = image
        self.snapshot = snapshot
    }

    /// Reads `[pool/[namespace/]]image[@snap]`. Throws EINVAL with the reason.
    public init(parsing text: String, defaultPool: String = Self.defaultPool) throws(RBDError) {
        var rest = Substring(text)
        var snapshot: String?
        if let at = rest.firstIndex(of: "@") {
            let snap = rest[rest.index(after: at)...]
            guard !snap.isEmpty else {
                throw .invalid("'\(Self.shown(text))': the name of the snapshot after '@' is missing")
            }
            snapshot = String(snap)
            rest = rest[..<at]
        }
        var pool = defaultPool
        if let slash = rest.firstIndex(of: "/") {
            pool = String(rest[..<slash])
            rest = rest[rest.index(after: slash)...]
        }
        if rest.contains("/") {
            throw .invalid(
                "'\(Self.shown(text))' names a namespace: namespaces are not supported yet, give [pool/]image")
        }
        try self.init(pool: pool, image: String(rest), snapshot: snapshot)
    }

    /// Throws EINVAL unless `name` can be an image's name: 1 to `ImageLimits.nameBytes` bytes without `/`, `@` and control
    /// characters.
    public static func checkName(_ name: String) throws(RBDError) {
        try check(name, "image")
        guard name.utf8.count <= ImageLimits.nameBytes else {
            throw .invalid(
                "image name of \(name.utf8.count) bytes is too long: the limit is \(ImageLimits.nameBytes) bytes")
        }
    }

    /// Throws EINVAL unless `name` can be a snapshot's name: 1 to `ImageLimits.snapshotNameBytes` bytes without `/`, `@` and
    /// control characters.
    public static func checkSnapshotName(_ name: String) throws(RBDError) {
        try check(name, "snapshot")
        guard name.utf8.count <= ImageLimits.snapshotNameBytes else {
            throw .invalid(
                "snapshot name of \(name.utf8.count) bytes is too long: the limit is "
                    + "\(ImageLimits.snapshotNameBytes) bytes")
        }
    }

    private static func check(_ name: String, _ kind: String) throws(RBDError) {
        guard !name.isEmpty else { throw .invalid("the \(kind) name is empty: give [pool/]image") }
        for scalar in name.unicodeScalars {
            switch scalar {
            case "/", "@":
                throw .invalid("\(kind) name '\(shown(name))' contains '\(scalar)': choose a name without '/' and '@'")
            case _ where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value):
                throw .invalid("\(kind) name '\(shown(name))' contains a control character: choose a name without")
            default: break
            }
        }
    }

    /// A name for a message: on one line and not endless.
    static func shown(_ name: String) -> String {
        var text = ""
        for scalar in name.unicodeScalars.prefix(64) {
            text.unicodeScalars.append(
                scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? "?" : scalar)
        }
        return name.unicodeScalars.count > 64 ? text + "…" : text
    }

    /// The full form, `pool/image` or `pool/image@snap`.
    public var description: String { "\(pool)/\(image)" + (snapshot.map { "@" + $0 } ?? "") }
}

/// Sizes as people write them.
public enum SizeText {
    /// Reads a whole number with an optional suffix B, K, M, G, T, P or E (also `KiB` and the like; powers of 1024).
    /// Without a suffix the number counts `unit` bytes. Throws EINVAL for anything else, 0, and what does not fit.
    public static func parse(_ text: String, unit: UInt64, what: String = "size") throws(RBDError) -> ByteCount {
        let shown = ImageSpec.shown(text)
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        var suffix = text.dropFirst(digits.count).uppercased()
        guard !text.hasPrefix("-") else { throw .invalid("\(what) '\(shown)' is negative: give a size above 0") }
        var factor = unit
        if suffix.hasSuffix("IB"), suffix.count == 3 { suffix.removeLast(2) }
        if suffix == "B" {
            factor = 1
        } else if suffix.count == 1, let power = "KMGTPE".firstIndex(of: Character(suffix)) {
            factor = 1 << UInt64(10 * (1 + "KMGTPE".distance(from: "KMGTPE".startIndex, to: power)))
        } else if !suffix.isEmpty {
            throw .invalid("\(what) '\(shown)' is not a size: give a number with B, K, M, G, T, P or E")
        }
        guard !digits.isEmpty else {
            throw .invalid("\(what) '\(shown)' is not a size: give a number with B, K, M, G, T, P or E")
        }
        guard let number = UInt64(digits), !number.multipliedReportingOverflow(by: factor).overflow else {
            throw .invalid("\(what) '\(shown)' is too large: it does not fit into 64 bits")
        }
        guard number > 0 else { throw .invalid("\(what) is 0: give a size above 0") }
        return ByteCount(number * factor)
    }

    /// An image's size as `--size` takes it: without a suffix in MiB, checked against the limits of images.
    public static func parseImageSize(_ text: String) throws(RBDError) -> ByteCount {
        let size = try parse(text, unit: 1 << 20)
        try checkImageSize(size)
        return size
    }

    /// An object size as `--object-size` takes it: without a suffix in bytes. Returns its power of two.
    public static func parseObjectSize(_ text: String) throws(RBDError) -> UInt8 {
        let size = try parse(text, unit: 1, what: "object size")
        guard size.rawValue.nonzeroBitCount == 1,
            ImageLimits.order.contains(UInt8(size.rawValue.trailingZeroBitCount))
        else { throw .invalid("object size '\(text)' is not possible: give a power of two from 4K to 32M") }
        return UInt8(size.rawValue.trailingZeroBitCount)
    }

    static func checkImageSize(_ size: ByteCount) throws(RBDError) {
        guard ImageLimits.size.contains(size) else {
            throw .invalid("size of \(size) bytes is not possible: give from 1 byte to 4E")
        }
    }
}
