import ClientTestSupport
import Protocol
import RADOS
import Synchronization
import Testing
import Wire

import RBD

/// A pool in memory and its images; ids count from 1 so that runs repeat.
struct ImageBench {
    let pool = MemoryPool()
    let images: Images

    init() {
        let next = Counter()
        images = Images(
            pool: pool, drawID: { next.next() }, now: { Timestamp(seconds: 1, nanoseconds: 2) }, pause: { _ in })
    }

    /// Objects but for the directory, which stays when it is empty.
    var objects: [String] { pool.objects.names.filter { $0 != "rbd_directory" } }

    var directory: [String] {
        (pool.objects.object("rbd_directory")?.omap.keys.map { String($0) } ?? []).sorted()
    }

    /// The time of every watch is over, as after a client that died.
    func forgetWatchers() {
        var objects = pool.objects
        for id in objects.objects.keys { objects.objects[id]?.watchers = [] }
        pool.objects = objects
    }

    func putData(_ info: ImageInfo, _ numbers: [UInt64]) async throws {
        let prefix = Array(info.header.objectPrefix.utf8)
        for number in numbers {
            _ = try await pool.perform(
                [.write(offset: 0, data: Bytes(repeating: 7, count: 8192))],
                on: ImageNaming.dataObject(prefix: prefix, number: number))
        }
    }

    /// Exactly one image of this name and size, and nothing besides.
    func expectOnly(_ name: String, size: UInt64, _ comment: String) async throws {
        let info = try await images.info(name)
        #expect(info.header.size.rawValue == size, "\(comment)")
        #expect(objects == ["rbd_header.\(info.id)", "rbd_id.\(name)"], "\(comment)")
        #expect(directory == ["id_\(info.id)", "name_\(name)"], "\(comment)")
        #expect(try await images.list() == [name], "\(comment)")
    }

    func expectNothing(_ comment: String) async throws {
        #expect(objects == [] && directory == [], "\(comment): \(objects) \(directory)")
        #expect(try await images.list() == [], "\(comment)")
    }
}

final class Counter: Sendable {
    private let value = Mutex<UInt64>(0)
    func next() -> UInt64 {
        value.withLock {
            $0 += 1
            return $0
        }
    }
}

@Suite struct MetadataTests {
    @Test func layoutIsThatOfFormat2() async throws {
        let bench = ImageBench()
        try await bench.images.create("demo", size: ByteCount(10 << 30), options: ImageOptions(order: 23))
        let id = "0000000000000001"
        let objects = bench.pool.objects
        #expect(objects.object("rbd_id.demo")?.data == [16, 0, 0, 0] + Array(id.utf8))
        let directory = try #require(objects.object("rbd_directory")).omap
        #expect(directory[Bytes("name_demo")]?.array == [16, 0, 0, 0] + Array(id.utf8))
        #expect(directory[Bytes("id_\(id)")]?.array == [4, 0, 0, 0] + Array("demo".utf8))
        let header = try #require(objects.object("rbd_header.\(id)")).omap
        #expect(header[Bytes("size")]?.array == [0, 0, 0, 128, 2, 0, 0, 0])
        #expect(header[Bytes("order")]?.array == [23])
        #expect(header[Bytes("object_prefix")]?.array == [25, 0, 0, 0] + Array("rbd_data.\(id)".utf8))
        #expect(header[Bytes("features")]?.array == [UInt8](repeating: 0, count: 8))
        #expect(header[Bytes("snap_seq")]?.array == [UInt8](repeating: 0, count: 8))
        #expect(header[Bytes("create_timestamp")]?.array == [1, 0, 0, 0, 2, 0, 0, 0])
        let name = ImageNaming.dataObject(prefix: Array("rbd_data.\(id)".utf8), number: 0x12ab)
        #expect(name.description == "rbd_data.\(id).00000000000012ab")
        #expect(ImageNaming.number(of: name, prefix: Array("rbd_data.\(id)".utf8)) == 0x12ab)
    }

