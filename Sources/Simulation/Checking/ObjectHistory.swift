/// What clients asked of one object and what they were told, in the order in which it happened.
public struct ObjectHistory: Sendable {
    /// A request.
    public struct Operation: Sendable {
        /// Who asked. The changes of one client to one object take effect in the order in which they were begun, and its
        /// reads after the changes before them.
        public var client: Int
        /// What was asked.
        public var steps: [ObjectModel.Step]
        /// What it said of snapshots.
        public var scope: VersionedObject.Scope
        /// What was answered; nil when nothing ever was, so that it took effect at any time from its beginning on, or never.
        public var outcome: ObjectModel.Outcome?
    }

    enum Event {
        case begun(Int)
        case ended(Int)
        case removed(UInt64)
    }

    /// The requests in the order of their beginning.
    public private(set) var operations: [Operation] = []
    private(set) var events: [Event] = []

    /// An object nobody has asked anything of; it does not exist.
    public init() {}

    /// A request begins; its number is for `end`.
    public mutating func begin(
        client: Int, _ steps: [ObjectModel.Step], _ scope: VersionedObject.Scope = VersionedObject.Scope()
    ) -> Int {
        operations.append(Operation(client: client, steps: steps, scope: scope))
        events.append(.begun(operations.count - 1))
        return operations.count - 1
    }

    /// A request is answered.
    public mutating func end(_ number: Int, _ outcome: ObjectModel.Outcome) {
        precondition(operations[number].outcome == nil, "operation \(number) ends twice")
        operations[number].outcome = outcome
        events.append(.ended(number))
    }

    /// The removal of a snapshot begins: requests about it may be refused from now on.
    public mutating func remove(snap: UInt64) { events.append(.removed(snap)) }

    /// Nil when some order of the requests explains every answer: one in which a request that was answered before another
    /// began comes before it, in which each client's come in their order, and in which each answer is what the requests before
    /// leave. Otherwise what was found at the first answer that nothing explains.
    ///
    /// The search goes through the history once. What it carries on are all pairs of a state and the set of requests under way
    /// that are part of it; at an answer only those go on that have its request in them (Wing and Gong's search, with the
    /// states held together as Lowe does it). It is exponential in what is under way at once, and linear in time.
    public func violation() -> String? {
        var search = Search(operations)
        for event in events {
            switch event {
            case .begun(let number): search.begin(number)
            case .removed(let snap): search.removed.insert(snap)
            case .ended(let number):
                let before = search.possible
                guard search.end(number) else {
                    return describe(number, pending: search.pendingNumbers, before)
                }
            }
        }
        return nil
    }

    private func describe(_ number: Int, pending: [Int], _ before: Set<Search.Possibility>) -> String {
        func text(_ number: Int) -> String {
            let operation = operations[number]
            let outcome = operation.outcome.map { "\($0)" } ?? "nothing"
            let scope = operation.scope
            let at = scope.snap.map { " at \($0)" } ?? ""
            let under = scope.sequence > 0 ? " under \(scope.sequence) of \(scope.snaps)" : ""
            return "#\(number) of client \(operation.client): \(operation.steps)\(at)\(under) was told \(outcome)"
        }
        let states = Set(before.map { $0.state.description })
        let recent = operations.indices.prefix(number).suffix(6).map(text)
        return
            (["nothing explains \(text(number))", "the state may have been \(states.sorted().prefix(8))", "under way:"]
            + pending.filter { $0 != number }.map(text) + ["before:"] + recent).joined(separator: "\n      ")
    }
}

/// The search of a history: which states are possible, and what of that which is under way is part of them.
private struct Search {
    struct Possibility: Hashable {
        var state: VersionedObject
        /// By place: what is under way and has taken effect, or never will.
        var settled: UInt64
    }

    private let operations: [ObjectHistory.Operation]
    private(set) var possible: Set<Possibility> = [Possibility(state: VersionedObject(), settled: 0)]
    /// Snapshots whose removal has begun.
    var removed: Set<UInt64> = []
    /// What is under way, by place.
    private var places: [Int?] = []
    private var place: [Int: Int] = [:]

    init(_ operations: [ObjectHistory.Operation]) { self.operations = operations }

    var pendingNumbers: [Int] { place.keys.sorted() }

    mutating func begin(_ number: Int) {
        let operation = operations[number]
        // What reads and was not answered says nothing.
        if operation.outcome == nil, !operation.steps.contains(where: \.isWrite) { return }
        let free = places.firstIndex(of: nil) ?? places.count
        precondition(free < 64, "more than 64 requests under way on an object")
        if free == places.count { places.append(number) } else { places[free] = number }
        place[number] = free
    }

    /// Goes on with what has the request in it. False when nothing has.
    mutating func end(_ number: Int) -> Bool {
        guard let target = place[number] else { preconditionFailure("\(number) was not begun") }
        let bit: UInt64 = 1 << UInt64(target)
        var found: Set<Possibility> = []
        var seen = possible
        var open = Array(possible)
        while var next = open.popLast() {
            if next.settled & bit != 0 {
                next.settled &= ~bit
                found.insert(next)
                continue
            }
            for index in places.indices where next.settled & (1 << UInt64(index)) == 0 {
                guard let other = places[index] else { continue }
                if let after = step(next, other, at: index), seen.insert(after).inserted { open.append(after) }
                guard next.state.isForgettable(removed) else { continue }
                let bare = Possibility(state: VersionedObject(), settled: next.settled)
                if let after = step(bare, other, at: index), seen.insert(after).inserted { open.append(after) }
            }
        }
        place[number] = nil
        places[target] = nil
        possible = found
        return !found.isEmpty
    }

    private func isAboutRemoved(_ operation: ObjectHistory.Operation) -> Bool {
        if case .rollback(let snap)? = operation.steps.first { return removed.contains(snap) }
        return operation.scope.snap.map { removed.contains($0) } ?? false
    }

    /// What `number`, at its place, makes of a possibility; nil when it cannot come next.
    private func step(_ from: Possibility, _ number: Int, at index: Int) -> Possibility? {
        var next = from
        next.settled |= 1 << UInt64(index)
        let operation = operations[number]
        // Refused at the door, whatever its client asked for before: that may still be under way.
        if operation.outcome?.errno == VersionedObject.stale { return isAboutRemoved(operation) ? next : nil }
        for (other, at) in place where other < number && operations[other].client == operation.client {
            // A read whose answer was lost is done again after a change that came behind it and was kept.
            guard operations[other].steps.contains(where: \.isWrite) else { continue }
            guard next.settled & (1 << UInt64(at)) == 0 else { continue }
            // One that was never answered may never have been done, but not after its successor.
            guard operations[other].outcome == nil else { return nil }
            next.settled |= 1 << UInt64(at)
        }
        if operation.outcome?.errno == ObjectModel.noSpace { return next }
        let outcome = next.state.apply(operation.steps, operation.scope)
        if let told = operation.outcome, told != outcome { return nil }
        return next
    }
}
