import Protocol

/// What one transaction may log.
extension ObjectStore {
    /// Refuses a transaction that would not fit a record, before any of it is applied or logged. Counts at least what large
    /// contents log; what operations without content add is within the slack of a batch.
    func checkSize(of transaction: Transaction) throws(StoreError) {
        let limit = StoreLimits.largestTransaction(journal: superblock.journalLength)
        var bytes = 0
        // What this transaction has cloned may be cloned again, with what it has set.
        var largestClone = 0
        for operation in transaction.operations {
            switch operation {
            case .write(_, let offset, let data):
                bytes += loggedBytes(ofWrite: data.count, at: Int(offset))
            case .setAttribute(_, let name, let value):
                bytes += name.utf8.count + value.count
            case .setOmap(_, let entries), .setGroupKeys(_, let entries):
                for entry in entries { bytes += entry.key.count + entry.value.count + StoreLimits.keyOverhead }
            case .removeOmap(_, let keys):
                for key in keys { bytes += key.count + StoreLimits.keyOverhead }
            case .clone(let id, _):
                largestClone = max(largestClone, try loggedBytes(ofCloneOf: id, limit: limit)) + bytes
                bytes += largestClone
            case .cloneRange(_, _, _, let length, _):
                bytes += (Int(length) / StoreLimits.unitSize + 2) * StoreLimits.besideUnitRecord
            case .touch, .zero, .truncate, .remove, .removeAttribute, .removeOmapRange, .clearOmap, .removeGroupKeys,
                .removeGroup:
                break
            }
            guard bytes <= limit else {
                throw StoreError(
                    .tooLarge,
                    "a transaction would log more than \(limit) bytes, a quarter of the journal; nothing of it was logged. "
                        + "What asked for it must do it in parts")
            }
        }
    }

    /// Whole units go beside the record, parts at both ends into it, as whole blocks.
    private func loggedBytes(ofWrite count: Int, at offset: Int) -> Int {
        let unitSize = StoreLimits.unitSize
        let head = min(count, (unitSize - offset % unitSize) % unitSize), tail = (count - head) % unitSize
        return head + tail + 3 * StoreLimits.blockSize
            + ((count - head) / unitSize + 2) * StoreLimits.besideUnitRecord
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
