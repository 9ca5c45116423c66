import ClusterMap
import Messenger
import Protocol
import Wire

/// Finds a monitor, follows the OSD map, and asks commands: one for daemons and clients alike. A core: its owner passes on
/// the messenger's events of the monitor's session (see `owns`).
///
/// Commands are sent again after a session was lost, with the same number: a monitor remembers the replies it gave to an
/// entity and incarnation by number, and answers a number it knows from memory instead of doing it twice.
public final class MonitorClient<Environment: MonitorClientEnvironment> {
    /// The newest map; nil before the first.
    public private(set) var map: OSDMap?
    /// The session with the monitor that is used now, connected or not; nil before `start` and after `stop`.
    public private(set) var session: SessionID?
    /// True while a monitor is connected.
    public private(set) var isReachable = false
    /// The cluster it belongs to; learned from the first map when it was not given.
    public private(set) var cluster: UniqueID?

    private unowned let environment: Environment
    private let monitors: [Endpoint]
    private var current = 0
    /// Attempts to reach a monitor so far, by which their timers are known.
    private var attempt: UInt64 = 0
    /// Monitors in a row that failed.
    private var failures = 0
    /// The last complaint, so that the log does not repeat it.
    private var lastReport = ""
    /// A whole map was asked for; increments do not help until it comes.
    private var isAwaitingFullMap = false
    private var commands: [UInt64: CommandRequest] = [:]
    private var lastCommand: UInt64 = 0

    /// A client that knows monitors at these addresses (at least one), and perhaps a cluster, and a map from an earlier
    /// run. It does not keep `environment` alive.
    public init(monitors: [Endpoint], cluster: UniqueID?, map: OSDMap? = nil, environment: Environment) {
        MonitorClientLimits.check()
        precondition(!monitors.isEmpty, "a monitor client without a monitor's address")
        self.monitors = monitors
        self.cluster = cluster ?? map?.cluster
        self.map = map
        self.environment = environment
    }

    /// Begins to look for a monitor and to follow the map.
    public func start() {
        precondition(session == nil, "the monitor client is started twice")
        attemptCurrent()
    }

    /// Ends the session; open commands fail.
    public func stop() {
        if let session { environment.close(session) }
        session = nil
        isReachable = false
        attempt += 1
        for number in commands.keys.sorted() { end(number, .failure(MonitorClientError("stopped"))) }
    }

    /// True when the session is this client's, so that its events belong here.
    public func owns(_ session: SessionID) -> Bool { self.session == session }

    /// Sends a message to the monitor; dropped when none is connected (see `monitorReachable`).
    public func send(_ message: MonitorMessage) {
        guard let session, isReachable else { return }
        environment.send(message, to: session)
    }

    // MARK: Commands

    /// Asks a command; ends in `commandEnded` with the number returned, later and not in the middle of this call. Nil for
    /// no time limit.
    public func command(
        words: [String], arguments: [String: String] = [:], input: Bytes = .empty, timeoutMilliseconds: Int? = nil
    ) -> UInt64 {
        lastCommand += 1
        let request = CommandRequest(number: lastCommand, words: words, arguments: arguments, input: input)
        commands[lastCommand] = request
        if objection(to: request) != nil || commands.count > MonitorClientLimits.commands {
            environment.setTimer(.command(lastCommand), milliseconds: 0)
        } else {
            if let timeoutMilliseconds {
                environment.setTimer(.command(lastCommand), milliseconds: timeoutMilliseconds)
            }
            send(.command(request))
        }
        return lastCommand
    }

    /// Why a monitor would not even read the command; nil when it would.
    private func objection(to request: CommandRequest) -> String? {
        guard request.words.count <= MonitorLimits.words, request.arguments.count <= MonitorLimits.words else {
            return "a command has at most \(MonitorLimits.words) words and as many options"
        }
        let texts = request.words + request.arguments.keys + request.arguments.values
        guard texts.allSatisfy({ $0.utf8.count <= MonitorLimits.word }) else {
            return "a word of a command has at most \(MonitorLimits.word) bytes"
        }
        guard request.input.count <= MonitorLimits.input else {
            return "the file of a command has at most \(MonitorLimits.input) bytes, this one \(request.input.count)"
        }
        return nil
    }

    private func end(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) {
        guard commands.removeValue(forKey: number) != nil else { return }
        environment.commandEnded(number, result)
    }

    // MARK: Events

