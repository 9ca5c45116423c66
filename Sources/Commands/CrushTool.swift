import CRUSH
import Glibc
import Wire

/// `nacre crushtool …`: reads, makes, changes, tries and writes placement maps in files, without a cluster. What it says is
/// what Ceph's `crushtool` says.
public struct CrushTool: Sendable {
    /// Where a map comes from.
    public enum Source: Hashable, Sendable {
        /// A file, compiled or text; `-` for standard input.
        case file(String)
        /// A text to compile.
        case text(String)
        /// Devices in layers, each a name, a kind and a size.
        case layers(devices: Int, [String])
    }

    /// A change to the map.
    public enum Change: Hashable, Sendable {
        /// A device with a weight and a name, at a place given by `--loc`.
        case addItem(Int32, weight: String, name: String)
        /// A bucket of a type, at a place given by `--loc` if there is one.
        case addBucket(String, type: String)
        /// An item to the place given by `--loc`.
        case move(String)
        /// A device, or an empty bucket.
        case removeItem(String)
        /// Another weight for a device.
        case reweightItem(String, weight: String)
        /// The weight of every bucket becomes the sum of its items.
        case reweight
        /// A rule below a root, for buckets of a type; positions keep their place with `indep`.
        case createRule(String, root: String, type: String, indep: Bool)
        /// A rule no more.
        case removeRule(String)
    }

    /// Where the map comes from.
    public var source: Source
    /// Tunables to set, by the names of the text map.
    public var tunables: [(name: String, value: UInt32)] = []
    /// The changes, in order.
    public var changes: [Change] = []
    /// The place for changes: types and names of buckets.
    public var location: [(type: String, name: String)] = []
    /// The class of devices that a new rule takes.
    public var deviceClass: String?
    /// Whether to show the hierarchy.
    public var showsTree = false
    /// Whether to write the map as text.
    public var decompiles = false
    /// What to try with the map.
    public var trial: MappingTrial?
    /// The file to write.
    public var output: String?
    private let write: @Sendable (String) -> Void
    private let complain: @Sendable (String) -> Void

    /// The tool for a map. `write` and `complain` get text with its line ends.
    public init(
        source: Source, write: @escaping @Sendable (String) -> Void, complain: @escaping @Sendable (String) -> Void
    ) {
        self.source = source
        self.write = write
        self.complain = complain
    }

    /// Does all that is asked for, in the order: read, change, show, write.
    public func run() throws(CommandError) {
        var map = try read()
        var isModified = if case .file = source { false } else { true }
        do throws(CRUSHError) {
            try set(&map, &isModified)
            for change in changes {
                try apply(change, to: &map)
                isModified = true
            }
            if showsTree { write(map.tree) }
            if decompiles, output == nil { write(map.text) }
            try trial?.run(on: map, write: write, remark: complain)
        } catch {
            throw CommandError(errno: EINVAL, error.description)
        }
        if decompiles {
            if let output { try Self.save(Bytes(Array(map.text.utf8)), to: output) }
        } else if isModified {
            if let output {
                try Self.save(map.compiled, to: output)
            } else {
                write("crushtool successfully built or modified map.  Use '-o <file>' to write it out.\n")
            }
        }
    }

    // MARK: Reading

    private func read() throws(CommandError) -> CRUSHMap {
        switch source {
        case .file(let path):
            return try Self.parse(path) { bytes throws(CRUSHError) in try CRUSHMap(file: bytes) }
        case .text(let path):
            return try Self.parse(path) { bytes throws(CRUSHError) in
                guard !CRUSHMap.isCompiled(bytes) else {
                    throw CRUSHError("this map is compiled already: read it with -i or -d")
                }
                return try CRUSHMap(file: bytes)
            }
        case .layers(let devices, let words):
            do throws(CRUSHError) {
                let map = try CRUSHMap.layered(devices: devices, try Self.layers(words))
                if map.roots.count > 1 {
                    complain(
                        "The rule takes the first of \(map.roots.count) roots; "
                            + "a last layer like 'root straw2 0' makes them one.\n")
                }
                return map
            } catch {
                throw CommandError(errno: EINVAL, error.description)
            }
        }
    }

    private static func parse(
        _ path: String, _ body: (Bytes) throws(CRUSHError) -> CRUSHMap
    ) throws(CommandError) -> CRUSHMap {
        let bytes = try load(path)
        do throws(CRUSHError) { return try body(bytes) } catch {
            throw CommandError(errno: EINVAL, "\(path): \(error)")
        }
    }

