import Protocol
import Wire

/// How far a group's log went at a time.
struct WriteMark {
    var at: UInt64
    var through: Version
}

extension PlacementGroup {
    /// What the monitor is told of the group by its primary.
    public var statistics: GroupStatistics {
        var (state, waitingFor) = condition
        if acting.count < Int(intervals.current.size) { state.formUnion([.undersized, .degraded]) }
        if acting != up { state.insert(.remapped) }
        if isReadyToMerge { state.insert(.premerge) }
        if !scrub.inconsistent.isEmpty { state.insert(.inconsistent) }
        if !scrub.repairing.isEmpty { state.insert(.repair) }
        if scrub.stage == .comparing || scrub.stage == .pausing {
            state.insert(.scrubbing)
            if scrub.run?.kind.isDeep == true { state.insert(.deep) }
        }
        var result = GroupStatistics(group: id, state: state, waitingFor: waitingFor, lastUpdate: info.lastUpdate)
        result.interval = interval
        result.trimmed = snapsTrimmed
        result.counts = counts
        result.scrubErrors = scrub.inconsistent.values.reduce(0) { $0 + UInt32($1.errorCount) }
        result.inconsistent = UInt32(scrub.inconsistent.count) + scrub.record.unlisted
        result.lastScrub = scrub.record.last.seconds
        result.lastDeepScrub = scrub.record.lastDeep.seconds
        return result
    }

    /// What the group is doing, and for whom it waits.
    private var condition: (GroupStatistics.State, waitingFor: [OSDID]) {
        var state: GroupStatistics.State = []
        switch phase {
        case .blocked(let osds):
            return ([osds.isEmpty ? .incomplete : .down], osds)
        case .peered, .leasing, .active:
            state.insert(phase == .active ? .active : phase == .leasing ? .wait : .peered)
            if recovery.lacking > 0 { state.formUnion([.degraded, .recovering]) }
            if !recovery.unfound.isEmpty { state.insert(.recoveryUnfound) }
            if !recovery.noRoom.isEmpty { state.insert(.recoveryTooFull) }
            if let fill = recovery.fill {
                state.insert(fill.stage == .running ? .backfilling : fill.isTooFull ? .backfillTooFull : .backfillWait)
            }
            if isClean { state.insert(.clean) }
            if !snapsToTrim.isEmpty { state.insert(isClean ? .snapTrim : .snapTrimWait) }
            return (state, [])
        default:
            return ([.peering], peering.awaiting.sorted())
        }
    }

    /// Objects and copies in numbers; zeros until the group serves.
    private var counts: GroupStatistics.Counts {
        var counts = GroupStatistics.Counts()
        guard isActivated else { return counts }
        (counts.objects, counts.bytes) = (tally.objects, tally.bytes)
        counts.copies = counts.objects * UInt64(intervals.current.size)
        counts.unfound = UInt64(recovery.unfound.count)
        let absent = max(0, Int(intervals.current.size) - members.count)
        counts.degraded = UInt64(absent) * counts.objects
        for member in members {
            counts.degraded += UInt64(member.osd == me ? missing.count : member.missing.count)
            guard member.position != .complete else { continue }
            let lacking = lackingShare(of: member, objects: counts.objects)
            // Beside a whole set of other copies, its own is only in another place.
            if acting.count >= Int(intervals.current.size) {
                counts.misplaced += lacking
            } else {
                counts.degraded += lacking
            }
        }
        return counts
    }

    /// How many objects a member that is being filled does not have yet: by where the fill is, since hashes are spread evenly.
    private func lackingShare(of member: Member, objects: UInt64) -> UInt64 {
        var reached: ObjectID?
        if case .upTo(let object) = member.position { reached = object }
        if let fill = recovery.fill, fill.target == member.osd { reached = fill.cursor ?? reached }
        guard let reached else { return objects }
        let whole = UInt64(range.lastReversedHash - range.firstReversedHash) + 1
        let left = UInt64(range.lastReversedHash - min(reached.reversedHash, range.lastReversedHash))
        return (objects.multipliedFullWidth(by: left).low / whole)
    }

    /// How the group is on this OSD, in a line for traces and failing tests.
    public var summary: String {
        let work = recovery.underway.sorted { $0.key < $1.key }.map { object, work in
            work.source.map { "\(object) from \($0)" } ?? "\(object) to \(work.pushing.sorted())"
        }
        let fill = recovery.fill.map { "\($0.stage) \($0.target) after \(String(describing: $0.cursor)) \($0.pending)" }
        let held = members.map { "\($0.osd) at \($0.committed) \($0.position) lacks \($0.missing.count)" }
        let scrubbing =
            "\(scrub.stage) \(scrub.run.map { "\($0.kind) after \(String(describing: $0.cursor))" } ?? ""), "
            + "\(scrub.inspections.count) inspections, inconsistent \(scrub.inconsistent.keys.sorted())"
        return "\(id) on \(me) in \(interval): \(phase), acting \(acting), up \(up), log \(log.tail)..\(log.head), "
            + "\(info.lastBackfill), les \(info.lastEpochStarted), missing \(missing.count), \(commits.count) commits, "
            + "\(writes.count) writes, \(waiting.count) waiting, members \(held), lacking \(recovery.lackingObjects.count), "
            + "queue \(recovery.queue.count), delayed \(recovery.delayed.count), unfound \(recovery.unfound.count), "
            + "no room \(recovery.noRoom.count), under way \(work), fill \(fill ?? "none"), scrub \(scrubbing)"
    }

    /// Remembers, every second or so, how far writes had come: a write needs no time of its own.
    func markWrites() {
        guard let oldest = writes.first else { return writeMarks.removeAll() }
        while let mark = writeMarks.first, mark.through < oldest.version { writeMarks.removeFirst() }
        guard writeMarks.last?.through != info.lastUpdate else { return }
        writeMarks.append(WriteMark(at: environment.nowMilliseconds, through: info.lastUpdate))
    }

    /// Writes that some member has not committed for so many milliseconds, and how long the oldest has waited, as far as
    /// marks tell; nil when there are none.
    public func slowWrites(after limit: UInt64) -> (count: Int, oldest: UInt64)? {
        guard let first = writes.first, let oldest = writeMarks.first(where: { $0.through >= first.version }) else {
            return nil
        }
        let now = environment.nowMilliseconds
        guard now - oldest.at >= limit, let last = writeMarks.last(where: { now - $0.at >= limit }) else { return nil }
        return (writes.prefix { $0.version <= last.through }.count, now - oldest.at)
    }

    /// True when every copy is complete and where it should be.
    var isClean: Bool {
        phase == .active && !recovery.isWorking && acting == up && acting.count == Int(intervals.current.size)
    }

    /// True while the members' copies of a window are compared.
    package var isComparing: Bool { scrub.window?.hasBegun == true }

    /// True while parts of an object are still to be sent.
    package func pushesUnderway(of object: ObjectID) -> Bool { pushes.keys.contains { $0.object == object } }
}
