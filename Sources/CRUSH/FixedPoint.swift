/// Weights as decimal text.
enum FixedPoint {
    /// `value` / 65536 with this many decimals (at most 14), rounded to the nearest and ties to even, as C's `printf` does.
    static func text(_ value: UInt32, decimals: Int) -> String {
        precondition((1...14).contains(decimals), "\(decimals) decimals")
        var scale: UInt64 = 1
        for _ in 0..<decimals { scale *= 10 }
        let whole = UInt64(value >> 16)
        let scaled = UInt64(value & 0xffff) * scale
        var fraction = scaled >> 16
        let rest = scaled & 0xffff
        if rest > 0x8000 || (rest == 0x8000 && fraction & 1 == 1) { fraction += 1 }
        let carry = fraction / scale
        let digits = String(fraction % scale)
        return "\(whole + carry)." + String(repeating: "0", count: decimals - digits.utf8.count) + digits
    }

    /// `value` / 65536 with three decimals, through a 32-bit float as `crushtool -d` does.
    static func remark(_ value: UInt32) -> String {
        text(UInt32(exactly: Float(value)) ?? value, decimals: 3)
    }

    /// The shortest text of at least three decimals that `crushtool -c` reads as `value`.
    ///
    /// It reads into a 32-bit float, multiplies by 65536 and cuts off the fraction, so three decimals as `crushtool -d`
    /// writes them lose the lowest bits of most weights. A value of more than 24 significant bits cannot be said in that
    /// language at all; the nearest is written.
    static func compilableText(_ value: UInt32) -> String {
        for decimals in 3...14 {
            let text = text(value, decimals: decimals)
            if let read = Float(text), UInt32(exactly: (read * 65536).rounded(.towardZero)) == value { return text }
        }
        return text(value, decimals: 14)
    }
}
