import Glibc
import NIOPosix
import Protocol
import RADOS
import Wire

/// What `nacre rados` does with the objects of a pool, in the words and forms of `rados`.
public struct RadosAdministration: Sendable {
    let cluster: Cluster
    let poolName: String
    let output: Output
    /// Takes bytes as they are, to standard output.
    let write: @Sendable (String) -> Void

    /// Bytes of one request when an object is read or written whole.
    static let part = 4 << 20
    /// What `rados` ends with when a command fails, whatever the reason.
    static let status: Int32 = 1

    /// Commands on the objects of a pool of `cluster`.
    public init(cluster: Cluster, pool: String, output: Output, write: @escaping @Sendable (String) -> Void) {
        self.cluster = cluster
        poolName = pool
        self.output = output
        self.write = write
    }

    // MARK: Data

    /// Writes a file, or standard input for `-`, to an object from `offset` on; without one it is all that the object has.
    public func put(_ object: String, file: String, offset: UInt64) async throws(CommandError) {
        let limit = Int(StorageLimits.objectSize)
        let data = try LocalFile.read(file, atMost: limit, what: "an object")
        guard offset <= limit, data.count <= limit - Int(offset) else {
            throw failure("putting", object, errno: EFBIG)
        }
        try await run("putting", object) { pool, name in
            var position = min(Self.part, data.count)
            let first = data[0..<position]
            let begin: ObjectOperation = offset == 0 ? .writeFull(data: first) : .write(offset: offset, data: first)
            try await pool.perform([begin], on: name)
            while position < data.count {
                let next = data[position..<min(position + Self.part, data.count)]
                try await pool.perform([.write(offset: offset + UInt64(position), data: next)], on: name)
                position += next.count
            }
        }
    }

    /// Adds a file, or standard input for `-`, to the end of an object.
    public func append(_ object: String, file: String) async throws(CommandError) {
        let data = try LocalFile.read(file, atMost: StorageLimits.writeSize, what: "what is appended at once")
        try await run("appending", object) { pool, name in try await pool.perform([.append(data: data)], on: name) }
    }

    /// Writes an object to a file, or to standard output for `-`.
    public func get(_ object: String, file: String) async throws(CommandError) {
        var whole: [UInt8] = []
        try await run("getting", object) { pool, name in
            while true {
                let step = ObjectOperation.read(offset: UInt64(whole.count), length: UInt32(Self.part))
                let part = try await pool.perform([step], on: name).first ?? .empty
                whole += part.array
                if part.count < Self.part { return }
            }
        }
        try LocalFile.write(Bytes(whole), to: file)
    }

    /// Sets an object's size.
    public func truncate(_ object: String, size: UInt64) async throws(CommandError) {
        guard size <= StorageLimits.objectSize else { throw failure("truncating", object, errno: EFBIG) }
        try await run("truncating", object) { try await $0.perform([.truncate(size: size)], on: $1) }
    }

    /// Makes an object that has nothing; EEXIST when there is one.
    public func create(_ object: String) async throws(CommandError) {
        try await run("creating", object) { try await $0.perform([.create(exclusive: true)], on: $1) }
    }

    /// Removes objects; fails at the first that cannot be.
    public func remove(_ objects: [String]) async throws(CommandError) {
        for object in objects {
            try await run("removing", object) { try await $0.perform([.remove], on: $1) }
        }
    }

    // MARK: What there is

    /// Shows the names of the pool's objects, in the order of storage.
    public func list() async throws(CommandError) {
        let pool = try await openPool()
        var names: [ObjectEntry] = []
        do throws(RADOSError) {
            var next: ListingPosition? = ListingPosition(0)
            while let position = next {
                let part = try await pool.list(from: position, prefix: .empty)
                let found = part.names.map { ObjectEntry(name: $0.description) }
                if output.format == .plain {
                    write(found.map { $0.name + "\n" }.joined())
                } else {
                    names += found
                }
                next = part.next
            }
        } catch {
            throw CommandError(errno: Self.status, "error listing pool '\(poolName)': \(Self.text(error))")
        }
        if output.format == .json { output.show(names) { _ in "" } }
    }

    /// Shows an object's size and when it was changed.
    public func stat(_ object: String) async throws(CommandError) {
        let status = try await run("stat-ing", object) { pool, name in
            try ObjectStatus(decoding: try await pool.perform([.stat], on: name).first ?? .empty)
        }
        let report = ObjectStatusReport(
            pool: poolName, name: object, size: status.size, mtime: TimeText.local(nanoseconds: status.modified),
            version: status.version.description)
        output.show(report) { "\($0.pool)/\($0.name) mtime \($0.mtime), size \($0.size)" }
    }

