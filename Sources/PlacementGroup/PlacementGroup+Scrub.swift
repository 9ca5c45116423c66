import Protocol
import Wire

/// Comparing the copies: a window of objects at a time, in storage order. Writes to the window wait, those before them are
/// let through to every member, then each member says what it has, and the next window follows.
extension PlacementGroup {
    // MARK: When

    /// Someone wants the group scrubbed; done as soon as it may be. False when the group is not in a state to be.
    func orderScrub(_ kind: Scrub.Kind) {
        scrub.order = max(scrub.order ?? kind, kind)
        scrubTick()
    }

    /// True while all members can be compared.
    private var mayScrub: Bool { phase == .active && !recovery.isWorking && isPrimary }

    /// To be called every second or so: begins what is due, or goes on with what had to give way.
    func scrubTick() {
        scrub.unreadable.removeAll()
        giveUpStrays()
        guard mayScrub, scrub.stage == .idle else { return }
        if let order = scrub.order {
            scrub.run = Scrub.Run(kind: max(order, scrub.run?.kind ?? order), version: info.lastUpdate)
        } else if scrub.run != nil {
            environment.occurred(.scrubResumed)
        } else {
            guard let kind = dueScrub else { return }
            scrub.run = Scrub.Run(kind: kind, version: info.lastUpdate)
        }
        scrub.order = nil
        scrub.stage = .waitingHere
        environment.requestTurn(.scrubbing, for: slot)
    }

    /// What the schedule wants now. Groups are spread by their names, so that not all are due at once.
    private var dueScrub: Scrub.Kind? {
        guard isClean else { return nil }
        let now = environment.wallNanoseconds / 1_000_000_000
        if scrub.record.last.seconds == 0 {
            // A group that was just made has nothing to compare yet.
            scrub.record.last.seconds = now
            scrub.record.lastDeep.seconds = now
            scrubStateChanged()
            return nil
        }
        let tuning = environment.tuning
        func isDue(_ stamp: ScrubRecord.Stamp, _ interval: UInt64) -> Bool {
            now >= stamp.seconds + interval + interval / 2 * UInt64(spread) / 1024
        }
        if isDue(scrub.record.lastDeep, tuning.deepScrubInterval) { return .deep }
        return isDue(scrub.record.last, tuning.scrubInterval) ? .shallow : nil
    }

    /// 0 ... 1023, from the group's name.
    private var spread: UInt32 {
        let name = Bytes.encoding(capacity: 16) { id.encode(into: &$0) }
        return Checksum.crc32c(name) >> 22
    }

    // MARK: Turns

    /// This OSD's turn has come, or a member's for its primary.
    func scrubTurnGranted(_ kind: TurnKind) {
        if kind == .scrubbing {
            guard mayScrub, scrub.stage == .waitingHere else {
                return environment.releaseTurn(.scrubbing, for: slot)
            }
            reserve(after: nil)
        } else if case .replica = phase, let primary {
            send(.scrub(.reserved), to: primary)
        } else {
            environment.releaseTurn(.beingScrubbed, for: slot)
        }
    }

    private func reserve(after last: OSDID?) {
        guard let next = others.sorted().first(where: { osd in last.map { osd > $0 } ?? true }) else {
            scrub.stage = .pausing
            return environment.requestScrubStep(for: slot, isUrgent: false)
        }
        scrub.stage = .reserving(next)
        send(.scrub(.reserve), to: next)
    }

    /// Ends what is compared now, with the interval or because members have to be given objects first. The run stays.
    func leaveScrub() {
        if scrub.stage != .idle, scrub.run != nil { environment.occurred(.scrubPreempted) }
        scrub.stage = .idle
        scrub.window = nil
        scrub.inspections.removeAll()
        scrub.unreadable.removeAll()
        scrub.repairing.removeAll()
        scrub.compilations.removeAll()
        scrub.isBlocking = false
        scrub.awaitsCommits = false
        environment.releaseTurn(.scrubbing, for: slot)
        environment.releaseTurn(.beingScrubbed, for: slot)
    }

    /// Members have to be given objects: that goes before. Writes that waited go on.
    func pauseScrub() {
        guard scrub.stage != .idle else { return }
        environment.occurred(.scrubPreempted)
        let window = scrub.window?.window
        scrub.window = nil
        releaseTurns()
        if let window { unblock(window) }
    }

    private func releaseTurns() {
        scrub.stage = .idle
        environment.releaseTurn(.scrubbing, for: slot)
        for osd in others { send(.scrub(.release), to: osd) }
    }

    // MARK: Messages

