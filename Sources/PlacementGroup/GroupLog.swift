import DequeModule
import Protocol
import Wire

/// The newest operations of a placement group in order, and which client requests made them. Requests are remembered for
/// longer than operations: a resend may come late.
public struct GroupLog: Sendable {
    /// What is in the log, oldest first.
    public private(set) var entries: Deque<LogEntry> = []
    /// Version of the newest operation that is no longer in the log.
    public private(set) var tail: Version
    /// Requests whose operations left the log, in the batches that left together; oldest first.
    public private(set) var trimmed: Deque<Batch> = []
    private var trimmedCount = 0
    private var requests: [RequestID: Outcome] = [:]

    /// What became of a request.
    public struct Outcome: Hashable, Sendable {
        /// The version it made.
        public var version: Version
        /// What the client was told; 0 for success.
        public var errno: Int32
    }

    /// Requests that left the log together.
    public struct Batch: Sendable {
        /// The version that the log was trimmed to.
        public var upTo: Version
        /// The requests, oldest first.
        public var requests: [RecordedRequest]

        /// A batch of these requests.
        public init(upTo: Version, requests: [RecordedRequest]) {
            self.upTo = upTo
            self.requests = requests
        }
    }

    /// An empty log after `tail`.
    public init(tail: Version = .zero) {
        self.tail = tail
    }

    /// A log of `entries` after `tail`. Entries must be in order.
    public init(tail: Version, entries: some Sequence<LogEntry>) {
        self.init(tail: tail)
        for entry in entries { append(entry) }
    }

    /// The history as one of the groups has it that a group was split into: what was done to others' objects keeps its place,
    /// so that members agree on versions as before, but says nothing any more.
    public func part(where isOwn: (ObjectID) -> Bool) -> GroupLog {
        var part = GroupLog(tail: tail)
        for batch in trimmed { part.remember(batch) }
        for entry in entries { part.append(isOwn(entry.object) ? entry : entry.withoutMeaning) }
        return part
    }

    /// Version of the newest operation: the last entry, or the tail of an empty log.
    public var head: Version { entries.last?.version ?? tail }

    public mutating func append(_ entry: LogEntry) {
        precondition(entry.version > head, "log entry \(entry.version) is not after \(head)")
        entries.append(entry)
        if entry.request != .none { requests[entry.request] = Outcome(version: entry.version, errno: entry.errno) }
    }

    /// Takes up requests that left the log before, as they were stored; newer batches come later.
    public mutating func remember(_ batch: Batch) {
        trimmed.append(batch)
        trimmedCount += batch.requests.count
        for record in batch.requests where requests[record.request] == nil {
            requests[record.request] = Outcome(version: record.version, errno: record.errno)
        }
    }

    /// What a client's request came to, if the log remembers it.
    public func outcome(of request: RequestID) -> Outcome? { requests[request] }

    /// The version that a client's request made, if the log remembers it.
    public func version(of request: RequestID) -> Version? { requests[request]?.version }

    /// Index of the first entry after `version`.
    private func index(after version: Version) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].version <= version { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// True when `version` is an entry or the tail: a history that ends there is a beginning of this one.
    public func reaches(_ version: Version) -> Bool {
        if version == tail { return true }
        let index = index(after: version)
        return index > 0 && entries[index - 1].version == version
    }

    /// The entry of `version`.
    public func entry(_ version: Version) -> LogEntry? {
        let index = index(after: version)
        guard index > 0, entries[index - 1].version == version else { return nil }
        return entries[index - 1]
    }

    /// The entries after `version`, oldest first.
    public func entries(after version: Version) -> [LogEntry] { Array(entries[index(after: version)...]) }

    /// Drops everything after `version`.
    public mutating func rewind(to version: Version) {
        while let last = entries.last, last.version > version {
            if requests[last.request]?.version == last.version { requests[last.request] = nil }
            entries.removeLast()
        }
    }

    /// Lets go of everything up to and including `version`, but for its requests, and of the oldest requests when there are
    /// enough without them.
    ///
    /// - Returns: the batch that was added, and the batches that were dropped by their `upTo`: what is to be stored.
    @discardableResult
    public mutating func trim(
        to version: Version, requestsKept: Int = GroupLimits.requestsKept
    ) -> (added: Batch?, dropped: [Version]) {
        var records: [RecordedRequest] = []
        while let first = entries.first, first.version <= version {
            tail = first.version
            entries.removeFirst()
            if first.request != .none {
                records.append(
                    RecordedRequest(request: first.request, version: first.version, errno: first.errno))
            }
        }
        var added: Batch?
        if !records.isEmpty {
            let batch = Batch(upTo: tail, requests: records)
            trimmed.append(batch)
            trimmedCount += records.count
            added = batch
        }
        var dropped: [Version] = []
        while let first = trimmed.first, trimmedCount - first.requests.count >= requestsKept {
            trimmed.removeFirst()
            trimmedCount -= first.requests.count
            dropped.append(first.upTo)
            for record in first.requests where requests[record.request]?.version == record.version {
                requests[record.request] = nil
            }
        }
        return (added, dropped)
    }

    /// How far the log may be trimmed now that everything up to `committed` is on every member's disk: nothing until the log
    /// has reached its limit, then down to what is kept.
    public func trimTarget(committed: Version, _ tuning: GroupTuning = GroupTuning()) -> Version {
        guard entries.count >= tuning.logCut else { return .zero }
        return min(entries[entries.count - tuning.logKept].version, committed)
    }
}
