import Protocol
import Wire

/// A registration on an object.
struct WatchKey: Hashable {
    var object: ObjectID
    var client: UInt64
    var cookie: UInt64
}

/// What this primary knows of a watch.
struct WatchState {
    /// When it was registered or renewed; when this primary first saw it, if it was another that it was renewed with.
    var seen: UInt64
    var timeout: UInt64
    /// Where the client is: unknown until it has renewed with this primary.
    var client: ClientHandle?
    /// Its client has been told that it is over.
    var isOver = false
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
            let state = watches[key] ?? WatchState(seen: now, timeout: UInt64(watcher.timeoutMilliseconds))
            watches[key] = state
            return !isOver(key, state, now)
        }
    }

    private func isOver(_ key: WatchKey, _ state: WatchState, _ now: UInt64) -> Bool {
        state.isOver || now - state.seen > state.timeout
            || (environment.hasBlocklist && environment.isBlocklisted(key.client))
    }

    /// Registers or renews a watch, or ends it; those whose time is over go with it.
    func watch(_ step: ObjectOperation, in execution: inout Execution) -> StepOutcome {
        guard execution.draft.exists else { return .failed(errno: Errno.noEntry) }
        let object = execution.draft.object
        let client = execution.request.id.client
        var watchers = liveWatchers(in: execution.draft)
        switch step {
        case .watch(let cookie, let timeout):
            watchers.removeAll { $0.client == client && $0.cookie == cookie }
            guard watchers.count < OperationLimits.watchers else { return .failed(errno: Errno.noSpace) }
            watchers.append(
                Watcher(
                    client: client, cookie: cookie, name: environment.name(of: execution.client) ?? "unknown",
                    timeoutMilliseconds: timeout))
            let key = WatchKey(object: object, client: client, cookie: cookie)
            watches[key] = WatchState(
                seen: environment.nowMilliseconds, timeout: UInt64(timeout), client: execution.client)
            repeatNotifications(to: key)
        case .unwatch(let cookie):
            watchers.removeAll { $0.client == client && $0.cookie == cookie }
            let key = WatchKey(object: object, client: client, cookie: cookie)
            watches[key] = nil
            leaveNotifications(key, isMissed: false)
        default:
            preconditionFailure("\(step) is no watch")
        }
        execution.draft.append(.setAttribute(object, name: Self.watchersAttribute, value: Self.encode(watchers)))
        return .done(.empty)
    }

    /// The object goes, and with it all its watches.
    func disconnectWatches(of object: ObjectID, errno: Int32) {
        guard !watches.isEmpty else { return }
        for key in watches.keys.filter({ $0.object == object }).sorted() {
            disconnect(key, errno: errno)
            watches[key] = nil
        }
    }

    private func disconnect(_ key: WatchKey, errno: Int32) {
        if let client = watches[key]?.client {
            environment.tell(
                WatchEvent(object: key.object, cookie: key.cookie, kind: .disconnected(errno: errno)), to: client)
        }
        leaveNotifications(key, isMissed: true)
    }

    /// To be called several times a second: ends watches that were not renewed, and notifications whose time is over.
    public func watchTick() {
        guard phase == .active, !watches.isEmpty || !notifications.isEmpty else { return }
        let now = environment.nowMilliseconds
        var objects: Set<ObjectID> = []
        for (key, state) in watches.sorted(by: { $0.key < $1.key }) where isOver(key, state, now) {
            if !state.isOver {
                watches[key]?.isOver = true
                let isFenced = environment.hasBlocklist && environment.isBlocklisted(key.client)
                disconnect(key, errno: isFenced ? Errno.blocklisted : Errno.timedOut)
            }
            objects.insert(key.object)
        }
        for object in objects.sorted() { forgetWatches(of: object) }
        for number in notifications.keys.sorted() where now >= notifications[number]?.deadline ?? .max {
            finishNotification(number)
        }
    }

    /// Stores that watches are over, so that the next primary does not take them for alive; later, when the object is in use.
    private func forgetWatches(of object: ObjectID) {
        guard activities[object] == nil, writes.count < GroupLimits.writesInFlight, waiting.isEmpty,
            !mayBlock || (!isLacking(object) && !isExamined(object))
        else { return }
        let before = objectInfo(of: object)
        var draft = ObjectDraft(
            object, exists: before.version != .zero && !before.flags.contains(.isWhiteout), flags: before.flags)
        if draft.exists {
            let (stored, live) = (watchers(in: draft), liveWatchers(in: draft))
            if stored != live {
                draft.append(.setAttribute(object, name: Self.watchersAttribute, value: Self.encode(live)))
                let request = OperationRequest(id: .none, epoch: interval, group: id, object: object, steps: [])
                finish(&draft, before: before, request, ClientHandle(session: 0))
            }
        }
        for key in watches.keys where key.object == object && watches[key]?.isOver == true { watches[key] = nil }
    }
}

extension WatchKey: Comparable {
    static func < (left: WatchKey, right: WatchKey) -> Bool {
        if left.object != right.object { return left.object < right.object }
        return (left.client, left.cookie) < (right.client, right.cookie)
    }
}
