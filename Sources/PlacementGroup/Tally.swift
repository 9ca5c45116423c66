import Protocol
import Wire

/// How many objects a group has, and their bytes: counted in the background when the primary begins to serve, and kept up with
/// every write from then on.
struct Tally {
    private(set) var objects: UInt64 = 0
    private(set) var bytes: UInt64 = 0
    /// What is counted so far: everything up to here.
    private(set) var cursor: ObjectID?
    private(set) var isDone = false

    /// True when a change of the object changes the count.
    func covers(_ object: ObjectID) -> Bool { isDone || cursor.map { object <= $0 } ?? false }

    /// Counts the next objects by their sizes; nothing when there are none left.
    mutating func count(_ sizes: [UInt64], upTo last: ObjectID?) {
        objects += UInt64(sizes.count)
        for size in sizes { bytes &+= size }
        if let last { cursor = last } else { isDone = true }
    }

    /// An object that is counted has changed its size; nil for an object that does not exist.
    mutating func changed(from before: UInt64?, to after: UInt64?) {
        if before != nil { objects -= min(objects, 1) }
        bytes -= min(bytes, before ?? 0)
        if after != nil { objects += 1 }
        bytes &+= after ?? 0
    }
}

extension PlacementGroup {
    /// Counts anew, in steps.
    func startTally() {
        tally = Tally()
        environment.requestScrubStep(for: slot, isUrgent: false)
    }

    func continueTally() {
        guard isActivated, !tally.isDone else { return }
        let found = environment.objects(in: range, after: tally.cursor, limit: ScrubLimits.counted)
        tally.count(
            found.map { environment.size(of: $0) ?? 0 }, upTo: found.count == ScrubLimits.counted ? found.last : nil)
        if !tally.isDone { environment.requestScrubStep(for: slot, isUrgent: false) }
    }
}
