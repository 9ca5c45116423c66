import Wire

/// How the ends prove who they are.
package enum AuthenticationMethod: UInt8 {
    /// Not at all: between processes of one host only.
    case none = 0
}

/// The initiator's first frame.
package struct Hello: Equatable {
    /// The protocol versions it speaks.
    package var versions: ClosedRange<UInt8>
    /// See `AuthenticationMethod`; a number because newer initiators know more methods.
    package var method: UInt8
    package var identity: Identity
    /// The initiator's name for the session: random, the same for all connections of it.
    package var cookie: UInt64
    /// The acceptor's name for the session from its last welcome; 0 when there was none.
    package var acceptorCookie: UInt64
    /// Which attempt this is, so that an old hello that arrives late does not take the session from a newer one.
    package var attempt: UInt64
    /// The last sequence the initiator has received.
    package var lastReceived: UInt64

    package func encoded() -> Bytes {
        Bytes.encoding { writer in
            writer.versioned(1) { w in
                w.writeU8(versions.lowerBound)
                w.writeU8(versions.upperBound)
                w.writeU8(method)
                identity.encode(into: &w)
                w.writeU64(cookie)
                w.writeU64(acceptorCookie)
                w.writeU64(attempt)
                w.writeU64(lastReceived)
            }
        }
    }

    package init(
        versions: ClosedRange<UInt8> = FrameHeader.version...FrameHeader.version, method: AuthenticationMethod,
        identity: Identity, cookie: UInt64, acceptorCookie: UInt64, attempt: UInt64, lastReceived: UInt64
    ) {
        self.versions = versions
        self.method = method.rawValue
        self.identity = identity
        self.cookie = cookie
        self.acceptorCookie = acceptorCookie
        self.attempt = attempt
        self.lastReceived = lastReceived
    }

    package init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("hello", supported: 1) { r, _ throws(WireError) in
            let least = try r.readU8()
            let most = try r.readU8()
            guard least <= most else { throw WireError("versions \(least) to \(most)") }
            let method = try r.readU8()
            var hello = Hello(
                versions: least...most, method: .none, identity: try Identity(from: &r), cookie: try r.readU64(),
                acceptorCookie: try r.readU64(), attempt: try r.readU64(), lastReceived: try r.readU64())
            hello.method = method
            // Attempts count from 1: a session that nobody attempted would never be connected nor forgotten.
            guard hello.attempt > 0 else { throw WireError("hello with attempt 0") }
            return hello
        }
        try reader.expectEnd()
    }
}

/// The acceptor's answer to a hello it likes. The initiator compares `cookie` with the one it knows: the same, and the
/// session is resumed; another, and the acceptor has lost it. Neither side needs to say which, so they cannot disagree.
package struct Welcome: Equatable {
    package var version: UInt8
    package var identity: Identity
    /// The acceptor's name for the session: random, drawn anew whenever it makes one.
    package var cookie: UInt64
    /// The last sequence the acceptor has received.
    package var lastReceived: UInt64

    package init(version: UInt8 = FrameHeader.version, identity: Identity, cookie: UInt64, lastReceived: UInt64) {
        self.version = version
        self.identity = identity
        self.cookie = cookie
        self.lastReceived = lastReceived
    }

    package func encoded() -> Bytes {
        Bytes.encoding { writer in
            writer.versioned(1) { w in
                w.writeU8(version)
                identity.encode(into: &w)
                w.writeU64(cookie)
                w.writeU64(lastReceived)
            }
        }
    }

    package init(decoding bytes: Bytes) throws(WireError) {
        var reader = ByteReader(bytes)
        self = try reader.versioned("welcome", supported: 1) { r, _ throws(WireError) in
            Welcome(
                version: try r.readU8(), identity: try Identity(from: &r), cookie: try r.readU64(),
                lastReceived: try r.readU64())
        }
        try reader.expectEnd()
        guard cookie != 0 else { throw WireError("welcome without a session cookie") }
    }
}

/// The acceptor's answer to a hello it does not like: one line.
package enum Refusal {
    package static func encoded(_ reason: String) -> Bytes {
        var text = reason.replacing("\n", with: " ")
        while text.utf8.count > MessengerLimits.reasonBytes { text.removeLast() }
        return Bytes.encoding { $0.writeString(text) }
    }

    package static func reason(decoding bytes: Bytes) throws(WireError) -> String {
        var reader = ByteReader(bytes)
        let text = try reader.readString(atMost: MessengerLimits.reasonBytes)
        try reader.expectEnd()
        return String(text.map { $0.isNewline ? " " : $0 })
    }
}

extension Identity {
    package init(from reader: inout ByteReader) throws(WireError) {
        let cluster = try UniqueID(from: &reader)
        self.init(
            cluster: cluster == UniqueID(high: 0, low: 0) ? nil : cluster, entity: try Entity(from: &reader),
            incarnation: try reader.readU64())
    }

    package func encode(into writer: inout ByteWriter) {
        // All zeros: not known yet.
        (cluster ?? UniqueID(high: 0, low: 0)).encode(into: &writer)
        entity.encode(into: &writer)
        writer.writeU64(incarnation)
    }

    /// Why the two do not belong together; nil when they do.
    package func conflict(with peer: Identity) -> String? {
        guard let mine = cluster, let theirs = peer.cluster, mine != theirs else { return nil }
        return
            "\(entity) belongs to cluster \(mine), \(peer.entity) to cluster \(theirs): check its address and directory"
    }
}
