import DequeModule
import Wire

/// The sequence numbers of one session in both directions, and the messages that may have to be sent again. A pure value.
///
/// Messages sent have sequences 1, 2, …; `acknowledged` ≤ `sent` ≤ `queued`: what is above `acknowledged` is kept, what is
/// above `sent` has not been written to the current connection.
package struct Session {
    /// A message that waits for its acknowledgement, with its checksum, which costs a pass over the payload.
    private struct Waiting {
        var payload: Bytes
        var checksum: UInt32
    }

    private var waiting = Deque<Waiting>()
    private(set) var waitingBytes = 0
    private(set) var acknowledged: UInt64 = 0
    private(set) var sent: UInt64 = 0
    package var queued: UInt64 { acknowledged + UInt64(waiting.count) }

    /// The last sequence received and given to the owner.
    private(set) var received: UInt64 = 0
    /// Messages and bytes received since the peer was last told.
    private(set) var owedMessages = 0
    private(set) var owedBytes = 0

    /// What `receive` says about a message.
    package enum Receipt {
        case new
        /// Received before: the peer had not heard of it when it sent it again.
        case duplicate
    }

    /// Messages not acknowledged.
    package var waitingMessages: Int { waiting.count }
    package var hasUnsent: Bool { sent < queued }
    /// True when enough has been received to say so without waiting for something to carry it.
    package var owesAcknowledgement: Bool {
        owedMessages >= MessengerLimits.acknowledgeMessages || owedBytes >= MessengerLimits.acknowledgeBytes
    }

    // MARK: Sending

    /// Puts a message behind those that wait.
    package mutating func enqueue(_ payload: Bytes) {
        waiting.append(Waiting(payload: payload, checksum: Checksum.crc32c(payload)))
        waitingBytes += payload.count
    }

    /// The next frame for the current connection; nil when everything has been written.
    package mutating func nextUnsent() -> (header: FrameHeader, payload: Bytes)? {
        guard sent < queued else { return nil }
        let message = waiting[Int(sent - acknowledged)]
        sent += 1
        let header = FrameHeader(
            .message, payload: message.payload, payloadChecksum: message.checksum, sequence: sent,
            acknowledged: acknowledgement())
        return (header, message.payload)
    }

    /// The peer has everything up to `sequence`. Throws when that was never sent.
    package mutating func acknowledge(_ sequence: UInt64) throws(WireError) {
        guard sequence <= sent else {
            throw WireError("acknowledgement of \(sequence), only \(sent) messages were sent")
        }
        // Lower is no error: frames of one connection are in order, but a welcome comes before what an old one said.
        while acknowledged < sequence {
            guard let message = waiting.popFirst() else { preconditionFailure("\(acknowledged) < \(sent), none waits") }
            waitingBytes -= message.payload.count
            acknowledged += 1
        }
    }

    // MARK: Receiving

    /// A message arrived. Throws when one before it is missing, which cannot be on a connection that keeps order.
    package mutating func receive(_ sequence: UInt64, count: Int) throws(WireError) -> Receipt {
        guard sequence > received else { return .duplicate }
        guard sequence == received + 1 else {
            throw WireError("message \(sequence) follows \(received)")
        }
        received = sequence
        owedMessages += 1
        owedBytes += count
        return .new
    }

    /// The acknowledgement for a frame that is going out now.
    package mutating func acknowledgement() -> UInt64 {
        owedMessages = 0
        owedBytes = 0
        return received
    }

    // MARK: Connections

    /// A new connection continues the session: everything that the peer has not received is sent again. Throws when the
    /// peer's word cannot be true.
    package mutating func resume(peerReceived: UInt64) throws(WireError) {
        guard peerReceived >= acknowledged, peerReceived <= queued else {
            throw WireError("the peer says it received \(peerReceived) of messages \(acknowledged) to \(queued)")
        }
        sent = max(sent, peerReceived)
        try acknowledge(peerReceived)
        sent = peerReceived
        // The handshake has told the peer what was received.
        _ = acknowledgement()
    }
}
