import Foundation
import Glibc
import ObjectStore
import Protocol
import Testing
import Wire

/// The block file through io_uring and through threads: the same contract.
@Suite struct DeviceTests {
    private func withFile(_ withoutRing: Bool, _ body: (FileDevice, String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "/nacre-device-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        let device = try FileDevice(path: path, create: true, withoutRing: withoutRing)
        #expect((device.fallbackReason != nil) == withoutRing)
        try body(device, path)
    }

    /// Submits and takes completions until there are `count`.
    private func completions(_ device: FileDevice, _ count: Int) throws -> [IOTag: Int64] {
        try device.submit()
        var found: [IOCompletion] = []
        let deadline = Date() + 20
        while found.count < count {
            guard Date() < deadline else { throw Failure("\(found.count) of \(count) operations complete") }
            var descriptor = pollfd(fd: device.eventDescriptor, events: Int16(POLLIN), revents: 0)
            if Glibc.poll(&descriptor, 1, 1000) == 1 {
                var value: UInt64 = 0
                _ = Glibc.read(device.eventDescriptor, &value, 8)
            }
            device.poll(&found)
            // The next part of a growth.
            try device.submit()
        }
        #expect(found.count == count)
        return Dictionary(uniqueKeysWithValues: found.map { ($0.tag, $0.result) })
    }

    private func filled(_ blocks: Int, _ byte: UInt8) -> BlockBuffer {
        let buffer = BlockBuffer(count: blocks * 4096)
        _ = buffer.bytes.initializeMemory(as: UInt8.self, repeating: byte)
        return buffer
    }

    /// More at once than are in flight at a time, before anything was submitted: another thread may do that later.
    @Test(arguments: [false, true]) func writesManyNow(withoutRing: Bool) throws {
        try withFile(withoutRing) { device, path in
            try device.growNow(to: 4 << 20)
            let buffers = (0..<300).map { filled(2, UInt8($0 % 255 + 1)) }
            try device.writeNow(
                buffers.enumerated().map { n, buffer in
                    let all = UnsafeRawBufferPointer(buffer.bytes)
                    return PlacedWrite(
                        offset: UInt64((299 - n) * 12288),
                        parts: [
                            UnsafeRawBufferPointer(rebasing: all[..<4096]),
                            UnsafeRawBufferPointer(rebasing: all[4096...]),
                        ])
                })
            withExtendedLifetime(buffers) {}
            let back = filled(2, 0)
            for n in 0..<300 {
                try device.readNow(into: back.bytes, at: UInt64((299 - n) * 12288))
                #expect(back.bytes.allSatisfy { $0 == UInt8(n % 255 + 1) }, "write \(n)")
            }
            // Beyond what a file may be.
            let one = UnsafeRawBufferPointer(back.bytes)
            #expect(throws: DeviceError.self) {
                try device.writeNow([PlacedWrite(offset: 0, parts: [one]), PlacedWrite(offset: 1 << 62, parts: [one])])
            }
            withExtendedLifetime(back) {}
        }
    }

    @Test(arguments: [false, true]) func readsWhatItWrote(withoutRing: Bool) throws {
        try withFile(withoutRing) { device, path in
            device.grow(to: 3 << 20, tag: 1)
            #expect(try completions(device, 1) == [1: 0])
            #expect(device.size == 3 << 20)
            // More at a time than there are threads; some in several parts.
            let buffers = (0..<100).map { filled(2, UInt8($0 + 1)) }
            for (n, buffer) in buffers.enumerated() {
                let all = UnsafeRawBufferPointer(buffer.bytes)
                let parts =
                    n % 3 == 0
                    ? [UnsafeRawBufferPointer(rebasing: all[..<4096]), UnsafeRawBufferPointer(rebasing: all[4096...])]
                    : [all]
                device.write(parts, at: UInt64(n * 8192), durable: n % 2 == 0, tag: IOTag(n + 1000))
            }
            let written = try completions(device, 100)
            #expect(written.values.allSatisfy { $0 == 8192 } && written.count == 100)
            withExtendedLifetime(buffers) {}
            device.flush(tag: 5)
            #expect(try completions(device, 1) == [5: 0])
            let back = (0..<100).map { _ in filled(2, 0) }
            for (n, buffer) in back.enumerated() {
                device.read(into: buffer.bytes, at: UInt64(n * 8192), tag: IOTag(n))
            }
            #expect(try completions(device, 100).values.allSatisfy { $0 == 8192 })
            for n in 0..<100 {
                #expect(back[n].bytes.allSatisfy { $0 == UInt8(n + 1) }, "block pair \(n)")
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count == 3 << 20)
        }
    }

    /// A transfer that moves less than asked, or nothing, is an error of its own operation and of no other.
    @Test(arguments: [false, true]) func failsAlone(withoutRing: Bool) throws {
        try withFile(withoutRing) { device, _ in
            let buffer = filled(4, 7)
            device.write([UnsafeRawBufferPointer(buffer.bytes)], at: 0, durable: true, tag: 1)
            #expect(try completions(device, 1) == [1: 16384])
            let back = filled(4, 0)
            device.read(into: back.bytes, at: 8192, tag: 2)
            // Not a whole block: direct I/O refuses it.
            let wrong = filled(1, 0)
            device.read(into: wrong.bytes, at: 100, tag: 3)
            let other = filled(1, 0)
            device.read(into: other.bytes, at: 4096, tag: 4)
            let results = try completions(device, 3)
            #expect(results[2] == -Int64(EIO), "half of it lies behind the end")
            #expect(results[3] == -Int64(EINVAL))
            #expect(results[4] == 4096 && other.bytes.allSatisfy { $0 == 7 })
            withExtendedLifetime((buffer, back, wrong)) {}
        }
    }

    /// What a ring has begun may end after it is gone: never freed.
    nonisolated(unsafe) private static let lasting = (0..<200).map { _ in BlockBuffer(count: StoreLimits.blockSize) }

    /// What was begun ends before the device is gone, but for what the kernel has already; what was not is given up.
    @Test(arguments: [false, true]) func goesWithWorkUnderWay(withoutRing: Bool) throws {
        let buffer = filled(64, 9), back = Self.lasting
        for _ in 0..<20 {
            try withFile(withoutRing) { device, _ in
                device.write([UnsafeRawBufferPointer(buffer.bytes)], at: 0, durable: false, tag: 1)
                _ = try completions(device, 1)
                for (n, target) in back.enumerated() {
                    device.read(into: target.bytes, at: UInt64(n % 64 * 4096), tag: IOTag(n))
                }
                try device.submit()
            }
        }
        withExtendedLifetime(buffer) {}
    }

    /// A growth that is waited for while it is under way.
    @Test(arguments: [false, true]) func waitsForAGrowth(withoutRing: Bool) throws {
        try withFile(withoutRing) { device, _ in
            device.grow(to: 8 << 20, tag: 9)
            try device.growNow(to: 8 << 20)
            #expect(device.size > 0)
            let done = try completions(device, 1)
            #expect(done == [9: 0] && device.size == 8 << 20)
        }
    }
}
