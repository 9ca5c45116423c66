import Wire
public struct CRUSHMap: Sendable {
    public init() {}
    public init(from reader: inout ByteReader) throws(WireError) { _ = try reader.readU8() }
    public func encode(into writer: inout ByteWriter) { writer.writeU8(0) }
}
