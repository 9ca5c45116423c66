import Protocol

/// What one transaction may log.
extension ObjectStore {
    /// Refuses a transaction that would not fit a record, before any of it is applied or logged, and sees to it that one that is
    /// large has its record to itself. Counts at least what contents log; what operations without content add is within the
    /// slack of a record, whose other half makes up for what is counted too much.
    func makeRoomInRecord(for transaction: Transaction) throws(StoreError) {
        let journal = superblock.journalLength
        let limit = StoreLimits.largestTransaction(journal: journal)
        let most = limit + StoreLimits.batchTarget(journal: journal) / 2
        var bytes = 0
        // What a clone copies: it may be of what this transaction has cloned, and set keys of.
        var keys = 0, largestClone = 0
        for operation in transaction.operations {
            let before = keys
            switch operation {
            case .write(_, let offset, let data):
                bytes += loggedBytes(ofWrite: data.count, at: Int(offset))
            case .setAttribute(_, let name, let value):
                keys += name.utf8.count + value.count
            case .setOmap(_, let entries), .setGroupKeys(_, let entries):
                for entry in entries { keys += entry.key.count + entry.value.count + StoreLimits.keyOverhead }
            case .removeOmap(_, let names):
                for name in names { keys += name.count + StoreLimits.keyOverhead }
            case .clone(let id, _):
                largestClone = max(largestClone, try loggedBytes(ofCloneOf: id, limit: most)) + keys
                bytes += largestClone
            case .cloneRange(_, _, _, let length, _):
                bytes += (Int(length) / StoreLimits.unitSize + 2) * StoreLimits.besideUnitRecord
            case .touch, .zero, .truncate, .remove, .removeAttribute, .removeOmapRange, .clearOmap, .removeGroupKeys,
                .removeGroup:
                break
            }
            bytes += keys - before
            guard bytes <= most else {
                throw StoreError(
                    .tooLarge,
                    "a transaction would log more than \(limit) bytes, a quarter of the journal; nothing of it was logged. "
                        + "What asked for it must do it in parts")
            }
        }
        if let gathering, gathering.recordBytes + bytes > limit { closeBatch() }
    }

    /// Whole units go beside the record, the blocks of parts at both ends into it.
    private func loggedBytes(ofWrite count: Int, at offset: Int) -> Int {
        let unitSize = StoreLimits.unitSize, blockSize = StoreLimits.blockSize
        let end = offset + count
        let first = (offset + unitSize - 1) / unitSize, last = end / unitSize
        let whole = max(0, last - first)
        let blocks = (end + blockSize - 1) / blockSize - offset / blockSize - whole * StoreLimits.blocksPerUnit
        return blocks * (blockSize + 12) + (whole + 2) * StoreLimits.besideUnitRecord
    }

    private func loggedBytes(ofCloneOf id: ObjectID, limit: Int) throws(StoreError) -> Int {
        let object = try cached(id)
        guard let record = object.record else { return 0 }
        try loadUnits(object)
        var bytes = record.attributes.reduce(0) { $0 + $1.name.utf8.count + $1.value.count }
        // The unit, and its count of references.
        bytes += object.units.count * StoreLimits.unitRecord
        guard record.mayHaveOmap else { return bytes }
        let prefix = StoreKeys.omap(record.number, .empty)
        try scan(from: prefix, to: StoreKeys.end(ofPrefix: prefix)) { key, value in
            bytes += key.count + value.count + StoreLimits.keyOverhead
            return bytes <= limit
        }
        return bytes
    }
}
