import ClusterMap
import Protocol
import Wire

/// Handshakes, and what becomes of a session when its connection comes and goes.
extension MessengerCore {
    // MARK: Initiator

    func dial(_ link: Link, _ endpoint: Endpoint) {
        link.attempt += 1
        let connection = connections.insert { key in
            Connection(
                id: ConnectionID(key: key), phase: .dialing, link: link, address: "\(endpoint)", isLocal: true)
        }
        link.connection = connection
        environment.setTimer(.handshake(connection.id), milliseconds: MessengerLimits.handshakeMilliseconds)
        environment.dial(connection.id, to: endpoint)
    }

    /// True while the core waits for the stream; a stream that opens later is to be closed.
    public func isDialing(_ id: ConnectionID) -> Bool { connections[id.key]?.phase == .dialing }

    /// A stream that `dial` asked for is open.
    public func dialed(_ id: ConnectionID) {
        guard let connection = connections[id.key], let link = connection.link, connection.phase == .dialing else {
            return
        }
        connection.phase = .awaitingWelcome
        let hello = Hello(
            method: .none, identity: identity, cookie: link.cookie, acceptorCookie: link.acceptorCookie,
            attempt: link.attempt, lastReceived: link.session.received)
        write(.hello, payload: hello.encoded(), on: connection)
    }

    func welcomed(_ welcome: Welcome, _ connection: Connection) throws(WireError) {
        guard let link = connection.link, case .initiator(let endpoint, let expected) = link.role else {
            preconditionFailure("\(connection.id) awaits a welcome without an initiator")
        }
        guard welcome.version == FrameHeader.version else {
            throw WireError("welcome with version \(welcome.version), which was not offered")
        }
        if let conflict = identity.conflict(with: welcome.identity) {
            return fail(connection, .handshakeRefused(conflict))
        }
        if let expected, expected != welcome.identity.entity {
            return fail(
                connection, .handshakeRefused("\(endpoint) is \(welcome.identity.entity), not \(expected)"))
        }
        let isResumed = welcome.cookie == link.acceptorCookie
        let isLost = link.acceptorCookie != 0 && !isResumed
        if isLost {
            guard welcome.lastReceived == 0 else {
                throw WireError("a new session with \(welcome.lastReceived) messages received")
            }
            link.session = Session()
        }
        try link.session.resume(peerReceived: welcome.lastReceived)
        link.acceptorCookie = welcome.cookie
        if isLost {
            relieve(link)
            environment.reset(link.id)
            // The owner may have closed it at that.
            guard connection.phase != .ended else { return }
        }
        link.backOffMilliseconds = MessengerLimits.firstBackOffMilliseconds
        open(connection, link, welcome.identity, isResumed: isResumed)
    }

    // MARK: Acceptor

    /// A peer opened a stream. Nil when there are too many: it is to be closed at once. `isLocal` says that the peer's
    /// address is of this host.
    public func accepted(from address: String, isLocal: Bool) -> ConnectionID? {
        guard connections.count < MessengerLimits.connections, handshakeCount < MessengerLimits.handshakes else {
            return nil
        }
        let connection = connections.insert { key in
            Connection(
                id: ConnectionID(key: key), phase: .awaitingHello, link: nil, address: address, isLocal: isLocal)
        }
        handshakeCount += 1
        environment.setTimer(.handshake(connection.id), milliseconds: MessengerLimits.handshakeMilliseconds)
        return connection.id
    }

    func greet(_ hello: Hello, _ connection: Connection) throws(WireError) {
        if let reason = objection(to: hello, connection) { return refuse(connection, reason) }
        let key = Link.Key(
            entity: hello.identity.entity, incarnation: hello.identity.incarnation, cookie: hello.cookie)
        let known = accepted[key]
        let link = known ?? accept(key, hello.identity)
        // Late: the initiator has gone on to another connection already.
        guard hello.attempt > link.attempt else { return end(connection) }
        // Another cookie, and the initiator has not seen a welcome to this session, so it has neither sent nor received.
        let peerReceived = hello.acceptorCookie == link.acceptorCookie ? hello.lastReceived : 0
        guard hello.acceptorCookie == link.acceptorCookie || link.session.received == 0 else {
            throw WireError("the session's cookie was forgotten by its initiator")
        }
        try link.session.resume(peerReceived: peerReceived)
        link.attempt = hello.attempt
        if let old = link.connection {
            // It counts as interrupted between the two, since its owner may close it when told.
            link.connection = nil
            interruptedCount += 1
            end(old)
            environment.interrupted(link.id, why: .superseded)
            guard sessions[link.id.key] != nil, connection.phase != .ended else { return end(connection) }
        }
        if known != nil { interruptedCount -= 1 }
        handshakeCount -= 1
        link.connection = connection
        connection.link = link
        let welcome = Welcome(identity: identity, cookie: link.acceptorCookie, lastReceived: link.session.received)
        write(.welcome, payload: welcome.encoded(), on: connection)
        open(connection, link, hello.identity, isResumed: known != nil)
    }

    /// Why the hello cannot be accepted, in one line for the initiator's user; nil when it can.
    private func objection(to hello: Hello, _ connection: Connection) -> String? {
        guard hello.versions.contains(FrameHeader.version) else {
            return "\(identity.entity) speaks protocol version \(FrameHeader.version), "
                + "\(hello.identity.entity) \(hello.versions.lowerBound) to \(hello.versions.upperBound): upgrade one of them"
        }
        guard hello.method == AuthenticationMethod.none.rawValue else {
            return "\(identity.entity) does not know authentication method \(hello.method)"
        }
        guard connection.isLocal else {
            return "\(identity.entity) accepts no connection from \(connection.address) without authentication"
        }
        return identity.conflict(with: hello.identity)
    }

