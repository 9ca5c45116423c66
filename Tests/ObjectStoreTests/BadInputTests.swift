import Foundation
import ObjectStore
import Protocol
import Testing
import Wire

/// Directories that are no store, or not this OSD's: one line, and nothing is written.
@Suite struct BadInputTests {
    private let identity = StoreIdentity(
        cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))

    private var options: StoreOptions {
        var options = StoreOptions()
        options.journalSize = 1 << 20
        options.growth = 1 << 20
        options.capacity = ByteCount(16 << 20)
        return options
    }

    /// A store that `change` may change; opening it must then end in `code`, with everything as it was.
    private func refused(
        _ code: StoreError.Code, saying words: String, cluster: UniqueID? = nil, osd: OSDID? = nil,
        _ change: (String) throws -> Void = { _ in }
    ) throws {
        let path = NSTemporaryDirectory() + "/nacre-bad-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let directory = try StoreDirectory(path)
            try directory.format(identity, options: options)
            // So that there is something in it.
            _ = try directory.check(readingData: false) { _ in }
        }
        try change(path)
        let before = try DirectoryImage(path)
        let attempts: [(String, () throws -> Void)] = [
            ("open", { _ = try StoreDirectory(path).openStore(cluster: cluster, osd: osd) }),
            ("check", { _ = try StoreDirectory(path, holdsStore: true).check(readingData: true) { _ in } }),
            ("export", { _ = try StoreDirectory(path, holdsStore: true).export(only: nil) { _ in } }),
        ]
        // Whose store it is, only its OSD cares.
        for (name, attempt) in attempts where name == "open" || (cluster == nil && osd == nil) {
            do {
                try attempt()
                Issue.record("\(name) accepts it")
            } catch let error as StoreError {
                #expect(error.code == code, "\(name): \(error)")
                #expect(error.description.contains(words) && !error.description.contains("\n"), "\(name): \(error)")
                #expect(error.status != 0)
            }
            #expect(try DirectoryImage(path) == before, "\(name) has written something")
        }
    }

    /// Changes bytes of the block file.
    private func patch(_ path: String, _ offset: UInt64, _ bytes: [UInt8]) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path + "/block"))
        defer { try? file.close() }
        try file.seek(toOffset: offset)
        try file.write(contentsOf: Data(bytes))
    }

    /// Changes both copies of the superblock and makes their checksums right.
    private func patchSuperblocks(_ path: String, _ offset: Int, _ bytes: [UInt8]) throws {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path + "/block"))
        defer { try? file.close() }
        let both = try #require(try file.read(upToCount: 8192))
        for copy in 0..<2 {
            var block = Array(both[copy * 4096..<copy * 4096 + 4092])
            block.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            let checksum = Checksum.crc32c(Bytes(block))
            let tail = (0..<4).map { UInt8(truncatingIfNeeded: checksum >> UInt32($0 * 8)) }
            try patch(path, UInt64(copy * 4096), block + tail)
        }
    }

    @Test func ofOtherOwners() throws {
        try refused(.otherOSD, saying: "belongs to osd.3, not to osd.4", osd: OSDID(4))
        try refused(.otherCluster, saying: "belongs to cluster", cluster: UniqueID(high: 9, low: 9))
    }

    @Test func ofOtherVersions() throws {
        try refused(.newerFormat, saying: "is newer than") { try patchSuperblocks($0, 8, [200, 0, 0, 0]) }
        try refused(.olderFormat, saying: "is older than") { try patchSuperblocks($0, 8, [0, 0, 0, 0]) }
    }

    @Test func withoutABlockFileThatIsOne() throws {
        try refused(.foreign, saying: "there is no store") { try self.patch($0, 0, Array(repeating: 7, count: 8192)) }
        for size in [0, 100, 4096, 8192, 500_000] as [UInt64] {
            try refused(.foreign, saying: size < 4096 ? "there is no store" : "truncated?") { path in
                let file = try FileHandle(forUpdating: URL(fileURLWithPath: path + "/block"))
                try file.truncate(atOffset: size)
                try file.close()
            }
        }
        try refused(.foreign, saying: "holds meta and no store") {
            try FileManager.default.removeItem(atPath: $0 + "/block")
        }
        try refused(.foreign, saying: "holds block and no store") {
            try FileManager.default.removeItem(atPath: $0 + "/meta")
        }
    }

    @Test func ofSomebodyElse() throws {
        let path = NSTemporaryDirectory() + "/nacre-bad-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect { try StoreDirectory(path) } throws: { ($0 as? StoreError)?.code == .foreign }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        // Nothing is there: fine for a new OSD, no store for a tool.
        #expect { try StoreDirectory(path, holdsStore: true) } throws: {
            ($0 as? StoreError)?.description == "there is no store in \(path)"
        }
        try Data("dear".utf8).write(to: URL(fileURLWithPath: path + "/letter"))
        let before = try DirectoryImage(path)
        #expect { try StoreDirectory(path) } throws: {
            ($0 as? StoreError)?.description.contains("holds letter") == true
        }
        #expect(try DirectoryImage(path) == before)
        #expect { try StoreDirectory(path + "/letter") } throws: { ($0 as? StoreError)?.code == .foreign }
    }
}
