import CRUSH
import ClusterMap
import Messenger
import MonitorClient
import Protocol
import Testing
import Wire

/// An owner that writes down what the client asks of it.
private final class Recorder: MonitorClientEnvironment {
    var client: MonitorClient<Recorder>!
    var connected: [Endpoint] = []
    var closed: [SessionID] = []
    var sent: [MonitorMessage] = []
    var timers: [MonitorClientTimer] = []
    var epochs: [(UInt32, Int)] = []
    var reachable: [Bool] = []
    var ended: [UInt64: Result<CommandReply, MonitorClientError>] = [:]
    var lines: [String] = []

    init(monitors: Int = 1, cluster: UniqueID? = nil) {
        let endpoints = (1...monitors).map { Endpoint(host: "127.0.0.1", port: UInt16($0)) }
        client = MonitorClient(monitors: endpoints, cluster: cluster, environment: self)
        client.start()
    }

    func connect(toMonitor endpoint: Endpoint) -> SessionID {
        connected.append(endpoint)
        return SessionID(rawValue: UInt64(connected.count))
    }
    func close(_ session: SessionID) { closed.append(session) }
    func send(_ message: MonitorMessage, to session: SessionID) { sent.append(message) }
    func setTimer(_ timer: MonitorClientTimer, milliseconds: Int) { timers.append(timer) }
    func newMap(_ map: OSDMap, increments: [OSDMap.Increment]) { epochs.append((map.epoch.rawValue, increments.count)) }
    func monitorReachable(_ isReachable: Bool) { reachable.append(isReachable) }
    func commandEnded(_ number: UInt64, _ result: Result<CommandReply, MonitorClientError>) { ended[number] = result }
    func report(_ line: String) { lines.append(line) }

    var session: SessionID { client.session! }

    func open(resumed: Bool = false) {
        let identity = Identity(cluster: nil, entity: .monitor("a"), incarnation: 1)
        client.opened(session, peer: PeerIdentity(identity, address: "127.0.0.1:1"), resumed: resumed)
    }

    /// The epochs of the subscriptions sent, and forgets them.
    func subscriptions() -> [UInt32] {
        defer { sent = [] }
        return sent.compactMap { if case .subscribe(let have) = $0 { have.rawValue } else { nil } }
    }

    func commands() -> [UInt64] {
        defer { sent = [] }
        return sent.compactMap { if case .command(let request) = $0 { request.number } else { nil } }
    }
}

@Suite struct MapFollowingTests {
    private let cluster = UniqueID(high: 1, low: 2)

    /// Maps of epochs 1 … `count` and the increments between them.
    private func history(_ count: UInt32) -> (maps: [OSDMap], increments: [Bytes]) {
        var map = OSDMap(cluster: cluster, crush: .newCluster())
        map.epoch = Epoch(1)
        var maps = [map]
        var increments: [Bytes] = []
        for epoch in 2...count {
            var increment = OSDMap.Increment(epoch: Epoch(epoch))
            increment.osds[OSDID(Int32(epoch))] = OSDRecord(uuid: UniqueID(high: UInt64(epoch), low: 0))
            map = map.changed(by: increment)
            increment.resultChecksum = Checksum.crc32c(map.encoded)
            maps.append(map)
            increments.append(increment.encoded)
        }
        return (maps, increments)
    }

    private func maps(_ full: OSDMap?, _ increments: some Sequence<Bytes>) -> MonitorMessage {
        .maps(MapUpdate(cluster: cluster, full: full?.encoded, increments: Array(increments)))
    }

    @Test func everyEpochIsToldOnceAndInOrder() {
        let (all, increments) = history(6)
        let owner = Recorder()
        owner.open()
        #expect(owner.subscriptions() == [0])
        owner.client.received(maps(all[0], increments[0..<2]), from: owner.session)
        owner.client.received(maps(nil, increments[1..<5]), from: owner.session)
        #expect(owner.epochs.map(\.0) == [1, 2, 3, 4, 5, 6])
        #expect(owner.epochs.map(\.1) == [0, 1, 1, 1, 1, 1])
        owner.client.interrupted(owner.session, why: .closedByPeer)
        owner.client.reset(owner.session)
        owner.open()
        #expect(owner.subscriptions() == [6])
    }