    private func refuse(_ connection: Connection, _ reason: String) {
        environment.report("refused \(connection.address): \(reason)")
        write(.refusal, payload: Refusal.encoded(reason), on: connection)
        end(connection)
    }

    private func accept(_ key: Link.Key, _ peer: Identity) -> Link {
        // A new run of a process: what its last one left will not be resumed.
        for old in accepted.values
        where old.key.entity == key.entity && old.key.incarnation != key.incarnation && old.connection == nil {
            forget(old)
        }
        let link = sessions.insert { Link(id: SessionID(key: $0), role: .acceptor, cookie: key.cookie) }
        link.peer = peer
        link.acceptorCookie = environment.random() | 1
        accepted[key] = link
        return link
    }

    // MARK: Both

    private func open(_ connection: Connection, _ link: Link, _ peer: Identity, isResumed: Bool) {
        connection.phase = .open
        connection.parser.payloadLimit = MessengerLimits.payloadBytes
        connection.isHeard = true
        link.peer = peer
        if link.isReadingPaused { environment.setReading(false, connection.id) }
        watchLife()
        touch(link)
        environment.opened(link.id, peer: PeerIdentity(peer, address: connection.address), resumed: isResumed)
    }

    /// A stream ended, or could not be opened.
    public func disconnected(_ id: ConnectionID, why: Interruption) {
        guard let connection = connections[id.key] else { return }
        fail(connection, why)
    }

    /// Ends a connection for a reason, which its session survives.
    func fail(_ connection: Connection, _ why: Interruption) {
        guard connection.phase != .ended else { return }
        if case .violation = why { environment.report("closed \(connection.address): \(why)") }
        end(connection)
        guard let link = connection.link, link.connection === connection else { return }
        link.connection = nil
        link.interruptions += 1
        if link.isInitiator {
            let pause = link.backOffMilliseconds
            let jitter = Int(truncatingIfNeeded: environment.random() % UInt64(pause / 2 + 1))
            link.backOffMilliseconds = min(pause * 2, MessengerLimits.lastBackOffMilliseconds)
            environment.setTimer(.reconnect(link.id, attempt: link.attempt), milliseconds: pause / 2 + jitter)
            environment.interrupted(link.id, why: why)
        } else {
            interruptedCount += 1
            interruptedOrder.append((link.id, link.interruptions))
            environment.setTimer(
                .forget(link.id, interruption: link.interruptions), milliseconds: MessengerLimits.keepMilliseconds)
            environment.interrupted(link.id, why: why)
            boundInterrupted()
        }
    }

    /// Takes a connection out of the table and closes its stream.
    func end(_ connection: Connection) {
        guard connection.phase != .ended else { return }
        if connection.phase == .awaitingHello, connection.link == nil { handshakeCount -= 1 }
        connection.phase = .ended
        connections.remove(connection.id.key)
        environment.close(connection.id)
    }

    /// Forgets the sessions that have waited longest when too many wait.
    private func boundInterrupted() {
        while let oldest = interruptedOrder.first {
            let link = sessions[oldest.id.key]
            let isStale = link?.connection != nil || link?.interruptions != oldest.interruption
            guard isStale || interruptedCount > MessengerLimits.keptSessions else { return }
            interruptedOrder.removeFirst()
            if let link, !isStale { forget(link) }
        }
    }

    /// Drops an accepted session without a connection, and tells the owner.
    func forget(_ link: Link) {
        remove(link, sayingGoodbye: false)
        environment.closed(link.id)
    }

    /// Drops what cannot be delivered, and lets both sides know.
    func giveUp(_ link: Link, _ reason: String) {
        environment.report("gave up \(link.id) with \(link.peer.map { "\($0.entity)" } ?? "its peer"): \(reason)")
        guard link.isInitiator else { return forget(link) }
        if let connection = link.connection {
            if connection.phase == .open { write(.goodbye, on: connection) }
            link.connection = nil
            end(connection)
            environment.setTimer(
                .reconnect(link.id, attempt: link.attempt), milliseconds: MessengerLimits.lastBackOffMilliseconds)
        }
        // Another name, so that the acceptor cannot take the next hello for the old session.
        link.cookie = environment.random() | 1
        link.acceptorCookie = 0
        link.session = Session()
        relieve(link)
        environment.reset(link.id)
    }

    /// After everything that waited was dropped.
    private func relieve(_ link: Link) {
        guard link.isPressureHigh else { return }
        link.isPressureHigh = false
        environment.pressureChanged(link.id, isHigh: false)
    }

    /// Takes a session out of the tables and closes its connection after what can still be written.
    func remove(_ link: Link, sayingGoodbye isPolite: Bool) {
        guard sessions[link.id.key] === link else { return }
        sessions.remove(link.id.key)
        if !link.isInitiator {
            accepted[link.key] = nil
            if link.connection == nil { interruptedCount -= 1 }
        }
        guard let connection = link.connection else { return }
        if isPolite, connection.phase == .open {
            while environment.isWritable(connection.id), let (header, payload) = link.session.nextUnsent() {
                environment.write(OutgoingFrame(header: header, payload: payload), on: connection.id)
            }
            if link.isInitiator { write(.goodbye, on: connection) } else { environment.flush(connection.id) }
        }
        link.connection = nil
        end(connection)
    }
}
