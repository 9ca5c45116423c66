import Protocol
import Wire

/// What administrators ask of a group itself.
extension PlacementGroup {
    /// Does a command, in every state of the group.
    func administer(_ command: GroupCommand, _ request: OperationRequest, _ client: ClientHandle) {
        guard request.steps.count == 1 else { return answer(request, client, errno: Errno.invalid) }
        var output = Bytes.empty
        switch command {
        case .scrub: orderScrub(.shallow)
        case .deepScrub: orderScrub(.deep)
        case .repair: orderScrub(.repair)
        case .query: output = report.encoded
        case .listInconsistent(let after): output = inconsistencies(after: after).encoded
        }
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: [output]),
            to: client)
    }

    private func inconsistencies(after: ObjectID?) -> InconsistencyListing {
        let listed = scrub.inconsistent.values.filter { found in after.map { found.object > $0 } ?? true }
        let page = listed.sorted { $0.object < $1.object }.prefix(ScrubLimits.listing)
        return InconsistencyListing(objects: Array(page), hasMore: page.count < listed.count)
    }

    private var report: GroupReport {
        GroupReport(
            statistics: statistics, info: info, interval: interval, up: up, acting: acting, phase: "\(phase)",
            members: members.map { member in
                GroupReport.Member(
                    osd: member.osd, committed: member.committed, position: member.position,
                    missing: UInt32(member.osd == me ? missing.count : member.missing.count))
            }, logEntries: UInt32(log.entries.count), scrub: scrub.record)
    }
}
