import Foundation
import NBD
import NIOConcurrencyHelpers
import Testing

/// The data path is compiled for the type of the export: looked up in the call stack of a read that came over a socket,
/// since that specialised code exists does not say that it is what runs.
@Suite struct SpecialisationTests {
    #if DEBUG
        static let isOptimised = false
    #else
        static let isOptimised = true
    #endif

    @Test(.enabled(if: isOptimised, "only optimised builds specialise"))
    func requestsReachTheExportThroughSpecialisedCode() async throws {
        let nm = try Tool("nm", package: "binutils")
        let image = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let frames = NIOLockedValueBox<[UInt]>([])
        try await RunningServer.with({ _ in
            let disk = MemoryExport(size: 4096)
            disk.onRead = {
                frames.withLockedValue { $0 = Thread.callStackReturnAddresses.map { UInt(truncating: $0) } }
            }
            return [disk]
        }) { running in
            let client = try RawClient(running.unix)
            try #require(await client.open("memory"))
            await client.send(Say.read(0, 1, cookie: 1) + Say.disconnect)
            #expect(await client.receiveToEnd() == Hear.reply(1, data: [0]))
        }
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        let first = try #require(maps.split(separator: "\n").first { $0.hasSuffix(image) && $0.contains(" 00000000 ") })
        let base = try #require(UInt(first.prefix { $0 != "-" }, radix: 16))
        let symbols = try await nm.succeed(["--defined-only", image]).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return words.count == 3 ? UInt(words[0], radix: 16).map { (address: $0, name: String(words[2])) } : nil
        }.sorted { $0.address < $1.address }
        let names = frames.withLockedValue { $0 }.compactMap { frame in
            symbols[..<(symbols.partitioningIndex { $0.address >= frame &- base })].last?.name
        }
        let machine = names.filter { $0.contains("3NBD12TransmissionC") }
        // "Tg" is the mangling of a generic specialisation.
        #expect(!machine.isEmpty && machine.allSatisfy { $0.contains("Tg") }, "\(names)")
    }
}

extension Array {
    /// The first index for which `predicate` holds, where it holds for all after it.
    fileprivate func partitioningIndex(where predicate: (Element) -> Bool) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
