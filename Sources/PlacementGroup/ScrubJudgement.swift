import Protocol
import Wire

/// What the copies of an object say together: whether they are what they should be, and which is the one to repair from.
///
/// A copy is good when everything in it vouches for itself (the store's checksums for the data, the object's info for the
/// metadata) and its version is the one that the log has. How many others have the same counts for nothing.
struct ScrubJudgement {
    /// What the log says of an object.
    enum Expectation: Hashable {
        /// Its newest entry made this version.
        case version(Version)
        /// Its newest entry removed it.
        case absent
        /// The log has no entry of it: what exists is not newer than its tail.
        case unlogged(tail: Version)
    }

    let object: ObjectID
    /// The copies in the order they are to be told of, the primary's first; nil for a copy that does not have the object.
    let copies: [(osd: OSDID, entry: ScrubEntry?)]
    let expectation: Expectation

    /// The finding, or nil when all is well.
    var finding: InconsistentObject? {
        if case .version = expectation {} else if copies.allSatisfy({ $0.entry == nil }) { return nil }
        let (version, isUnexpected) = resolved
        let shards = copies.map { osd, entry in
            InconsistentObject.Shard(
                osd: osd, errors: errors(of: entry, version: version, isUnexpected: isUnexpected), entry: entry)
        }
        let verified = shards.filter(\.errors.isEmpty)
        let differing = isUnexpected ? [] : differences(verified.compactMap(\.entry))
        guard !differing.isEmpty || verified.count < shards.count else { return nil }
        // Copies that each vouch for themselves and yet differ: nothing says which is right.
        let good = differing.isEmpty && !isUnexpected ? verified.first { $0.entry != nil }?.osd : nil
        return InconsistentObject(
            object: object, version: isUnexpected ? nil : version, errors: differing, shards: shards, good: good,
            isUnexpected: isUnexpected)
    }

    /// The version that the object should have, as far as anything says; and whether it should not exist.
    private var resolved: (version: Version?, isUnexpected: Bool) {
        switch expectation {
        case .version(let version): return (version, false)
        case .absent: return (nil, copies.contains { $0.entry != nil })
        case .unlogged(let tail):
            let present = copies.compactMap(\.entry)
            // Infos have checksums of their own: the newest version that one claims was written, whatever became of the rest.
            if let newest = present.compactMap(\.version).filter({ $0 <= tail }).max() { return (newest, false) }
            // Nobody wrote what has no version at all, or one that is not of this history; unless all copies say so, it is
            // something left over.
            let isLeftOver = present.allSatisfy { $0.info == .none || ($0.version ?? .zero) > tail }
            return (nil, isLeftOver && present.count < copies.count)
        }
    }

    private func errors(of entry: ScrubEntry?, version: Version?, isUnexpected: Bool) -> ScrubErrors {
        guard let entry else { return isUnexpected ? [] : .missing }
        if isUnexpected { return .unexpected }
        var errors: ScrubErrors = []
        switch entry.info {
        case .none: errors.insert(.infoMissing)
        case .corrupt: errors.insert(.infoCorrupted)
        case .known(let has, let recorded):
            if has != version { errors.insert(.versionMismatch) }
            if recorded.attributes != entry.found.attributes { errors.insert(.attributesMismatchInfo) }
            if recorded.omap != entry.found.omap { errors.insert(.omapMismatchInfo) }
        }
        if entry.isUnreadable { errors.insert(.readError) }
        return errors
    }

    private func differences(_ entries: [ScrubEntry]) -> ScrubErrors {
        guard let first = entries.first else { return [] }
        var errors: ScrubErrors = []
        for entry in entries.dropFirst() {
            if entry.size != first.size { errors.insert(.sizeMismatch) }
            if let data = entry.data, let other = first.data, data != other { errors.insert(.dataMismatch) }
            if entry.found.attributes != first.found.attributes { errors.insert(.attributesMismatch) }
            if entry.found.omap != first.found.omap { errors.insert(.omapMismatch) }
        }
        return errors
    }
}
