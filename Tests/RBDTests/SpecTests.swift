import RBD
import Testing
import Wire

@Suite struct SpecTests {
    @Test func specsOfTheField() throws {
        #expect(try ImageSpec(parsing: "demo").description == "rbd/demo")
        #expect(try ImageSpec(parsing: "vms/disk 1").description == "vms/disk 1")
        #expect(try ImageSpec(parsing: "vms/demo@monday").snapshot == "monday")
        #expect(try ImageSpec(parsing: "demo@monday").description == "rbd/demo@monday")
        #expect(try ImageSpec(parsing: "demo", defaultPool: "vms").pool == "vms")
        #expect(try ImageSpec(parsing: "rbd/\(String(repeating: "é", count: 100))").image.utf8.count == 200)
    }

    @Test(arguments: [
        ("", "empty"), ("rbd/", "empty"), ("/demo", "empty"), ("a/b/c", "namespace"), ("demo@", "snapshot"),
        ("demo@a@b", "'@'"), ("demo@a/b", "'/'"), ("de\nmo", "control"), ("demo\u{7f}", "control"),
        (String(repeating: "x", count: 256), "limit"),
    ]) func refusedSpecs(text: String, reason: String) {
        let error = #expect(throws: RBDError.self) { try ImageSpec(parsing: text) }
        #expect(error?.errno == 22)
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("\n") == false)
    }

    @Test func aNameMayNotHoldWhatSeparates() {
        for name in ["a/b", "a@b", "@", "/"] { #expect(throws: RBDError.self) { try ImageSpec.checkName(name) } }
        #expect(throws: Never.self) {
            try ImageSpec.checkName(String(repeating: "x", count: ImageLimits.nameBytes))
        }
    }

    @Test(
        arguments: [
            ("1", 1 << 20), ("1024", 1 << 30), ("10G", 10 << 30), ("4096B", 4096), ("1b", 1), ("2MiB", 2 << 20),
            ("3t", 3 << 40), ("1P", 1 << 50), ("4E", 1 << 62),
        ] as [(String, UInt64)]) func sizes(text: String, bytes: UInt64) throws
    {
        #expect(try SizeText.parseImageSize(text).rawValue == bytes)
    }

    @Test(arguments: [
        "0", "0G", "-1", "-5G", "", "G", "1.5G", "10X", "1GB", "5E", "16E", "17592186044416", "18446744073709551616",
        "99999999999999999999999", "1 G", "٣", "1G2", "+4",
    ]) func refusedSizes(text: String) {
        let error = #expect(throws: RBDError.self) { try SizeText.parseImageSize(text) }
        #expect(error?.errno == 22)
    }

    @Test func objectSizes() throws {
        #expect(try SizeText.parseObjectSize("4096") == 12)
        #expect(try SizeText.parseObjectSize("32M") == 25)
        for text in ["2048", "64M", "5000", "0", "-4K"] {
            #expect(throws: RBDError.self) { try SizeText.parseObjectSize(text) }
        }
    }
}
