import ClusterMap
import PlacementGroup
import Protocol
import Testing
import Wire

/// What clients do with snapshots of all objects at once, and what every object must be then, now and at every snapshot that
/// lives. An object is written to by one request at a time, so a request under way when a snapshot is made is in it.
final class SnapshotHistory {
    enum Action {
        case write(UInt64)
        case remove
        case rollback(SnapID)
        case read(SnapID)
    }

    /// What an object is; nil for not there.
    typealias Value = UInt64?

    let seed: UInt64
    var head: [ObjectID: UInt64] = [:]
    /// By living snapshot.
    var snapshots: [SnapID: [ObjectID: UInt64]] = [:]
    var books = PoolSnapshots()
    private var actions: [UInt64: (object: ObjectID, action: Action)] = [:]
    private(set) var readsAtSnapshots = 0
    private(set) var rollbacks = 0

    init(seed: UInt64) { self.seed = seed }

    var context: SnapContext {
        SnapContext(sequence: books.sequence, snaps: snapshots.keys.sorted(by: >)) ?? .none
    }

    /// Makes or removes a snapshot, in a new epoch.
    func change(in cluster: GroupCluster) {
        if snapshots.count < 4, cluster.random.chance(60) {
            guard let snap = books.create() else { return }
            var content = head
            for (object, action) in actions.values { content[object] = outcome(of: action, on: object) }
            snapshots[snap] = content
        } else if let gone = snapshots.keys.sorted().randomElement(using: &cluster.random),
            !actions.values.contains(where: { uses($0.action, gone) })
        {
            snapshots[gone] = nil
            _ = books.remove(gone)
        }
        cluster.newEpoch { $0.snapshots = books }
    }

    private func uses(_ action: Action, _ snap: SnapID) -> Bool {
        switch action {
        case .rollback(snap), .read(snap): true
        default: false
        }
    }

    private func outcome(of action: Action, on object: ObjectID) -> UInt64? {
        switch action {
        case .write(let value): value
        case .remove: nil
        case .rollback(let snap): snapshots[snap]?[object]
        case .read: head[object]
        }
    }

    /// Begins a request.
    func start(_ number: UInt64, on object: ObjectID, in cluster: GroupCluster) {
        let action: Action
        let snap = snapshots.keys.sorted().randomElement(using: &cluster.random)
        switch Int.random(in: 0..<20, using: &cluster.random) {
        case 0..<9: action = .write(number)
        case 9..<11: action = .remove
        case 11..<13: action = snap.map { .rollback($0) } ?? .write(number)
        case 13..<17: action = .read(snap ?? .head)
        default: action = .read(.head)
        }
        var request = OperationRequest(
            id: RequestID(client: 1, number: number), epoch: cluster.clientEpoch,
            group: cluster.pool.group(ofHash: object.hash), object: object, steps: [])
        switch action {
        case .write(let value): request.steps = [.writeFull(data: .encoding { $0.writeU64(value) })]
        case .remove: request.steps = [.remove]
        case .rollback(let snap): request.steps = [.rollback(to: snap)]
        case .read(let snap):
            request.steps = [.read(offset: 0, length: 8)]
            request.snap = snap
        }
        if request.isWrite { request.context = context }
        actions[number] = (object, action)
        cluster.pending[object] = GroupCluster.Operation(request: request, isWrite: request.isWrite, value: number)
        cluster.send(request)
    }

    func ended(_ operation: GroupCluster.Operation, _ reply: OperationReply) {
        guard let (object, action) = actions.removeValue(forKey: operation.request.id.number) else { return }
        let was = head[object]
        switch action {
        case .write, .rollback:
            #expect(reply.outcome == .done(errno: 0), "seed \(seed): \(action) of \(object)")
            if case .rollback = action { rollbacks += 1 }
        case .remove:
            #expect(reply.outcome == .done(errno: was == nil ? 2 : 0), "seed \(seed): removal of \(object)")
        case .read(let snap):
            if snap != .head { readsAtSnapshots += 1 }
            let expected = snap == .head ? was : snapshots[snap]?[object]
            #expect(
                reply.outcome == .done(errno: expected == nil ? 2 : 0),
                "seed \(seed): \(object) at \(snap) should be \(String(describing: expected))")
            guard expected != nil, let data = reply.outputs.first else { return }
            var reader = ByteReader(data)
            #expect((try? reader.readU64()) == expected, "seed \(seed): \(object) at \(snap)")
            return
        }
        head[object] = outcome(of: action, on: object)
    }
}