    @Test func errorsNameTheImageAndCarryTheErrno() async throws {
        let bench = ImageBench()
        try await bench.images.create("x", size: ByteCount(1))
        func errno(_ body: () async throws -> Void) async -> Int32? {
            do { try await body() } catch let error as RBDError {
                #expect(!error.description.contains("\n"))
                return error.errno
            } catch { return nil }
            return 0
        }
        #expect(await errno { try await bench.images.create("x", size: ByteCount(1)) } == 17)
        #expect(await errno { try await bench.images.create("y", size: ByteCount(0)) } == 22)
        #expect(await errno { try await bench.images.create("y", size: ByteCount(UInt64.max)) } == 22)
        #expect(await errno { try await bench.images.create("y", size: ByteCount(1), options: .init(order: 11)) } == 22)
        #expect(await errno { try await bench.images.create("a/b", size: ByteCount(1)) } == 22)
        #expect(await errno { _ = try await bench.images.info("nope") } == 2)
        #expect(await errno { try await bench.images.remove("nope") } == 2)
        #expect(await errno { try await bench.images.resize("nope", to: ByteCount(1)) } == 2)
        #expect(await errno { try await bench.images.resize("x", to: ByteCount(0)) } == 22)
        let error = await #expect(throws: RBDError.self) { try await bench.images.info("nope") }
        #expect(error?.description == "image 'rbd/nope' does not exist")
    }

    @Test func removeRefusesWhileWatchedAndNamesTheWatcher() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 30))
        _ = try await bench.pool.perform(
            [.watch(cookie: 3, timeoutMilliseconds: 1000)], on: ImageNaming.header(info.id))
        let error = await #expect(throws: RBDError.self) { try await bench.images.remove("x") }
        #expect(error?.errno == 16)
        #expect(error?.description.contains("'rbd/x' is in use by test") == true)
        _ = try await bench.pool.perform([.unwatch(cookie: 3)], on: ImageNaming.header(info.id))
        try await bench.images.remove("x")
        try await bench.expectNothing("after the removal")
    }

    @Test func aWatcherThatComesWhileTheRemovalBeginsIsSeen() async throws {
        for request in 0..<8 {
            let bench = ImageBench()
            let info = try await bench.images.create("x", size: ByteCount(1 << 30))
            try await bench.putData(info, [0])
            let opened = Mutex(false)
            bench.pool.interpose(before: request) {
                // As an image is opened.
                let steps: [ObjectOperation] = [
                    .assertExists, .compareOmap(key: ImageNaming.removing, expected: nil),
                    .watch(cookie: 1, timeoutMilliseconds: 1000),
                ]
                let isOpen = (try? await bench.pool.perform(steps, on: ImageNaming.header(info.id))) != nil
                opened.withLock { $0 = isOpen }
            }
            let isRemoved = (try? await bench.images.remove("x")) != nil
            #expect(isRemoved != opened.withLock { $0 }, "before request \(request)")
            if !isRemoved { #expect(try await bench.images.info("x") == info, "the mark was taken back") }
        }
    }

    @Test func removeFindsSparseDataAndLeavesOthersAlone() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(1 << 50))
        let other = try await bench.images.create("y", size: ByteCount(1 << 30))
        try await bench.putData(info, [0, 1, 5, 77, 4096, 1 << 27])
        try await bench.putData(other, [0, 3])
        try await bench.images.remove("x")
        #expect(bench.objects.filter { $0.contains(info.id) } == [])
        #expect(bench.objects.filter { $0.contains("rbd_data") }.count == 2)
        #expect(try await bench.images.list() == ["y"])
    }

    @Test func resizeGrowsAndShrinks() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(40 << 10), options: ImageOptions(order: 12))
        try await bench.putData(info, Array(0..<10))
        let refused = await #expect(throws: RBDError.self) {
            try await bench.images.resize("x", to: ByteCount(10000))
        }
        #expect(refused?.errno == 22 && refused?.description.contains("--allow-shrink") == true)
        try await bench.images.resize("x", to: ByteCount(10000), allowShrink: true)
        let data = bench.objects.filter { $0.contains("rbd_data") }
        #expect(data.count == 3, "objects 0, 1 and the part of 2")
        let last = try #require(bench.pool.objects.object(data[2]))
        #expect(Array(last.data[..<1808]) == [UInt8](repeating: 7, count: 1808))
        #expect(last.data[1808..<4096].allSatisfy { $0 == 0 })
        // A client that has not noticed writes beyond the end; growing must not show it.
        try await bench.putData(info, [3, 4])
        try await bench.images.resize("x", to: ByteCount(1 << 40))
        #expect(bench.objects.filter { $0.contains("rbd_data") }.count == 3)
        #expect(try await bench.images.info("x").header.size == ByteCount(1 << 40))
    }
}
