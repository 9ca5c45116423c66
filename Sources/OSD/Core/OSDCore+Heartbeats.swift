import ClusterMap
import Protocol
import Wire

/// What an OSD knows of the life of those it shares groups with, and what they have promised each other.
struct HeartbeatTable {
    struct Peer {
        var incarnation: UInt64
        /// When it answered last, or when it became a peer.
        var heard: UInt64
        var isReported = false
        /// How long its answers take, in milliseconds, as a mean in which each weighs an eighth; nil before the first.
        var delay: Double?
        /// Until when it lets this OSD's reads be, and the epoch it had when it said so.
        var lease: (end: UInt64, epoch: Epoch)?
        /// The same, said under a map that this OSD does not have yet.
        var laterLease: (end: UInt64, epoch: Epoch)?
    }

    var peers: [OSDID: Peer] = [:]
    /// Until when this OSD lets another's reads be.
    var promises: [OSDID: UInt64] = [:]
    var lastPing: UInt64 = 0
    var lastTick: UInt64 = 0
    /// Peers that answer late, the latest first.
    var slowPeers: [OSDStatistics.SlowPeer] {
        let slow = peers.filter { ($0.value.delay ?? 0) >= OSDLimits.slowPing }
            .map { OSDStatistics.SlowPeer(osd: $0.key, milliseconds: UInt32(min($0.value.delay ?? 0, 1e9))) }
        let sorted = slow.sorted { ($1.milliseconds, $0.osd) < ($0.milliseconds, $1.osd) }
        return Array(sorted.prefix(MonitorLimits.slowPeers))
    }

    /// When this run began: what the one before promised is over a lease later.
    var begun: UInt64?
}

extension OSDCore {
    /// The peers are those that groups are shared with now.
    func setHeartbeatPeers(_ osds: Set<OSDID>) {
        let now = environment.nowMilliseconds
        for osd in heartbeats.peers.keys where !osds.contains(osd) { heartbeats.peers[osd] = nil }
        var isNew = false
        for osd in osds {
            guard let record = map?.osds[osd], heartbeats.peers[osd]?.incarnation != record.incarnation else {
                continue
            }
            heartbeats.peers[osd] = HeartbeatTable.Peer(incarnation: record.incarnation, heard: now)
            isNew = true
        }
        if isNew { ping() }
    }

    private func ping() {
        guard let map else { return }
        let now = environment.nowMilliseconds
        heartbeats.lastPing = now
        let message = Message.heartbeat(Heartbeat(isReply: false, stamp: now, epoch: map.epoch, lease: 0)).encoded
        for osd in heartbeats.peers.keys.sorted() {
            if let session = session(to: osd) { environment.send(message, to: session) }
        }
    }

    /// To be called with every tick.
    func heartbeatTick() {
        let now = environment.nowMilliseconds
        if heartbeats.begun == nil { heartbeats.begun = now }
        // Who did not run himself cannot say that others were silent.
        if now - heartbeats.lastTick > environment.times.heartbeat * 2 {
            for osd in heartbeats.peers.keys { heartbeats.peers[osd]?.heard = now }
        }
        heartbeats.lastTick = now
        guard now - heartbeats.lastPing >= environment.times.heartbeat else { return }
        ping()
        for (osd, peer) in heartbeats.peers.sorted(by: { $0.key < $1.key })
        where now - peer.heard >= environment.times.grace {
            heartbeats.peers[osd]?.isReported = true
            environment.tellMonitor(.failure(report(osd, peer, silence: now - peer.heard)))
        }
    }

    private func report(_ osd: OSDID, _ peer: HeartbeatTable.Peer, silence: UInt64) -> OSDFailure {
        OSDFailure(
            reporter: id, target: osd, incarnation: peer.incarnation,
            evidence: .silent(milliseconds: UInt32(clamping: silence)))
    }

    func received(_ heartbeat: Heartbeat, from osd: OSDID, on session: PeerSession) {
        let now = environment.nowMilliseconds
        if !heartbeat.isReply {
            guard let map else { return }
            heartbeats.promises[osd] = now + environment.times.lease
            let reply = Heartbeat(
                isReply: true, stamp: heartbeat.stamp, epoch: map.epoch, lease: UInt32(environment.times.lease))
            return environment.send(Message.heartbeat(reply).encoded, to: session)
        }
        guard var peer = heartbeats.peers[osd], heartbeat.stamp <= now,
            outgoing[osd]?.session == session, outgoing[osd]?.incarnation == peer.incarnation
        else { return }
        peer.heard = now
        let took = Double(now - heartbeat.stamp)
        peer.delay = peer.delay.map { $0 + (took - $0) / 8 } ?? took
        // Counted from the question, and a little less than promised, since clocks do not run alike.
        let end = heartbeat.stamp + UInt64(heartbeat.lease) - UInt64(heartbeat.lease) / 20
        if heartbeat.epoch <= map?.epoch ?? .none {
            peer.lease = (end, heartbeat.epoch)
        } else {
            peer.laterLease = (end, heartbeat.epoch)
        }
        if peer.isReported {
            peer.isReported = false
            environment.tellMonitor(.failureWithdrawn(report(osd, peer, silence: 1)))
        }
        heartbeats.peers[osd] = peer
        for group in groups where group.isPrimary { group.leasesRenewed() }
    }

    /// A promise of someone who has a newer map says nothing of the intervals that this OSD knows: it counts when this OSD has
    /// that map too, and the group's interval still stands.
    public func leaseEnd(from members: [OSDID]) -> UInt64 {
        guard let epoch = map?.epoch, !hasLeft else { return 0 }
        var end = UInt64.max
        for osd in members {
            guard let peer = heartbeats.peers[osd] else { return 0 }
            let later = peer.laterLease.flatMap { $0.epoch <= epoch ? $0.end : nil } ?? 0
            end = min(end, max(peer.lease?.end ?? 0, later))
        }
        return end
    }

    public func promise(to primary: OSDID) -> UInt32 {
        let now = environment.nowMilliseconds
        let end = max(heartbeats.promises[primary] ?? 0, (heartbeats.begun ?? now) + environment.times.lease)
        return end > now ? UInt32(clamping: end - now) : 0
    }

    public func isKnownDead(_ osd: OSDID, afterLeadingUntil epoch: Epoch) -> Bool {
        guard let record = map?.osds[osd] else { return true }
        return record.isKnownDead || (record.isRestarted && epoch < record.upFrom)
    }
}
