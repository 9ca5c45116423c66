import Protocol
import Wire

/// The objects that the clients of a simulation share, what they ask of them, and the history of each. Objects have four
/// blocks of 512 bytes, 4 KiB or 64 KiB: the ways that data takes through a store.
struct Workload {
    struct Object {
        let name: ObjectName
        /// Bytes of a block.
        let grain: Int
        var history = ObjectHistory()
        /// The omap entry that somebody saw or wrote last, so that guards hold now and then.
        var entry: UInt64 = 0
    }

    static let blocks = 4
    private static let key = Bytes("k")
    private static let attribute = "a"

    private(set) var objects: [Object]
    /// The snapshots of all objects.
    private(set) var snapshots = SnapshotBook()
    private var nextValue: UInt64 = 1

    init(objects count: Int) {
        objects = (0..<count).map { index in
            Object(name: ObjectName("rbd_data.1.\(index)"), grain: [4096, 512, 4096, 4096, 64 << 10][index % 5])
        }
    }

    mutating func begin(_ object: Int, client: Int, _ request: Request) -> Int {
        objects[object].history.begin(client: client, request.steps, request.scope)
    }

    mutating func end(_ object: Int, _ number: Int, _ outcome: ObjectModel.Outcome) {
        let operation = objects[object].history.operations[number]
        let steps = operation.steps
        if outcome.errno == 0, operation.scope.snap == nil {
            for case .setEntry(let value) in steps { objects[object].entry = value }
            if case .getEntry? = steps.last, let value = outcome.values.last { objects[object].entry = value }
        }
        objects[object].history.end(number, outcome)
    }

    /// A client has a new snapshot.
    mutating func take(snap: UInt64) { snapshots.add(snap) }

    /// A client is about to remove a snapshot.
    mutating func remove(snap: UInt64) {
        snapshots.remove(snap)
        for index in objects.indices { objects[index].history.remove(snap: snap) }
    }

    /// What nothing explains, by object.
    var violations: [String] {
        objects.compactMap { object in object.history.violation().map { "\(object.name): \($0)" } }
    }

    // MARK: Requests

    struct Request {
        var steps: [ObjectModel.Step]
        var scope = VersionedObject.Scope()
    }

