import Protocol
import Wire

/// A notification that not everyone has answered. It lives with its primary: when another takes over, the notifier asks that
/// one again, and it tells the watchers again.
struct Notification {
    var object: ObjectID
    var request: RequestID
    /// Where the notifier is.
    var client: ClientHandle
    var payload: Bytes
    var deadline: UInt64
    var awaited: [Watcher]
    var result = NotifyResult()
}

extension PlacementGroup {
    /// Tells all watchers; answers when all have answered or the time is over. The object may be changed meanwhile.
    func notify(
        _ request: OperationRequest, _ client: ClientHandle, _ payload: Bytes, timeoutMilliseconds: UInt32,
        in draft: ObjectDraft
    ) {
        defer { release(request.object, writer: false) }
        guard request.steps.count == 1 else { return answer(request, client, errno: Errno.invalid) }
        guard draft.exists else { return answer(request, client, errno: Errno.noEntry) }
        if let number = notifications.first(where: { $0.value.request == request.id })?.key {
            // Asked again on a new session: the answer goes there.
            notifications[number]?.client = client
            return
        }
        guard notifications.count < GroupLimits.notifications else {
            return answer(request, client, errno: Errno.busy)
        }
        // Numbers of one primary are not those of the next.
        nextNotification += 1
        let number = UInt64(interval.rawValue) << 32 | nextNotification & UInt64(UInt32.max)
        let timeout = timeoutMilliseconds == 0 ? GroupLimits.notifyMilliseconds : timeoutMilliseconds
        let notification = Notification(
            object: draft.object, request: request.id, client: client, payload: payload,
            deadline: environment.nowMilliseconds + UInt64(timeout), awaited: liveWatchers(in: draft))
        notifications[number] = notification
        for watcher in notification.awaited {
            tell(number, notification, WatchKey(object: draft.object, client: watcher.client, cookie: watcher.cookie))
        }
        if notification.awaited.isEmpty { finishNotification(number) }
    }

    /// Someone whose session this primary does not know yet hears of it when it renews its watch.
    private func tell(_ number: UInt64, _ notification: Notification, _ key: WatchKey) {
        guard let client = watches[key]?.client else { return }
        let kind = WatchEvent.Kind.notification(
            number, notifier: notification.request.client, payload: notification.payload)
        environment.tell(WatchEvent(object: key.object, cookie: key.cookie, kind: kind), to: client)
    }

    /// A watcher has renewed: what it was told may have been lost, or never sent.
    func repeatNotifications(to key: WatchKey) {
        for (number, notification) in notifications.sorted(by: { $0.key < $1.key })
        where notification.object == key.object
            && notification.awaited.contains(where: { $0.client == key.client && $0.cookie == key.cookie })
        {
            tell(number, notification, key)
        }
    }

    /// A watcher's answer. Answers to what is over are late, and no error.
    func acknowledge(_ request: OperationRequest, _ client: ClientHandle) {
        guard request.steps.count == 1, case .acknowledge(let number, let cookie, let payload) = request.steps[0]
        else { return answer(request, client, errno: Errno.invalid) }
        answer(request, client, errno: 0)
        guard var notification = notifications[number], notification.object == request.object,
            let index = notification.awaited.firstIndex(where: { $0.client == request.id.client && $0.cookie == cookie }
            )
        else { return }
        notification.awaited.remove(at: index)
        notification.result.answers.append(
            NotifyResult.Answer(client: request.id.client, cookie: cookie, payload: payload))
        notifications[number] = notification
        if notification.awaited.isEmpty { finishNotification(number) }
    }

    /// Someone watches no more: nobody waits for its answer.
    func leaveNotifications(_ key: WatchKey, isMissed: Bool) {
        let isThis = { (watcher: Watcher) in watcher.client == key.client && watcher.cookie == key.cookie }
        for (number, var notification) in notifications.sorted(by: { $0.key < $1.key })
        where notification.object == key.object {
            guard let index = notification.awaited.firstIndex(where: isThis) else { continue }
            let watcher = notification.awaited.remove(at: index)
            if isMissed { notification.result.missed.append(watcher) }
            notifications[number] = notification
            if notification.awaited.isEmpty { finishNotification(number) }
        }
    }

    func finishNotification(_ number: UInt64) {
        guard var notification = notifications.removeValue(forKey: number) else { return }
        notification.result.missed += notification.awaited
        environment.reply(
            OperationReply(
                number: notification.request.number, outcome: .done(errno: 0), version: info.lastUpdate,
                outputs: [notification.result.encoded]), to: notification.client)
    }
}
