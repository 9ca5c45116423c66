import ClusterMap
import Protocol
import RADOS
import Wire

/// The objects of a cluster in memory, and what the steps of a compound request do to them. Stricter than an OSD where the
/// protocol leaves it open: a guard on an object that does not exist is ENOENT.
public struct MemoryObjects: Sendable {
    public struct Object: Equatable, Sendable {
        public var data: [UInt8] = []
        public var omap: [Bytes: Bytes] = [:]
        public var attributes: [String: Bytes] = [:]
        public var watchers: [Watcher] = []

        public init() {}
    }

    public var objects: [ObjectID: Object] = [:]
    /// What objects were, nil for not there, and for which snapshots: copies, oldest first.
    public var kept: [ObjectID: [(snaps: Set<SnapID>, content: Object?)]] = [:]
    private var known: [ObjectID: SnapID] = [:]

    public init() {}

    /// Names of the objects there are, sorted.
    public var names: [String] { objects.keys.map(\.name.description).sorted() }

    public func object(_ name: String) -> Object? { objects.first { $0.key.name.description == name }?.value }

    /// Does the steps on `id` atomically. Returns the errno and, for success, one output for each step.
    public mutating func execute(
        _ steps: [ObjectOperation], on id: ObjectID, group: (seed: UInt32, count: UInt32), client: UInt64, name: String,
        at snap: SnapID = .head, context: SnapContext = .none
    ) -> (errno: Int32, outputs: [Bytes]) {
        var object = content(of: id, at: snap)
        var outputs: [Bytes] = []
        for step in steps {
            if case .listObjects(let after, let prefix, let limit) = step {
                outputs.append(list(id.pool, group, after: after, prefix: prefix, limit: Int(limit), at: snap))
                continue
            }
            if case .rollback(let target) = step {
                object = content(of: id, at: target)
                outputs.append(.empty)
                continue
            }
            var output = Bytes.empty
            let errno =
                step.isWrite
                ? Self.change(&object, step, client: client, name: name) : Self.read(object, step, &output)
            guard errno == 0 else { return (errno, []) }
            outputs.append(output)
        }
        guard steps.contains(where: \.isWrite) else { return (0, outputs) }
        keep(id, for: context)
        objects[id] = object
        return (0, outputs)
    }

    private mutating func keep(_ id: ObjectID, for context: SnapContext) {
        let seen = known[id] ?? .none
        guard context.sequence > seen else { return }
        known[id] = context.sequence
        let snaps = context.snaps.filter { $0 > seen }
        if !snaps.isEmpty { kept[id, default: []].append((Set(snaps), objects[id])) }
    }

    /// An object as it is, or was at a snapshot.
    public func content(of id: ObjectID, at snap: SnapID) -> Object? {
        guard snap != .head else { return objects[id] }
        if let version = kept[id]?.first(where: { $0.snaps.contains(snap) }) { return version.content }
        return snap > known[id] ?? .none ? objects[id] : nil
    }

    private static func read(_ object: Object?, _ step: ObjectOperation, _ output: inout Bytes) -> Int32 {
        if case .assertUnwatched = step { return object?.watchers.isEmpty ?? true ? 0 : Errno.busy }
        guard let object else { return Errno.noEntry }
        switch step {
        case .read(let offset, let length):
            let start = min(Int(offset), object.data.count)
            output = Bytes(Array(object.data[start..<min(start + Int(length), object.data.count)]))
        case .stat:
            output = ObjectStatus(size: UInt64(object.data.count), version: .zero, modified: 0).encoded
        case .getAttribute(let name):
            guard let value = object.attributes[name] else { return 61 }
            output = value
        case .getOmap(let keys):
            let found = keys.compactMap { key in object.omap[key].map { KeyValue(key, $0) } }
            output = .encoding { $0.writeArray(found) { $1.encode(into: &$0) } }
        case .listOmap(let after, let prefix, let limit):
            let all = object.omap.filter { $0.key > after && $0.key.array.starts(with: prefix.array) }
                .sorted { $0.key < $1.key }
            output = .encoding { writer in
                writer.writeArray(all.prefix(Int(limit))) { KeyValue($1.key, $1.value).encode(into: &$0) }
                writer.writeBool(all.count > Int(limit))
            }
        case .listWatchers: output = .encoding { $0.writeArray(object.watchers) { $1.encode(into: &$0) } }
        case .assertExists: break
        case .compareOmap(let key, let expected):
            guard object.omap[key] == expected else { return Errno.canceled }
        case .getAttributes:
            let all = object.attributes.sorted { $0.key < $1.key }
            output = .encoding { $0.writeArray(all) { Attribute($1.key, $1.value).encode(into: &$0) } }
        case .sparseRead(let offset, let length):
            var data = Bytes.empty
            _ = Self.read(object, .read(offset: offset, length: length), &data)
            output = SparseData(data, at: offset).encoded
        case .compareExtent(let offset, let data):
            let have = object.data.dropFirst(Int(offset)).prefix(data.count)
            let padded = Array(have) + [UInt8](repeating: 0, count: data.count - have.count)
            if let first = padded.indices.first(where: { padded[$0] != data[$0] }) {
                return OperationLimits.mismatch + Int32(first)
            }
        default: preconditionFailure("\(step) does not read")
        }
        return 0
    }