    /// Shows who watches an object.
    public func listWatchers(_ object: String) async throws(CommandError) {
        let watchers = try await run("listing watchers of", object) { pool, name in
            try Self.decode(try await pool.perform([.listWatchers], on: name).first, OperationLimits.watchers) {
                r throws(WireError) in try Watcher(from: &r)
            }
        }
        let rows = watchers.map {
            WatcherEntry(address: $0.name, client: "client.\(String($0.client, radix: 16))", cookie: $0.cookie)
        }
        output.show(rows) { rows in
            rows.map { "watcher=\($0.address) \($0.client) cookie=\($0.cookie)\n" }.joined()
        }
    }

    // MARK: Attributes

    /// Shows the names of an object's attributes.
    public func listAttributes(_ object: String) async throws(CommandError) {
        let attributes = try await run("getting xattr set", object) { pool, name in
            try Self.decode(try await pool.perform([.getAttributes], on: name).first, OperationLimits.attributes) {
                r throws(WireError) in try Attribute(from: &r)
            }
        }
        output.show(attributes.map(\.name)) { $0.map { $0 + "\n" }.joined() }
    }

    /// Writes the value of an attribute to standard output, as it is.
    public func getAttribute(_ object: String, _ attribute: String) async throws(CommandError) {
        let value = try await run("getting xattr", object, attribute) { pool, name in
            try await pool.perform([.getAttribute(name: attribute)], on: name).first ?? .empty
        }
        try LocalFile.write(value, to: "-")
    }

    /// Sets an attribute to a value, or to what standard input has.
    public func setAttribute(_ object: String, _ attribute: String, _ value: String?) async throws(CommandError) {
        let limit = StorageLimits.attributeValue
        let bytes: Bytes
        if let value {
            bytes = Bytes(value)
        } else {
            bytes = try LocalFile.read("-", atMost: limit, what: "an attribute")
        }
        guard attribute.utf8.count <= StorageLimits.attributeName, bytes.count <= limit else {
            throw failure("setting xattr", object, attribute, errno: E2BIG)
        }
        try await run("setting xattr", object, attribute) {
            try await $0.perform([.setAttribute(name: attribute, value: bytes)], on: $1)
        }
    }

    /// Removes an attribute; ENODATA when the object has none of this name.
    public func removeAttribute(_ object: String, _ attribute: String) async throws(CommandError) {
        try await run("removing xattr", object, attribute) {
            try await $0.perform([.getAttribute(name: attribute), .removeAttribute(name: attribute)], on: $1)
        }
    }

    // MARK: The ordered map

    /// Shows the keys of an object's map.
    public func listKeys(_ object: String) async throws(CommandError) {
        let entries = try await entries("getting omap keys", object)
        output.show(entries.map { String($0.key) }) { _ in
            entries.map { HexDump.key($0.key) + "\n" }.joined()
        }
    }

    /// Shows the keys and values of an object's map.
    public func listValues(_ object: String) async throws(CommandError) {
        let entries = try await entries("getting omap vals", object)
        output.show(entries.map { MapEntry(key: String($0.key), hex: HexDump.digits($0.value)) }) { _ in
            entries.map { "\(HexDump.key($0.key))\n\(HexDump.value($0.value))\n" }.joined()
        }
    }

    /// Shows the value of a key of an object's map, or writes it to a file.
    public func getValue(_ object: String, _ key: String, file: String?) async throws(CommandError) {
        let found = try await run("getting omap value", object, key) { pool, name in
            try Self.decode(try await pool.perform([.getOmap(keys: [Bytes(key)])], on: name).first, 1) {
                r throws(WireError) in try KeyValue(from: &r)
            }
        }
        guard let entry = found.first else {
            throw CommandError(errno: Self.status, "No such key: \(poolName)/\(object)/\(key)")
        }
        if let file { return try LocalFile.write(entry.value, to: file) }
        output.show(MapEntry(key: key, hex: HexDump.digits(entry.value))) { _ in HexDump.value(entry.value) }
    }

    /// Sets a key of an object's map to a value, or to what a file has.
    public func setValue(
        _ object: String, _ key: String, _ value: String?, file: String?
    ) async throws(CommandError) {
        let bytes: Bytes
        switch (value, file) {
        case (let value?, nil): bytes = Bytes(value)
        case (nil, let file): bytes = try LocalFile.read(file ?? "-", atMost: StorageLimits.omapValue, what: "a value")
        default: throw CommandError(errno: EINVAL, "the value is given twice: give it, or --input-file")
        }
        guard key.utf8.count <= StorageLimits.omapKey, bytes.count <= StorageLimits.omapValue else {
            throw failure("setting omap value", object, key, errno: E2BIG)
        }
        try await run("setting omap value", object, key) {
            try await $0.perform([.setOmap(entries: [KeyValue(Bytes(key), bytes)])], on: $1)
        }
    }

