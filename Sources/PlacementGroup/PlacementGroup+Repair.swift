import Protocol
import Wire

/// What is known to be wrong with copies, and putting it right: a bad copy counts as missing, and recovery replaces it from
/// one that vouches for itself. Where there is none, the object stays listed, and what cannot be read is an error.
extension PlacementGroup {
    // MARK: The list

    /// Takes what the store has of the group's scrubs.
    func loadScrub() throws(WireError) {
        for pair in environment.groupKeys(id, from: GroupKeys.scrub, to: GroupKeys.scrubEnd) {
            var reader = ByteReader(pair.value)
            scrub.record = try ScrubRecord(from: &reader)
        }
        for pair in environment.groupKeys(id, from: GroupKeys.inconsistentStart, to: GroupKeys.inconsistentEnd) {
            var reader = ByteReader(pair.value)
            let found = try InconsistentObject(from: &reader)
            scrub.inconsistent[found.object] = found
        }
    }

    /// Puts findings on the list and takes objects from it, durably, on this member; the others are told at the end of a scrub.
    func list(_ findings: [InconsistentObject], forget gone: [ObjectID]) {
        guard !findings.isEmpty || !gone.isEmpty else { return }
        var steps: [Transaction.Operation] = []
        for object in gone {
            scrub.inconsistent[object] = nil
            let key = GroupKeys.inconsistent(object)
            steps.append(.removeGroupKeys(id, from: key, to: Bytes(key.array + [0])))
        }
        for finding in findings { scrub.inconsistent[finding.object] = finding }
        scrub.record.serial += 1
        let entries = findings.map { GroupKeys.entry($0) } + [GroupKeys.entry(scrub.record)]
        steps.append(.setGroupKeys(id, entries: entries))
        commit(Transaction(steps), .note)
    }

    /// The record has changed: it is stored, and the members hear.
    func scrubStateChanged() {
        scrub.record.serial += 1
        commit(Transaction([.setGroupKeys(id, entries: [GroupKeys.entry(scrub.record)])]), .note)
        shareScrubState()
    }

    /// Tells the members what is known of the group's scrubs.
    func shareScrubState() {
        for osd in others { sendScrubState(to: osd) }
    }

    private func sendScrubState(to osd: OSDID) {
        let listed = scrub.inconsistent.values.sorted { $0.object < $1.object }
        send(.scrub(.state(scrub.record, listed)), to: osd)
    }

    /// Another member knows of a later scrub, or of an older one.
    func receivedScrubState(_ record: ScrubRecord, _ inconsistent: [InconsistentObject], from osd: OSDID) {
        if record.serial < scrub.record.serial { return sendScrubState(to: osd) }
        guard record.serial > scrub.record.serial,
            inconsistent.allSatisfy({ range.contains($0.object) })
        else { return }
        scrub.record = record
        scrub.inconsistent = Dictionary(inconsistent.map { ($0.object, $0) }, uniquingKeysWith: { $1 })
        let entries = inconsistent.map { GroupKeys.entry($0) } + [GroupKeys.entry(record)]
        commit(
            Transaction([
                .removeGroupKeys(id, from: GroupKeys.inconsistentStart, to: GroupKeys.inconsistentEnd),
                .setGroupKeys(id, entries: entries),
            ]), .note)
    }

    // MARK: Repair

    /// Replaces what is listed as bad, where a copy verifies.
    func repairListed() {
        for finding in scrub.inconsistent.values.sorted(by: { $0.object < $1.object }) where finding.isRepairable {
            repair(finding)
        }
        continueRecovery()
    }

    /// Has bad copies replaced from the good one, or removed. What was written since the finding was written to the good copy.
    private func repair(_ finding: InconsistentObject) {
        let object = finding.object
        let bad = finding.shards.filter { !$0.errors.isEmpty }.map(\.osd)
        if finding.isUnexpected {
            // Someone has made one by this name since.
            if let newest = log.entries.last(where: { $0.object == object && $0.kind != .error }),
                newest.kind != .delete
            {
                return
            }
            return replace(bad, of: object, need: .zero, bad: [])
        }
        var need = finding.version ?? .zero
        if let newest = log.entries.last(where: { $0.object == object && $0.kind != .error }) {
            guard newest.kind != .delete else { return }
            need = newest.version
        }
        guard finding.good != nil, need != .zero else { return }
        replace(bad, of: object, need: need, bad: Set(bad))
    }

    /// These members lack the object from now on; recovery brings it back from others, but not from `bad`.
    private func replace(_ osds: [OSDID], of object: ObjectID, need: Version, bad: Set<OSDID>) {
        var isLacking = false
        for osd in osds {
            if osd == me {
                isLacking = spoilOwnCopy(of: object, need: need) || isLacking
            } else if let index = members.firstIndex(where: { $0.osd == osd }) {
                let lacking = MissingObject(object: object, need: need, have: .zero)
                members[index].missing[object] = lacking
                if need != .zero { send(.scrub(.spoiled(lacking)), to: osd) }
                isLacking = true
            }
        }
        environment.occurred(.copyReplaced)
        if osds.contains(me), missing[object] == nil { copyReplaced(object, on: me) }
        guard isLacking else { return }
        scrub.repairing.insert(object)
        let isIdle = !recovery.isWorking
        if isIdle { recovery = Recovery() }
        recovery.isWorking = true
        recovery.lackingObjects.insert(object)
        recovery.unfound.remove(object)
        recovery.noRoom[object] = nil
        recovery.failed[object] = bad
        recovery.queue.append(object)
        if isIdle { pauseScrub() }
    }