    private static func change(
        _ object: inout Object?, _ step: ObjectOperation, client: UInt64, name: String
    ) -> Int32 {
        switch step {
        case .create(let exclusive):
            guard object == nil || !exclusive else { return Errno.exists }
            object = object ?? Object()
        case .remove:
            guard object != nil else { return Errno.noEntry }
            object = nil
        case .zero(let offset, let length):
            guard var changed = object else { return 0 }
            let start = min(Int(offset), changed.data.count)
            let end = min(start + Int(length), changed.data.count)
            for index in start..<end { changed.data[index] = 0 }
            object = changed
        default:
            var changed = object ?? Object()
            Self.change(&changed, step, client: client, name: name)
            object = changed
        }
        return 0
    }

    private static func change(_ object: inout Object, _ step: ObjectOperation, client: UInt64, name: String) {
        switch step {
        case .write(let offset, let data):
            let end = Int(offset) + data.count
            if object.data.count < end { object.data += [UInt8](repeating: 0, count: end - object.data.count) }
            object.data.replaceSubrange(Int(offset)..<end, with: data.array)
        case .append(let data): object.data += data.array
        case .writeFull(let data): object.data = data.array
        case .truncate(let size):
            let kept = object.data.prefix(Int(size))
            object.data = Array(kept) + [UInt8](repeating: 0, count: Int(size) - kept.count)
        case .setAttribute(let name, let value): object.attributes[name] = value
        case .removeAttribute(let name): object.attributes[name] = nil
        case .clearOmap: object.omap = [:]
        case .setOmap(let entries): for entry in entries { object.omap[entry.key] = entry.value }
        case .removeOmap(let keys): for key in keys { object.omap[key] = nil }
        case .watch(let cookie, let timeout):
            object.watchers.removeAll { $0.client == client && $0.cookie == cookie }
            object.watchers.append(Watcher(client: client, cookie: cookie, name: name, timeoutMilliseconds: timeout))
        case .unwatch(let cookie): object.watchers.removeAll { $0.client == client && $0.cookie == cookie }
        default: preconditionFailure("\(step) does not change an object")
        }
    }

    private func list(
        _ pool: PoolID, _ group: (seed: UInt32, count: UInt32), after: ObjectID?, prefix: Bytes, limit: Int,
        at snap: SnapID
    ) -> Bytes {
        let found = Set(objects.keys).union(kept.keys).filter { id in
            id.pool == pool && content(of: id, at: snap) != nil && Pool.stableModulo(id.hash, group.count) == group.seed
                && id.name.bytes.starts(with: prefix.array) && (after.map { $0 < id } ?? true)
        }.sorted()
        return .encoding { writer in
            writer.writeArray(found.prefix(limit)) { $1.name.encode(into: &$0) }
            writer.writeOptional(found.count > limit ? found[limit - 1] : nil) { $1.encode(into: &$0) }
            writer.writeU8(UInt8(Pool.bits(ofGroup: group.seed, of: group.count)))
        }
    }
}
