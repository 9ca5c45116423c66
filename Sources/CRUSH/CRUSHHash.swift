/// The hash behind every choice of CRUSH, `rjenkins1`: one to five 32-bit numbers to 32 bits. It is the mixing step of Bob
/// Jenkins' hash of 1996 (public domain), laid over the inputs and two constants in an order that is part of the format.
public enum CRUSHHash {
    private static let seed: UInt32 = 1_315_423_911
    private static let firstPad: UInt32 = 231_232
    private static let secondPad: UInt32 = 1232

    /// The hash of one number.
    public static func hash(_ a: UInt32) -> UInt32 {
        var hash = seed ^ a
        var a = a, b = a, x = firstPad, y = secondPad
        mix(&b, &x, &hash)
        mix(&y, &a, &hash)
        return hash
    }

    /// The hash of two numbers: whether an OSD of partial weight takes an input, and the seed of a pool's groups.
    public static func hash(_ a: UInt32, _ b: UInt32) -> UInt32 {
        var hash = seed ^ a ^ b
        var a = a, b = b, x = firstPad, y = secondPad
        mix(&a, &b, &hash)
        mix(&x, &a, &hash)
        mix(&b, &y, &hash)
        return hash
    }

    /// The hash of three numbers: an item's draw in a straw2 bucket.
    public static func hash(_ a: UInt32, _ b: UInt32, _ c: UInt32) -> UInt32 {
        var hash = seed ^ a ^ b ^ c
        var a = a, b = b, c = c, x = firstPad, y = secondPad
        mix(&a, &b, &hash)
        mix(&c, &x, &hash)
        mix(&y, &a, &hash)
        mix(&b, &x, &hash)
        mix(&y, &c, &hash)
        return hash
    }

    /// The hash of four numbers: a choice in a list or tree bucket.
    public static func hash(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32) -> UInt32 {
        var hash = seed ^ a ^ b ^ c ^ d
        var a = a, b = b, c = c, d = d, x = firstPad, y = secondPad
        mix(&a, &b, &hash)
        mix(&c, &d, &hash)
        mix(&a, &x, &hash)
        mix(&y, &b, &hash)
        mix(&c, &x, &hash)
        mix(&y, &d, &hash)
        return hash
    }

    /// The hash of five numbers.
    public static func hash(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32, _ e: UInt32) -> UInt32 {
        var hash = seed ^ a ^ b ^ c ^ d ^ e
        var a = a, b = b, c = c, d = d, e = e, x = firstPad, y = secondPad
        mix(&a, &b, &hash)
        mix(&c, &d, &hash)
        mix(&e, &x, &hash)
        mix(&y, &a, &hash)
        mix(&b, &x, &hash)
        mix(&y, &c, &hash)
        mix(&d, &x, &hash)
        mix(&y, &e, &hash)
        return hash
    }

    /// Eight draws of a straw2 bucket at once: lane by lane the hash of (`input`, item, `replica`).
    @inline(__always)
    static func hash(input: UInt32, items: Lanes, replica: UInt32) -> Lanes {
        var hash = items ^ (seed ^ input ^ replica)
        var a = Lanes(repeating: input), b = items, c = Lanes(repeating: replica)
        var x = Lanes(repeating: firstPad), y = Lanes(repeating: secondPad)
        mix(&a, &b, &hash)
        mix(&c, &x, &hash)
        mix(&y, &a, &hash)
        mix(&b, &x, &hash)
        mix(&y, &c, &hash)
        return hash
    }

    /// The width in which a bucket's items are hashed: two registers of the oldest x86-64, whose long chains of dependent
    /// instructions then overlap.
    typealias Lanes = SIMD8<UInt32>

    /// The mixing step: reversible, and every bit of the inputs reaches every bit of `c`.
    @inline(__always)
    static func mix(_ a: inout UInt32, _ b: inout UInt32, _ c: inout UInt32) {
        a = (a &- b &- c) ^ (c >> 13)
        b = (b &- c &- a) ^ (a << 8)
        c = (c &- a &- b) ^ (b >> 13)
        a = (a &- b &- c) ^ (c >> 12)
        b = (b &- c &- a) ^ (a << 16)
        c = (c &- a &- b) ^ (b >> 5)
        a = (a &- b &- c) ^ (c >> 3)
        b = (b &- c &- a) ^ (a << 10)
        c = (c &- a &- b) ^ (b >> 15)
    }

    @inline(__always)
    private static func mix(_ a: inout Lanes, _ b: inout Lanes, _ c: inout Lanes) {
        a = (a &- b &- c) ^ (c &>> 13)
        b = (b &- c &- a) ^ (a &<< 8)
        c = (c &- a &- b) ^ (b &>> 13)
        a = (a &- b &- c) ^ (c &>> 12)
        b = (b &- c &- a) ^ (a &<< 16)
        c = (c &- a &- b) ^ (b &>> 5)
        a = (a &- b &- c) ^ (c &>> 3)
        b = (b &- c &- a) ^ (a &<< 10)
        c = (c &- a &- b) ^ (b &>> 15)
    }
}
