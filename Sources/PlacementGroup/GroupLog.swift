import DequeModule
import Protocol
import Wire

/// The newest operations of a placement group in order, and which client requests made them.
public struct GroupLog: Sendable {
    /// What is in the log, oldest first.
    public private(set) var entries: Deque<LogEntry> = []
    /// Version of the newest operation that is no longer in the log.
    public private(set) var tail: Version
    private var requests: [RequestID: Version] = [:]

    /// An empty log after `tail`.
    public init(tail: Version = .zero) {
        self.tail = tail
    }

    /// A log of `entries` after `tail`. Entries must be in order.
    public init(tail: Version, entries: some Sequence<LogEntry>) {
        self.init(tail: tail)
        for entry in entries { append(entry) }
    }

    /// Version of the newest operation: the last entry, or the tail of an empty log.
    public var head: Version { entries.last?.version ?? tail }

    public mutating func append(_ entry: LogEntry) {
        precondition(entry.version > head, "log entry \(entry.version) is not after \(head)")
        entries.append(entry)
        if entry.request != .none { requests[entry.request] = entry.version }
    }

    /// The version that a client's request made, if the log remembers it.
    public func version(of request: RequestID) -> Version? { requests[request] }

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
            if requests[last.request] == last.version { requests[last.request] = nil }
            entries.removeLast()
        }
    }

    /// Forgets everything up to and including `version`.
    public mutating func trim(to version: Version) {
        while let first = entries.first, first.version <= version {
            if requests[first.request] == first.version { requests[first.request] = nil }
            tail = first.version
            entries.removeFirst()
        }
    }

    /// How far the log may be trimmed now that everything up to `committed` is on every member's disk: nothing until the log
    /// has reached its limit, then down to what is kept.
    public func trimTarget(committed: Version) -> Version {
        guard entries.count >= GroupLimits.logEntries - GroupLimits.logSlack else { return .zero }
        return min(entries[entries.count - GroupLimits.logEntriesKept].version, committed)
    }
}
