/// The changes of keys of a run of records, which one checkpoint writes to the metadata store.
///
/// Changes are here from their submission on, where reads find them, and a generation ends between two batches. So no change
/// has to move when it is committed: what reaches the metadata store is whole generations, each after its last record is
/// committed.
struct KeyGeneration {
    /// The newest change of each key.
    var table = KeyTable()
    /// Bytes that its closed batches take in the journal.
    private(set) var recordBytes: UInt64 = 0
    /// The last of its closed batches; nil without one.
    private(set) var lastLSN: UInt64?
    /// Where its last record ends, once it is ended and that record is committed.
    var end: JournalPosition?

    /// A batch of its changes is closed.
    mutating func take(_ batch: Batch) {
        recordBytes += UInt64(batch.recordBytes)
        lastLSN = batch.lsn
    }
}
