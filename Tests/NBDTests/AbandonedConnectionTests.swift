import NBD
import NIOCore
import Testing

/// A client gives a connection up that the server has left waiting, sends its requests again on another one, and newer ones
/// after them: what the first one still holds must never be executed. Over real sockets, since it is their buffers that hold it.
@Suite(.timeLimit(.minutes(1))) struct AbandonedConnectionTests {
    private static let block = 4096

    /// Leaves `client` waiting, and fills all that lies between it and the export with writes of `byte` to the first block.
    private func fill(_ client: RawClient, with byte: UInt8, _ running: RunningServer) async throws {
        let disk = running.directory.disks[0]
        try await running.loop.submit { disk.holdReads() }.get()
        let write = Say.write(0, [UInt8](repeating: byte, count: Self.block))
        await client.send((0..<Limits.requestsInFlight).flatMap { Say.read(0, 1, cookie: UInt64($0)) } + write + write)
        while try await running.loop.submit({ disk.heldReadCount }).get() < Limits.requestsInFlight {
            await Task.yield()
        }
        let writes = (0..<64).flatMap { _ in write }
        var position = 0, refusals = 0
        // What the socket takes of the last write is cut for good.
        while refusals < 3 {
            let count = client.sendWithoutWaiting(Array(writes[position...]))
            if count > 0 { position = (position + count) % writes.count }
            refusals = count > 0 ? 0 : refusals + 1
            try await running.loop.submit {}.get()
        }
    }

    private func theNewerWriteStands(over address: ListenAddress, _ running: RunningServer) async throws {
        let disk = running.directory.disks[0]
        let old = try RawClient(address), new = try RawClient(address)
        try #require(await old.open("memory"))
        try #require(await new.open("memory"))
        try await fill(old, with: 1, running)
        old.hangUp()
        for byte in [1, 2] as [UInt8] {
            await new.send(Say.write(0, [UInt8](repeating: byte, count: Self.block), cookie: UInt64(byte)))
            #expect(await new.receive(16) == Hear.reply(UInt64(byte)))
        }
        try await running.loop.submit { disk.letReadsGo() }.get()
        // Nothing tells when the server has noticed the death: ask until it has.
        while try await running.loop.submit({ disk.lost }).get().isEmpty { await Task.yield() }
        let contents = try await running.loop.submit { Array(disk.contents.prefix(Self.block)) }.get()
        #expect(contents == [UInt8](repeating: 2, count: Self.block), "an abandoned write was executed: \(address)")
    }

    @Test func theNewerWriteStandsOverTCP() async throws {
        try await RunningServer.with({ [MemoryExport(size: 1 << 20, later: $0)] }) { running in
            try await theNewerWriteStands(over: running.tcp, running)
        }
    }

    @Test func theNewerWriteStandsOverAUnixSocket() async throws {
        try await RunningServer.with({ [MemoryExport(size: 1 << 20, later: $0)] }) { running in
            try await theNewerWriteStands(over: running.unix, running)
        }
    }

    /// The same without the farewell: whoever is still there gets all of its writes done.
    @Test func aClientThatStaysIsServed() async throws {
        try await RunningServer.with({ [MemoryExport(size: 1 << 20, later: $0)] }) { running in
            let disk = running.directory.disks[0]
            for address in [running.tcp, running.unix] {
                let client = try RawClient(address)
                try #require(await client.open("memory"))
                try await running.loop.submit { disk.holdReads() }.get()
                let reads = Limits.requestsInFlight, writes = 1000
                var requests: [UInt8] = []
                for cookie in 0..<reads { requests += Say.read(0, 1, cookie: UInt64(cookie)) }
                for index in 0..<writes {
                    let data = [UInt8](repeating: UInt8(index % 256), count: Self.block)
                    requests += Say.write(0, data, cookie: UInt64(reads + index))
                }
                let talk = requests
                async let sent = client.send(talk)
                while try await running.loop.submit({ disk.heldReadCount }).get() < reads { await Task.yield() }
                try await running.loop.submit { disk.letReadsGo() }.get()
                #expect(await sent)
                var heard: Set<UInt64> = []
                for index in 0..<reads + writes {
                    let head = await client.receive(index < reads ? 17 : 16)
                    heard.insert(head[8..<16].reduce(0) { $0 << 8 | UInt64($1) })
                }
                #expect(heard.count == reads + writes)
                let first = try await running.loop.submit { disk.contents[0] }.get()
                #expect(first == UInt8((writes - 1) % 256))
            }
        }
    }
}
