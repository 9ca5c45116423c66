import ClusterMap
import Logging
import NIOCore
import NIOPosix
import Protocol
import Testing
import Wire

import Messenger

/// An owner on a loop that counts what it is told. Everything it has is used on the loop alone.
final class CountingOwner: MessengerHandler {
    var messenger: Messenger<CountingOwner>!
    var received: [UInt64] = []
    var bytesReceived = 0
    var opened: [SessionID] = []
    var resets = 0
    var reasons: [Interruption] = []
    /// Sends every message back.
    var echoes = false
    /// Called for every message.
    var onMessage: ((UInt64, SessionID) -> Void)?

    func received(_ message: Message, from session: SessionID) {
        guard case .monitor(.command(let request)) = message else { return }
        received.append(request.number)
        bytesReceived += request.words.first?.utf8.count ?? 0
        if echoes { messenger.send(message, to: session) }
        onMessage?(request.number, session)
    }
    func opened(_ session: SessionID, peer: PeerIdentity, resumed: Bool) { if !resumed { opened.append(session) } }
    func interrupted(_ session: SessionID, why: Interruption) { reasons.append(why) }
    func reset(_ session: SessionID) { resets += 1 }
    func closed(_ session: SessionID) {}
    func turnEnded() {}

    static func command(_ number: UInt64, _ word: String = "x") -> Message {
        .monitor(.command(CommandRequest(number: number, words: [word])))
    }
}

/// A messenger, its owner and the way to them from a test.
struct Party {
    let loop: any EventLoop
    let owner: NIOLoopBound<CountingOwner>

    init(_ entity: Entity, incarnation: UInt64, on loop: any EventLoop, echoes: Bool = false) async throws {
        self.loop = loop
        owner = try await loop.submit {
            let owner = CountingOwner()
            owner.echoes = echoes
            owner.messenger = Messenger(
                identity: Identity(cluster: nil, entity: entity, incarnation: incarnation), handler: owner, on: loop,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            return NIOLoopBound(owner, eventLoop: loop)
        }.get()
    }

    func run<Value: Sendable>(_ body: @escaping @Sendable (CountingOwner) throws -> Value) async throws -> Value {
        let owner = owner
        return try await loop.submit { try body(owner.value) }.get()
    }

    func listen(_ endpoint: Endpoint = Endpoint(host: "127.0.0.1", port: 0)) async throws -> Endpoint {
        let owner = owner
        return try await loop.flatSubmit { owner.value.messenger.listen(on: endpoint) }.get()
    }

    func shutdown() async throws {
        let owner = owner
        try await loop.flatSubmit { owner.value.messenger.shutdown() }.get()
    }

    /// Waits until it holds, at most ten seconds.
    func wait(_ condition: @escaping @Sendable (CountingOwner) -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < end {
            if try await run(condition) { return true }
            await Task.yield()
        }
        return false
    }
}

/// Passes bytes on between a client and a target, and cuts each connection after a random number of them.
private final class CuttingProxy: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let other: any Channel
    private var left: Int

    init(to other: any Channel, cutAfter left: Int) {
        self.other = other
        self.left = left
    }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        left -= buffer.readableBytes
        if left > 0 { return other.writeAndFlush(buffer, promise: nil) }
        if let part = buffer.readSlice(length: buffer.readableBytes / 2) { other.writeAndFlush(part, promise: nil) }
        other.close(promise: nil)
        context.close(promise: nil)
    }
    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    static func listen(to target: Endpoint, seed: Seeded, on loop: any EventLoop) async throws -> any Channel {
        let random = NIOLoopBoundBox.makeBoxSendingValue(seed, eventLoop: loop)
        return try await loop.flatSubmit {
            ServerBootstrap(group: loop).childChannelInitializer { near in
                let cuts = (
                    Int.random(in: 200...300_000, using: &random.value),
                    Int.random(in: 200...300_000, using: &random.value)
                )
                return ClientBootstrap(group: loop).connect(host: target.host, port: Int(target.port)).flatMapThrowing {
                    try $0.pipeline.syncOperations.addHandler(CuttingProxy(to: near, cutAfter: cuts.0))
                    try near.pipeline.syncOperations.addHandler(CuttingProxy(to: $0, cutAfter: cuts.1))
                }
            }.bind(host: "127.0.0.1", port: 0)
        }.get()
    }
}

@Suite(.serialized) struct LoopbackTests {
    private let group = MultiThreadedEventLoopGroup.singleton