    @Test func gapsAndWrongChecksumsFetchTheWholeMap() {
        let (all, increments) = history(6)
        for isGap in [true, false] {
            let owner = Recorder()
            owner.open()
            owner.client.received(maps(all[0], []), from: owner.session)
            _ = owner.subscriptions()
            if isGap {
                owner.client.received(maps(nil, increments[1..<2]), from: owner.session)
            } else {
                var wrong = OSDMap.Increment(epoch: Epoch(2))
                wrong.resultChecksum = 1
                owner.client.received(maps(nil, [wrong.encoded]), from: owner.session)
            }
            #expect(owner.subscriptions() == [0] && owner.epochs.map(\.0) == [1])
            // Asked once; what comes before the answer does not help.
            owner.client.received(maps(nil, increments[2..<3]), from: owner.session)
            #expect(owner.subscriptions() == [])
            owner.client.received(maps(all[3], increments[3..<5]), from: owner.session)
            #expect(owner.epochs.map(\.0) == [1, 4, 5, 6])
        }
    }

    /// A session that was given up without an interruption reaches nobody until it is open again.
    @Test func aSessionGivenUpIsNotReachable() {
        let owner = Recorder()
        owner.open()
        _ = owner.subscriptions()
        owner.client.reset(owner.session)
        #expect(!owner.client.isReachable && owner.reachable == [true, false])
        owner.client.send(.leaving(OSDID(1), incarnation: 1))
        #expect(owner.sent.isEmpty)
        owner.open()
        #expect(owner.client.isReachable && owner.subscriptions() == [0])
        // One that does not come back is left.
        owner.client.reset(owner.session)
        owner.client.timerFired(owner.timers.last!)
        #expect(owner.connected.count == 2)
    }

    @Test func anotherClustersMapIsRefused() {
        let owner = Recorder(monitors: 2, cluster: UniqueID(high: 9, low: 9))
        owner.open()
        owner.client.received(maps(history(2).maps[0], []), from: owner.session)
        #expect(owner.epochs.isEmpty && owner.closed.count == 1 && owner.reachable == [true, false])
        #expect(owner.lines.last?.contains("\(cluster)") == true)
        owner.client.timerFired(owner.timers.last!)
        #expect(owner.connected.map(\.port) == [1, 2])
    }

    @Test func theNextMonitorIsTriedAndAfterARoundComesAPause() {
        let owner = Recorder(monitors: 3)
        for _ in 0..<3 { owner.client.interrupted(owner.session, why: .connectionRefused) }
        #expect(owner.connected.map(\.port) == [1, 2, 3])
        owner.client.timerFired(owner.timers.last!)
        #expect(owner.connected.map(\.port) == [1, 2, 3, 1])
        // One that says nothing at all is left after its time.
        owner.client.timerFired(owner.timers.last!)
        #expect(owner.connected.map(\.port) == [1, 2, 3, 1, 2])
        let single = Recorder()
        single.client.interrupted(single.session, why: .connectionRefused)
        #expect(single.connected.count == 1 && single.closed.isEmpty)
    }

    @Test func commandsAreSentAgainWithTheirNumberAndEndOnce() {
        let owner = Recorder()
        let early = owner.client.command(words: ["status"])
        #expect(owner.commands() == [])
        owner.open()
        #expect(owner.commands() == [early])
        let second = owner.client.command(words: ["pool", "create"], timeoutMilliseconds: 1000)
        #expect(owner.commands() == [second])
        owner.client.received(.commandReply(CommandReply(number: early, errno: 0, message: "")), from: owner.session)
        owner.client.interrupted(owner.session, why: .timedOut)
        owner.open(resumed: true)
        #expect(owner.commands() == [])
        owner.client.interrupted(owner.session, why: .timedOut)
        owner.open()
        #expect(owner.commands() == [second])
        owner.client.timerFired(.command(second))
        #expect(throws: MonitorClientError.self) { try owner.ended[second]!.get() }
        owner.client.received(.commandReply(CommandReply(number: second, errno: 0, message: "")), from: owner.session)
        #expect(owner.ended.count == 2)
        let long = owner.client.command(words: [String(repeating: "x", count: 5000)])
        #expect(owner.commands() == [])
        owner.client.timerFired(.command(long))
        #expect(throws: MonitorClientError.self) { try owner.ended[long]!.get() }
    }
}
