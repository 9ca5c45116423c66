import ClusterMap
import KeyValueStore
import Protocol
import Wire

/// One epoch as it is decided: the increment, and the map that it makes.
public struct MapLogEntry: Sendable {
    /// The epoch that it makes.
    public var epoch: Epoch
    /// The encoded `OSDMap.Increment`: the value that monitors agree on.
    public var increment: Bytes
    /// The encoded map that it makes; everyone can make it from the increment and the map before.
    public var result: Bytes

    /// An entry with these values.
    public init(epoch: Epoch, increment: Bytes, result: Bytes) {
        self.epoch = epoch
        self.increment = increment
        self.result = result
    }
}

/// Why the stored maps cannot be used; one line that says what is wrong.
public struct MapLogError: Error, Hashable, CustomStringConvertible {
    /// The line.
    public let description: String

    /// An error with this line.
    public init(_ description: String) { self.description = description }
}

/// The cluster map as a log of epochs in an ordered store. Never trimmed: an OSD derives the past intervals of its groups
/// from every epoch since the first, however long it was away.
///
/// | key | value |
/// |---|---|
/// | `m/identity` | version u8, cluster id, monitor's name |
/// | `m/last` | u32 newest epoch |
/// | `m/full/` + u32 big-endian epoch | CRC-32C, encoded map: epoch 1 and every `MonitorBounds.epochsBetweenFullMaps`th |
/// | `m/increment/` + u32 big-endian epoch | CRC-32C, encoded increment: every epoch from 2 |
///
/// An epoch is one atomic durable commit of its increment, `m/last` and its full map if it has one, so that the log has no
/// gaps whenever it is cut off.
public final class MapLog {
    /// The cluster whose maps these are.
    public let cluster: UniqueID
    /// The monitor's own name.
    public let name: String
    /// The newest epoch stored.
    public private(set) var last: Epoch
    private let store: any KeyValueStore

    private init(store: any KeyValueStore, cluster: UniqueID, name: String, last: Epoch) {
        self.store = store
        self.cluster = cluster
        self.name = name
        self.last = last
    }

    // MARK: Begin

    /// Begins the log of a new cluster with its first map, durable when this returns. Refuses a store that has one.
    public static func create(in store: any KeyValueStore, name: String, firstMap map: OSDMap) throws(MapLogError)
        -> MapLog
    {
        precondition(map.epoch == Epoch(1), "the first map has epoch \(map.epoch)")
        guard (1...MonitorBounds.name).contains(name.utf8.count) else {
            throw MapLogError("the name of a monitor has 1 to \(MonitorBounds.name) bytes, '\(name)' does not")
        }
        if let other = try open(store) {
            throw MapLogError("monitor '\(other.name)' of cluster \(other.cluster) is there already")
        }
        var batch = KeyBatchWriter()
        batch.put(
            Key.identity,
            Bytes.encoding { writer in
                writer.versioned(1) { w in
                    map.cluster.encode(into: &w)
                    w.writeString(name)
                }
            })
        batch.put(Key.last, Bytes.encoding { $0.writeU32(map.epoch.rawValue) })
        batch.put(Key.full(map.epoch), sealed(map.encoded))
        let log = MapLog(store: store, cluster: map.cluster, name: name, last: map.epoch)
        try log.write(batch.finish())
        return log
    }

    /// The log in `store`, nil when there is none.
    public static func open(_ store: any KeyValueStore) throws(MapLogError) -> MapLog? {
        guard let identity = try value(Key.identity, in: store) else { return nil }
        guard let lastBytes = try value(Key.last, in: store) else {
            throw MapLogError("the monitor's store has no newest epoch: it is damaged")
        }
        do throws(WireError) {
            var reader = ByteReader(identity)
            let (cluster, name) = try reader.versioned("monitor identity", supported: 1) { r, _ throws(WireError) in
                (try UniqueID(from: &r), try r.readString(atMost: MonitorBounds.name))
            }
            var lastReader = ByteReader(lastBytes)
            let last = Epoch(try lastReader.readU32())
            return MapLog(store: store, cluster: cluster, name: name, last: last)
        } catch {
            throw MapLogError("the monitor's store is damaged: \(error)")
        }
    }