    public func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) {
        guard owns(session) else { return }
        guard case .monitor = peer.entity else {
            return failed("\(monitors[current]) is \(peer.entity), not a monitor: check the list of monitors")
        }
        failures = 0
        lastReport = ""
        isReachable = true
        isAwaitingFullMap = map == nil
        environment.send(.subscribe(have: map?.epoch ?? .none), to: session)
        if !resumed {
            for number in commands.keys.sorted() {
                guard let request = commands[number], objection(to: request) == nil else { continue }
                environment.send(.command(request), to: session)
            }
        }
        environment.monitorReachable(true)
    }

    public func interrupted(_ session: SessionID, why: Interruption) {
        guard owns(session) else { return }
        failed("monitor at \(monitors[current]): \(why)")
    }

    /// The session was begun anew, or given up without having been interrupted: nobody is there until `opened` follows,
    /// which says everything again.
    public func reset(_ session: SessionID) {
        guard owns(session), isReachable else { return }
        isReachable = false
        environment.monitorReachable(false)
        attempt += 1
        environment.setTimer(.attempt(attempt), milliseconds: MonitorClientLimits.attemptMilliseconds)
    }

    public func received(_ message: MonitorMessage, from session: SessionID) {
        guard owns(session) else { return }
        switch message {
        case .maps(let update): follow(update)
        case .commandReply(let reply): end(reply.number, .success(reply))
        case .bootRefused(let reason): environment.bootRefused(reason)
        case .subscribe, .boot, .failure, .failureWithdrawn, .alive, .acting, .statistics, .leaving, .command:
            failed("monitor at \(monitors[current]) sent what only monitors receive")
        }
    }

    public func timerFired(_ timer: MonitorClientTimer) {
        switch timer {
        case .attempt(let attempt):
            guard attempt == self.attempt, !isReachable, session != nil else { return }
            next()
        case .command(let number):
            guard let request = commands[number] else { return }
            let words = request.words.prefix(4).map { $0.prefix(64) }.joined(separator: " ")
            let why = objection(to: request).map { "the command is refused: \($0)" }
            end(
                number,
                .failure(
                    MonitorClientError(
                        why ?? "no answer to '\(words)' from the monitors at "
                            + "\(monitors.map(\.description).joined(separator: ", ")): check that they run")))
        }
    }

    // MARK: Monitors

    private func attemptCurrent() {
        attempt += 1
        session = environment.connect(toMonitor: monitors[current])
        environment.setTimer(.attempt(attempt), milliseconds: MonitorClientLimits.attemptMilliseconds)
    }

    /// The current monitor is of no use now. The next one is tried at once, after a round of all of them with a pause; a
    /// single one is left to the messenger, which connects again by itself.
    private func failed(_ reason: String) {
        if reason != lastReport {
            lastReport = reason
            environment.report(reason)
        }
        let wasReachable = isReachable
        isReachable = false
        failures += 1
        if wasReachable { environment.monitorReachable(false) }
        guard session != nil else { return }
        if failures % monitors.count == 0 {
            attempt += 1
            environment.setTimer(.attempt(attempt), milliseconds: MonitorClientLimits.pauseMilliseconds)
        } else {
            next()
        }
    }

    private func next() {
        if let session { environment.close(session) }
        current = (current + 1) % monitors.count
        attemptCurrent()
    }

    // MARK: Maps

    private func follow(_ update: MapUpdate) {
        if let cluster, update.cluster != cluster {
            return leave("is of cluster \(update.cluster), not of \(cluster): check the list of monitors")
        }
        do throws(WireError) {
            if let bytes = update.full {
                try take(OSDMap(decoding: bytes), update.cluster)
            } else if isAwaitingFullMap {
                return
            }
            for bytes in update.increments {
                try take(OSDMap.Increment(decoding: bytes))
                // Its owner may have stopped it at a map.
                guard session != nil, !isAwaitingFullMap else { return }
            }
        } catch {
            // Asking the same monitor again for bytes that cannot be read would not end.
            leave("sent a map that cannot be read: \(error)")
        }
    }

    private func take(_ full: OSDMap, _ updateCluster: UniqueID) throws(WireError) {
        guard full.cluster == updateCluster else {
            throw WireError("a map of cluster \(full.cluster) in an update for \(updateCluster)")
        }
        let isWanted = isAwaitingFullMap
        isAwaitingFullMap = false
        // A monitor that lags behind does not take a map back; the same epoch is taken where the own map was wrong.
        if let map, full.epoch < map.epoch || (full.epoch == map.epoch && !isWanted) { return }
        cluster = full.cluster
        map = full
        environment.newMap(full, increments: [])
    }

    private func take(_ increment: OSDMap.Increment) throws(WireError) {
        guard let map else { return fetchWhole("an increment came before a map") }
        // Told again after a reconnect.
        guard increment.epoch > map.epoch else { return }
        let next: OSDMap
        do throws(OSDMap.IncrementError) { next = try map.applying(increment) } catch {
            switch error {
            case .wrongEpoch(let have, let increment):
                return fetchWhole("increment \(increment) does not follow map \(have)")
            case .wrongResult(let epoch):
                let reason = "increment \(epoch) makes another map here than at the monitor"
                // One who has gone through every epoch cannot take back what followed from a wrong one.
                guard !environment.mapHasParted(reason) else { return }
                return fetchWhole(reason)
            }
        }
        self.map = next
        environment.newMap(next, increments: [increment])
    }

    private func fetchWhole(_ reason: String) {
        guard !isAwaitingFullMap, let session else { return }
        isAwaitingFullMap = true
        environment.report("monitor at \(monitors[current]): \(reason); fetching the whole map")
        environment.send(.subscribe(have: .none), to: session)
    }

    /// The current monitor is connected but not one to listen to.
    private func leave(_ reason: String) {
        let line = "monitor at \(monitors[current]) \(reason)"
        if let session { environment.close(session) }
        // Another session takes its place after the pause, with the next monitor.
        failures = monitors.count - 1
        failed(line)
    }
}
