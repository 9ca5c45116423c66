import Protocol
import Wire

/// How far an object has been sent. Writes go on beside it, logged alone by the member, until all but the last part is there;
/// then the object is locked until the member has that part, and again what was written where it had been sent already.
struct OutgoingPush {
    /// The object as it was when it was locked; before that, when it was begun.
    var version: Version
    var size: UInt64
    /// Tells the reads of this push from those of one that was begun before and given up.
    var serial: UInt32
    /// What is before it has been read.
    var offset: UInt64 = 0
    /// What is being read, and whether it was sent before.
    private(set) var reading: Range<UInt64>?
    private(set) var isReadAgain = false
    var omapAfter = Bytes.empty
    /// Over the omap entries sent so far.
    var omapDigest: UInt32 = 0
    var isFirst = true
    var stage = Stage.sending
    /// Parts sent of which the member has not said that it has them.
    var unanswered = 0
    /// When the last part was sent.
    var sentAt: UInt64 = 0
    /// True when the object does not change any more.
    var isLocked: Bool
    /// What was written after it had been read.
    private(set) var rewritten: [Range<UInt64>] = []
    private(set) var hasNewAttributes = false

    enum Stage { case sending, awaitingWord, paused, awaitingLock }

    init(version: Version, size: UInt64, serial: UInt32, isLocked: Bool) {
        self.version = version
        self.size = size
        self.serial = serial
        self.isLocked = isLocked
    }

    /// The object is written to.
    mutating func changed(by operations: [Transaction.Operation], on object: ObjectID) {
        for operation in operations {
            switch operation {
            case .write(object, let offset, let data): rewrote(offset..<offset + UInt64(data.count))
            case .zero(object, let offset, let length): rewrote(offset..<offset + length)
            case .setAttribute(object, let name, _):
                if name != ObjectInfo.attribute, !isFirst { hasNewAttributes = true }
            case .touch(object): break
            default:
                precondition(operation.object != object, "\(operation) on an object that is sent meanwhile")
            }
        }
    }

    /// Widened to whole blocks, since that is how they are stored.
    private mutating func rewrote(_ range: Range<UInt64>) {
        let end = min(range.upperBound, offset)
        guard range.lowerBound < end else { return }
        let block: UInt64 = 4096
        var added = range.lowerBound / block * block..<(end + block - 1) / block * block
        rewritten.removeAll { known in
            guard known.lowerBound <= added.upperBound, added.lowerBound <= known.upperBound else { return false }
            added = min(known.lowerBound, added.lowerBound)..<max(known.upperBound, added.upperBound)
            return true
        }
        rewritten.append(added)
        if rewritten.count > GroupLimits.rewrittenRanges {
            let first = rewritten.map(\.lowerBound).min() ?? 0
            let last = rewritten.map(\.upperBound).max() ?? 0
            rewritten = [first..<last]
        }
    }

    /// Goes on to what is to be read next, at most `limit` bytes; nil when all data has been sent.
    mutating func read(limit: UInt64) -> Range<UInt64>? {
        isReadAgain = offset >= size
        reading = next(limit: limit)
        return reading
    }

    private mutating func next(limit: UInt64) -> Range<UInt64>? {
        if offset < size {
            let range = offset..<min(size, offset + limit)
            offset = range.upperBound
            return range
        }
        while isLocked, let range = rewritten.popLast() {
            let end = min(range.upperBound, size)
            guard range.lowerBound < end else { continue }
            let part = range.lowerBound..<min(end, range.lowerBound + limit)
            if part.upperBound < end { rewritten.append(part.upperBound..<end) }
            return part
        }
        return nil
    }

    var isRewritten: Bool { !rewritten.isEmpty }

    /// True when all data has been read.
    var isThrough: Bool { offset >= size && rewritten.isEmpty }
}
