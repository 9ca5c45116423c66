import Wire

/// How maps travel between daemons and rest on disks: a versioned section around the compiled form of the field's tools.
///
/// Version 2 replaced a form of Nacre's own, which knew less.
extension CRUSHMap {
    /// Decodes a map. Throws on anything that is not a valid map: see `init(compiled:)`.
    public init(from reader: inout ByteReader) throws(WireError) {
        self = try reader.versioned("CRUSH map", supported: 2) { r, version throws(WireError) in
            guard version >= 2 else { throw WireError("CRUSH map: version \(version) is no longer read") }
            let bytes = try r.readBytes(atMost: CRUSHLimits.fileBytes)
            do throws(CRUSHError) { return try CRUSHMap(compiled: bytes) } catch {
                throw WireError("CRUSH map: \(error)")
            }
        }
    }

    /// Encodes the map. Equal maps give equal bytes.
    public func encode(into writer: inout ByteWriter) {
        writer.versioned(2, compatible: 2) { $0.writeBytes(compiled) }
    }
}
