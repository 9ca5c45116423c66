import CSupport

/// CRC-32C (Castagnoli) as used by iSCSI, ext4 and RADOS: reflected, initial value and final exclusive-or all ones.
public enum Checksum {
    /// The checksum of `bytes` following data whose checksum is `previous`.
    @inlinable
    public static func crc32c(_ bytes: UnsafeRawBufferPointer, after previous: UInt32 = 0) -> UInt32 {
        nacre_crc32c(previous, bytes.baseAddress, bytes.count)
    }

    /// The checksum of `bytes` following data whose checksum is `previous`.
    @inlinable
    public static func crc32c(_ bytes: Bytes, after previous: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { crc32c($0, after: previous) }
    }
}
