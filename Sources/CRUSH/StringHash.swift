/// The hash that turns an object's name into 32 bits: Bob Jenkins' hash of 1996 ("evahash", in the public domain), which
/// RADOS takes for pools by default under the name `rjenkins`.
public enum StringHash {
    /// The hash of `name`. The same bytes give the same number as `osdmaptool --test-map-object` uses.
    public static func rjenkins(_ name: UnsafeRawBufferPointer) -> UInt32 {
        // The golden ratio; c begins with nothing, as the "previous hash" that the original allows is never given.
        var a: UInt32 = 0x9e37_79b9
        var b = a
        var c: UInt32 = 0
        var position = 0
        while name.count - position >= 12 {
            a &+= word(name, position)
            b &+= word(name, position + 4)
            c &+= word(name, position + 8)
            CRUSHHash.mix(&a, &b, &c)
            position += 12
        }
        // The lowest byte of c belongs to the length, so the bytes from the ninth on sit one place higher.
        a &+= tail(name, position..<position + 4)
        b &+= tail(name, position + 4..<position + 8)
        c &+= tail(name, position + 8..<position + 11) << 8
        c &+= UInt32(truncatingIfNeeded: name.count)
        CRUSHHash.mix(&a, &b, &c)
        return c
    }

    /// The hash of `name`.
    public static func rjenkins(_ name: [UInt8]) -> UInt32 {
        name.withUnsafeBytes { rjenkins($0) }
    }

    private static func word(_ name: UnsafeRawBufferPointer, _ position: Int) -> UInt32 {
        UInt32(littleEndian: name.loadUnaligned(fromByteOffset: position, as: UInt32.self))
    }

    /// The bytes of `range` that exist, as a little-endian number.
    private static func tail(_ name: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt32 {
        var value: UInt32 = 0
        for position in range.clamped(to: 0..<name.count) {
            value |= UInt32(name[position]) << UInt32(8 * (position - range.lowerBound))
        }
        return value
    }
}
