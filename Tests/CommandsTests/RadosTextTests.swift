import Commands
import Foundation
import Protocol
import Testing
import Wire

/// What `nacre rados` shows and leaves behind.
@Suite struct RadosTextTests {
    /// The form is that of `hexdump -C`, which is the oracle.
    @Test func dumpsAreThoseOfHexdump() throws {
        let cases: [[UInt8]] = [
            [], Array("hello".utf8), Array(0..<16), Array(0..<255) + [255, 0, 65], [UInt8](repeating: 0, count: 100),
            Array("x".utf8) + [UInt8](repeating: 7, count: 63) + Array("end".utf8),
        ]
        for bytes in cases {
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("nacre-dump-\(UUID()).bin")
            try Data(bytes).write(to: file)
            defer { try? FileManager.default.removeItem(at: file) }
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/hexdump")
            process.arguments = ["-C", file.path]
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            let shown = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            // hexdump says nothing of nothing.
            #expect(HexDump.lines(Bytes(bytes)) == (bytes.isEmpty ? "00000000\n" : shown))
        }
    }

    @Test func timesHaveMicrosecondsAndTheZone() {
        let text = TimeText.local(nanoseconds: 1_700_000_000_012_345_678)
        #expect(text.contains(":20.012345") && (text.hasSuffix("+0000") || text.count == 31))
    }

    @Test func aBenchRecordSaysWhereBlocksAre() throws {
        let record = ObjectBench.Record(prefix: "p", blockSize: 4096, objectSize: 16384, blocks: 9)
        #expect(try ObjectBench.Record(decoding: record.encoded) == record)
        #expect(record.place(of: 0) == (ObjectName("p_object0"), 0))
        #expect(record.place(of: 8) == (ObjectName("p_object2"), 0))
        #expect(record.place(of: 7) == (ObjectName("p_object1"), 12288))
        #expect(record.objects == 3)
        for bad in [
            ObjectBench.Record(prefix: "p", blockSize: 0, objectSize: 16384, blocks: 9),
            ObjectBench.Record(prefix: "p", blockSize: 4096, objectSize: 5000, blocks: 9),
            ObjectBench.Record(prefix: "p", blockSize: 4096, objectSize: 1 << 40, blocks: 9),
        ] {
            #expect(throws: WireError.self) { try ObjectBench.Record(decoding: bad.encoded) }
        }
        #expect(throws: WireError.self) { try ObjectBench.Record(decoding: Bytes("junk")) }
    }

    @Test func benchesThatCannotBeAreRefused() {
        func plan(
            seconds: UInt32 = 1, concurrency: Int = 16, blockSize: Int = 4096, objectSize: Int = 4096, run: String = "r"
        ) throws {
            _ = try ObjectBench.Plan(
                seconds: seconds, mode: .write, concurrency: concurrency, blockSize: blockSize, objectSize: objectSize,
                isCleaned: true, runName: run)
        }
        #expect(throws: Never.self) { try plan() }
        #expect(throws: CommandError.self) { try plan(seconds: 0) }
        #expect(throws: CommandError.self) { try plan(concurrency: 0) }
        #expect(throws: CommandError.self) { try plan(blockSize: 0, objectSize: 0) }
        #expect(throws: CommandError.self) { try plan(objectSize: 5000) }
        #expect(throws: CommandError.self) { try plan(objectSize: 256 << 20) }
        #expect(throws: CommandError.self) { try plan(run: "") }
    }
}