    /// This copy lacks the object from now on, or (without a version) does not have it any more. True when it is to be fetched.
    private func spoilOwnCopy(of object: ObjectID, need: Version) -> Bool {
        guard need != .zero else {
            commit(Transaction([.remove(object)]), .note)
            return false
        }
        let lacking = MissingObject(object: object, need: need, have: .zero)
        missing[object] = lacking
        info.missingCount = UInt32(missing.count)
        commit(
            Transaction([.setGroupKeys(id, entries: [GroupKeys.entry(lacking), GroupKeys.entry(info)])]), .note)
        return true
    }

    /// The store has lost a part of this copy's object. Its info is whole, so it is known which version has to be fetched; what
    /// goes beyond the bound is found when it is read.
    func noteDamaged(_ object: ObjectID) {
        let version = version(of: object)
        guard !info.isEmpty, version != .zero, missing[object] == nil, info.lastBackfill.covers(object),
            missing.count < GroupLimits.missingObjects
        else { return }
        _ = spoilOwnCopy(of: object, need: version)
    }

    /// Nobody could send what this copy lacks for being bad. It is still as it was, so that what can be read of it can be read.
    /// False when it is not.
    func restoreOwnCopy(of object: ObjectID) -> Bool {
        guard let lacking = missing[object], lacking.need == version(of: object), !arriving.contains(object) else {
            return false
        }
        missing[object] = nil
        info.missingCount = UInt32(missing.count)
        let key = GroupKeys.missing(object)
        commit(
            Transaction([
                .removeGroupKeys(id, from: key, to: Bytes(key.array + [0])),
                .setGroupKeys(id, entries: [GroupKeys.entry(info)]),
            ]), .note)
        return true
    }

    /// The primary says that this member's copy of an object is not what it should be.
    func noteSpoiled(_ lacking: MissingObject) {
        guard phase == .replica(activated: true), range.contains(lacking.object), lacking.need <= info.lastUpdate,
            lacking.need != .zero, missing.count < GroupLimits.missingObjects
        else { return }
        _ = spoilOwnCopy(of: lacking.object, need: lacking.need)
    }

    /// A member has got a copy that verified where it came from: it is not bad any more.
    func copyReplaced(_ object: ObjectID, on osd: OSDID) {
        guard var finding = scrub.inconsistent[object] else { return }
        var replaced: UInt64 = 0
        for index in finding.shards.indices
        where finding.shards[index].osd == osd && !finding.shards[index].errors.isEmpty {
            finding.shards[index].errors = []
            replaced += 1
        }
        guard replaced > 0 else { return }
        scrub.record.repaired += replaced
        if finding.errors.isEmpty, finding.shards.allSatisfy(\.errors.isEmpty) {
            scrub.repairing.remove(object)
            list([], forget: [object])
            if scrub.repairing.isEmpty { shareScrubState() }
        } else {
            list([finding], forget: [])
        }
    }

    // MARK: Reads that fail

    /// A read of this copy failed: what the members have is compared, and the read is done again when this copy is good, or
    /// can be told to fail. False when that has been done already.
    func inspect(_ object: ObjectID) -> Bool {
        guard isActivated, scrub.unreadable[object] == nil else { return false }
        guard scrub.inspections[object] == nil else { return true }
        scrub.inspections[object] = examination(of: .object(object), isDeep: true)
        beginExaminations()
        return true
    }

    /// Copies outside the sets that do not answer are done without.
    func giveUpStrays() {
        for (object, examination) in scrub.inspections.sorted(by: { $0.key < $1.key }) where examination.hasBegun {
            guard examination.isOverdue else {
                scrub.inspections[object]?.isOverdue = true
                continue
            }
            let left = examination.awaiting.filter { osd in members.contains { $0.osd == osd } }
            scrub.inspections[object]?.awaiting = left
            if left.isEmpty { inspected(object) }
        }
    }

    /// The finding without copies outside the sets, but for one that is good: nobody puts those right.
    private func ofMembers(_ finding: InconsistentObject?) -> InconsistentObject? {
        guard var finding else { return nil }
        finding.shards.removeAll { shard in
            shard.osd != finding.good && !members.contains { $0.osd == shard.osd }
        }
        return finding.errors.isEmpty && finding.shards.allSatisfy(\.errors.isEmpty) ? nil : finding
    }

    /// The members have said what they have of an object of which a read failed.
    func inspected(_ object: ObjectID) {
        guard let examination = scrub.inspections.removeValue(forKey: object) else { return }
        // Whatever follows: a read that fails again is an error, until the next look at the schedule.
        scrub.unreadable[object] = info.lastUpdate
        let finding = ofMembers(findings(of: examination).first)
        if let finding {
            list([finding], forget: [])
            environment.occurred(finding.isRepairable ? .readRepaired : .nothingToRepairFrom)
        }
        if let finding, finding.isRepairable {
            scrub.unreadable[object] = nil
            repair(finding)
        } else if isLacking(object), recovery.underway[object] == nil {
            // A member waits for it: it is sent when it can be read, or when another copy turns up.
            if finding == nil { recovery.queue.append(object) } else { recovery.unfound.insert(object) }
        }
        unblock(examination.window)
        beginExaminations()
        continueRecovery()
    }
}
