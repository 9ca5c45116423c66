import NIOCore

/// A request of the transmission phase ("Request message"), big-endian, 28 bytes:
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | magic |
/// | 4 | 2 | command flags |
/// | 6 | 2 | type |
/// | 8 | 8 | cookie, returned in the reply |
/// | 16 | 8 | offset in bytes |
/// | 24 | 4 | length in bytes |
package struct RequestHeader: Hashable, Sendable {
    package var magic: UInt32
    package var flags: CommandFlags
    package var type: UInt16
    package var cookie: UInt64
    package var offset: UInt64
    package var length: UInt32

    package static let byteCount = 28

    package init(type: UInt16, flags: CommandFlags = [], cookie: UInt64, offset: UInt64, length: UInt32) {
        magic = Magic.request
        self.flags = flags
        self.type = type
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    /// Takes a header off `input`, whatever its magic; nil, and nothing taken, when fewer bytes are there.
    @inline(__always)
    init?(takenFrom input: inout ByteBuffer) {
        guard input.readableBytes >= Self.byteCount else { return nil }
        self = input.readWithUnsafeReadableBytes { bytes in
            (Self.byteCount, RequestHeader(bytes))
        }
    }

    @inline(__always)
    private init(_ bytes: UnsafeRawBufferPointer) {
        magic = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self))
        flags = CommandFlags(rawValue: UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self)))
        type = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 6, as: UInt16.self))
        cookie = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
        offset = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        length = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
    }

    /// Whether a payload of `length` bytes follows.
    var hasPayload: Bool { type == Command.write }

    /// Why the request must not reach an export of `size` bytes that was offered with `offered`; nil when it may. The
    /// mapping of errors is that of "Error values": past the end is ENOSPC where space is asked for and EINVAL elsewhere.
    @inline(__always)
    package func refusal(size: UInt64, offered: TransmissionFlags, alignment: UInt64) -> IOFailure? {
        var known: CommandFlags = .fua  // accepted on every command
        var pastEnd = IOFailure.invalid
        switch type {
        case Command.read:
            if length > Limits.payloadBytes { return .overflow }
        case Command.write:
            if offered.contains(.readOnly) { return .notPermitted }
            pastEnd = .noSpace
        case Command.flush:
            return known.isSuperset(of: flags) && offset == 0 && length == 0 ? nil : .invalid
        case Command.trim:
            if offered.contains(.readOnly) { return .notPermitted }
            if !offered.contains(.sendTrim) { return .invalid }
        case Command.writeZeroes:
            if offered.contains(.readOnly) { return .notPermitted }
            if !offered.contains(.sendWriteZeroes) { return .invalid }
            known.insert(.noHole)
            if offered.contains(.sendFastZero) { known.insert(.fastZero) }
            pastEnd = .noSpace
        case Command.cache:
            break
        default:
            return .invalid
        }
        guard known.isSuperset(of: flags) else { return .invalid }
        guard (offset | UInt64(length)) & (alignment - 1) == 0 else { return .invalid }
        // Subtraction, since offset + length may wrap.
        guard UInt64(length) <= size, offset <= size - UInt64(length) else { return pastEnd }
        return nil
    }
}
