import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// A cluster of groups whose events a test chooses: everything goes in a fixed order, but for what it holds back.
final class Script {
    let cluster: GroupCluster
    /// False while the monitors do not answer.
    var monitorsAnswer = true
    /// Links on which nothing arrives, by sender and receiver.
    var held: Set<[Int32]> = []
    /// OSDs whose disks do not finish.
    var slowDisks: Set<Int32> = []
    /// True while no read of data is finished.
    var holdsReads = false
    var number: UInt64 = 0
    private(set) var answers: [UInt64: OperationReply] = [:]

    init(osds: Int = 3) {
        cluster = GroupCluster(seed: 1, osds: osds)
        drain()
    }

    /// A group that serves with osd.3 in the place of osd.2 and with "x" written, which osd.3 lacks: nothing passes between it
    /// and the primary.
    static func withSuccessorThatLacksObjects() -> Script {
        let script = Script(osds: 4)
        script.write("x")
        script.drain()
        script.place([0, 1, 3])
        script.drain {
            script.primary.phase == .active && script.primary.intervals.current.acting.contains(OSDID(3))
        }
        script.held = [[0, 3], [3, 0]]
        script.drain()
        return script
    }

    var group: PGID { cluster.groups[0] }
    /// Objects of the group.
    var objects: [ObjectID] { cluster.objects.filter { cluster.pool.group(ofHash: $0.hash) == group } }
    func host(_ osd: Int32) -> GroupHost { cluster.hosts[Int(osd)] }
    func member(_ osd: Int32) -> PlacementGroup<GroupHost> { host(osd).groups[0] }
    var placement: OSDMap.Placement { cluster.epochs[cluster.epochs.count - 1].placement(group) }
    var primary: PlacementGroup<GroupHost> { member(placement.primary?.rawValue ?? 0) }
    var isClean: Bool { cluster.isClean(group) }
    /// How the group is everywhere, for what is said when a test fails.
    var summary: Comment { Comment(rawValue: cluster.hosts.map { $0.groups[0].summary }.joined(separator: "\n")) }

    /// Lets everything happen that is not held back, until nothing is left or `isDone` says so.
    func drain(until isDone: () -> Bool = { false }) {
        var quiet = 0
        var hasTicked = false
        while quiet < 3, !isDone() {
            quiet = turn() ? 0 : quiet + 1
            if quiet == 2, !hasTicked {
                hasTicked = true
                for host in cluster.hosts where host.isRunning && host.isServing {
                    for group in host.groups { group.tick() }
                }
            }
            for reply in cluster.replies { answers[reply.number] = reply }
            cluster.replies.removeAll()
        }
    }

    private func turn() -> Bool {
        var isBusy = false
        for host in cluster.hosts where host.isRunning {
            while Int(host.epoch.rawValue) < cluster.epochs.count - 1 {
                host.advance()
                isBusy = true
            }
        }
        if monitorsAnswer, !cluster.upThruWanted.isEmpty || !cluster.actingWanted.isEmpty {
            cluster.commitUpThru()
            cluster.commitActing()
            isBusy = true
        }
        let count = cluster.hosts.count
        for link in cluster.links.indices where !cluster.links[link].isEmpty {
            let (a, b) = (link / count, link % count)
            guard !held.contains([Int32(a), Int32(b)]) else { continue }
            let (message, sent, meant) = cluster.links[link].removeFirst()
            isBusy = true
            if cluster.hosts[b].isRunning, cluster.hosts[b].incarnation == meant, cluster.hosts[a].incarnation == sent {
                cluster.hosts[b].receive(message, from: OSDID(Int32(a)))
            }
        }
        for host in cluster.hosts where host.isRunning {
            while !slowDisks.contains(host.osd.rawValue), !host.store.pending.isEmpty {
                let slot = host.store.completeOldest()
                host.groups[Int(slot.index)].committed()
                isBusy = true
            }
            if !host.reads.isEmpty, !holdsReads {
                host.completeRead(at: 0)
                isBusy = true
            }
            if cluster.tend(host, ticks: false) { isBusy = true }
        }
        return isBusy
    }

    // MARK: Clients

    func request(
        _ steps: [ObjectOperation], on object: ObjectID? = nil, client: UInt64 = 1, number: UInt64? = nil
    ) -> OperationRequest {
        if number == nil { self.number += 1 }
        let object = object ?? objects[0]
        return OperationRequest(
            id: RequestID(client: client, number: number ?? self.number),
            epoch: Epoch(UInt32(cluster.epochs.count - 1)), group: group, object: object, steps: steps)
    }

    /// Sends a request to the primary; the answer, if there is one, is in `answers` after a `drain`.
    @discardableResult
    func send(_ request: OperationRequest) -> UInt64 {
        host(placement.primary?.rawValue ?? 0).receive(request, from: ClientHandle(session: request.id.client))
        return request.id.number
    }

    @discardableResult
    func write(_ text: String, on object: ObjectID? = nil) -> UInt64 {
        send(request([.writeFull(data: Bytes(text))], on: object))
    }

    /// So many writes to one object that the log is cut several times.
    func fillLog(_ object: ObjectID? = nil, count: Int = 60) {
        for index in 0..<count {
            write("filler \(index)", on: object ?? objects[objects.count - 1])
            drain()
        }
    }

    func read(_ osd: Int32, _ object: ObjectID? = nil) -> String? {
        host(osd).store.durable.objects[object ?? objects[0]].map { String(decoding: $0.data, as: UTF8.self) }
    }

    // MARK: Faults

    func kill(_ osd: Int32, marksDown: Bool = true, keeping: Int = .max) {
        let host = host(osd)
        host.isRunning = false
        host.store.crash(keeping: min(keeping, host.store.pending.count))
        host.early.removeAll()
        host.earlyRequests.removeAll()
        host.reads.removeAll()
        for other in cluster.hosts.indices { cluster.links[Int(osd) * cluster.hosts.count + other].removeAll() }
        if marksDown { cluster.newEpoch { $0.up.remove(OSDID(osd)) } }
    }

    func start(_ osd: Int32) { cluster.restart(host(osd), cluster.epochs[cluster.epochs.count - 1]) }

    func place(_ osds: [Int32]) { cluster.newEpoch { $0.raw[self.group] = osds.map { OSDID($0) } } }

    /// The session between two OSDs is begun anew: what was on its way is lost.
    func reset(_ a: Int32, _ b: Int32) {
        let count = cluster.hosts.count
        cluster.links[Int(a) * count + Int(b)].removeAll()
        cluster.links[Int(b) * count + Int(a)].removeAll()
        for (one, other) in [(a, b), (b, a)] {
            for group in host(one).groups { group.sessionReset(with: OSDID(other)) }
        }
    }
}
