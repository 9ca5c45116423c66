import Wire

/// The words of a text map, one after the other. Comments run from `#` to the end of the line; a word is a run of letters,
/// digits and `-_.+`, or one of the brackets `{ } [ ]`.
struct TextLexer {
    /// A place in the text, both from 1; columns count bytes.
    struct Place: Hashable {
        var line: Int
        var column: Int
    }

    /// A word and where it begins; the end of the text is an empty word.
    struct Word {
        var text: String
        var place: Place
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var line = 1
    private var lineStart = 0
    /// The word that is taken next.
    private(set) var next = Word(text: "", place: Place(line: 1, column: 1))

    /// The words of bytes that outlive the lexer.
    init(_ bytes: UnsafeRawBufferPointer) throws(CRUSHError) {
        self.bytes = bytes
        try advance()
    }

    /// Takes the next word.
    mutating func take() throws(CRUSHError) -> Word {
        let word = next
        try advance()
        return word
    }

    private mutating func advance() throws(CRUSHError) {
        skipSpace()
        let place = Place(line: line, column: position - lineStart + 1)
        let begin = position
        while position < bytes.count, Self.isWordByte(bytes[position]) { position += 1 }
        if begin == position, position < bytes.count {
            guard "{}[]".utf8.contains(bytes[position]) else {
                throw CRUSHError(at: place, "unexpected \(Self.name(of: bytes[position]))")
            }
            position += 1
        }
        guard position - begin <= CRUSHLimits.name else {
            throw CRUSHError(at: place, "a word of \(position - begin) bytes: at most \(CRUSHLimits.name)")
        }
        next = Word(text: String(decoding: bytes[begin..<position], as: UTF8.self), place: place)
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\n"):
                position += 1
                line += 1
                lineStart = position
            case UInt8(ascii: "#"):
                while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { position += 1 }
            case UInt8(ascii: " "), 0x09, 0x0b, 0x0c, 0x0d:
                position += 1
            default:
                return
            }
        }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        Validation.isNameByte(byte) || byte == UInt8(ascii: "+")
    }

    private static func name(of byte: UInt8) -> String {
        (0x21...0x7e).contains(byte) ? "'\(Character(UnicodeScalar(byte)))'" : "byte \(byte)"
    }
}

extension CRUSHError {
    init(at place: TextLexer.Place, _ text: String) {
        self.init("line \(place.line), column \(place.column): \(text)")
    }
}
