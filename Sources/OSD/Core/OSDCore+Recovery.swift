import PlacementGroup
import Protocol
import Wire

/// The OSD's bounds on what its groups bring back at a time, so that clients keep their share.
struct RecoveryTurns {
    private struct Side {
        var waiting: [GroupSlot] = []
        var granted: Set<GroupSlot> = []
    }

    /// By the kind's number.
    private var sides = [Side](repeating: Side(), count: TurnKind.allCases.count)
    /// True when no group has or wants a turn.
    private var isIdle = true
    private var underway = 0
    private var starved: [GroupSlot] = []
    /// Client operations since the last tick.
    var clientOperations = 0
    private(set) var isBusy = false

    /// A second has passed.
    mutating func tick() {
        isBusy = clientOperations >= OSDLimits.busyOperations
        clientOperations = 0
    }

    private subscript(kind: TurnKind) -> Side {
        get { sides[Int(kind.rawValue)] }
        set { sides[Int(kind.rawValue)] = newValue }
    }

    /// A group that has its turn already is told so again.
    mutating func request(_ kind: TurnKind, _ slot: GroupSlot) {
        isIdle = false
        self[kind].granted.remove(slot)
        if !self[kind].waiting.contains(slot) { self[kind].waiting.append(slot) }
    }

    mutating func release(_ kind: TurnKind, _ slot: GroupSlot) {
        guard !isIdle else { return }
        self[kind].granted.remove(slot)
        self[kind].waiting.removeAll { $0 == slot }
        isIdle = sides.allSatisfy { $0.granted.isEmpty && $0.waiting.isEmpty }
    }

    /// Those whose turn has come.
    mutating func grant(_ kind: TurnKind) -> [GroupSlot] {
        var result: [GroupSlot] = []
        let limit = kind == .filling || kind == .beingFilled ? OSDLimits.fills : OSDLimits.scrubs
        while self[kind].granted.count < limit, let slot = self[kind].waiting.first {
            self[kind].waiting.removeFirst()
            self[kind].granted.insert(slot)
            result.append(slot)
        }
        return result
    }

    mutating func begin(_ slot: GroupSlot) -> Bool {
        guard underway < (isBusy ? OSDLimits.recoveries.busy : OSDLimits.recoveries.idle) else {
            if !starved.contains(slot) { starved.append(slot) }
            return false
        }
        underway += 1
        return true
    }

    mutating func end() {
        underway -= 1
        precondition(underway >= 0, "more recoveries ended than begun")
    }

    /// Groups that found no room and may try again.
    mutating func takeStarved() -> [GroupSlot] {
        guard !starved.isEmpty, underway < (isBusy ? OSDLimits.recoveries.busy : OSDLimits.recoveries.idle) else {
            return []
        }
        let result = starved
        starved.removeAll()
        return result
    }
}

/// Acting sets that this OSD's groups want, until an interval brings them.
struct ActingWishes {
    var wanted: [PGID: [OSDID]] = [:]
    /// False when the monitor has to be told.
    var isTold = true
}

extension OSDCore {
    public var tuning: GroupTuning { environment.tuning }

    public func requestActing(_ osds: [OSDID]?, for group: PGID) {
        if let osds {
            guard acting.wanted[group] != osds else { return }
            acting.wanted[group] = osds
            acting.isTold = false
        } else if !acting.wanted.isEmpty {
            acting.wanted[group] = nil
        }
    }

    /// Tells the monitor what acting sets the groups want, all in one message.
    func tellActing() {
        guard !acting.isTold, !acting.wanted.isEmpty, isUpInMap else { return }
        acting.isTold = true
        let requests = acting.wanted.sorted { $0.key < $1.key }.map { ActingRequest(group: $0.key, osds: $0.value) }
        environment.tellMonitor(.acting(id, incarnation: incarnation, requests))
    }

    public func requestTurn(_ kind: TurnKind, for group: GroupSlot) { turns.request(kind, group) }
    public func releaseTurn(_ kind: TurnKind, for group: GroupSlot) { turns.release(kind, group) }
    public func beginRecovery(for group: GroupSlot) -> Bool { turns.begin(group) }
    public func endRecovery() { turns.end() }

    public var areClientsQuiet: Bool { !turns.isBusy }

    /// Under load recovery gets its share of the time, however long its parts take.
    public func pausePush(_ number: UInt32, for group: GroupSlot, took: UInt64) -> Bool {
        guard turns.isBusy else { return false }
        let pause = min(max(took, 1) * OSDLimits.pausePerPart, OSDLimits.longestPause)
        environment.resumePush(number, for: group, afterMilliseconds: pause)
        return true
    }

    /// The pause that the environment was asked for is over.
    public func pushMayGoOn(_ number: UInt32, for group: GroupSlot) {
        groups[Int(group.index)].pushMayGoOn(number)
    }

    public func occurred(_ branch: RareBranch) { environment.occurred(branch) }

    /// At the end of a turn of the loop, those whose turn has come go on.
    func grantTurns() {
        guard isServing else { return }
        for kind in TurnKind.allCases {
            for slot in turns.grant(kind) { groups[Int(slot.index)].turnGranted(kind) }
        }
        for slot in turns.takeStarved() { groups[Int(slot.index)].recoveryMayGoOn() }
        takeScrubSteps()
    }
}
