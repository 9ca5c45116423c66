import Wire

/// What a frame is for.
package enum FrameKind: UInt8 {
    /// Initiator → acceptor, first: a `Hello`.
    case hello = 1
    /// Acceptor → initiator: a `Welcome`; the session is connected.
    case welcome = 2
    /// Acceptor → initiator, last: a line saying why not.
    case refusal = 3
    /// A message of the session, with its sequence.
    case message = 4
    /// Nothing but the acknowledgement in the header.
    case acknowledgement = 5
    /// Asks for an acknowledgement, as a sign of life.
    case probe = 6
    /// Initiator → acceptor, last: the session is over, forget it.
    case goodbye = 7
}

/// The head of every frame: 64 bytes, little-endian. The payload follows at once.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 4 | magic `NCRM` |
/// | 4 | 1 | protocol version that the rest of the header follows: 1 |
/// | 5 | 1 | kind, see `FrameKind` |
/// | 6 | 2 | flags, 0 in version 1; unknown ones are refused |
/// | 8 | 4 | bytes of payload |
/// | 12 | 4 | CRC-32C of the payload |
/// | 16 | 8 | sequence: 1 for the session's first message, 0 in frames that are no message |
/// | 24 | 8 | the last sequence received from the peer in this session |
/// | 32 | 28 | zero; the place of the authentication tag |
/// | 60 | 4 | CRC-32C of bytes 0 to 59 |
///
/// The header has a checksum of its own so that a length is believed only when it is what the peer wrote.
package struct FrameHeader: Equatable {
    package static let byteCount = 64
    package static let magic: UInt32 = 0x4d52_434e
    package static let version: UInt8 = 1

    package var kind: FrameKind
    package var payloadCount: UInt32
    package var payloadChecksum: UInt32
    package var sequence: UInt64
    package var acknowledged: UInt64

    package init(_ kind: FrameKind, payload: Bytes, payloadChecksum: UInt32, sequence: UInt64, acknowledged: UInt64) {
        precondition(payload.count <= MessengerLimits.payloadBytes, "payload of \(payload.count) bytes")
        self.kind = kind
        payloadCount = UInt32(payload.count)
        self.payloadChecksum = payloadChecksum
        self.sequence = sequence
        self.acknowledged = acknowledged
    }

    /// A frame outside of the sequence.
    package init(_ kind: FrameKind, payload: Bytes = .empty, acknowledged: UInt64 = 0) {
        self.init(
            kind, payload: payload, payloadChecksum: Checksum.crc32c(payload), sequence: 0, acknowledged: acknowledged)
    }

    /// Writes the 64 bytes.
    package func encode(into bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count >= Self.byteCount, "room for a header: \(bytes.count) bytes")
        bytes.storeBytes(of: Self.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
        bytes.storeBytes(of: Self.version, toByteOffset: 4, as: UInt8.self)
        bytes.storeBytes(of: kind.rawValue, toByteOffset: 5, as: UInt8.self)
        bytes.storeBytes(of: 0, toByteOffset: 6, as: UInt16.self)
        bytes.storeBytes(of: payloadCount.littleEndian, toByteOffset: 8, as: UInt32.self)
        bytes.storeBytes(of: payloadChecksum.littleEndian, toByteOffset: 12, as: UInt32.self)
        bytes.storeBytes(of: sequence.littleEndian, toByteOffset: 16, as: UInt64.self)
        bytes.storeBytes(of: acknowledged.littleEndian, toByteOffset: 24, as: UInt64.self)
        for offset in stride(from: 32, to: 56, by: 8) { bytes.storeBytes(of: 0, toByteOffset: offset, as: UInt64.self) }
        bytes.storeBytes(of: 0, toByteOffset: 56, as: UInt32.self)
        let checksum = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<60]))
        bytes.storeBytes(of: checksum.littleEndian, toByteOffset: 60, as: UInt32.self)
    }

    /// Reads 64 bytes from a peer. Throws unless they are a header of this version whose payload has at most `limit` bytes.
    package init(decoding bytes: UnsafeRawBufferPointer, payloadLimit limit: Int) throws(WireError) {
        precondition(bytes.count >= Self.byteCount, "a whole header: \(bytes.count) bytes")
        func u32(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        func u64(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard u32(0) == Self.magic else { throw WireError("not Nacre's messenger protocol (wrong magic)") }
        guard u32(60) == Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<60])) else {
            throw WireError("frame header with a wrong checksum")
        }
        guard bytes[4] == Self.version else { throw WireError("frame of unknown version \(bytes[4])") }
        guard let kind = FrameKind(rawValue: bytes[5]) else { throw WireError("unknown kind of frame \(bytes[5])") }
        guard bytes[6] == 0, bytes[7] == 0 else { throw WireError("unknown frame flags") }
        self.kind = kind
        payloadCount = u32(8)
        guard payloadCount <= limit else {
            throw WireError("payload of \(payloadCount) bytes is over the limit of \(limit)")
        }
        payloadChecksum = u32(12)
        sequence = u64(16)
        acknowledged = u64(24)
        guard (kind == .message) == (sequence > 0) else { throw WireError("\(kind) with sequence \(sequence)") }
        let isBare = kind == .acknowledgement || kind == .probe || kind == .goodbye
        guard !isBare || payloadCount == 0 else { throw WireError("\(kind) with a payload") }
    }
}

