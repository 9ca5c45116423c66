import Foundation
import NBD
import NIOCore
import Testing

/// The server's own behaviour over real sockets: addresses, limits, clients that behave badly, stopping.
@Suite(.timeLimit(.minutes(1))) struct ServerTests {
    private func withMemory(
        connections: Int = Limits.connections, _ body: (RunningServer) async throws -> Void
    ) async throws {
        try await RunningServer.with(connections: connections, { [MemoryExport(size: 1 << 20, later: $0)] }, body)
    }

    // MARK: Addresses

    @Test func aPortInUseIsNamed() async throws {
        try await withMemory { running in
            let failure = await #expect(throws: ListenFailure.self) { try await running.server.listen(on: running.tcp) }
            let text = failure?.description ?? ""
            #expect(text.contains("\(running.tcp)") && text.contains("another program listens there"), "\(text)")
        }
    }

    @Test func aSocketInUseIsNamedAndKept() async throws {
        try await withMemory { running in
            let failure = await #expect(throws: ListenFailure.self) {
                try await running.server.listen(on: running.unix)
            }
            let text = failure?.description ?? ""
            #expect(text.contains("\(running.unix)") && text.contains("another server is listening"), "\(text)")
            let client = try RawClient(running.unix)
            #expect(await client.open("memory"), "the server in place is not disturbed")
        }
    }

    @Test func theSocketOfADeadServerIsReplaced() async throws {
        try await withMemory { running in
            let path = running.scratch.path("dead.sock")
            let python = try Tool("python3", package: "python3")
            try await python.succeed(["-c", "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])", path])
            let bound = try await running.server.listen(on: .unix(path: path))
            let client = try RawClient(bound)
            try #require(await client.open("memory"))
        }
    }

    @Test func otherFilesAreNeverReplaced() async throws {
        try await withMemory { running in
            let path = running.scratch.path("precious")
            try Data("data".utf8).write(to: URL(fileURLWithPath: path))
            let bad = [
                path, running.scratch.path("none/x.sock"), running.scratch.path(String(repeating: "p", count: 108)),
            ]
            for path in bad {
                let failure = await #expect(throws: ListenFailure.self) {
                    try await running.server.listen(on: .unix(path: path))
                }
                #expect(failure?.description.contains(path) ?? false)
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("data".utf8))
        }
    }

    @Test func stoppingRemovesTheSocketFile() async throws {
        var path = ""
        try await withMemory { running in
            path = running.unix.description
            #expect(FileManager.default.fileExists(atPath: path))
            await running.server.stop(within: .seconds(10))
            #expect(!FileManager.default.fileExists(atPath: path))
            #expect(throws: RawClient.Failure.self) { try RawClient(running.tcp) }
            await #expect(throws: ListenFailure.self) {
                try await running.server.listen(on: .tcp(host: "::1", port: 0))
            }
        }
    }

    @Test func urisCanBePasted() {
        let tcp = ListenAddress.tcp(host: "127.0.0.1", port: 10809)
        #expect(tcp.uri(export: "pool/image@snap") == "nbd://127.0.0.1/pool/image@snap")
        #expect(ListenAddress.tcp(host: "::1", port: 1).uri(export: "a b") == "nbd://[::1]:1/a%20b")
        #expect(ListenAddress.tcp(host: "0.0.0.0", port: 2).uri(export: "") == "nbd://localhost:2/")
        let unix = ListenAddress.unix(path: "/run/x y&z.sock")
        #expect(unix.uri(export: "é?") == "nbd+unix:///%C3%A9%3F?socket=/run/x%20y%26z.sock")
        #expect(tcp.isLocal && unix.isLocal && ListenAddress.tcp(host: "localhost", port: 1).isLocal)
        for host in ["0.0.0.0", "::", "10.0.0.1", "127.evil.example"] {
            #expect(!ListenAddress.tcp(host: host, port: 1).isLocal, "\(host)")
        }
    }

    // MARK: Clients that behave badly

    @Test func disconnectingAtEveryPointOfTheConversationHarmsNobody() async throws {
        try await withMemory { running in
            let talk =
                Say.flags() + Say.option(OptionCode.list) + Say.info(OptionCode.info, "memory", [1]) + Say.go("memory")
                + Say.write(0, [UInt8](repeating: 1, count: 100)) + Say.read(0, 100) + Say.disconnect
            for address in [running.tcp, running.unix] {
                for length in 0...talk.count {
                    let client = try RawClient(address)
                    if length % 2 == 1 { client.resetOnClose() }
                    await client.send(Array(talk[..<length]))
                }
            }
            let last = try RawClient(running.unix)
            try #require(await last.open("memory"))
            await last.send(Say.disconnect)
            #expect(await last.receiveToEnd() == [])
        }
    }

    @Test func garbageIsDisconnected() async throws {
        try await withMemory { running in
            for address in [running.tcp, running.unix] {
                let http = try RawClient(address)
                await http.send(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
                #expect(await http.receiveToEnd().prefix(18) == Hear.greeting[...])
                let client = try RawClient(address)
                try #require(await client.open("memory"))
                await client.send([UInt8](repeating: 0, count: 28))
                #expect(await client.receiveToEnd() == [])
            }
        }
    }

    @Test func unknownNamesCloseExportName() async throws {
        try await withMemory { running in
            for name in ["", "nothing", "a\0b", String(repeating: "n", count: 5000), "pool/@"] {
                let client = try RawClient(running.unix)
                #expect(await !client.open(name))
            }
        }
    }

    @Test func oneConnectionTooManyIsTurnedAway() async throws {
        try await withMemory(connections: 3) { running in
            let clients = try (0..<3).map { _ in try RawClient(running.tcp) }
            for client in clients { try #require(await client.open("memory")) }
            let fourth = try RawClient(running.tcp)
            #expect(await fourth.receiveToEnd() == [])
            #expect(running.events.withLockedValue { $0 }.contains { if case .turnedAway = $0 { true } else { false } })
            await clients[0].send(Say.disconnect)
            #expect(await clients[0].receiveToEnd() == [])
            // The place is free once the export is closed, which the server says nothing about: ask until it is.
            while !(try await RawClient(running.tcp).open("memory")) { await Task.yield() }
        }
    }

    @Test func aClientThatNeverReadsIsHeldBackAndServedLater() async throws {
        try await withMemory { running in
            for address in [running.tcp, running.unix] {
                let client = try RawClient(address)
                try #require(await client.open("memory"))
                let other = try RawClient(address)
                try #require(await other.open("memory"))
                // Far more replies than the socket, the water marks and the requests in flight can hold.
                let count = 1000
                let requests = (0..<count).flatMap { Say.read(0, 1 << 18, cookie: UInt64($0)) }
                await client.send(requests)
                await other.send(Say.read(0, 1, cookie: 5))
                #expect(await other.receive(17) == Hear.reply(5, data: [0]), "others are served")
                for _ in 0..<count {
                    let reply = await client.receive(16 + (1 << 18))
                    #expect(reply.count == 16 + (1 << 18))
                }
                await client.send(Say.disconnect)
                #expect(await client.receiveToEnd() == [])
            }
        }
    }

    @Test func theExportLearnsOfDeadConnectionsOnly() async throws {
        try await RunningServer.with({ [MemoryExport(size: 1 << 20, later: $0)] }) { running in
            let polite = try RawClient(running.tcp)
            try #require(await polite.open("memory"))
            await polite.send(Say.write(0, [1, 2, 3]) + Say.disconnect)
            #expect(await polite.receiveToEnd() == Hear.reply(0))
            let rude = try RawClient(running.tcp)
            try #require(await rude.open("memory"))
            await rude.send(Array(Say.write(0, [9, 9, 9]).prefix(30)))
            rude.resetOnClose()
            rude.hangUp()
            // Nothing tells a client that a server has noticed its death: ask until it has.
            var lost: [ConnectionID] = []
            while lost.isEmpty { lost = try await running.loop.submit { running.directory.disks[0].lost }.get() }
            #expect(lost.count == 1)
            let contents = try await running.loop.submit { Array(running.directory.disks[0].contents.prefix(3)) }.get()
            #expect(contents == [1, 2, 3], "half a write is none")
        }
    }

    // MARK: Stopping

    @Test func stoppingAnswersWhatWasTakenAndClosesIdleClients() async throws {
        try await withMemory { running in
            let idle = try RawClient(running.tcp), handshaking = try RawClient(running.unix)
            try #require(await idle.open("memory"))
            #expect(await handshaking.receive(18) == Hear.greeting)
            await idle.send(Say.write(5, [1, 2, 3], cookie: 4))
            #expect(await idle.receive(16) == Hear.reply(4))
            await running.server.stop(within: .seconds(60))
            #expect(await idle.receiveToEnd() == [])
            #expect(await handshaking.receiveToEnd() == [])
        }
    }

    @Test func aClientThatNeverReadsCannotHoldUpStopping() async throws {
        try await withMemory { running in
            let client = try RawClient(running.unix)
            try #require(await client.open("memory"))
            let requests = (0..<1000).flatMap { Say.read(0, 1 << 18, cookie: UInt64($0)) }
            #expect(client.sendWithoutWaiting(requests) > 0)
            _ = await client.receive(16)
            await running.server.stop(within: .zero)
            #expect(await client.receiveToEnd().count > 0)
        }
    }
}
