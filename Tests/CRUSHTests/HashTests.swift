import CRUSH
import Testing

/// The expected numbers are what `ceph_str_hash_rjenkins` and `crush_hash32` of Debian's libceph-common 16.2.15 return.
@Suite struct HashTests {
    /// The hashes of the prefixes of `name`, from none of its bytes to all.
    static let prefixes: [UInt32] = [
        0xbd49_d10d, 0xaff0_d81b, 0x12cf_4716, 0x7a31_dfd8, 0xe962_11ab, 0xa483_9a4c, 0x80f0_929e, 0x384a_25b5,
        0x68b7_2761, 0x8b74_3238, 0x8bc8_228e, 0x69b6_1377, 0x3fad_8c16, 0xef78_5db2, 0xb303_9168, 0xe733_a6f5,
        0x6e3d_34e0, 0xb0f5_9098, 0x0df1_5383, 0x33b2_8741, 0x15db_2be8, 0xf9d1_f953, 0xb4ca_0fb0, 0xcb58_f238,
        0x7d97_212f, 0xe2bb_2fdc, 0x640f_69b3, 0x5d16_b5ef, 0x87d8_cf25, 0xc79b_3683, 0x20c4_90b8, 0x4867_3a60,
        0x6ed6_5ba0, 0x0c6b_c5f2, 0xb812_9dab, 0x49c7_a041, 0x274b_b96b, 0x3462_ac15, 0xe104_6107, 0x5bd5_1cf5,
    ]
    static let name = "rbd_data.10226b8b4567.00000000000000ff~"

    @Test func namesHashAsInTheField() {
        let bytes = Array(Self.name.utf8)
        for (length, expected) in Self.prefixes.enumerated() {
            #expect(StringHash.rjenkins(Array(bytes.prefix(length))) == expected, "\(length) bytes")
        }
        #expect(StringHash.rjenkins(Array("foo".utf8)) == 0x7fc1_f406)
        #expect(StringHash.rjenkins(Array("rbd_directory".utf8)) == 0x30a9_8c1c)
    }

    @Test func bytesAboveTheLettersHashAsUnsigned() {
        #expect(StringHash.rjenkins([UInt8](repeating: 0xff, count: 23)) == 0xb92c_27d7)
        #expect(StringHash.rjenkins((0..<255).map { UInt8($0) }) == 0x9ea3_5677)
    }

    @Test func numbersHashAsInTheField() {
        let big: [UInt32] = [0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 12345, 0xdead_beef]
        #expect(CRUSHHash.hash(0) == 0x17c4_a80b)
        #expect(CRUSHHash.hash(1) == 0xd508_2851)
        #expect(CRUSHHash.hash(big[0]) == 0x7f71_bc2a)
        #expect(CRUSHHash.hash(0, 0) == 0x19ad_4ce9)
        #expect(CRUSHHash.hash(1, 2) == 0xb78d_ee9c)
        #expect(CRUSHHash.hash(big[0], big[1]) == 0x6e18_2e1e)
        #expect(CRUSHHash.hash(0, 0, 0) == 0x7a3b_f3b2)
        #expect(CRUSHHash.hash(1, 2, 3) == 0x735a_d42b)
        #expect(CRUSHHash.hash(big[0], big[1], big[2]) == 0x0516_1150)
        #expect(CRUSHHash.hash(0, 0, 0, 0) == 0x3faf_b04d)
        #expect(CRUSHHash.hash(1, 2, 3, 4) == 0x696d_1f16)
        #expect(CRUSHHash.hash(big[0], big[1], big[2], big[3]) == 0x9495_5a0b)
        #expect(CRUSHHash.hash(0, 0, 0, 0, 0) == 0xa45e_5003)
        #expect(CRUSHHash.hash(1, 2, 3, 4, 5) == 0x4b42_a1a1)
        #expect(CRUSHHash.hash(big[0], big[1], big[2], big[3], big[4]) == 0xe226_44cc)
    }
}