/// Puts frames together from the pieces that a connection brings. Payloads are copied once, to where they stay.
package struct FrameParser: ~Copyable {
    /// Payloads above this are refused before anything is allocated; raised when the handshake is done.
    package var payloadLimit = MessengerLimits.handshakeBytes
    /// A header of which only a part has come.
    private var partial: [UInt8] = []
    /// A frame whose payload has not come whole.
    private var header: FrameHeader?
    private var payload = ByteWriter(capacity: 0)

    package init() {}

    /// The next frame that the beginning of `input` completes, and removes from `input` what was taken. Nil when more must
    /// come. After an error the connection is of no use.
    package mutating func next(
        _ input: inout UnsafeRawBufferPointer
    ) throws(WireError) -> (header: FrameHeader, payload: Bytes)? {
        if header == nil {
            guard try takeHeader(&input) else { return nil }
        }
        guard let complete = header else { preconditionFailure("no header taken") }
        let missing = Int(complete.payloadCount) - payload.count
        let piece = min(missing, input.count)
        payload.writeRaw(UnsafeRawBufferPointer(rebasing: input[..<piece]))
        input = UnsafeRawBufferPointer(rebasing: input[piece...])
        guard piece == missing else { return nil }
        header = nil
        let bytes: Bytes
        if complete.payloadCount == 0 { bytes = .empty } else { bytes = takePayload() }
        guard Checksum.crc32c(bytes) == complete.payloadChecksum else {
            throw WireError("frame payload with a wrong checksum")
        }
        return (complete, bytes)
    }

    private mutating func takePayload() -> Bytes {
        var taken = ByteWriter(capacity: 0)
        swap(&taken, &payload)
        return taken.finish()
    }

    /// False when the header is not whole yet.
    private mutating func takeHeader(_ input: inout UnsafeRawBufferPointer) throws(WireError) -> Bool {
        let size = FrameHeader.byteCount
        if partial.isEmpty, input.count >= size {
            try begin(FrameHeader(decoding: input, payloadLimit: payloadLimit))
            input = UnsafeRawBufferPointer(rebasing: input[size...])
            return true
        }
        let piece = min(size - partial.count, input.count)
        partial.append(contentsOf: input[..<piece])
        input = UnsafeRawBufferPointer(rebasing: input[piece...])
        // Whoever speaks another protocol may wait for an answer after a few bytes: tell by the first four.
        if partial.count >= 4, Array(partial[..<4]) != [0x4e, 0x43, 0x52, 0x4d] {
            throw WireError("not Nacre's messenger protocol (wrong magic)")
        }
        guard partial.count == size else { return false }
        let decoded: Result<FrameHeader, WireError> = partial.withUnsafeBytes { bytes in
            do throws(WireError) {
                return .success(try FrameHeader(decoding: bytes, payloadLimit: payloadLimit))
            } catch { return .failure(error) }
        }
        partial.removeAll(keepingCapacity: true)
        begin(try decoded.get())
        return true
    }

    private mutating func begin(_ header: FrameHeader) {
        self.header = header
        if header.payloadCount > 0 { payload = ByteWriter(capacity: Int(header.payloadCount)) }
    }
}