    func receivedScrub(_ message: ScrubMessage, from osd: OSDID) {
        if osd == primary, case .examine(let serial, .object(let object), true) = message, phase == .stray {
            // A copy outside the sets may be the only good one.
            return examine(serial: serial, .object(object), isDeep: true, for: osd)
        }
        if osd == primary, case .replica = phase {
            switch message {
            case .reserve: environment.requestTurn(.beingScrubbed, for: slot)
            case .release: environment.releaseTurn(.beingScrubbed, for: slot)
            case .examine(let serial, let window, let isDeep):
                guard phase == .replica(activated: true) else { return }
                examine(serial: serial, window, isDeep: isDeep, for: osd)
            case .spoiled(let lacking): noteSpoiled(lacking)
            case .state(let record, let inconsistent): receivedScrubState(record, inconsistent, from: osd)
            case .reserved, .examined: break
            }
        } else if isPrimary {
            switch message {
            case .reserved: if scrub.stage == .reserving(osd) { reserve(after: osd) }
            case .examined(let serial, let entries, let through):
                examined(serial: serial, entries, through: through, by: osd)
            case .state(let record, let inconsistent):
                if others.contains(osd) { receivedScrubState(record, inconsistent, from: osd) }
            case .reserve, .release, .examine, .spoiled: break
            }
        }
    }

    /// The session to a member was begun anew: what was outstanding is said again.
    func repeatScrub(to osd: OSDID) {
        switch scrub.stage {
        case .idle, .waitingHere: send(.scrub(.release), to: osd)
        case .reserving(osd): send(.scrub(.reserve), to: osd)
        case .reserving, .pausing, .comparing: break
        }
        for examination in [scrub.window].compactMap({ $0 })
            + scrub.inspections.values.sorted(by: { $0.serial < $1.serial })
        where examination.awaiting.contains(osd) {
            send(.scrub(.examine(serial: examination.serial, examination.window, isDeep: examination.isDeep)), to: osd)
        }
    }

    // MARK: Windows

    /// The OSD has time for a step: of answers that this member compiles, or for the next window.
    public func scrubMayGoOn() {
        continueTally()
        continueCompilations()
        if scrub.stage == .pausing { nextWindow() }
    }

    private func nextWindow() {
        guard mayScrub, let run = scrub.run else { return releaseTurns() }
        let limit = environment.tuning.scrubObjects
        var objects = environment.objects(in: range, after: run.cursor, limit: limit)
        var isLast = objects.count < limit
        if run.kind.isDeep {
            var bytes: UInt64 = 0
            let fitting = objects.prefix { object in
                bytes += environment.size(of: object) ?? 0
                return bytes <= ScrubLimits.bytes
            }
            if fitting.count < objects.count {
                objects = Array(objects.prefix(max(1, fitting.count)))
                isLast = false
            }
        }
        let window = ScrubWindow.range(after: run.cursor, through: isLast ? nil : objects.last?.last)
        scrub.stage = .comparing
        scrub.window = examination(of: window, isDeep: run.kind.isDeep)
        beginExaminations()
    }

    /// Blocks writes to the window, from now on.
    func examination(of window: ScrubWindow, isDeep: Bool) -> Scrub.Examination {
        scrub.nextSerial &+= 1
        scrub.isBlocking = true
        scrub.awaitsCommits = true
        let newest = writes.last { window.touches($0.object) }?.version ?? .zero
        return Scrub.Examination(serial: scrub.nextSerial, window: window, isDeep: isDeep, version: newest)
    }

    /// True when a write to the object must wait for what is compared.
    func isExamined(_ object: ObjectID) -> Bool {
        if let window = scrub.window, window.window.touches(object) { return true }
        return scrub.inspections.contains { $0.value.window.touches(object) }
    }

    /// Those whose writes are on every member begin.
    func beginExaminations() {
        let committed = leastCommitted
        var mustWait = false
        var begun: [Scrub.Examination] = []
        var underway = scrub.inspections.values.count(where: \.hasBegun)
        func begin(_ examination: inout Scrub.Examination) {
            guard examination.version <= committed else { return mustWait = true }
            examination.hasBegun = true
            examination.awaiting = Set(witnesses(of: examination.window))
            begun.append(examination)
        }
        if scrub.window?.hasBegun == false { begin(&scrub.window!) }
        for object in scrub.inspections.keys.sorted()
        where underway < ScrubLimits.windows && scrub.inspections[object]?.hasBegun == false {
            begin(&scrub.inspections[object]!)
            underway += 1
        }
        scrub.awaitsCommits = mustWait
        for one in begun {
            for osd in one.awaiting.sorted() where osd != me {
                send(.scrub(.examine(serial: one.serial, one.window, isDeep: one.isDeep)), to: osd)
            }
            if one.awaiting.contains(me) { examine(serial: one.serial, one.window, isDeep: one.isDeep, for: me) }
        }
    }

    /// Whose copies of a window count.
    private func witnesses(of window: ScrubWindow) -> [OSDID] {
        guard case .object(let object) = window else { return members.map(\.osd) }
        let having = members.filter { member in
            member.osd == me
                ? missing[object] == nil
                : member.position.covers(object) && member.missing[object] == nil
        }
        let strays = peering.infos.filter { osd, info in
            !members.contains { $0.osd == osd } && environment.isUp(osd) && !info.isEmpty
                && info.lastBackfill.covers(object)
        }
        return having.map(\.osd) + strays.keys
    }

