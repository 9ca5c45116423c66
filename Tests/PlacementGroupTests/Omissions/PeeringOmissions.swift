import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// What loses data when it is left out, by the numbers of the replication rules: finding out who has the newest history.
@Suite struct PeeringOmissions {
    let group = PGID(pool: PoolID(1), seed: 0)
    func info(_ update: UInt64, les: UInt32, _ position: BackfillPosition = .complete) -> GroupInfo {
        var info = GroupInfo(group: group, cutAt: Epoch(8))
        info.lastUpdate = Version(epoch: Epoch(5), counter: update)
        info.lastEpochStarted = Epoch(les)
        info.lastBackfill = position
        return info
    }

    @Test func omission01NobodyServesBeforeUpThruIsCommitted() {
        let script = Script()
        script.monitorsAnswer = false
        script.kill(2)
        script.drain()
        #expect(script.primary.phase == .waitingUpThru)
        let write = script.write("x")
        script.drain()
        #expect(script.answers[write] == nil)
        script.monitorsAnswer = true
        script.drain()
        #expect(script.primary.phase == .active && script.answers[write]?.outcome == .done(errno: 0))
    }

    /// {A,B} → {B} → {} → {A}: A goes on alone when B was never proven alive, and waits for B when it was.
    @Test(arguments: [false, true]) func omission01AnIntervalWithoutUpThruNeedsNoWitness(isProven: Bool) {
        var pool = Pool(id: PoolID(1), name: "p", size: 2, minSize: 1, groupCount: 1, rule: 0, created: Epoch(1))
        func placement(_ osds: [Int32]) -> OSDMap.Placement {
            OSDMap.Placement(up: osds.map { OSDID($0) }, acting: osds.map { OSDID($0) })
        }
        var history = IntervalHistory(group: group, pool: pool, placement: placement([0, 1]), upThru: Epoch(1))
        _ = history.advance(to: Epoch(2), of: group, pool: pool, placement: placement([1]), upThru: .none)
        if isProven {
            _ = history.advance(to: Epoch(3), of: group, pool: pool, placement: placement([1]), upThru: Epoch(2))
        }
        _ = history.advance(to: Epoch(4), of: group, pool: pool, placement: placement([]), upThru: .none)
        pool.minSize = 1
        _ = history.advance(to: Epoch(5), of: group, pool: pool, placement: placement([0]), upThru: .none)
        #expect(history.past.contains { $0.acting == [OSDID(1)] } == isProven)
        #expect(history.past.contains { $0.acting == [OSDID(0), OSDID(1)] })
    }

    @Test func omission02HistoryAdvancesOnlyWhenAllHaveStoredTheActivation() {
        let script = Script()
        script.slowDisks = [1]
        script.reset(0, 1)
        let before = script.member(0).info.historyLastEpochStarted
        script.place([0, 2, 1])
        script.drain()
        #expect(script.primary.phase == .activating)
        #expect(script.member(0).info.historyLastEpochStarted == before)
        #expect(script.member(2).info.historyLastEpochStarted == before)
        script.slowDisks = []
        script.drain()
        let interval = script.member(0).intervals.current.first
        #expect(script.primary.phase == .active)
        #expect([0, 1, 2].allSatisfy { script.member($0).info.historyLastEpochStarted == interval })
    }

    @Test func omission03TheLesOfAnIncompleteCopyDoesNotCount() {
        let object = ObjectID(pool: PoolID(1), hash: 1, name: ObjectName("o"))
        for position in [BackfillPosition.nothing, .upTo(object)] {
            let infos = [OSDID(0): info(5, les: 4), OSDID(1): info(9, les: 7, position)]
            #expect(Authority.choose(infos, preferring: OSDID(1)) == OSDID(0))
        }
    }

    @Test func omission04AnOldIntervalIsJudgedByItsOwnMinSize() {
        var pool = Pool(id: PoolID(1), name: "p", size: 2, minSize: 1, groupCount: 1, rule: 0, created: Epoch(1))
        let alone = OSDMap.Placement(up: [OSDID(1)], acting: [OSDID(1)])
        let both = OSDMap.Placement(up: [OSDID(0), OSDID(1)], acting: [OSDID(0), OSDID(1)])
        var history = IntervalHistory(group: group, pool: pool, placement: alone, upThru: Epoch(1))
        // Today two are needed; then one was enough, and it may have taken writes.
        pool.minSize = 2
        _ = history.advance(to: Epoch(2), of: group, pool: pool, placement: both, upThru: Epoch(1))
        #expect(history.past.map(\.acting) == [[OSDID(1)]])
        // And the other way round: what had too few then took none, whatever is enough today.
        _ = history.advance(to: Epoch(3), of: group, pool: pool, placement: alone, upThru: Epoch(3))
        pool.minSize = 1
        _ = history.advance(to: Epoch(4), of: group, pool: pool, placement: both, upThru: Epoch(3))
        #expect(!history.past.contains { $0.first == Epoch(3) })
    }

