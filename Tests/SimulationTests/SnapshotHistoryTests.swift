import Simulation
import Testing

/// Histories with snapshots whose verdicts are known: what must be accepted, and every way in which snapshots go wrong.
@Suite struct SnapshotHistoryTests {
    typealias Step = ObjectModel.Step
    typealias Outcome = ObjectModel.Outcome
    typealias Scope = VersionedObject.Scope

    /// One request after the other.
    private struct Course {
        var history = ObjectHistory()

        mutating func write(_ value: UInt64, _ snaps: [UInt64] = [], sequence: UInt64? = nil) {
            run([.write(0..<1, value)], under(snaps, sequence))
        }
        mutating func remove(_ snaps: [UInt64] = [], sequence: UInt64? = nil) { run([.remove], under(snaps, sequence)) }
        mutating func rollBack(to snap: UInt64, _ snaps: [UInt64], errno: Int32 = 0) {
            run([.rollback(snap)], under(snaps, nil), errno: errno)
        }
        mutating func read(_ value: UInt64?, at snap: UInt64? = nil) {
            run([.read(0..<1)], Scope(snap: snap), value.map { [$0] } ?? [], errno: value == nil ? 2 : 0)
        }
        mutating func readIsStale(at snap: UInt64) {
            run([.read(0..<1)], Scope(snap: snap), errno: VersionedObject.stale)
        }
        private func under(_ snaps: [UInt64], _ sequence: UInt64?) -> Scope {
            Scope(sequence: sequence ?? snaps.first ?? 0, snaps: snaps)
        }
        private mutating func run(_ steps: [Step], _ scope: Scope, _ values: [UInt64] = [], errno: Int32 = 0) {
            let number = history.begin(client: 0, steps, scope)
            history.end(number, Outcome(errno: errno, values: values))
        }
        var isRight: Bool { history.violation() == nil }
    }

    private func isRight(_ body: (inout Course) -> Void) -> Bool {
        var course = Course()
        body(&course)
        return course.isRight
    }

    /// After a first write, a snapshot, and a second write that knows of it.
    private func afterSnapshot(_ body: (inout Course) -> Void) -> Bool {
        isRight { course in
            course.write(1)
            course.read(1, at: 1)
            course.write(2, [1])
            body(&course)
        }
    }

    @Test func aSnapshotIsWhatWasBeforeTheFirstWriteThatKnowsOfIt() {
        #expect(afterSnapshot { $0.read(1, at: 1) })
        #expect(!afterSnapshot { $0.read(2, at: 1) }, "nothing was kept")
        #expect(!afterSnapshot { $0.read(nil, at: 1) }, "what was kept is lost")
        #expect(!afterSnapshot { $0.read(1) }, "the write went to what was kept")
        for (value, expected): (UInt64, Bool) in [(1, true), (2, false), (3, false)] {
            let verdict = afterSnapshot { course in
                course.write(3, [1])
                course.read(value, at: 1)
            }
            #expect(verdict == expected, "kept \(value)")
        }
    }

    @Test func aWriterThatKnowsOfNoSnapshotKeepsNothing() {
        for value: UInt64 in [1, 2] {
            let verdict = isRight { course in
                course.write(1)
                course.write(2)
                course.write(3, [1])
                course.read(value, at: 1)
            }
            #expect(verdict == (value == 2))
        }
    }

    @Test func aRemovedObjectStaysAtItsSnapshots() {
        for (old, now): (UInt64?, UInt64?) in [(2, nil), (nil, nil), (2, 2)] {
            let verdict = afterSnapshot { course in
                course.remove([2, 1])
                course.read(old, at: 2)
                course.read(now)
                course.read(1, at: 1)
            }
            #expect(verdict == (old == 2 && now == nil))
        }
        // Made again, it did not exist in between.
        for value: UInt64? in [nil, 4] {
            let verdict = afterSnapshot { course in
                course.remove([1])
                course.write(4, [2, 1])
                course.read(value, at: 2)
            }
            #expect(verdict == (value == nil))
        }
    }

    @Test func aRollbackBringsBackWhatWasAndKeepsWhatIs() {
        for (now, kept): (UInt64, UInt64) in [(1, 2), (2, 2), (1, 1)] {
            let verdict = afterSnapshot { course in
                course.rollBack(to: 1, [2, 1])
                course.read(now)
                course.read(kept, at: 2)
            }
            #expect(verdict == (now == 1 && kept == 2))
        }
    }

    @Test func onlyARemovedSnapshotIsStale() {
        #expect(!afterSnapshot { $0.readIsStale(at: 1) })
        #expect(!afterSnapshot { $0.rollBack(to: 1, [1], errno: VersionedObject.stale) })
        let verdict = afterSnapshot { course in
            course.history.remove(snap: 1)
            // Whoever has not heard of it yet still has it.
            course.read(1, at: 1)
            course.readIsStale(at: 1)
            course.rollBack(to: 1, [], errno: VersionedObject.stale)
            course.read(2)
        }
        #expect(verdict)
    }

    /// Such a refusal does not wait for what its client asked for before.
    @Test func aRefusalOvertakes() {
        var course = Course()
        course.write(1)
        course.history.remove(snap: 1)
        let second = course.history.begin(client: 0, [.write(0..<1, 2)])
        course.readIsStale(at: 1)
        let other = course.history.begin(client: 1, [.read(0..<1)])
        course.history.end(other, Outcome(values: [1]))
        course.history.end(second, Outcome())
        course.read(2)
        #expect(course.isRight)
    }

    /// When the last version goes with its snapshot, what the removed object knew of snapshots goes too, at some time.
    @Test func onlyWhatNoSnapshotNeedsIsForgotten() {
        for (isRemoved, value): (Bool, UInt64?) in [(true, 5), (true, nil), (false, 5), (false, nil)] {
            let verdict = afterSnapshot { course in
                course.remove([1])
                course.write(3, [2, 1])
                course.remove([2, 1])
                if isRemoved { course.history.remove(snap: 1) }
                // A writer that has not heard of 2, at which there was no object.
                course.write(5)
                course.read(value, at: 2)
            }
            #expect(verdict == (isRemoved || value == nil), "removed \(isRemoved), read \(value ?? 0)")
        }
    }
}