    @Test func thousandsOfMessagesSurviveCuts() async throws {
        let loop = group.next()
        let server = try await Party(.osd(OSDID(0)), incarnation: 1, on: loop, echoes: true)
        let client = try await Party(.client("c"), incarnation: 2, on: loop)
        let target = try await server.listen()
        let proxy = try await CuttingProxy.listen(to: target, seed: .fromEnvironment(), on: loop)
        let endpoint = Endpoint(host: "127.0.0.1", port: UInt16(proxy.localAddress!.port!))
        let count: UInt64 = 5000
        try await client.run { owner in
            let session = owner.messenger.connect(to: endpoint, expecting: .osd(OSDID(0)))
            for number in 1...1000 as ClosedRange<UInt64> {
                owner.messenger.send(CountingOwner.command(number), to: session)
            }
            owner.onMessage = { _, session in
                let next = UInt64(owner.received.count) + 1000
                if next <= count {
                    owner.messenger.send(
                        CountingOwner.command(next, String(repeating: "x", count: 400)), to: session)
                }
            }
        }
        let isDone = try await client.wait { $0.received.count >= Int(count) }
        let all = try await client.run { $0.received }
        #expect(isDone && all == (1...count).map { $0 })
        #expect(try await server.run { $0.received } == (1...count).map { $0 })
        let (resets, cuts) = try await client.run { ($0.resets, $0.reasons.count) }
        #expect(resets == 0 && cuts > 0, "\(cuts) cuts")
        try await proxy.close()
        try await client.shutdown()
        try await server.shutdown()
    }

    @Test func aRestartedProcessIsAReset() async throws {
        let loop = group.next()
        let first = try await Party(.osd(OSDID(0)), incarnation: 1, on: loop)
        let endpoint = try await first.listen()
        let client = try await Party(.client("c"), incarnation: 2, on: loop)
        let session = try await client.run { $0.messenger.connect(to: endpoint) }
        #expect(try await client.wait { $0.opened.count == 1 })
        try await first.shutdown()
        #expect(try await client.wait { $0.reasons.contains(.connectionRefused) })
        let second = try await Party(.osd(OSDID(0)), incarnation: 3, on: loop, echoes: true)
        _ = try await second.listen(endpoint)
        #expect(try await client.wait { $0.resets == 1 && $0.opened.count == 2 })
        try await client.run { $0.messenger.send(CountingOwner.command(7), to: session) }
        #expect(try await client.wait { $0.received == [7] })
        try await client.shutdown()
        try await second.shutdown()
    }

    @Test func garbageClosesItsOwnConnectionOnly() async throws {
        let loop = group.next()
        let server = try await Party(.osd(OSDID(0)), incarnation: 1, on: loop, echoes: true)
        let endpoint = try await server.listen()
        let client = try await Party(.client("c"), incarnation: 2, on: loop)
        let session = try await client.run { $0.messenger.connect(to: endpoint) }
        var random = Seeded.fromEnvironment()
        for length in [1, 3, 4, 64, 65, 5000, 200_000] {
            let garbage = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            let channel = try await ClientBootstrap(group: loop).connect(host: endpoint.host, port: Int(endpoint.port))
                .get()
            try? await channel.writeAndFlush(ByteBuffer(bytes: garbage))
            // Fewer than four bytes may still become a hello.
            if length < 4 { try await channel.close() } else { try await channel.closeFuture.get() }
        }
        try await client.run { $0.messenger.send(CountingOwner.command(1), to: session) }
        #expect(try await client.wait { $0.received == [1] })
        #expect(try await client.run { $0.reasons.isEmpty })
        try await client.shutdown()
        try await server.shutdown()
    }

    @Test func addressesThatCannotBeUsedAreNamed() async throws {
        let loop = group.next()
        let one = try await Party(.osd(OSDID(0)), incarnation: 1, on: loop)
        let endpoint = try await one.listen()
        let two = try await Party(.osd(OSDID(1)), incarnation: 1, on: loop)
        await #expect {
            try await two.listen(endpoint)
        } throws: { "\($0)".contains("\(endpoint): another process listens there") }
        await #expect {
            try await two.listen(Endpoint(host: "0.0.0.0", port: 0))
        } throws: { "\($0)".contains("0.0.0.0:0: without authentication only loopback") }
        try await one.shutdown()
        try await two.shutdown()
    }

    /// Measures, and prints: messages in flight one and 64 at a time, and large ones. Two loops, so two threads.
    @Test func rates() async throws {
        let server = try await Party(.osd(OSDID(0)), incarnation: 1, on: group.next(), echoes: true)
        let client = try await Party(.client("c"), incarnation: 2, on: group.next())
        let endpoint = try await server.listen()
        let session = try await client.run { $0.messenger.connect(to: endpoint) }
        #expect(try await client.wait { $0.opened.count == 1 })
        for (depth, count) in [(1, 5_000), (64, 50_000)] {
            let clock = ContinuousClock()
            let start = clock.now
            try await client.run { owner in
                owner.received = []
                var sent = depth
                owner.onMessage = { number, session in
                    guard sent < count else { return }
                    sent += 1
                    owner.messenger.send(CountingOwner.command(number), to: session)
                }
                for _ in 0..<depth { owner.messenger.send(CountingOwner.command(1), to: session) }
            }
            #expect(try await client.wait { $0.received.count == count })
            let seconds = (clock.now - start) / .seconds(1)
            print("messenger rate: depth \(depth): \(Int(Double(count) / seconds)) round trips/s")
        }
        try await client.shutdown()
        try await server.shutdown()
    }
}
