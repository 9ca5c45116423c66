import Protocol
import Wire

/// The filling of a copy whose log does not reach back to the authoritative one: the objects of both are walked in storage
/// order and compared by version, a window at a time. Writes go on beside it: what the member has, it changes like any other;
/// of what is to be sent, or lies beyond the window, it logs the change; only writes on objects that are on their way wait.
struct Fill {
    enum Stage { case waitingHere, waitingThere, running, storing }

    var target: OSDID
    var stage = Stage.waitingHere
    /// The member has no room at present.
    var isTooFull = false
    /// Everything up to here is equal.
    var cursor: ObjectID?
    /// True when the window is known: it begins after the cursor and ends with `boundary`.
    var isOpen = false
    /// Where the window ends; nil when it reaches the end.
    var boundary: ObjectID?
    /// Objects of the window that are on their way.
    var pending: Set<ObjectID> = []

    /// True when the member has the object, or has it not, as the primary does.
    func has(_ object: ObjectID) -> Bool {
        if let cursor, object <= cursor { return true }
        return reaches(object) && !pending.contains(object)
    }

    /// True when the object is in the window.
    func reaches(_ object: ObjectID) -> Bool {
        if let cursor, object <= cursor { return false }
        return isOpen && (boundary.map { object <= $0 } ?? true)
    }
}

extension PlacementGroup {
    func startFill(of target: OSDID) {
        precondition(target != me, "group \(id): \(target) would fill itself")
        var fill = Fill(target: target)
        if case .upTo(let object)? = members.first(where: { $0.osd == target })?.position { fill.cursor = object }
        recovery.fill = fill
        environment.requestTurn(.filling, for: slot)
    }

    /// The OSD's turn for one of this group's fills has come.
    public func turnGranted(_ kind: TurnKind) {
        switch kind {
        case .scrubbing, .beingScrubbed: scrubTurnGranted(kind)
        case .filling:
            guard isActivated, let fill = recovery.fill, fill.stage == .waitingHere else {
                return environment.releaseTurn(.filling, for: slot)
            }
            recovery.fill?.stage = .waitingThere
            send(.reserve, to: fill.target)
        case .beingFilled:
            guard case .replica = phase, let primary else {
                return environment.releaseTurn(.beingFilled, for: slot)
            }
            send(.reserved(!environment.isFull), to: primary)
            if environment.isFull { environment.releaseTurn(.beingFilled, for: slot) }
        }
    }

    func receivedReservation(_ isGranted: Bool, from osd: OSDID) {
        guard let fill = recovery.fill, fill.target == osd, fill.stage == .waitingThere else { return }
        recovery.fill?.isTooFull = !isGranted
        guard isGranted else { return }
        recovery.fill?.stage = .running
        scanForFill()
    }

    /// Asks the member what it has after the cursor. Until it answers, what lies beyond is only logged there.
    private func scanForFill() {
        guard let fill = recovery.fill, fill.stage == .running, !fill.isOpen else { return }
        send(.scan(after: fill.cursor, limit: environment.tuning.scan), to: fill.target)
    }

    /// The session to the member was lost.
    func repeatFill() {
        guard let fill = recovery.fill else { return }
        switch fill.stage {
        case .waitingHere: break
        case .waitingThere: send(.reserve, to: fill.target)
        case .running: scanForFill()
        case .storing: send(.backfilled, to: fill.target)
        }
    }

    /// This member's objects after `after`, with their versions.
    private func localObjects(after: ObjectID?, limit: UInt32) -> (objects: [ObjectVersion], more: Bool) {
        var objects = environment.objects(in: range, after: after, limit: Int(limit))
        let more = objects.count == Int(limit)
        // A window never ends between the versions of an object: they change together.
        while more, let last = objects.last, last.snap != .head {
            let rest = environment.objects(in: range, after: last, limit: Int(limit))
            let clones = rest.prefix { $0.isSameObject(as: last) }
            objects += clones
            if clones.count < rest.count || rest.count < Int(limit) { break }
        }
        return (objects.map { ObjectVersion($0, version(of: $0)) }, more)
    }

    func answerScan(after: ObjectID?, limit: UInt32, to osd: OSDID) {
        guard phase == .replica(activated: true) else { return }
        let (objects, more) = localObjects(after: after, limit: max(1, limit))
        send(.scanned(objects, more: more), to: osd)
    }

    func receivedScan(_ theirs: [ObjectVersion], more: Bool, from osd: OSDID) {
        guard isActivated, var fill = recovery.fill, fill.target == osd, fill.stage == .running, !fill.isOpen,
            // An answer to a question about an older window.
            theirs.first.map({ first in fill.cursor.map { first.object > $0 } ?? true }) ?? true
        else { return }
        let (mine, mineMore) = localObjects(after: fill.cursor, limit: environment.tuning.scan)
        // Only as far as both lists reach can the lack of an object in one of them mean anything.
        let ends = [more ? theirs.last?.object : nil, mineMore ? mine.last?.object : nil].compactMap { $0 }
        fill.boundary = ends.min()?.head
        fill.isOpen = true
        func window(_ list: [ObjectVersion]) -> [ObjectID: Version] {
            let within = list.filter { entry in fill.boundary.map { entry.object <= $0 } ?? true }
            return Dictionary(within.map { ($0.object, $0.version) }, uniquingKeysWith: { $1 })
        }
        let (right, old) = (window(mine), window(theirs))
        for object in Set(right.keys).union(old.keys).sorted()
        where right[object] != old[object] || right[object] == .zero {
            fill.pending.insert(object)
            recovery.queue.append(object)
        }
        recovery.fill = fill
        finishWindow()
        continueRecovery()
    }

    /// When every object of the window is there, the next window follows, or the end.
    func finishWindow() {
        guard var fill = recovery.fill, fill.stage == .running, fill.isOpen, fill.pending.isEmpty else { return }
        if let boundary = fill.boundary {
            fill.cursor = boundary
            fill.isOpen = false
            recovery.fill = fill
            setPosition(of: fill.target, .upTo(boundary))
            send(.backfillProgress(boundary), to: fill.target)
            scanForFill()
        } else {
            // The window stays open to the end: whatever is written now is written there too.
            recovery.fill?.stage = .storing
            send(.backfilled, to: fill.target)
        }
    }

    private func setPosition(of osd: OSDID, _ position: BackfillPosition) {
        if let index = members.firstIndex(where: { $0.osd == osd }) { members[index].position = position }
    }

    func backfillStored(by osd: OSDID) {
        guard isActivated, let fill = recovery.fill, fill.target == osd, fill.stage == .storing else { return }
        environment.occurred(.backfillFinished)
        setPosition(of: osd, .complete)
        recovery.fill = nil
        environment.releaseTurn(.filling, for: slot)
        if phase == .peered { chooseAgain() }
        continueRecovery()
    }

    // MARK: The member that is filled

    func noteProgress(_ object: ObjectID) {
        guard phase == .replica(activated: true), !info.isComplete, !info.lastBackfill.covers(object) else { return }
        info.lastBackfill = .upTo(object)
        commitInfo()
    }

    /// The copy has every object: it is complete, and says so from now on.
    func completeBackfill(primary: OSDID) {
        guard phase == .replica(activated: true), missing.isEmpty else { return }
        environment.releaseTurn(.beingFilled, for: slot)
        info.lastBackfill = .complete
        commitInfo(.backfillStored(interval: interval, primary: primary))
    }
}
