import KeyValueStore
import Protocol
import Wire

/// Something in a store that is not as it must be.
public struct StoreFinding: Hashable, Sendable, Codable {
    /// What kind of damage it is.
    public enum Kind: String, Hashable, Sendable, Codable {
        /// A copy of the superblock cannot be read or does not verify; the other serves.
        case superblock
        /// A key or value of the metadata store that cannot be decoded.
        case metadata
        /// A unit or omap key of an object that does not exist.
        case orphan
        /// A unit outside the data region, of two objects, or behind its object's end.
        case space
        /// A block that does not match its checksum or cannot be read.
        case data
    }

    /// What would mend it.
    public enum Remedy: String, Hashable, Sendable, Codable {
        /// The OSD writes it anew when it starts.
        case nextStart
        /// The object must come from another member of its group.
        case fetchObject
        /// Only a new store, filled by its peers, is right again.
        case recreate
        /// It takes space and harms nothing.
        case leaveIt
    }

    /// The kind.
    public let kind: Kind
    /// The object, where it is known.
    public let object: String?
    /// The object's placement group, where the store has one that takes it.
    public let group: String?
    /// What would mend it.
    public let remedy: Remedy
    /// What is wrong, in one line.
    public let detail: String
}

/// What a check has seen.
public struct StoreContents: Hashable, Sendable, Codable {
    /// Objects, and placement groups with keys of their own.
    public var objects = 0
    public var groups = 0
    /// Objects that no group of the store takes, as an import that was cut off leaves them.
    public var unclaimedObjects = 0
    /// Units of 64 KiB in use, and all that are there.
    public var units = 0
    public var allUnits = 0
    /// Blocks of 4 KiB that hold data, and how many of them were read and verified.
    public var blocks = 0
    public var verifiedBlocks = 0
    /// Keys of objects' omaps.
    public var omapKeys = 0
    /// Journal records that a start had not applied yet.
    public var replayedRecords: UInt64 = 0
    /// What was found wrong.
    public var findings = 0
}