    /// The newest map, made from the newest whole map and the increments after it, each verified by its checksum.
    public func newestMap() throws(MapLogError) -> OSDMap {
        var epoch = last.rawValue - last.rawValue % MonitorBounds.epochsBetweenFullMaps
        if epoch == 0 { epoch = 1 }
        var map = try decodeMap(fullMap(Epoch(epoch)), epoch: Epoch(epoch))
        while map.epoch < last {
            let bytes = try increment(map.epoch.next)
            do {
                map = try map.applying(try OSDMap.Increment(decoding: bytes))
            } catch {
                throw MapLogError("epoch \(map.epoch.next) of the monitor's store does not apply: \(error)")
            }
        }
        return map
    }

    private func decodeMap(_ bytes: Bytes, epoch: Epoch) throws(MapLogError) -> OSDMap {
        do throws(WireError) {
            let map = try OSDMap(decoding: bytes)
            guard map.epoch == epoch, map.cluster == cluster else { throw WireError("it is of another epoch or cluster") }
            return map
        } catch {
            throw MapLogError("the map of epoch \(epoch) in the monitor's store is damaged: \(error)")
        }
    }

    // MARK: Read and append

    /// Stores the next epoch; durable when this returns.
    public func append(_ entry: MapLogEntry) throws(MapLogError) {
        precondition(entry.epoch == last.next, "epoch \(entry.epoch) does not follow \(last)")
        var batch = KeyBatchWriter(capacity: entry.increment.count + 256)
        batch.put(Key.increment(entry.epoch), Self.sealed(entry.increment))
        batch.put(Key.last, Bytes.encoding { $0.writeU32(entry.epoch.rawValue) })
        if entry.epoch.rawValue % MonitorBounds.epochsBetweenFullMaps == 0 {
            batch.put(Key.full(entry.epoch), Self.sealed(entry.result))
        }
        try write(batch.finish())
        last = entry.epoch
    }

    /// The encoded map of an epoch that was stored whole.
    public func fullMap(_ epoch: Epoch) throws(MapLogError) -> Bytes {
        try unsealed(Key.full(epoch), "map of epoch \(epoch)")
    }

    /// The encoded increment that made an epoch from 2 to `last`.
    public func increment(_ epoch: Epoch) throws(MapLogError) -> Bytes {
        try unsealed(Key.increment(epoch), "increment of epoch \(epoch)")
    }

    /// The increments after `epoch`, in order without a gap, as many as go into one map update.
    public func increments(after epoch: Epoch) throws(MapLogError) -> [Bytes] {
        var found: [Bytes] = []
        var size = 0
        var next = epoch.next
        while next <= last, found.count < MonitorLimits.increments {
            let bytes = try increment(next)
            if !found.isEmpty, size + bytes.count > MonitorBounds.updateBytes { break }
            size += bytes.count
            found.append(bytes)
            next = next.next
        }
        return found
    }

    // MARK: Store

    private static func sealed(_ bytes: Bytes) -> Bytes {
        Bytes.encoding(capacity: bytes.count + 4) { writer in
            writer.writeU32(Checksum.crc32c(bytes))
            writer.writeRaw(bytes)
        }
    }

    private func unsealed(_ key: Bytes, _ what: String) throws(MapLogError) -> Bytes {
        guard let value = try Self.value(key, in: store) else {
            throw MapLogError("the \(what) is missing from the monitor's store: it is damaged")
        }
        do throws(WireError) {
            var reader = ByteReader(value)
            let checksum = try reader.readU32()
            let bytes = try reader.readRaw(reader.remaining)
            guard Checksum.crc32c(bytes) == checksum else { throw WireError("its checksum is wrong") }
            return bytes
        } catch {
            throw MapLogError("the \(what) in the monitor's store is damaged: \(error)")
        }
    }

    private static func value(_ key: Bytes, in store: any KeyValueStore) throws(MapLogError) -> Bytes? {
        do throws(KeyValueError) { return try store.value(key) } catch { throw MapLogError(error.description) }
    }

    private func write(_ batch: KeyBatch) throws(MapLogError) {
        do throws(KeyValueError) { try store.write([batch], .durable) } catch { throw MapLogError(error.description) }
    }

    private enum Key {
        static let identity = Bytes("m/identity")
        static let last = Bytes("m/last")
        static func full(_ epoch: Epoch) -> Bytes { numbered("m/full/", epoch) }
        static func increment(_ epoch: Epoch) -> Bytes { numbered("m/increment/", epoch) }

        private static func numbered(_ prefix: String, _ epoch: Epoch) -> Bytes {
            Bytes.encoding(capacity: 16) { writer in
                for byte in prefix.utf8 { writer.writeU8(byte) }
                writer.writeU32(epoch.rawValue.byteSwapped)
            }
        }
    }
}
