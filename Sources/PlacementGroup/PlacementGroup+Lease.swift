import Protocol
import Wire

/// Reads without a word to the members: a primary answers them only while every member of the acting set has promised to let
/// them be. A newer interval cannot serve without a member of the older one, which tells what it has promised; its primary
/// waits that out. So whoever was deposed and does not know it gives no old data.
extension PlacementGroup {
    /// True while reads may be answered.
    func mayRead() -> Bool {
        let now = environment.nowMilliseconds
        if now < readableUntil { return true }
        readableUntil = environment.leaseEnd(from: acting.filter { $0 != me })
        return now < readableUntil
    }

    /// The OSD goes: what was promised to it is not to be used any more.
    public func giveUpLease() { readableUntil = 0 }

    /// Promises may have been made or renewed: reads that waited go on, in their order.
    public func leasesRenewed() {
        guard phase == .active, !leaseStarved.isEmpty, mayRead() else { return }
        let objects = leaseStarved
        leaseStarved.removeAll()
        for object in objects.sorted() { wake(object) }
    }

    /// What this member has promised to primaries of older intervals, as far as it binds one that comes after them.
    func promises(before asker: OSDID) -> [LeasePromise] {
        var result: [LeasePromise] = []
        for past in intervals.past {
            guard let primary = past.primary, primary != asker, primary != me,
                !result.contains(where: { $0.primary == primary })
            else { continue }
            let remaining = environment.promise(to: primary)
            if remaining > 0 { result.append(LeasePromise(primary: primary, remaining: remaining)) }
        }
        return result
    }

    func take(_ leases: [LeasePromise]) {
        let now = environment.nowMilliseconds
        for lease in leases where lease.primary != me {
            peering.leases[lease.primary] = max(peering.leases[lease.primary] ?? 0, now + UInt64(lease.remaining))
        }
    }

    /// Until when an older primary may still serve reads: one that has answered in this interval does not, nor does one whose
    /// process has ended.
    var olderLeaseEnd: UInt64 {
        peering.leases.filter { primary, _ in
            guard peering.infos[primary] == nil else { return false }
            let until = intervals.past.last { $0.primary == primary }?.last ?? .none
            return !environment.isKnownDead(primary, afterLeadingUntil: until)
        }.values.max() ?? 0
    }

    /// To be called several times a second: the service begins when older leases have ended.
    public func leaseTick() {
        guard phase == .leasing, environment.nowMilliseconds >= olderLeaseEnd else { return }
        beginService()
    }

    /// The members have stored the activation.
    func beginServiceWhenAllowed() {
        guard environment.nowMilliseconds >= olderLeaseEnd else {
            environment.occurred(.waitedForLease)
            phase = .leasing
            return
        }
        beginService()
    }

    private func beginService() {
        phase = .active
        // Not before older leases have ended: until then the intervals they are of still need a witness.
        noteStarted()
        for osd in others { send(.started(interval), to: osd) }
        if !recovery.isWorking, isClean { becomeClean() }
        serveWaiting()
    }
}
