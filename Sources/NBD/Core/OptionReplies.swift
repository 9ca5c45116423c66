import NIOCore

/// Encoding of the server's side of the negotiation.
extension ByteBuffer {
    /// Magic, the option answered, type, length, payload ("Option haggling").
    mutating func writeOptionReply(
        _ type: OptionReply, to option: UInt32, _ payload: (inout ByteBuffer) -> Void = { _ in }
    ) {
        writeMultipleIntegers(Magic.optionReply, option, type.rawValue)
        let place = writerIndex
        writeInteger(0 as UInt32)
        payload(&self)
        setInteger(UInt32(writerIndex - place - 4), at: place)
    }

    /// An error with a text for the user, cut to what clients bear.
    mutating func writeOptionError(_ type: OptionReply, to option: UInt32, _ text: String) {
        writeOptionReply(type, to: option) { $0.writeString(text.cut(toBytes: Limits.errorTextBytes)) }
    }

    /// The information replies of INFO and GO and their acknowledgement. Size and block sizes are always sent, name and
    /// description when asked for; types that are not known are ignored.
    mutating func writeInformation(_ export: ExportDescription, to option: UInt32, asked: Set<UInt16>) {
        writeOptionReply(.info, to: option) {
            $0.writeMultipleIntegers(InfoType.export, export.size, export.flags.rawValue)
        }
        if asked.contains(InfoType.name) {
            writeOptionReply(.info, to: option) {
                $0.writeInteger(InfoType.name)
                $0.writeString(export.name.cut(toBytes: Limits.stringBytes))
            }
        }
        if asked.contains(InfoType.description) {
            writeOptionReply(.info, to: option) {
                $0.writeInteger(InfoType.description)
                $0.writeString(export.summary.cut(toBytes: Limits.errorTextBytes))
            }
        }
        writeOptionReply(.info, to: option) {
            $0.writeMultipleIntegers(
                InfoType.blockSize, export.blockSizes.minimum, export.blockSizes.preferred, UInt32(Limits.payloadBytes))
        }
        writeOptionReply(.ack, to: option)
    }

    /// The reply to NBD_OPT_EXPORT_NAME, the only one without a header.
    mutating func writeOldStyleExport(_ export: ExportDescription, zeroes: Bool) {
        writeMultipleIntegers(export.size, export.flags.rawValue)
        if zeroes { writeRepeatingByte(0, count: 124) }
    }

    /// NBD_REP_SERVER for each name that clients can bear, then the acknowledgement.
    mutating func writeList(_ names: [String]) {
        for name in names where name.utf8.count <= Limits.listedNameBytes {
            writeOptionReply(.server, to: OptionCode.list) {
                $0.writeInteger(UInt32(name.utf8.count))
                $0.writeString(name)
            }
        }
        writeOptionReply(.ack, to: OptionCode.list)
    }
}

extension OptionReply {
    /// How a client hears of `failure`.
    init(_ failure: OpenFailure.Kind) {
        switch failure {
        case .notFound, .unavailable: self = .unknown
        case .refused: self = .policy
        case .invalid: self = .invalid
        case .shutdown: self = .shutdown
        }
    }
}

extension String {
    /// As many whole characters as fit into `limit` bytes of UTF-8.
    func cut(toBytes limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var end = utf8.index(utf8.startIndex, offsetBy: limit)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}