    /// Removes a key of an object's map; none is no error.
    public func removeKey(_ object: String, _ key: String) async throws(CommandError) {
        try await run("removing omap key", object, key) {
            try await $0.perform([.assertExists, .removeOmap(keys: [Bytes(key)])], on: $1)
        }
    }

    /// Removes all keys of objects' maps.
    public func clearMaps(_ objects: [String]) async throws(CommandError) {
        for object in objects {
            try await run("clearing omap keys", object) { try await $0.perform([.assertExists, .clearOmap], on: $1) }
        }
    }

    private func entries(_ doing: String, _ object: String) async throws(CommandError) -> [KeyValue] {
        try await run(doing, object) { pool, name in
            var all: [KeyValue] = []
            while true {
                let step = ObjectOperation.listOmap(after: all.last?.key ?? .empty, prefix: .empty, limit: 512)
                var reader = ByteReader(try await pool.perform([step], on: name).first ?? .empty)
                all += try reader.readArray(atMost: Int(OperationLimits.listing)) { r throws(WireError) in
                    try KeyValue(from: &r)
                }
                guard try reader.readBool() else { return all }
            }
        }
    }

    // MARK: Watch and notify

    /// Watches an object and shows every notification, until standard input has a line or ends.
    public func watch(_ object: String) async throws(CommandError) {
        let write = write
        let watch = try await run("adding watch to", object) { pool, name in
            let cookie = CookieBox()
            let watch = try await pool.watch(name) { event in
                switch event {
                case .notification(let number, let notifier, let payload):
                    write(
                        "NOTIFY cookie \(cookie.value) notify_id \(number) from client.\(String(notifier, radix: 16))\n"
                            + HexDump.lines(payload))
                    return payload
                case .missed: write("ERROR cookie \(cookie.value) err (110) Connection timed out: watching again\n")
                case .ended(let errno):
                    write("ERROR cookie \(cookie.value) err (\(errno)) \(String(cString: strerror(errno)))\n")
                }
                return .empty
            }
            cookie.set(watch.cookie)
            return watch
        }
        write("press enter to exit...\n")
        _ = try? await NIOThreadPool.singleton.runIfActive {
            var byte: UInt8 = 0
            while Glibc.read(STDIN_FILENO, &byte, 1) == 1, byte != UInt8(ascii: "\n") {}
        }
        await watch.close()
    }

    /// Notifies the watchers of an object and shows what they answered; fails when some did not.
    public func notify(_ object: String, _ message: String) async throws(CommandError) {
        let result = try await run("calling notify on", object) { pool, name in
            try await pool.notify(name, Bytes(message))
        }
        for answer in result.answers {
            let line =
                "reply client.\(String(answer.client, radix: 16)) cookie \(answer.cookie) : "
                + "\(answer.payload.count) bytes\n"
            write(line + (answer.payload.isEmpty ? "" : HexDump.lines(answer.payload)))
        }
        for watcher in result.missed {
            write("timeout client.\(String(watcher.client, radix: 16)) cookie \(watcher.cookie)\n")
        }
        if !result.missed.isEmpty { throw failure("calling notify on", object, errno: ETIMEDOUT) }
    }

    // MARK: Helpers

    func openPool() async throws(CommandError) -> RADOSPool {
        do { return try await cluster.pool(named: poolName) } catch {
            throw CommandError(
                errno: Self.status,
                "error opening pool \(poolName): (\(error.errno)) \(String(cString: strerror(error.errno)))")
        }
    }

    @discardableResult
    private func run<Value>(
        _ doing: String, _ object: String, _ part: String? = nil,
        _ body: (RADOSPool, ObjectName) async throws -> Value
    ) async throws(CommandError) -> Value {
        guard !object.isEmpty, object.utf8.count <= ObjectName.limit else {
            throw CommandError(
                errno: EINVAL, "'\(object.prefix(80))' is no name of an object: give 1 to \(ObjectName.limit) bytes")
        }
        let pool = try await openPool()
        do {
            return try await body(pool, ObjectName(object))
        } catch let error as RADOSError {
            throw CommandError(
                errno: Self.status,
                "error \(doing) \(poolName)/\(object)\(part.map { "/" + $0 } ?? ""): \(Self.text(error))")
        } catch {
            throw CommandError(error)
        }
    }

    private func failure(_ doing: String, _ object: String, _ part: String? = nil, errno: Int32) -> CommandError {
        CommandError(
            errno: Self.status,
            "error \(doing) \(poolName)/\(object)\(part.map { "/" + $0 } ?? ""): (\(errno)) "
                + String(cString: strerror(errno)))
    }

    private static func text(_ error: RADOSError) -> String { "(\(error.errno)) \(error.description)" }

    private static func decode<Element>(
        _ output: Bytes?, _ limit: Int, _ element: (inout ByteReader) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        var reader = ByteReader(output ?? .empty)
        return try reader.readArray(atMost: limit, element)
    }
}
