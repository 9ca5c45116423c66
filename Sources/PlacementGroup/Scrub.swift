import Protocol
import Wire

/// The primary's side of comparing the copies, and what is known of it.
struct Scrub {
    /// When the group was scrubbed, and what is wrong with it; on every member, durably.
    var record = ScrubRecord()
    var inconsistent: [ObjectID: InconsistentObject] = [:]
    /// Someone asked for a scrub that has not begun.
    var order: Kind?
    /// The scrub under way; it stays when it has to give way, and goes on where it was.
    var run: Run?
    var stage = Stage.idle
    /// The window of the scrub under way.
    var window: Examination?
    /// Objects that are looked at because a read of them failed.
    var inspections: [ObjectID: Examination] = [:]
    /// Objects with no copy that can be read, at this version: a read that fails is not looked into again.
    var unreadable: [ObjectID: Version] = [:]
    /// Objects whose bad copies are being replaced.
    var repairing: Set<ObjectID> = []
    /// True while something is compared, so that writes to it wait.
    var isBlocking = false
    /// True while a comparison waits for writes to be on every member.
    var awaitsCommits = false
    /// What this member compiles for a primary, itself or another.
    var compilations: [Compilation] = []
    var nextSerial: UInt32 = 0

    enum Kind: UInt8, Comparable {
        /// Which objects there are, with their metadata.
        case shallow
        /// Their data, too.
        case deep
        /// Their data, too; and what is wrong is put right where a copy verifies.
        case repair

        static func < (left: Kind, right: Kind) -> Bool { left.rawValue < right.rawValue }
        var isDeep: Bool { self != .shallow }
    }

    /// A scrub of the whole group.
    struct Run {
        var kind: Kind
        /// The newest write when it began.
        var version: Version
        /// Everything up to here is compared.
        var cursor: ObjectID?
        var unlisted: UInt32 = 0
    }

    enum Stage: Hashable {
        case idle
        /// Waits for one of this OSD's turns.
        case waitingHere
        /// Waits for this member's turn; members are asked in the order of their numbers, so that two primaries never wait
        /// for each other.
        case reserving(OSDID)
        /// Waits until the OSD has time for the next window.
        case pausing
        case comparing
    }

    /// Objects being compared.
    struct Examination {
        var serial: UInt32
        var window: ScrubWindow
        var isDeep: Bool
        /// The newest write to the window; the comparison begins when every member has it.
        var version: Version
        var hasBegun = false
        var awaiting: Set<OSDID> = []
        /// True when those outside the sets are given no more time to answer.
        var isOverdue = false
        var entries: [OSDID: [ObjectID: ScrubEntry]] = [:]
        /// How far all answers reach; nil for the window's end.
        var through: ObjectID?
    }
}

/// A member's answer to `examine` in the making.
struct Compilation {
    var asker: OSDID
    var serial: UInt32
    var isDeep: Bool
    /// Tells its reads from those of one that was given up.
    var number: UInt32
    var objects: [ObjectID]
    /// How far the answer reaches; nil for the window's end.
    var through: ObjectID?
    var entries: [ScrubEntry] = []
    // The object that is being gone through: the one after the last entry.
    var omapAfter = Bytes.empty
    var omapDigest: UInt32 = 0
    var isOmapDone = false
    var offset: UInt64 = 0
    var checksum: UInt32 = 0
    var isUnreadable = false
    /// True while a read is under way.
    var isReading = false
}

extension PlacementGroup {
    // MARK: Compiling what this copy has

    /// Begins an answer for the primary. A repeated question is begun again: the answer may have been lost.
    func examine(serial: UInt32, _ window: ScrubWindow, isDeep: Bool, for asker: OSDID) {
        scrub.compilations.removeAll { $0.asker == asker && $0.serial == serial }
        if scrub.compilations.count >= 2 * ScrubLimits.windows { scrub.compilations.removeFirst() }
        var objects: [ObjectID] = []
        var through: ObjectID?
        switch window {
        case .object(let object): if environment.size(of: object) != nil { objects = [object] }
        case .range(let after, _):
            objects = environment.objects(in: range, after: after, limit: ScrubLimits.entries)
            if objects.count == ScrubLimits.entries { through = objects.last }
            objects.removeAll { !window.contains($0) }
            if let end = through, !window.contains(end) { through = nil }
        }
        nextRead &+= 1
        scrub.compilations.append(
            Compilation(
                asker: asker, serial: serial, isDeep: isDeep, number: nextRead, objects: objects, through: through))
        compile(nextRead)
    }

