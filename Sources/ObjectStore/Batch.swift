import KeyValueStore
import Wire

/// Where one block's bytes are in memory.
struct BlockReference {
    var buffer: BlockBuffer
    var index: Int

    var bytes: UnsafeMutableRawBufferPointer { buffer.block(index) }
}

/// The transactions that become one journal record, from the first that is submitted until it is committed.
final class Batch {
    struct Block {
        var entry: BlockEntry
        var content: BlockReference
    }

    let lsn: UInt64
    var tokens: [UInt64] = []
    var keyBatches: [KeyBatch] = []
    var keyBytes = 0
    var blocks: [Block] = []
    /// Blocks written straight to fresh units.
    var beside: [BlockEntry] = []
    /// Their units.
    var besideUnits: [UInt32] = []
    /// The memory of those writes, until they are complete.
    var besideBuffers: [BlockBuffer] = []
    /// Bytes of them.
    var besideBytes = 0
    /// Units this batch frees.
    var freed: [UInt32] = []
    /// Stretches of units that are to become holes once it is committed and marked.
    var holes: [UInt32] = []
    /// Device operations to wait for; the record's own writes count from sealing on.
    var outstanding = 0
    var isSealed = false
    /// The record's header, keys and tables.
    var meta: BlockBuffer?
    var mark: UInt64 = 0
    var nextObject: UInt64 = 0
    /// Where the next record begins.
    var end = JournalPosition(lsn: 0, offset: 0, previous: 0)

    init(lsn: UInt64) { self.lsn = lsn }

    /// Bytes of keys and tables.
    var bodyBytes: Int { keyBytes + 12 * (blocks.count + beside.count) }

    /// Bytes of the record.
    var recordBytes: Int { RecordHeader.metaBytes(body: bodyBytes) + blocks.count * StoreLimits.blockSize }
}

/// A committed block that waits for its home location.
struct DirtyBlock {
    var lsn: UInt64
    var content: BlockReference
    /// A write to the home location is in flight, perhaps of older content.
    var isBusy = false
    /// The unit was freed: only the write in flight keeps the entry.
    var isDropped = false
}

/// A write to a home location in flight: of one block mostly, which must cost no memory of its own.
struct HomeWrite {
    var first: UInt64
    /// Of the first block, and of those behind it.
    var lsn: UInt64
    var others: [UInt64] = []
    /// Keep the memory until the completion.
    var buffer: BlockBuffer
    var otherBuffers: [BlockBuffer] = []

    var count: Int { 1 + others.count }
}

/// A first-in first-out queue that reuses its storage.
struct Queue<Element> {
    private var items: [Element?] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var count: Int { items.count - head }
    var first: Element? { head < items.count ? items[head] : nil }

    func first(where matches: (Element) -> Bool) -> Element? {
        for case let item? in items[head...] where matches(item) { return item }
        return nil
    }

    mutating func append(_ element: Element) { items.append(element) }

    @discardableResult
    mutating func popFirst() -> Element? {
        guard head < items.count else { return nil }
        let element = items[head]
        items[head] = nil
        head += 1
        if head == items.count {
            items.removeAll(keepingCapacity: items.capacity <= 65536)
            head = 0
        } else if head > 1024 && head > items.count / 2 {
            items.removeFirst(head)
            head = 0
        }
        return element
    }
}

/// What a tag of the device means: the kind in the highest byte, a number below.
enum TagKind: UInt8 {
    case journal = 1, beside, home, read, flush, superblock, grow
}

extension IOTag {
    init(_ kind: TagKind, _ number: UInt64) {
        precondition(number >> 56 == 0, "tag number \(number)")
        self = UInt64(kind.rawValue) << 56 | number
    }

    var kind: TagKind {
        guard let kind = TagKind(rawValue: UInt8(self >> 56)) else { preconditionFailure("unknown tag \(self)") }
        return kind
    }

    var number: UInt64 { self & (1 << 56 - 1) }
}
