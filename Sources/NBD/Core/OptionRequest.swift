import NIOCore

/// An option of a client ("Option haggling"), big-endian, 16 bytes before its payload:
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | magic "IHAVEOPT" |
/// | 8 | 4 | option |
/// | 12 | 4 | length of the payload in bytes |
struct OptionHeader {
    static let byteCount = 16

    let magic: UInt64
    let code: UInt32
    let length: UInt32

    /// Takes a header off `input`, whatever its magic; nil, and nothing taken, when fewer bytes are there.
    init?(takenFrom input: inout ByteBuffer) {
        guard let (magic, code, length) = input.readMultipleIntegers(as: (UInt64, UInt32, UInt32).self) else {
            return nil
        }
        self.magic = magic
        self.code = code
        self.length = length
    }
}

/// The payload of NBD_OPT_INFO and NBD_OPT_GO: u32 length of the name, the name, u16 count, that many u16 types.
struct InfoRequest {
    let name: String
    let types: Set<UInt16>

    /// Throws the text of an NBD_REP_ERR_INVALID when the payload is not exactly that.
    init(_ payload: ByteBuffer) throws(OpenFailure) {
        var payload = payload
        guard let length = payload.readInteger(as: UInt32.self), payload.readableBytes >= 2 else {
            throw OpenFailure(.invalid, "option payload is too short")
        }
        guard Int(length) <= payload.readableBytes - 2 else {
            throw OpenFailure(.invalid, "name length \(length) does not fit into the option")
        }
        name = try exportName(payload.readSlice(length: Int(length))!)
        let count = Int(payload.readInteger(as: UInt16.self)!)
        guard payload.readableBytes == 2 * count else {
            throw OpenFailure(.invalid, "\(count) information requests do not fill the option")
        }
        types = Set((0..<count).map { _ in payload.readInteger(as: UInt16.self)! })
    }
}

/// A name as an export directory may be asked for it: bounded UTF-8 without NUL. Throws why it is not.
func exportName(_ bytes: ByteBuffer) throws(OpenFailure) -> String {
    guard bytes.readableBytes <= Limits.stringBytes else {
        throw OpenFailure(.invalid, "export name of \(bytes.readableBytes) bytes, the limit is \(Limits.stringBytes)")
    }
    guard let name = String(validating: bytes.readableBytesView, as: UTF8.self), !name.utf8.contains(0) else {
        throw OpenFailure(.invalid, "export name is not UTF-8 without NUL")
    }
    return name
}