    /// A member has said what it has.
    func examined(serial: UInt32, _ entries: [ScrubEntry], through: ObjectID?, by osd: OSDID) {
        if scrub.window?.serial == serial {
            guard take(entries, through, from: osd, into: &scrub.window!) else { return }
            windowExamined()
        } else if let object = scrub.inspections.first(where: { $0.value.serial == serial })?.key {
            guard take(entries, through, from: osd, into: &scrub.inspections[object]!) else { return }
            inspected(object)
        }
    }

    /// True when all have answered.
    private func take(
        _ entries: [ScrubEntry], _ through: ObjectID?, from osd: OSDID, into examination: inout Scrub.Examination
    ) -> Bool {
        guard examination.awaiting.remove(osd) != nil else { return false }
        let window = examination.window
        let within = entries.filter { window.contains($0.object) && range.contains($0.object) }
        examination.entries[osd] = Dictionary(within.map { ($0.object, $0) }, uniquingKeysWith: { $1 })
        if let through { examination.through = min(examination.through ?? through, through) }
        return examination.awaiting.isEmpty
    }

    /// All members have said what they have in the window.
    private func windowExamined() {
        guard var examination = scrub.window, var run = scrub.run, case .range(let after, let end) = examination.window
        else { preconditionFailure("group \(id): no window is compared: \(scrub.stage)") }
        // Only as far as all answers reach can the lack of an object in one of them mean anything.
        let reached = [examination.through, end].compactMap { $0 }.min()
        let window = ScrubWindow.range(after: after, through: reached)
        examination.window = window
        let found = findings(of: examination)
        var changed: [InconsistentObject] = []
        var gone = scrub.inconsistent.keys.filter { window.contains($0) }
        if !run.kind.isDeep { gone.removeAll { isStillDamaged($0, examination) } }
        for finding in found {
            gone.removeAll { $0 == finding.object }
            guard scrub.inconsistent[finding.object] != nil || scrub.inconsistent.count < ScrubLimits.inconsistent
            else {
                run.unlisted += 1
                continue
            }
            if scrub.inconsistent[finding.object] != finding { changed.append(finding) }
        }
        run.cursor = reached
        scrub.run = run
        scrub.window = nil
        list(changed, forget: gone)
        unblock(window)
        // What waited may have led to another interval's work.
        guard scrub.stage == .comparing else { return }
        if reached == nil {
            scrubDone(run)
        } else {
            scrub.stage = .pausing
            environment.requestScrubStep(for: slot, isUrgent: false)
        }
    }

    /// A shallow scrub does not see what a deep one did: that stays listed until the object is written anew.
    private func isStillDamaged(_ object: ObjectID, _ examination: Scrub.Examination) -> Bool {
        guard let known = scrub.inconsistent[object], !known.allErrors.isDisjoint(with: .deep) else { return false }
        return examination.entries.contains { $0.value[object]?.version == known.version }
    }

    /// What is wrong in a window that all have answered for.
    func findings(of examination: Scrub.Examination) -> [InconsistentObject] {
        var expectations: [ObjectID: ScrubJudgement.Expectation] = [:]
        for entry in log.entries where entry.kind != .error && examination.window.contains(entry.object) {
            expectations[entry.object] = entry.kind == .delete ? .absent : .version(entry.version)
        }
        var objects = Set(expectations.keys)
        for entries in examination.entries.values { objects.formUnion(entries.keys) }
        let osds = examination.entries.keys.sorted { ($0 == me ? 0 : 1, $0) < ($1 == me ? 0 : 1, $1) }
        return objects.filter { examination.window.contains($0) }.sorted().compactMap { object in
            ScrubJudgement(
                object: object, copies: osds.map { ($0, examination.entries[$0]?[object]) },
                expectation: expectations[object] ?? .unlogged(tail: log.tail)
            ).finding
        }
    }

    /// What was compared may be written again: those that waited go on, in their order.
    func unblock(_ window: ScrubWindow) {
        scrub.isBlocking = scrub.window != nil || !scrub.inspections.isEmpty
        for object in activities.keys.filter({ window.touches($0) }).sorted() { wake(object) }
        continueTrimming()
    }

    /// The whole group is compared.
    private func scrubDone(_ run: Scrub.Run) {
        let stamp = ScrubRecord.Stamp(version: run.version, seconds: environment.wallNanoseconds / 1_000_000_000)
        scrub.record.last = stamp
        if run.kind.isDeep { scrub.record.lastDeep = stamp }
        scrub.record.unlisted = run.unlisted
        scrub.run = nil
        releaseTurns()
        startTally()
        scrubStateChanged()
        environment.occurred(scrub.inconsistent.isEmpty ? .scrubbedClean : .scrubFoundDamage)
        if run.kind == .repair { repairListed() }
    }
}