/// Checks a store that nobody has open: every key decodes and belongs to something, no unit belongs to two objects or lies
/// outside the device, and every block of data matches its checksum.
///
/// The journal is replayed first, as at every start: until then the keys do not say what the store contains. Nothing else
/// is written. Needs memory for every object and eight bytes for every unit.
package struct StoreCheck<Device: BlockDevice, Keys: KeyValueStore> {
    private struct Owner {
        var id: ObjectID
        var size: UInt64
        var mayHaveOmap: Bool
    }

    private let device: Device
    private let keys: Keys
    private let report: (StoreFinding) -> Void
    package private(set) var contents = StoreContents()
    private var superblock: Superblock
    private var owners: [UInt64: Owner] = [:]
    /// The number of the object that each unit belongs to; 0 for none. No object has the number 0.
    private var holders: [UInt64] = []
    private var ownership = GroupOwnership([])
    /// How many refer to the units that are shared, as counted by the store and as seen here.
    private var counted: [UInt32: UInt32] = [:]
    private var seen: [UInt32: UInt32] = [:]
    /// Stretches of units that are holes in the file.
    private var holes: Set<UInt32> = []
    private let buffer = BlockBuffer(count: StoreLimits.unitSize)

    /// Finds the superblock; throws when there is none.
    package init(device: Device, keys: Keys, report: @escaping (StoreFinding) -> Void) throws(StoreError) {
        self.device = device
        self.keys = keys
        self.report = report
        superblock = try ObjectStore<Device, Keys>.readSuperblock(device)
    }

    /// Checks; `progress` hears the share that is done. Throws when the journal is damaged or the metadata store fails.
    package mutating func run(readingData: Bool, progress: (Double) -> Void) throws(StoreError) {
        checkSuperblocks()
        var replay = Replay(device: device, keys: keys, superblock: superblock)
        superblock = try replay.run()
        contents.replayedRecords = replay.counters.replayedRecords
        contents.allUnits = Int((device.size - superblock.dataStart) / UInt64(StoreLimits.unitSize))
        holders = [UInt64](repeating: 0, count: contents.allUnits)
        try checkKinds()
        try checkGroups()
        try checkObjects()
        try checkOmaps()
        try readReferences()
        try readHoles()
        try checkUnits(readingData: readingData, progress)
        checkReferences()
    }

    private mutating func found(
        _ kind: StoreFinding.Kind, _ object: ObjectID?, _ detail: String, mendedBy remedy: StoreFinding.Remedy? = nil
    ) {
        contents.findings += 1
        let usual: StoreFinding.Remedy =
            switch kind {
            case .superblock: .nextStart
            case .metadata: .recreate
            case .orphan: .leaveIt
            case .space: .recreate
            case .data: .fetchObject
            }
        report(
            StoreFinding(
                kind: kind, object: object?.description, group: object.flatMap { ownership.group(of: $0)?.description },
                remedy: remedy ?? usual, detail: detail))
    }

    private mutating func checkSuperblocks() {
        for offset in StoreLimits.superblockOffsets {
            do {
                try device.readNow(
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<StoreLimits.blockSize]), at: offset)
                let copy = try Superblock(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<StoreLimits.blockSize]))
                // The second copy is written with the first change after the format.
                guard copy == nil, superblock.generation > 1 else { continue }
                found(.superblock, nil, "the copy at \(offset) does not verify; the other serves")
            } catch {
                found(.superblock, nil, "the copy at \(offset) cannot be read: \(error)")
            }
        }
    }

    // MARK: - Keys

    private mutating func forEach(_ tag: UInt8, _ body: (inout Self, Bytes, Bytes) throws(WireError) -> Void)
        throws(StoreError)
    {
        let first = Bytes([tag])
        try forEach(from: first, to: StoreKeys.end(ofPrefix: first), body)
    }

    private mutating func forEach(
        from lower: Bytes, to upper: Bytes, _ body: (inout Self, Bytes, Bytes) throws(WireError) -> Void
    ) throws(StoreError) {
        do throws(KeyValueError) {
            try keys.scan(from: lower, to: upper) { key, value in
                do throws(WireError) {
                    try body(&self, key, value)
                } catch {
                    found(.metadata, nil, "key \(Self.text(key)): \(error)")
                }
                return true
            }
        } catch {
            throw StoreError(.failed, error.description)
        }
    }

    private static func text(_ key: Bytes) -> String {
        key[0..<min(key.count, 64)].array.map { byte in
            let digits = String(byte, radix: 16)
            return byte < 16 ? "0" + digits : digits
        }.joined() + (key.count > 64 ? "…" : "")
    }

    /// Keys of no kind that this version writes.
    private mutating func checkKinds() throws(StoreError) {
        let kinds = StoreKeys.tags.sorted()
        var lower = Bytes.empty
        for kind in kinds {
            try forEach(from: lower, to: Bytes([kind])) { _, _, _ throws(WireError) in
                throw WireError("of no known kind")
            }
            lower = Bytes([kind + 1])
        }
        try forEach(from: lower, to: Bytes(repeating: 255, count: 16)) { _, _, _ throws(WireError) in
            throw WireError("of no known kind")
        }
    }

    private mutating func checkObjects() throws(StoreError) {
        try forEach(StoreKeys.objectTag) { check, key, value throws(WireError) in
            let id = try StoreKeys.objectID(key)
            let record = try ObjectRecord(value)
            check.contents.objects += 1
            if check.ownership.group(of: id) == nil { check.contents.unclaimedObjects += 1 }
            if record.number >= check.superblock.nextObject {
                check.found(.metadata, id, "its number \(record.number) is one that a new object would get")
            }
            if record.size > StorageLimits.objectSize {
                check.found(
                    .metadata, id, "its size \(record.size) is over the limit of \(StorageLimits.objectSize) bytes")
            }
            if let other = check.owners[record.number] {
                check.found(.metadata, id, "it has the number \(record.number) of object \(other.id)")
            }
            check.owners[record.number] = Owner(id: id, size: record.size, mayHaveOmap: record.mayHaveOmap)
        }
    }

    private mutating func checkOmaps() throws(StoreError) {
        try forEach(StoreKeys.omapTag) { check, key, _ throws(WireError) in
            var reader = ByteReader(key)
            _ = try reader.readU8()
            let number = try reader.readU64().byteSwapped
            check.contents.omapKeys += 1
            guard let owner = check.owners[number] else {
                return check.found(.orphan, nil, "an omap key of object number \(number), which does not exist")
            }
            if !owner.mayHaveOmap {
                check.found(.orphan, owner.id, "it has an omap key, and its record says that there is none")
            }
        }
    }

    private mutating func checkGroups() throws(StoreError) {
        var groups: [PGID] = []
        try forEach(StoreKeys.groupTag) { _, key, _ throws(WireError) in
            let group = try StoreKeys.groupID(key)
            if group != groups.last { groups.append(group) }
        }
        contents.groups = groups.count
        ownership = GroupOwnership(groups)
    }

    // MARK: - Units

    private mutating func readReferences() throws(StoreError) {
        try forEach(StoreKeys.referencesTag) { check, key, value throws(WireError) in
            var reader = ByteReader(value)
            let unit = try StoreKeys.referencedUnit(key), count = try reader.readU32()
            if count < 2 { check.found(.space, nil, "unit at \(unit) is shared by \(count)") }
            check.counted[unit] = count
        }
    }

    private mutating func readHoles() throws(StoreError) {
        try forEach(StoreKeys.holeTag) { check, key, _ throws(WireError) in
            let hole = try StoreKeys.referencedUnit(key)
            check.holes.insert(hole)
            guard (Int(hole) + 1) * StoreLimits.unitsPerHole <= check.contents.allUnits else {
                return check.found(.space, nil, "a hole at \(hole) MiB lies behind the end of the device")
            }
        }
    }

    private mutating func checkReferences() {
        for (unit, count) in counted.sorted(by: { $0.key < $1.key }) {
            let seen = seen[unit, default: 0]
            if seen != count { found(.space, nil, "the unit at \(unit) has \(seen) references, counted are \(count)") }
        }
    }

    private mutating func checkUnits(readingData: Bool, _ progress: (Double) -> Void) throws(StoreError) {
        let total = max(1, contents.allUnits)
        try forEach(StoreKeys.unitTag) { check, key, value throws(WireError) in
            var reader = ByteReader(key)
            _ = try reader.readU8()
            let number = try reader.readU64().byteSwapped
            let index = try StoreKeys.unitIndex(key)
            let unit = try UnitRecord(value)
            check.contents.units += 1
            check.contents.blocks += unit.present.nonzeroBitCount
            guard check.isPlaced(unit, number, index) else { return }
            if readingData { check.verify(unit, number, index) }
            if check.contents.units % 1024 == 0 { progress(min(1, Double(check.contents.units) / Double(total))) }
        }
        progress(1)
    }

    /// True when the unit lies where it may, so that its data can be looked at.
    private mutating func isPlaced(_ unit: UnitRecord, _ number: UInt64, _ index: Int) -> Bool {
        let owner = owners[number]
        if owner == nil { found(.orphan, nil, "unit \(index) of object number \(number), which does not exist") }
        guard Int(unit.place) < contents.allUnits else {
            found(.space, owner?.id, "unit \(index) is at \(unit.place), the store has \(contents.allUnits)")
            return false
        }
        if holes.contains(unit.place / UInt32(StoreLimits.unitsPerHole)) {
            found(.space, owner?.id, "unit \(index) is at \(unit.place), where the file has a hole")
            return false
        }
        let holder = holders[Int(unit.place)]
        let isShared = counted[unit.place] != nil
        if isShared { seen[unit.place, default: 0] += 1 }
        if holder != 0, !isShared {
            let other = owners[holder]?.id.description ?? "number \(holder)"
            found(.space, owner?.id, "unit \(index) is at \(unit.place), which belongs to object \(other) too")
        }
        holders[Int(unit.place)] = number
        if let owner {
            let blockSize = UInt64(StoreLimits.blockSize)
            let last = UInt64(15 - unit.present.leadingZeroBitCount) + UInt64(index * StoreLimits.blocksPerUnit)
            if unit.present == 0 {
                found(.space, owner.id, "unit \(index) holds nothing")
            } else if last * blockSize >= owner.size {
                found(.space, owner.id, "block \(last) lies behind its end at \(owner.size) bytes")
            }
        }
        return true
    }

    private mutating func verify(_ unit: UnitRecord, _ number: UInt64, _ index: Int) {
        let start = superblock.dataStart + UInt64(unit.place) * UInt64(StoreLimits.unitSize)
        var isRead = true
        do throws(DeviceError) { try device.readNow(into: buffer.bytes, at: start) } catch { isRead = false }
        for block in 0..<StoreLimits.blocksPerUnit where unit.has(block) {
            let bytes = buffer.block(block)
            if !isRead {
                // One bad block must not take the others with it.
                do throws(DeviceError) {
                    try device.readNow(into: bytes, at: start + UInt64(block * StoreLimits.blockSize))
                } catch {
                    found(.data, owners[number]?.id, "block \(index * StoreLimits.blocksPerUnit + block): \(error)")
                    continue
                }
            }
            contents.verifiedBlocks += 1
            let at = UInt64(index * StoreLimits.blocksPerUnit + block)
            let checksum = Checksum.crc32c(UnsafeRawBufferPointer(bytes)) ^ UnitRecord.seed(object: number, block: at)
            if checksum != unit.checksums[block] {
                found(.data, owners[number]?.id, "block \(at) does not match its checksum")
            }
        }
    }
}
