import HeapModule

/// Virtual time: events in order of their time, and of their making where times are equal.
public final class EventQueue {
    private struct Event: Comparable {
        var time: UInt64
        var number: UInt64
        var body: () -> Void

        static func == (left: Event, right: Event) -> Bool { left.number == right.number }
        static func < (left: Event, right: Event) -> Bool {
            left.time == right.time ? left.number < right.number : left.time < right.time
        }
    }

    private var events = Heap<Event>()
    private var number: UInt64 = 0
    /// Microseconds since the beginning.
    public private(set) var now: UInt64 = 0
    /// Changes with every event that has run: their number and times.
    public private(set) var digest: UInt64 = 0

    public init() {}

    public func after(_ microseconds: UInt64, _ body: @escaping () -> Void) {
        number += 1
        events.insert(Event(time: now + microseconds, number: number, body: body))
    }

    /// Runs the next event. False when there is none.
    @discardableResult
    public func step() -> Bool {
        guard let event = events.popMin() else { return false }
        now = event.time
        digest = (digest ^ event.time ^ event.number << 32) &* 0x0000_0100_0000_01b3
        event.body()
        return true
    }

    /// Lets go of all that was to happen, and of what that holds.
    public func clear() { events = Heap() }
}
