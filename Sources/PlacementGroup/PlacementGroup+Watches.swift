import Protocol
import Wire

/// A registration on an object.
struct WatchKey: Hashable {
    var object: ObjectID
    var client: UInt64
    var cookie: UInt64
}

extension PlacementGroup {
    /// The attribute that holds an object's watchers, so that they outlive the primary.
    static var watchersAttribute: String { "watchers" }

    static func encode(_ watchers: [Watcher]) -> Bytes {
        .encoding { $0.writeArray(watchers) { $1.encode(into: &$0) } }
    }

    private func watchers(in draft: ObjectDraft) -> [Watcher] {
        guard let value = attribute(Self.watchersAttribute, in: draft) else { return [] }
        var reader = ByteReader(value)
        do {
            return try reader.readArray(atMost: OperationLimits.watchers) { r throws(WireError) in
                try Watcher(from: &r)
            }
        } catch {
            preconditionFailure("watchers of \(draft.object) cannot be read: \(error)")
        }
    }

    /// Those who have renewed in time. Someone whom this primary has not heard of yet is given its time from now on.
    func liveWatchers(in draft: ObjectDraft) -> [Watcher] {
        let now = environment.nowMilliseconds
        return watchers(in: draft).filter { watcher in
            let key = WatchKey(object: draft.object, client: watcher.client, cookie: watcher.cookie)
            let seen = watches[key] ?? now
            watches[key] = seen
            return now - seen <= UInt64(watcher.timeoutMilliseconds)
        }
    }

    /// The watchers after a watch or unwatch; those whose time is over go with it.
    func watch(
        _ step: ObjectOperation, _ request: OperationRequest, _ handle: ClientHandle, in draft: ObjectDraft
    ) -> Result<Bytes, StepFailure> {
        let object = draft.object
        let client = request.id.client
        var watchers = liveWatchers(in: draft)
        switch step {
        case .watch(let cookie, let timeout):
            watchers.removeAll { $0.client == client && $0.cookie == cookie }
            guard watchers.count < OperationLimits.watchers else {
                return .failure(StepFailure(errno: Errno.noSpace))
            }
            watchers.append(
                Watcher(
                    client: client, cookie: cookie, name: environment.name(of: handle) ?? "unknown",
                    timeoutMilliseconds: timeout))
            watches[WatchKey(object: object, client: client, cookie: cookie)] = environment.nowMilliseconds
        case .unwatch(let cookie):
            watchers.removeAll { $0.client == client && $0.cookie == cookie }
            watches[WatchKey(object: object, client: client, cookie: cookie)] = nil
        default:
            preconditionFailure("\(step) is no watch")
        }
        return .success(Self.encode(watchers))
    }

    func forgetWatches(of object: ObjectID) {
        watches = watches.filter { $0.key.object != object }
    }
}
