import ObjectStore
import PlacementGroup
import Protocol
import Wire

/// What the groups ask of their OSD.
extension OSDCore: GroupEnvironment {
    public var osd: OSDID { id }

    public var nowMilliseconds: UInt64 { environment.nowMilliseconds }

    public var wallNanoseconds: UInt64 { environment.wallNanoseconds }

    public var classes: ObjectClasses { ObjectClasses.standard }

    public func isBlocklisted(_ client: UInt64) -> Bool { map?.blocklist[client] != nil }

    public func tell(_ event: WatchEvent, to client: ClientHandle) {
        environment.send(Message.watchEvent(event).encoded, to: PeerSession(number: client.session))
    }

    public var isFull: Bool { !environment.store.canAccept(OSDLimits.headroom, as: .client) }

    public func reportSoon() { isReportDue = true }

    public func requestUpThru(_ epoch: Epoch) { wantUpThru(epoch) }

    public func isUp(_ osd: OSDID) -> Bool { map?.isUp(osd) ?? false }

    public func send(_ message: GroupMessage, to osd: OSDID) {
        sendEncoded(Message.group(message).encoded, of: message.group, to: osd)
    }

    public func send(_ message: GroupMessage, to osds: [OSDID]) {
        let encoded = Message.group(message).encoded
        for osd in osds { sendEncoded(encoded, of: message.group, to: osd) }
    }

    /// A primary speaks on the session it opened; a member answers on the one that its primary opened, so that the
    /// acknowledgements of one direction travel with the messages of the other.
    private func sendEncoded(_ payload: Bytes, of group: PGID, to osd: OSDID) {
        guard let slot = slots[group] else { return }
        let answers = !groups[Int(slot.index)].isPrimary
        if answers, let session = incoming[osd] {
            environment.send(payload, to: session)
        } else if let session = session(to: osd) {
            environment.send(payload, to: session)
        }
    }

    public func reply(_ reply: OperationReply, to client: ClientHandle) {
        environment.send(Message.operationReply(reply).encoded, to: PeerSession(number: client.session))
    }

    public func name(of client: ClientHandle) -> String? {
        if case .client(let name)? = peers[PeerSession(number: client.session)] { name } else { nil }
    }

    public func commit(_ transaction: Transaction, for group: GroupSlot) {
        environment.store.submit(transaction, token: UInt64(group.index))
    }

    public func read(_ object: ObjectID, offset: UInt64, length: Int, number: UInt32, for group: GroupSlot) {
        let token = UInt64(group.index) << 32 | UInt64(number)
        environment.store.read(object, offset: offset, length: length, token: token)
    }

    public func size(of object: ObjectID) -> UInt64? {
        ask { () throws(StoreError) in try environment.store.stat(object) }
    }

    public func extents(of object: ObjectID, offset: UInt64, length: UInt64) -> [Range<UInt64>] {
        ask { () throws(StoreError) in try environment.store.extents(object, offset: offset, length: length) } ?? []
    }

    public func attribute(_ name: String, of object: ObjectID) -> Bytes? {
        ask { () throws(StoreError) in try environment.store.attribute(object, name) }
    }

    public func attributes(of object: ObjectID) -> [Attribute] {
        let pairs = ask { () throws(StoreError) in try environment.store.attributes(object) } ?? []
        return pairs.map { Attribute($0.name, $0.value) }
    }

    public func omapValues(of object: ObjectID, keys: [Bytes]) -> [KeyValue] {
        keys.compactMap { key in
            ask { () throws(StoreError) in try environment.store.omapValue(object, key) }.map { KeyValue(key, $0) }
        }
    }

    public func omap(of object: ObjectID, after: Bytes, prefix: Bytes, limit: Int) -> [KeyValue] {
        // The least key after `after` is `after` and a zero byte.
        let from = after.isEmpty ? prefix : max(Bytes(after.array + [0]), prefix)
        let entries = ask { () throws(StoreError) in
            try environment.store.omap(object, from: from, limit: limit)
        }
        return (entries ?? []).filter { $0.key.array.starts(with: prefix.array) }
    }

    public func omapSize(of object: ObjectID, limit: Int) -> Int {
        ask { () throws(StoreError) in try environment.store.omapSize(object, limit: limit) } ?? 0
    }

    public func objects(in range: ObjectRange, after: ObjectID?, limit: Int) -> [ObjectID] {
        ask { () throws(StoreError) in try environment.store.list(range, after: after, limit: limit) } ?? []
    }

    public func groupKeys(_ group: PGID, from: Bytes, to: Bytes, limit: Int) -> [KeyValue] {
        ask { () throws(StoreError) in
            try environment.store.groupKeys(group, from: from, to: to, limit: limit)
        } ?? []
    }
}
