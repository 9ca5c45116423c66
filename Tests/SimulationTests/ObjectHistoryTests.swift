import Simulation
import Testing

/// Histories with known verdicts: what must be accepted, and every way in which a store of objects goes wrong.
@Suite struct ObjectHistoryTests {
    typealias Step = ObjectModel.Step
    typealias Outcome = ObjectModel.Outcome

    private func write(_ value: UInt64) -> [Step] { [.write(0..<1, value)] }
    private let read: [Step] = [.read(0..<1)]

    /// A request that is answered before anything else happens.
    private func run(
        _ history: inout ObjectHistory, _ client: Int, _ steps: [Step], _ values: [UInt64], errno: Int32 = 0
    ) {
        let number = history.begin(client: client, steps)
        history.end(number, Outcome(errno: errno, values: values))
    }

    @Test func oneAfterTheOtherIsAccepted() {
        var history = ObjectHistory()
        run(&history, 0, read, [], errno: 2)
        run(&history, 0, write(1), [])
        run(&history, 1, read, [1])
        run(&history, 1, write(2), [])
        run(&history, 0, read, [2])
        run(&history, 0, [.compareEntry(0), .setEntry(7)], [])
        run(&history, 1, [.compareEntry(0), .setEntry(8)], [], errno: 125)
        run(&history, 0, [.remove], [])
        run(&history, 1, [.create, .write(1..<3, 3)], [])
        run(&history, 1, [.create], [], errno: 17)
        run(&history, 0, [.stat], [3])
        run(&history, 0, [.read(0..<4)], [0, 3, 3])
        #expect(history.violation() == nil)
    }

    @Test func aStaleReadAfterAnAcknowledgedWriteIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        run(&history, 0, write(2), [])
        run(&history, 1, read, [1])
        #expect(history.violation() != nil)
    }

    @Test func aLostWriteIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        run(&history, 1, read, [], errno: 2)
        #expect(history.violation() != nil)
    }

    @Test func aValueThatWasNeverWrittenIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        run(&history, 1, read, [9])
        #expect(history.violation() != nil)
    }

    /// Two reads beside one write may give new and old in one order only.
    @Test(arguments: [true, false]) func anOldValueDoesNotComeBack(isResurrected: Bool) {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        let second = history.begin(client: 0, write(2))
        run(&history, 1, read, [isResurrected ? 2 : 1])
        run(&history, 2, read, [isResurrected ? 1 : 2])
        history.end(second, Outcome())
        #expect((history.violation() != nil) == isResurrected)
    }

    @Test func aRequestThatWasHalfDoneIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, [.write(0..<2, 1), .setEntry(1)], [])
        let second = history.begin(client: 0, [.write(0..<2, 2), .setEntry(2)])
        run(&history, 1, [.read(0..<2), .getEntry], [2, 2, 1])
        history.end(second, Outcome())
        #expect(history.violation() != nil)
        var torn = ObjectHistory()
        run(&torn, 0, [.write(0..<2, 1)], [])
        let other = torn.begin(client: 0, [.write(0..<2, 2)])
        run(&torn, 1, [.read(0..<2)], [1, 2])
        torn.end(other, Outcome())
        #expect(torn.violation() != nil)
    }

    @Test func aGuardThatHeldForTwoIsRejected() {
        for isLate in [false, true] {
            var history = ObjectHistory()
            let first = history.begin(client: 0, [.compareEntry(0), .setEntry(1)])
            let second = history.begin(client: 1, [.compareEntry(0), .setEntry(2)])
            history.end(first, Outcome())
            history.end(second, Outcome(errno: isLate ? 125 : 0))
            #expect((history.violation() == nil) == isLate)
        }
    }

    @Test func aRequestThatFailedAndWasDoneAllTheSameIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        run(&history, 0, [.create, .write(0..<1, 2)], [], errno: 17)
        run(&history, 1, read, [2])
        #expect(history.violation() != nil)
        var refused = ObjectHistory()
        run(&refused, 0, write(1), [], errno: ObjectModel.noSpace)
        run(&refused, 1, read, [1])
        #expect(refused.violation() != nil)
    }

    /// Done twice: the copy lands after what was written in between.
    @Test func aRepeatedWriteIsRejected() {
        var history = ObjectHistory()
        run(&history, 0, write(1), [])
        run(&history, 1, write(2), [])
        run(&history, 1, read, [2])
        run(&history, 1, read, [1])
        #expect(history.violation() != nil)
    }

    /// What was never answered may have been done, late or not at all; but not undone.
    @Test func whatWasNeverAnsweredMayHaveBeenDone() {
        for values: [UInt64] in [[1, 1], [1, 2], [2, 2], [2, 1]] {
            var history = ObjectHistory()
            run(&history, 0, write(1), [])
            _ = history.begin(client: 0, write(2))
            run(&history, 1, read, [values[0]])
            run(&history, 1, read, [values[1]])
            #expect((history.violation() == nil) == (values != [2, 1]), "\(values)")
        }
    }

    /// The requests of one client on one object take effect in their order, also those under way together.
    @Test func theOrderOfAClientIsKept() {
        for (values, isRight): ([UInt64], Bool) in [([2], true), ([1], false)] {
            var history = ObjectHistory()
            let first = history.begin(client: 0, write(1))
            let second = history.begin(client: 0, write(2))
            history.end(second, Outcome())
            history.end(first, Outcome())
            run(&history, 1, read, values)
            #expect((history.violation() == nil) == isRight)
        }
        // Of two that were never answered the second may have been done without the first, and not before it.
        var history = ObjectHistory()
        _ = history.begin(client: 0, write(1))
        _ = history.begin(client: 0, write(2))
        run(&history, 1, read, [2])
        #expect(history.violation() == nil)
        run(&history, 1, read, [1])
        #expect(history.violation() != nil)
    }

    /// Many at once on one object, in an order that only the answers tell.
    @Test func theSearchFindsTheOrderOfManyAtOnce() {
        var history = ObjectHistory()
        let numbers = (1...8).map { history.begin(client: $0, write(UInt64($0))) }
        for value: UInt64 in [5, 3, 8, 1] { run(&history, 20, read, [value]) }
        for number in numbers { history.end(number, Outcome()) }
        run(&history, 20, read, [1])
        #expect(history.violation() == nil)
        run(&history, 20, read, [5])
        #expect(history.violation() != nil)
    }
}
