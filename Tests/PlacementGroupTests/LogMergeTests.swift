import PlacementGroup
import Protocol
import Testing
import Wire

/// The merge of a member's history into the authoritative one, case by case as the replication rules have them.
@Suite struct LogMergeTests {
    let group = PGID(pool: PoolID(1), seed: 0)
    func v(_ epoch: UInt32, _ counter: UInt64) -> Version { Version(epoch: Epoch(epoch), counter: counter) }
    func object(_ name: String) -> ObjectID { ObjectID(pool: PoolID(1), hash: 1, name: ObjectName(name)) }

    func modify(_ name: String, _ version: Version, prior: Version = .zero) -> LogEntry {
        LogEntry(kind: .modify, object: object(name), version: version, prior: prior, request: .none)
    }
    func delete(_ name: String, _ version: Version, prior: Version) -> LogEntry {
        LogEntry(kind: .delete, object: object(name), version: version, prior: prior, request: .none)
    }
    func info(_ log: [LogEntry], tail: Version = .zero, complete: Bool = true) -> GroupInfo {
        var info = GroupInfo(group: group, cutAt: Epoch(8))
        info.lastUpdate = log.last?.version ?? tail
        info.logTail = tail
        info.isComplete = complete
        return info
    }
    func merge(
        _ member: [LogEntry], into authority: [LogEntry], missing: [MissingObject] = [], authorityTail: Version = .zero
    ) -> LogMerge {
        LogMerge(
            member: info(member), memberLog: member,
            memberMissing: Dictionary(uniqueKeysWithValues: missing.map { ($0.object, $0) }),
            authority: GroupLog(tail: authorityTail, entries: authority))
    }

    @Test func aMemberBehindLacksWhatCameAfter() {
        let shared = [modify("a", v(1, 1)), modify("b", v(1, 2))]
        let result = merge(
            shared, into: shared + [modify("a", v(1, 3), prior: v(1, 1)), delete("b", v(1, 4), prior: v(1, 2))])
        #expect(result.rewindTo == v(1, 2))
        #expect(result.entries.map(\.version) == [v(1, 3), v(1, 4)])
        #expect(result.missing == [object("a"): MissingObject(object: object("a"), need: v(1, 3), have: v(1, 1))])
        #expect(result.removals == [object("b")])
        #expect(!result.needsBackfill)
    }

    @Test func case1ANewerAuthoritativeEntryReplacesTheDivergentCopy() {
        let shared = [modify("a", v(1, 1))]
        let result = merge(
            shared + [modify("a", v(1, 2), prior: v(1, 1))], into: shared + [modify("a", v(2, 2), prior: v(1, 1))])
        #expect(result.rewindTo == v(1, 1))
        #expect(result.removals == [object("a")])
        #expect(result.missing[object("a")] == MissingObject(object: object("a"), need: v(2, 2), have: .zero))
    }

    @Test func case1WithAnAuthoritativeDeleteLeavesNothingMissing() {
        let shared = [modify("a", v(1, 1))]
        let result = merge(
            shared + [modify("a", v(1, 2), prior: v(1, 1))], into: shared + [delete("a", v(2, 2), prior: v(1, 1))])
        #expect(result.removals == [object("a")])
        #expect(result.missing.isEmpty)
    }

    @Test func case2ADivergentCreationIsRemoved() {
        let shared = [modify("a", v(1, 1))]
        let result = merge(shared + [modify("b", v(1, 2)), modify("b", v(1, 3), prior: v(1, 2))], into: shared)
        #expect(result.removals == [object("b")])
        #expect(result.missing.isEmpty)
    }

