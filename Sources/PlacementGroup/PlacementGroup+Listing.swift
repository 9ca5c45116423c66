import Protocol
import Wire

extension PlacementGroup {
    /// The group's objects, for a request that asks for nothing else: names, where to go on, and how many bits of the hash
    /// they share, which says how far the answer reaches.
    func list(
        _ request: OperationRequest, _ client: ClientHandle, after: ObjectID?, prefix: Bytes, limit: UInt32
    ) {
        guard request.steps.count == 1, limit > 0 else { return answer(request, client, errno: Errno.invalid) }
        var objects = environment.objects(in: range, after: after, limit: Int(limit))
        if !missing.isEmpty {
            // What this copy lacks exists all the same.
            let lacking = missing.keys.filter { object in after.map { object > $0 } ?? true }
            objects = Array(Set(objects).union(lacking).sorted().prefix(Int(limit)))
        }
        let names = existing(objects, at: request.snap).map(\.name).filter { $0.bytes.starts(with: prefix.array) }
        let output = Bytes.encoding(capacity: 64 * names.count + 64) { writer in
            writer.writeArray(names) { $1.encode(into: &$0) }
            writer.writeOptional(objects.count == Int(limit) ? objects.last : nil) { $1.encode(into: &$0) }
            writer.writeU8(intervals.current.bits)
        }
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: [output]),
            to: client)
    }
}