    private func index(ofCompilation number: UInt32) -> Int? {
        scrub.compilations.firstIndex { $0.number == number }
    }

    /// Goes on with an answer until it is done, or waits for data, or has read much in this turn.
    private func compile(_ number: UInt32) {
        var budget = ScrubLimits.omapEntries
        while let index = index(ofCompilation: number) {
            let work = scrub.compilations[index]
            guard work.entries.count < work.objects.count else { return finish(index) }
            let object = work.objects[work.entries.count]
            guard work.isOmapDone else {
                guard budget > 0 else { return environment.requestScrubStep(for: slot, isUrgent: true) }
                compileOmap(index, of: object, &budget)
                continue
            }
            if work.isDeep, !work.isUnreadable, work.offset < environment.size(of: object) ?? 0 {
                scrub.compilations[index].isReading = true
                let read = newRead(PendingRead(purpose: .scrub(number)))
                return environment.read(
                    object, offset: work.offset, length: ScrubLimits.readSize, number: read, for: slot)
            }
            take(index, object)
        }
    }

    private func compileOmap(_ index: Int, of object: ObjectID, _ budget: inout Int) {
        let entries = environment.omap(
            of: object, after: scrub.compilations[index].omapAfter, prefix: .empty, limit: budget)
        for entry in entries {
            scrub.compilations[index].omapDigest &+= MetadataDigest.of(entry.key, entry.value)
        }
        if let last = entries.last { scrub.compilations[index].omapAfter = last.key }
        scrub.compilations[index].isOmapDone = entries.count < budget
        budget -= entries.count
    }

    /// The object is gone through.
    private func take(_ index: Int, _ object: ObjectID) {
        let attributes = environment.attributes(of: object)
        var info = ScrubEntry.Info.none
        if let attribute = attributes.first(where: { $0.name == ObjectInfo.attribute }) {
            let known = try? ObjectInfo(decoding: attribute.value)
            info = known.map { .known($0.version, $0.digests) } ?? .corrupt
        }
        let work = scrub.compilations[index]
        scrub.compilations[index].entries.append(
            ScrubEntry(
                object: object, size: environment.size(of: object) ?? 0, info: info,
                found: MetadataDigests(attributes: MetadataDigest.of(attributes), omap: work.omapDigest),
                data: work.isDeep && !work.isUnreadable ? work.checksum : nil, isUnreadable: work.isUnreadable))
        (scrub.compilations[index].omapAfter, scrub.compilations[index].omapDigest) = (.empty, 0)
        (scrub.compilations[index].isOmapDone, scrub.compilations[index].isUnreadable) = (false, false)
        (scrub.compilations[index].offset, scrub.compilations[index].checksum) = (0, 0)
    }

    func scrubRead(_ number: UInt32, _ outcome: ReadOutcome) {
        guard let index = index(ofCompilation: number) else { return }
        scrub.compilations[index].isReading = false
        switch outcome {
        case .data(let data):
            let before = scrub.compilations[index].checksum
            scrub.compilations[index].checksum = Checksum.crc32c(data, after: before)
            // An object that has become shorter has no more to read.
            scrub.compilations[index].offset += UInt64(data.isEmpty ? ScrubLimits.readSize : data.count)
        case .failed: scrub.compilations[index].isUnreadable = true
        }
        compile(number)
    }

    /// Goes on with what waited for another turn of the OSD's loop.
    func continueCompilations() {
        for number in scrub.compilations.filter({ !$0.isReading }).map(\.number) { compile(number) }
    }

    private func finish(_ index: Int) {
        let work = scrub.compilations.remove(at: index)
        if work.asker == me {
            examined(serial: work.serial, work.entries, through: work.through, by: me)
        } else {
            send(.scrub(.examined(serial: work.serial, work.entries, through: work.through)), to: work.asker)
        }
    }
}
