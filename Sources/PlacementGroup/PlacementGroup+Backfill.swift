import Protocol
import Wire

/// The filling of a copy whose log does not reach back to the authoritative one: the objects of both are walked in storage
/// order and compared by version, a stretch at a time.
struct Fill {
    var target: OSDID
    /// Whose objects are right.
    var source: OSDID
    /// Everything up to here is equal.
    var cursor: ObjectID?
    /// Where the stretch under way ends; nil when it reaches the end.
    var boundary: ObjectID?
    /// Objects of the stretch that are on their way.
    var pending: Set<ObjectID> = []
    var isScanning = false
    var isStoring = false

    /// The other side, seen from the primary.
    func partner(_ me: OSDID) -> OSDID { target == me ? source : target }
}

extension PlacementGroup {
    func startFill(of target: OSDID) {
        let source = target == me ? (peering.authority ?? me) : me
        precondition(source != target, "group \(id): \(target) would fill itself")
        recovery.fill = Fill(target: target, source: source)
        scanForFill()
    }

    func scanForFill() {
        guard var fill = recovery.fill, !fill.isStoring else { return resendBackfilled() }
        guard fill.pending.isEmpty else { return }
        fill.isScanning = true
        recovery.fill = fill
        send(.scan(after: fill.cursor, limit: GroupLimits.scan), to: fill.partner(me))
    }

    /// This member's objects after `after`, with their versions.
    private func localObjects(after: ObjectID?, limit: UInt32) -> (objects: [ObjectVersion], more: Bool) {
        let objects = environment.objects(in: range, after: after, limit: Int(limit))
        return (objects.map { ObjectVersion($0, version(of: $0)) }, objects.count == Int(limit))
    }

    func answerScan(after: ObjectID?, limit: UInt32, to osd: OSDID) {
        let (objects, more) = localObjects(after: after, limit: max(1, limit))
        send(.scanned(objects, more: more), to: osd)
    }

    func receivedScan(_ theirs: [ObjectVersion], more: Bool, from osd: OSDID) {
        guard phase == .recovering, var fill = recovery.fill, fill.isScanning, fill.partner(me) == osd else { return }
        fill.isScanning = false
        let (mine, mineMore) = localObjects(after: fill.cursor, limit: GroupLimits.scan)
        // Only as far as both lists reach can the lack of an object in one of them mean anything.
        let ends = [more ? theirs.last?.object : nil, mineMore ? mine.last?.object : nil].compactMap { $0 }
        fill.boundary = ends.min()
        func stretch(_ list: [ObjectVersion]) -> [ObjectID: Version] {
            let within = list.filter { entry in fill.boundary.map { entry.object <= $0 } ?? true }
            return Dictionary(within.map { ($0.object, $0.version) }, uniquingKeysWith: { $1 })
        }
        let (right, old) = fill.target == me ? (stretch(theirs), stretch(mine)) : (stretch(mine), stretch(theirs))
        var removals: [ObjectID] = []
        for object in Set(right.keys).union(old.keys).sorted() where right[object] != old[object] {
            if fill.target != me {
                fill.pending.insert(object)
                recovery.pushQueue.append(PushKey(target: fill.target, object: object))
            } else if let version = right[object] {
                fill.pending.insert(object)
                recovery.pullQueue.append(ObjectVersion(object, version))
            } else {
                removals.append(object)
            }
        }
        if !removals.isEmpty { commit(Transaction(removals.map { .remove($0) }), .note) }
        recovery.fill = fill
        finishStretch()
        continueRecovery()
    }

    /// An object of the stretch has arrived.
    func fillStored(_ object: ObjectID) {
        guard recovery.fill?.pending.remove(object) != nil else { return }
        finishStretch()
    }

    private func finishStretch() {
        guard var fill = recovery.fill, fill.pending.isEmpty, !fill.isScanning, !fill.isStoring else { return }
        if let boundary = fill.boundary {
            fill.cursor = boundary
            recovery.fill = fill
            scanForFill()
        } else {
            fill.isStoring = true
            recovery.fill = fill
            resendBackfilled()
        }
    }

    private func resendBackfilled() {
        guard let fill = recovery.fill, fill.isStoring else { return }
        if fill.target == me {
            completeBackfill(info.lastUpdate, primary: me)
        } else {
            send(.backfilled(lastUpdate: info.lastUpdate), to: fill.target)
        }
    }

    /// The copy has every object: it is complete, and says so from now on.
    func completeBackfill(_ lastUpdate: Version, primary: OSDID) {
        guard lastUpdate == info.lastUpdate, missing.isEmpty else { return }
        info.isComplete = true
        commit(
            Transaction([.setGroupKeys(id, entries: [GroupKeys.entry(info)])]),
            .backfillStored(interval: interval, primary: primary))
    }

    func backfillStored(by osd: OSDID) {
        guard phase == .recovering, recovery.fill?.target == osd, recovery.fill?.isStoring == true else { return }
        recovery.fill = nil
        recovery.missing[osd] = [:]
        continueRecovery()
    }
}