    /// The bytes of a file of bounded size: refused by its size before it is read, and whatever is no file while it is read.
    private static func load(_ path: String) throws(CommandError) -> Bytes {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandError(errno: errno, "\(path): \(String(cString: strerror(errno)))") }
        defer { if descriptor != STDIN_FILENO { close(descriptor) } }
        let tooLarge = CommandError(
            errno: EFBIG, "\(path): a map has at most \(CRUSHLimits.fileBytes >> 20) MiB")
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_size > CRUSHLimits.fileBytes { throw tooLarge }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw CommandError(errno: errno, "\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { return Bytes(bytes) }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= CRUSHLimits.fileBytes else { throw tooLarge }
        }
    }

    private static func layers(_ words: [String]) throws(CRUSHError) -> [CRUSHMap.Layer] {
        guard words.count % 3 == 0 else {
            throw CRUSHError("layers are given by three words each, NAME KIND SIZE: '\(words.joined(separator: " "))'")
        }
        var layers: [CRUSHMap.Layer] = []
        for start in stride(from: 0, to: words.count, by: 3) {
            guard let kind = Bucket.Kind.allCases.first(where: { $0.description == words[start + 1] }) else {
                throw CRUSHError("unknown kind of bucket '\(words[start + 1])'")
            }
            guard let size = Int(words[start + 2]), size >= 0 else {
                throw CRUSHError("layer '\(words[start])': '\(words[start + 2])' is no size")
            }
            layers.append(CRUSHMap.Layer(name: words[start], kind: kind, size: size))
        }
        return layers
    }

    private static func save(_ bytes: Bytes, to path: String) throws(CommandError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw CommandError(errno: errno, "\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var written = 0
        let array = bytes.array
        while written < array.count {
            let count = array.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw CommandError(errno: errno, "\(path): \(String(cString: strerror(errno)))") }
            written += count
        }
    }

    // MARK: Changing

    private func set(_ map: inout CRUSHMap, _ isModified: inout Bool) throws(CRUSHError) {
        guard !tunables.isEmpty else { return }
        var changed = map.tunables
        for (name, value) in tunables { try changed.set(name, to: value) }
        try map.setTunables(changed)
        isModified = true
    }

    private func apply(_ change: Change, to map: inout CRUSHMap) throws(CRUSHError) {
        switch change {
        case .addItem(let id, let weight, let name):
            try map.add(OSDID(id), named: name, weight: try Self.weight(weight), at: try place(in: map))
        case .addBucket(let name, let type):
            try map.addBucket(named: name, type: try Self.type(type, of: map), under: location.last?.name)
        case .move(let name):
            guard let parent = location.last else { throw CRUSHError("--move needs a place: --loc TYPE NAME") }
            try map.move(name, under: parent.name)
        case .removeItem(let name):
            write("crushtool removing item \(name)\n")
            guard let item = map.item(named: name) else { throw CRUSHError("the CRUSH map has no item '\(name)'") }
            if let osd = item.osd { try map.remove(osd) } else { try map.removeBucket(named: name) }
        case .reweightItem(let name, let text):
            let weight = try Self.weight(text)
            write("crushtool reweighting item \(name) to \(text)\n")
            guard let osd = map.item(named: name)?.osd else {
                throw CRUSHError("the CRUSH map has no device '\(name)'")
            }
            try map.reweight(osd, to: weight)
        case .reweight:
            try map.reweightBuckets()
        case .createRule(let name, let root, let type, let indep):
            try map.addRule(
                named: name, root: root, failureDomain: try Self.type(type, of: map), deviceClass: deviceClass,
                indep: indep)
        case .removeRule(let name):
            guard let rule = map.rule(named: name) else { throw CRUSHError("the CRUSH map has no rule '\(name)'") }
            try map.removeRule(rule.id)
        }
    }

    private func place(in map: CRUSHMap) throws(CRUSHError) -> [TypeID: String] {
        var place: [TypeID: String] = [:]
        for (type, name) in location { place[try Self.type(type, of: map)] = name }
        return place
    }

    private static func type(_ name: String, of map: CRUSHMap) throws(CRUSHError) -> TypeID {
        guard let type = map.type(named: name) else { throw CRUSHError("the CRUSH map has no type '\(name)'") }
        return type
    }

    /// A weight from decimal text. Throws unless it is from 0 to the limit of a device.
    public static func weight(_ text: String) throws(CRUSHError) -> CRUSHWeight {
        guard let weight = CRUSHWeight(text: text), weight <= CRUSHLimits.deviceWeight else {
            throw CRUSHError("weight '\(text)': give a number from 0 to \(CRUSHLimits.deviceWeight)")
        }
        return weight
    }
}