    @Test func omission08ACopyThatIsBeingFilledIsNoAuthority() {
        let object = ObjectID(pool: PoolID(1), hash: 1, name: ObjectName("o"))
        let infos = [OSDID(0): info(5, les: 6), OSDID(1): info(9, les: 6, .upTo(object))]
        #expect(Authority.choose(infos, preferring: OSDID(1)) == OSDID(0))
        #expect(Authority.choose([OSDID(1): info(9, les: 6, .upTo(object))], preferring: OSDID(1)) == nil)
        // Nor does it serve.
        let interval = Script(osds: 3).member(0).intervals.current
        #expect(Authority.servants(infos, authority: OSDID(0), interval: interval) == [OSDID(0)])
    }

    @Test func omission10IntervalsAreKeptUntilTheGroupIsClean() {
        let script = Script.withSuccessorThatLacksObjects()
        // It serves, and has not brought the new member what it lacks.
        #expect(script.primary.phase == .active && !script.isClean, script.summary)
        #expect(script.member(0).intervals.past.contains { $0.acting.contains(OSDID(2)) })
        script.held = []
        script.drain()
        #expect(script.isClean)
        #expect(script.member(0).intervals.past.allSatisfy { $0.last >= script.member(0).info.historyLastEpochClean })
    }

    /// A disk that came under the number of one that is gone is no witness of what that one took.
    @Test func aNewDiskUnderAnOldNumberIsNoWitness() {
        let script = Script(osds: 4)
        script.write("x")
        script.drain()
        for osd in [Int32(0), 1, 2] { script.kill(osd) }
        script.place([0, 3, 1])
        for host in script.cluster.hosts where host.isRunning { host.groups[0].strike(OSDID(0)) }
        script.host(0).store = MemoryStore()
        script.start(0)
        script.member(0).strike(OSDID(0))
        script.drain()
        #expect(script.primary.phase == .blocked([OSDID(1), OSDID(2)]))
    }

    /// A primary waits until one before it, which may not know yet that it was deposed, can serve no more reads.
    @Test func aNewPrimaryWaitsForTheLeaseOfTheOldOne() {
        let script = Script(osds: 3)
        script.write("x")
        script.drain()
        script.cluster.undead = [OSDID(0)]
        for osd in [Int32(1), 2] { script.host(osd).promises[OSDID(0)] = 3000 }
        script.held = [[0, 1], [0, 2], [1, 0], [2, 0]]
        // It is marked down and goes on.
        script.cluster.newEpoch { $0.up.remove(OSDID(0)) }
        script.host(0).isRunning = false
        let write = script.write("y")
        script.drain()
        #expect(script.member(1).phase == .leasing && script.answers[write] == nil)
        script.cluster.now = 2999
        script.drain()
        #expect(script.member(1).phase == .leasing)
        script.cluster.now = 3000
        script.drain()
        #expect(script.member(1).phase == .active && script.answers[write]?.outcome == .done(errno: 0))
    }

    @Test func aDeadPrimaryIsNotWaitedFor() {
        let script = Script(osds: 3)
        script.write("x")
        script.drain()
        for osd in [Int32(1), 2] { script.host(osd).promises[OSDID(0)] = 3000 }
        script.kill(0)
        script.drain()
        #expect(script.member(1).phase == .active)
    }

    @Test func readsWaitForTheLeaseOfTheMembers() {
        let script = Script(osds: 3)
        script.write("x")
        script.drain()
        script.host(0).leaseEnd = 100
        script.cluster.now = 100
        script.place([0, 2, 1])
        script.drain()
        let read = script.send(script.request([.read(offset: 0, length: 1)]))
        script.drain()
        #expect(script.answers[read] == nil)
        script.host(0).leaseEnd = 200
        script.member(0).leasesRenewed()
        script.drain()
        #expect(script.answers[read]?.outputs.first == Bytes("x"))
    }
}
