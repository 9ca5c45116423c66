import Protocol
import Wire

/// Objects that a copy lacks, by object.
public typealias MissingSet = [ObjectID: MissingObject]

/// What a member has to do to share the authoritative history: which of its entries are divergent, what it misses, what
/// it has to remove. Computed by the primary for every member, itself included.
public struct LogMerge: Sendable {
    /// Entries after this version are not of the authoritative history.
    public var rewindTo: Version
    /// The authoritative entries from there on.
    public var entries: [LogEntry]
    public var missing: MissingSet
    /// Objects that must not exist in the form they have, oldest decision first.
    public var removals: [ObjectID]
    /// How much of the copy counts. `.nothing` when the logs do not overlap: its log is replaced, and every object must be
    /// compared. A copy that was being filled goes on where it was when its log overlaps.
    public var position: BackfillPosition

    /// True when objects must be compared one by one.
    public var needsBackfill: Bool { position != .complete }

    /// The merge of a member's history into the authoritative one.
    ///
    /// - Parameters:
    ///   - memberLog: the member's entries; they need not reach further back than where the histories part.
    ///   - memberMissing: what the member was lacking already.
    public init(member info: GroupInfo, memberLog: [LogEntry], memberMissing: MissingSet, authority: GroupLog) {
        rewindTo = .zero
        entries = []
        missing = [:]
        removals = []
        position = info.lastBackfill
        guard position != .nothing, let common = Self.commonPoint(info, memberLog, authority) else {
            position = .nothing
            entries = Array(authority.entries)
            return
        }
        rewindTo = common
        missing = memberMissing
        entries = authority.entries(after: common)
        var settled = Set<ObjectID>()
        // What lies beyond the backfill is compared when backfill comes to it.
        resolve(
            divergent: memberLog.filter { $0.version > common && $0.kind != .error && position.covers($0.object) },
            settled: &settled)
        follow(settled: settled)
    }

    /// The newest version that stands in both histories; nil when none is known to.
    private static func commonPoint(_ info: GroupInfo, _ memberLog: [LogEntry], _ authority: GroupLog) -> Version? {
        if authority.reaches(info.lastUpdate) { return info.lastUpdate }
        for entry in memberLog.reversed() where authority.reaches(entry.version) { return entry.version }
        return authority.reaches(info.logTail) ? info.logTail : nil
    }

    /// Undoes the member's divergent entries, object by object: the four cases of the replication rules.
    private mutating func resolve(divergent: [LogEntry], settled: inout Set<ObjectID>) {
        guard !divergent.isEmpty else { return }
        var newest: [ObjectID: LogEntry] = [:]
        for entry in entries where entry.kind != .error { newest[entry.object] = entry }
        for first in divergent where settled.insert(first.object).inserted {
            let object = first.object
            if let authoritative = newest[object] {
                removals.append(object)
                missing[object] =
                    authoritative.kind == .delete
                    ? nil : MissingObject(object: object, need: authoritative.version, have: .zero)
            } else if first.prior == .zero {
                removals.append(object)
                missing[object] = nil
            } else if let lacking = missing[object] {
                if lacking.have == first.prior {
                    missing[object] = nil
                } else {
                    missing[object]?.need = first.prior
                }
            } else {
                removals.append(object)
                missing[object] = MissingObject(object: object, need: first.prior, have: .zero)
            }
        }
    }

    /// Applies the authoritative entries that the member does not have to what it lacks.
    private mutating func follow(settled: Set<ObjectID>) {
        var removed = Set<ObjectID>()
        for entry in entries
        where entry.kind != .error && position.covers(entry.object) && !settled.contains(entry.object) {
            switch entry.kind {
            case .modify, .clone:
                let have = removed.contains(entry.object) ? .zero : missing[entry.object]?.have ?? entry.prior
                missing[entry.object] = MissingObject(object: entry.object, need: entry.version, have: have)
            case .delete:
                missing[entry.object] = nil
                if removed.insert(entry.object).inserted { removals.append(entry.object) }
            case .error:
                break
            }
        }
    }
}
