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
    /// The logs do not overlap, or the copy was being filled: every object must be compared.
    public var needsBackfill: Bool

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
        needsBackfill = false
        guard info.isComplete, let common = Self.commonPoint(info, memberLog, authority) else {
            needsBackfill = true
            entries = Array(authority.entries)
            return
        }
        rewindTo = common
        missing = memberMissing
        entries = authority.entries(after: common)
        var settled = Set<ObjectID>()
        resolve(divergent: memberLog.filter { $0.version > common && $0.kind != .error }, settled: &settled)
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
        for entry in entries where entry.kind != .error && !settled.contains(entry.object) {
            switch entry.kind {
            case .modify:
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

/// Which history wins.
public enum Authority {
    /// The member whose log is authoritative, or nil when no complete copy is fit to be.
    ///
    /// The greatest activation seen is taken over what everyone knows of the group's history and what complete members have
    /// stored themselves. A candidate is complete and has stored that activation: what was acknowledged before is in its
    /// log by then, and what was acknowledged since is in the log of every such member. Preferred are the newest last
    /// update, the longest log, nothing missing, and then `me`.
    public static func choose(_ infos: [OSDID: GroupInfo], preferring me: OSDID) -> OSDID? {
        var started = Epoch.none
        for info in infos.values {
            started = max(started, info.historyLastEpochStarted)
            if info.isComplete { started = max(started, info.lastEpochStarted) }
        }
        let candidates = infos.filter { $0.value.isComplete && $0.value.lastEpochStarted >= started }
        func isBetter(_ a: (key: OSDID, value: GroupInfo), _ b: (key: OSDID, value: GroupInfo)) -> Bool {
            if a.value.lastUpdate != b.value.lastUpdate { return a.value.lastUpdate > b.value.lastUpdate }
            if a.value.logTail != b.value.logTail { return a.value.logTail < b.value.logTail }
            if (a.value.missingCount == 0) != (b.value.missingCount == 0) { return a.value.missingCount == 0 }
            if (a.key == me) != (b.key == me) { return a.key == me }
            return a.key < b.key
        }
        return candidates.min(by: isBetter)?.key
    }
}