    /// A request for an object, as a client might make it that knows of these snapshots.
    mutating func request(
        on object: Int, knowing book: SnapshotBook, using random: inout SeededGenerator
    ) -> Request {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<12:
            if let snap = (book.living + book.removed.suffix(1)).randomElement(using: &random) {
                let isWhole = Bool.random(using: &random)
                return Request(
                    steps: isWhole ? Self.readAll : [.read(0..<Self.blocks)], scope: VersionedObject.Scope(snap: snap))
            }
        case 12..<15:
            if let snap = (book.living + book.removed.suffix(1)).randomElement(using: &random) {
                return Request(steps: [.rollback(snap)], scope: book.scope)
            }
        // A writer that never heard of snapshots.
        case 15..<18: return Request(steps: steps(on: object, using: &random))
        default: break
        }
        let steps = steps(on: object, using: &random)
        return Request(
            steps: steps, scope: steps.contains(where: \.isWrite) ? book.scope : VersionedObject.Scope())
    }

    private mutating func steps(on object: Int, using random: inout SeededGenerator) -> [ObjectModel.Step] {
        nextValue += 1
        let value = nextValue
        let first = Int.random(in: 0..<Self.blocks, using: &random)
        let range = first..<Int.random(in: first + 1...Self.blocks, using: &random)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<34: return [.write(range, value)]
        case 34..<38: return [.writeFull(range.count, value)]
        case 38..<43: return [.write(0..<Self.blocks, value), .setAttribute(value), .setEntry(value)]
        case 43..<51: return [.compareEntry(objects[object].entry), .setEntry(value), .write(range, value)]
        case 51..<54: return [.zero(range)]
        case 54..<56: return [.truncate(range.count)]
        case 56..<59: return [.remove]
        case 59..<62: return [.create, .write(range, value)]
        case 62..<64: return [.removeEntry]
        case 64..<66: return [.assertExists, .setAttribute(value)]
        case 66..<72: return [.read(0..<Self.blocks), .getEntry]
        case 72..<75: return [.stat, .getAttribute]
        default: return [.read(range)]
        }
    }

    /// Everything of an object.
    static let readAll: [ObjectModel.Step] = [.read(0..<blocks), .stat, .getEntry]

    /// The steps as the cluster is asked.
    func operations(_ steps: [ObjectModel.Step], on object: Int) -> [ObjectOperation] {
        let grain = objects[object].grain
        return steps.map { step in
            switch step {
            case .read(let range): .read(offset: UInt64(range.lowerBound * grain), length: UInt32(range.count * grain))
            case .stat: .stat
            case .getAttribute: .getAttribute(name: Self.attribute)
            case .getEntry: .getOmap(keys: [Self.key])
            case .assertExists: .assertExists
            case .compareEntry(let value):
                .compareOmap(key: Self.key, expected: value == 0 ? nil : Self.encoded(value))
            case .create: .create(exclusive: true)
            case .write(let range, let value):
                .write(offset: UInt64(range.lowerBound * grain), data: Self.content(value, range.count, grain))
            case .writeFull(let count, let value): .writeFull(data: Self.content(value, count, grain))
            case .zero(let range): .zero(offset: UInt64(range.lowerBound * grain), length: UInt64(range.count * grain))
            case .truncate(let count): .truncate(size: UInt64(count * grain))
            case .remove: .remove
            case .setAttribute(let value): .setAttribute(name: Self.attribute, value: Self.encoded(value))
            case .setEntry(let value): .setOmap(entries: [KeyValue(Self.key, Self.encoded(value))])
            case .removeEntry: .removeOmap(keys: [Self.key])
            case .rollback(let snap): .rollback(to: SnapID(snap))
            }
        }
    }

    // MARK: Answers

    /// What a reply says in the words of the model; what is no content that was ever written is a value that never was.
    func outcome(
        of reply: OperationReply, to steps: [ObjectModel.Step], on object: Int
    ) -> ObjectModel.Outcome {
        guard case .done(let errno) = reply.outcome else { return ObjectModel.Outcome(errno: -1) }
        // RADOS has an errno of its own for an attribute that is not there.
        guard errno == 0 else { return ObjectModel.Outcome(errno: errno == 61 ? 2 : errno) }
        guard !steps.contains(where: \.isWrite) else { return ObjectModel.Outcome() }
        var values: [UInt64] = []
        for (index, step) in steps.enumerated() {
            let output = index < reply.outputs.count ? reply.outputs[index] : .empty
            switch step {
            case .read: values += Self.values(output, objects[object].grain)
            case .stat:
                let size = Self.decoded(output)
                let grain = UInt64(objects[object].grain)
                values.append(size % grain == 0 ? size / grain : .max)
            case .getAttribute: values.append(Self.decoded(output))
            case .getEntry: values.append(Self.entry(output))
            default: break
            }
        }
        return ObjectModel.Outcome(values: values)
    }

    private static let factor: UInt64 = 0x9e37_79b9_7f4a_7c15
    /// `factor` times this is 1.
    private static let inverse: UInt64 = {
        var inverse: UInt64 = 1
        for _ in 0..<6 { inverse = inverse &* (2 &- factor &* inverse) }
        return inverse
    }()

    /// Blocks of a value: every word of a block tells the value, and its place in the block.
    private static func content(_ value: UInt64, _ count: Int, _ grain: Int) -> Bytes {
        Bytes(count: count * grain) { bytes in
            let words = bytes.bindMemory(to: UInt64.self)
            for index in 0..<grain / 8 { words[index] = (value &* factor) ^ UInt64(index) }
            for block in 1..<max(1, count) {
                let from = UnsafeRawBufferPointer(rebasing: bytes[..<grain])
                UnsafeMutableRawBufferPointer(rebasing: bytes[block * grain..<(block + 1) * grain]).copyMemory(
                    from: from)
            }
        }
    }

    private static func values(_ data: Bytes, _ grain: Int) -> [UInt64] {
        guard data.count % grain == 0 else { return [.max] }
        return data.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: grain).map { start in
                let first = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
                var isWhole = true
                var isZero = first == 0
                for index in 0..<grain / 8 {
                    let word = bytes.loadUnaligned(fromByteOffset: start + index * 8, as: UInt64.self)
                    isWhole = isWhole && word == first ^ UInt64(index)
                    isZero = isZero && word == 0
                }
                return isZero ? 0 : isWhole ? first &* inverse : .max
            }
        }
    }

    private static func encoded(_ value: UInt64) -> Bytes { .encoding { $0.writeU64(value) } }

    private static func decoded(_ bytes: Bytes) -> UInt64 {
        var reader = ByteReader(bytes)
        return (try? reader.readU64()) ?? .max
    }

    private static func entry(_ output: Bytes) -> UInt64 {
        var reader = ByteReader(output)
        let entries = try? reader.readArray(atMost: 2) { r throws(WireError) in try KeyValue(from: &r) }
        guard let entries, entries.count < 2 else { return .max }
        return entries.first.map { decoded($0.value) } ?? 0
    }
}