    @Test func case3AMissingObjectNeedsThePriorVersion() {
        let shared = [modify("a", v(1, 1)), modify("a", v(1, 2), prior: v(1, 1))]
        let divergent = shared + [modify("a", v(1, 3), prior: v(1, 2))]
        let behind = merge(
            divergent, into: shared, missing: [MissingObject(object: object("a"), need: v(1, 3), have: v(1, 1))])
        #expect(behind.missing[object("a")] == MissingObject(object: object("a"), need: v(1, 2), have: v(1, 1)))
        let there = merge(
            divergent, into: shared, missing: [MissingObject(object: object("a"), need: v(1, 3), have: v(1, 2))])
        #expect(there.missing.isEmpty && there.removals.isEmpty)
    }

    @Test func case4AnAppliedDivergentChangeIsTakenBackFromAnotherCopy() {
        let shared = [modify("a", v(1, 1))]
        let result = merge(shared + [modify("a", v(1, 2), prior: v(1, 1))], into: shared)
        #expect(result.removals == [object("a")])
        #expect(result.missing[object("a")] == MissingObject(object: object("a"), need: v(1, 1), have: .zero))
    }

    @Test func logsThatDoNotOverlapNeedBackfill() {
        let authority = [modify("z", v(3, 9), prior: v(3, 8))]
        let result = merge([modify("a", v(1, 1))], into: authority, authorityTail: v(3, 8))
        #expect(result.needsBackfill)
        #expect(result.entries == authority)
        let incomplete = LogMerge(
            member: info([], complete: false), memberLog: [], memberMissing: [:], authority: GroupLog())
        #expect(incomplete.needsBackfill)
    }

    @Test func theAuthorityIsCompleteAndHasTheNewestActivation() {
        func info(_ update: Version, les: UInt32, history: UInt32 = 0, complete: Bool = true) -> GroupInfo {
            var info = GroupInfo(group: group, cutAt: Epoch(8))
            info.lastUpdate = update
            info.lastEpochStarted = Epoch(les)
            info.historyLastEpochStarted = Epoch(history)
            info.isComplete = complete
            return info
        }
        let (a, b, c) = (OSDID(0), OSDID(1), OSDID(2))
        // The longer log of an older activation was divergent when the newer one was made.
        #expect(Authority.choose([a: info(v(5, 20), les: 4), b: info(v(4, 10), les: 6)], preferring: a) == b)
        // An incomplete copy is never chosen, and its own word on activations does not count.
        #expect(
            Authority.choose(
                [a: info(v(6, 30), les: 7, complete: false), b: info(v(4, 10), les: 6)], preferring: a) == b)
        // What the history says was started must be known to whoever is chosen.
        #expect(Authority.choose([a: info(v(4, 10), les: 6, history: 7)], preferring: a) == nil)
        // Among equals: the newest update, then this member itself.
        #expect(Authority.choose([a: info(v(6, 1), les: 6), c: info(v(6, 2), les: 6)], preferring: a) == c)
        #expect(Authority.choose([a: info(v(6, 2), les: 6), c: info(v(6, 2), les: 6)], preferring: c) == c)
    }

    @Test func theLogFindsVersionsAndRequestsAfterTrimAndRewind() {
        var log = GroupLog()
        for counter in 1...10 {
            log.append(
                LogEntry(
                    kind: .modify, object: object("a"), version: v(1, UInt64(counter)), prior: .zero,
                    request: RequestID(client: 9, number: UInt64(counter))))
        }
        log.trim(to: v(1, 3))
        log.rewind(to: v(1, 8))
        #expect(log.tail == v(1, 3) && log.head == v(1, 8))
        #expect(log.version(of: RequestID(client: 9, number: 3)) == v(1, 3))
        #expect(log.version(of: RequestID(client: 9, number: 9)) == nil)
        #expect(log.version(of: RequestID(client: 9, number: 5)) == v(1, 5))
        #expect(log.reaches(v(1, 3)) && log.reaches(v(1, 8)) && !log.reaches(v(1, 2)) && !log.reaches(v(2, 5)))
        #expect(log.entries(after: v(1, 6)).map(\.version.counter) == [7, 8])
    }
}
