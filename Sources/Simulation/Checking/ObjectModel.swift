/// What an object is, as clients can tell: the specification that histories are held against. Its data is a row of blocks
/// that hold one value each (0 for zeros), so that a state is a few numbers; how many bytes a block has is the client's affair.
public struct ObjectModel: Hashable, Sendable {
    /// True when there is such an object.
    public private(set) var exists = false
    /// The values of its blocks, as many as its size has.
    public private(set) var blocks: [UInt64] = []
    /// The value of its attribute; 0 for none.
    public private(set) var attribute: UInt64 = 0
    /// The value of its omap entry; 0 for none.
    public private(set) var entry: UInt64 = 0

    /// No object.
    public init() {}

    /// A step of a request. Values that are written are never 0, and best never written twice.
    public enum Step: Hashable, Sendable {
        /// Gives the values of the blocks, as many of them as there are.
        case read(Range<Int>)
        /// Gives the size in blocks.
        case stat
        /// Gives the attribute; fails when there is none.
        case getAttribute
        /// Gives the entry, 0 for none.
        case getEntry
        /// Fails unless the object exists.
        case assertExists
        /// Fails unless the entry has this value.
        case compareEntry(UInt64)
        /// Fails when the object exists.
        case create
        case write(Range<Int>, UInt64)
        /// The object has these blocks and no others.
        case writeFull(Int, UInt64)
        case zero(Range<Int>)
        case truncate(Int)
        /// Fails when there is no object.
        case remove
        case setAttribute(UInt64)
        case setEntry(UInt64)
        case removeEntry
        /// Makes the object what it was at a snapshot; alone in its request, which `VersionedObject` does.
        case rollback(UInt64)

        /// True when it changes the object.
        public var isWrite: Bool {
            switch self {
            case .read, .stat, .getAttribute, .getEntry, .assertExists, .compareEntry: false
            default: true
            }
        }
    }

    /// What a client is told.
    public struct Outcome: Hashable, Sendable, CustomStringConvertible {
        /// 0, or the errno that failed the request.
        public var errno: Int32
        /// What its steps gave, one after the other; nothing when it failed or changed the object.
        public var values: [UInt64]

        /// An outcome of these values.
        public init(errno: Int32 = 0, values: [UInt64] = []) {
            self.errno = errno
            self.values = values
        }

        public var description: String { errno == 0 ? "\(values)" : "errno \(errno)" }
    }

    /// The errno of a request for which there was no room: nothing of it was done, whatever the state.
    public static let noSpace: Int32 = 28

    /// Does a request as a whole: all of its steps, or, when one fails, none.
    public mutating func apply(_ steps: [Step]) -> Outcome {
        var next = self
        var outcome = Outcome()
        for step in steps {
            if let errno = next.apply(step, of: self, &outcome.values) { return Outcome(errno: errno) }
        }
        self = next
        return outcome
    }

    /// The errno of a step that fails.
    private mutating func apply(_ step: Step, of before: ObjectModel, _ values: inout [UInt64]) -> Int32? {
        switch step {
        case .read(let range):
            guard before.exists else { return 2 }
            values += before.blocks[range.clamped(to: 0..<before.blocks.count)]
        case .stat:
            guard before.exists else { return 2 }
            values.append(UInt64(before.blocks.count))
        case .getAttribute:
            guard before.exists, before.attribute != 0 else { return 2 }
            values.append(before.attribute)
        case .getEntry:
            guard before.exists else { return 2 }
            values.append(before.entry)
        case .assertExists:
            if !before.exists { return 2 }
        case .compareEntry(let expected):
            if before.entry != expected { return 125 }
        default:
            return change(by: step)
        }
        return nil
    }

    private mutating func change(by step: Step) -> Int32? {
        switch step {
        case .create:
            if exists { return 17 }
            exists = true
        case .write(let range, let value):
            exists = true
            extend(to: range.upperBound)
            for index in range { blocks[index] = value }
        case .writeFull(let count, let value):
            exists = true
            blocks = Array(repeating: value, count: count)
        case .zero(let range):
            for index in range.clamped(to: 0..<blocks.count) { blocks[index] = 0 }
        case .truncate(let count):
            guard exists else { return nil }
            blocks.removeLast(max(0, blocks.count - count))
            extend(to: count)
        case .remove:
            guard exists else { return 2 }
            self = ObjectModel()
        case .setAttribute(let value):
            exists = true
            attribute = value
        case .setEntry(let value):
            exists = true
            entry = value
        case .removeEntry:
            entry = 0
        default:
            preconditionFailure("\(step) changes nothing")
        }
        return nil
    }

    /// The object, for a failing run.
    var description: String { exists ? "\(blocks)/\(attribute)/\(entry)" : "nothing" }

    private mutating func extend(to count: Int) {
        while blocks.count < count { blocks.append(0) }
    }
}
