import ClientTestSupport
import ClusterMap
import Protocol
import RADOS
import Testing
import Wire

import RBD

/// An image over the objecter and OSDs in memory.
final class ImageRig: ImageObjects {
    let cluster: MemoryCluster
    let slot: PoolSlot
    var image: Image<ImageRig, Answer>!
    var answers: [Int: ImageOutcome] = [:]
    var events: [String] = []
    private var count = 0
    /// Requests that wait, when `isHolding`.
    var held: [(steps: [ObjectOperation], object: ObjectName, scope: SnapshotScope, token: UInt64)] = []
    var isHolding = false

    struct Answer: ImageReply {
        let rig: ImageRig
        let number: Int
        func finish(_ outcome: ImageOutcome) {
            precondition(rig.answers[number] == nil, "operation \(number) answered twice")
            rig.answers[number] = outcome
        }
    }

    init(seed: UInt64, size: UInt64, order: UInt8) {
        cluster = MemoryCluster(seed: seed)
        slot = cluster.objecter.open(PoolID(1))!
        let header = ImageHeader(
            size: ByteCount(size), order: order, objectPrefix: "rbd_data.1",
            created: Timestamp(seconds: 0, nanoseconds: 0))
        image = Image(ImageInfo(name: "x", id: "1", header: header), cookie: 9, objects: self)
        cluster.onCompleted = { [unowned self] token, reply in
            if token.owner == 1 { image.received(reply, token: token.value) }
        }
        perform([.create(exclusive: true), .setOmap(entries: header.entries)], on: "rbd_header.1")
    }

    func perform(_ steps: [ObjectOperation], on object: String) {
        cluster.objecter.submit(
            steps, on: ObjectName(object), in: slot, token: RequestToken(owner: 0, value: 0))
        cluster.settle()
    }

    func submit(_ steps: [ObjectOperation], on object: ObjectName, scope: SnapshotScope, token: UInt64) {
        if isHolding { return held.append((steps, object, scope, token)) }
        cluster.objecter.submit(
            steps, on: object, in: slot, scope: scope, token: RequestToken(owner: 1, value: token))
    }

    func sizeChanged(to size: ByteCount) { events.append("size \(size)") }
    func imageRemoved() { events.append("removed") }
    func closed() { events.append("closed") }

    func next() -> Answer {
        count += 1
        return Answer(rig: self, number: count)
    }

    func read(_ offset: UInt64, _ length: Int) -> Int {
        let reply = next()
        image.read(offset: offset, length: length, reply: reply)
        return reply.number
    }

    func write(_ offset: UInt64, _ data: [UInt8]) -> Int {
        let reply = next()
        image.write(offset: offset, data: Bytes(data), reply: reply)
        return reply.number
    }

    func bytes(_ number: Int, count: Int) -> [UInt8]? {
        switch answers[number] {
        case .data(let data): data.array
        case .zeroes: [UInt8](repeating: 0, count: count)
        default: nil
        }
    }
}

@Suite struct ImageTests {
    @Test func holesReadAsZerosAndPartsAreGathered() {
        let rig = ImageRig(seed: 1, size: 3 * 4096 + 100, order: 12)
        let write = rig.write(5000, [1, 2, 3])
        rig.cluster.settle()
        let inner = rig.read(5001, 2), all = rig.read(0, 3 * 4096 + 100), hole = rig.read(8192, 4196)
        rig.cluster.settle()
        #expect(rig.answers[write] == .done)
        #expect(rig.answers[inner] == .data(Bytes([2, 3])))
        #expect(rig.answers[hole] == .zeroes)
        var expected = [UInt8](repeating: 0, count: 3 * 4096 + 100)
        expected.replaceSubrange(5000..<5003, with: [1, 2, 3])
        let isEqual = rig.bytes(all, count: expected.count) == expected
        #expect(isEqual)
        #expect(rig.cluster.objects.names.filter { $0.hasPrefix("rbd_data") } == ["rbd_data.1.0000000000000001"])
    }

    @Test func rangesAreCheckedAgainstTheSizeOfTheMoment() {
        let rig = ImageRig(seed: 1, size: 1000, order: 12)
        let cases: [(Int, ImageOutcome)] = [
            (rig.read(990, 11), .failed(errno: 22)), (rig.read(UInt64.max, 2), .failed(errno: 22)),
            (rig.read(0, ImageLimits.transfer + 1), .failed(errno: 22)), (rig.read(0, -1), .failed(errno: 22)),
            (rig.write(999, [1, 2]), .failed(errno: 28)), (rig.write(1000, []), .done),
            (rig.write(UInt64.max - 1, [1, 2]), .failed(errno: 28)),
        ]
        for (number, outcome) in cases { #expect(rig.answers[number] == outcome) }
        let discard = rig.next()
        rig.image.discard(offset: 1, length: UInt64.max, reply: discard)
        #expect(rig.answers[discard.number] == .failed(errno: 22))
        rig.perform([.setOmap(entries: [KeyValue(ImageNaming.size, ImageNaming.number(2000))])], on: "rbd_header.1")
        rig.image.renew()
        rig.cluster.settle()
        let later = rig.write(999, [1, 2])
        rig.cluster.settle()
        #expect(rig.answers[later] == .done && rig.events == ["size 2000"])
    }

    @Test func discardRemovesWholeObjectsAndZeroesParts() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        _ = rig.write(0, [UInt8](repeating: 5, count: 5 * 4096))
        rig.cluster.settle()
        let discard = rig.next()
        rig.image.discard(offset: 100, length: 3 * 4096, reply: discard)
        rig.cluster.settle()
        #expect(rig.answers[discard.number] == .done)
        let names = rig.cluster.objects.names.filter { $0.hasPrefix("rbd_data") }
        #expect(names.map { $0.suffix(1) } == ["0", "3", "4"])
        let read = rig.read(0, 5 * 4096)
        rig.cluster.settle()
        let bytes = rig.bytes(read, count: 0)
        #expect(bytes?.prefix(100).allSatisfy { $0 == 5 } == true)
        #expect(bytes?[100..<(100 + 3 * 4096)].allSatisfy { $0 == 0 } == true)
        #expect(bytes?[(100 + 3 * 4096)...].allSatisfy { $0 == 5 } == true)
    }

    @Test func keepingSpaceWritesZeros() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        let zero = rig.next()
        rig.image.writeZeroes(offset: 10, length: 8192, keepsSpace: true, reply: zero)
        rig.cluster.settle()
        #expect(rig.answers[zero.number] == .done)
        #expect(rig.cluster.objects.names.filter { $0.hasPrefix("rbd_data") }.count == 3)
    }

    /// A trim of more objects than go at once does not reach an object after a later write to it; a write elsewhere need
    /// not wait.
    @Test func whatIsYetToComeOfALongRequestIsNotOvertaken() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        rig.isHolding = true
        let trim = rig.next()
        rig.image.discard(offset: 0, length: 100 * 4096, reply: trim)
        #expect(rig.held.count == ImageLimits.partsInFlight)
        let inside = rig.write(99 * 4096, [7]), behind = rig.write(150 * 4096, [8])
        #expect(rig.held.count == ImageLimits.partsInFlight + 1, "only the write behind goes at once")
        var order: [String] = []
        while !rig.held.isEmpty {
            let first = rig.held.removeFirst()
            order.append("\(first.object) \(first.steps[0].isRemoval ? "remove" : "write")")
            rig.image.received(OperationReply(number: 1, outcome: .done(errno: 0)), token: first.token)
        }
        let last = order.filter { $0.contains(".0000000000000063 ") }.map { $0.split(separator: " ")[1] }
        #expect(last == ["remove", "write"])
        #expect([trim.number, inside, behind].allSatisfy { rig.answers[$0] == .done })
        #expect(rig.image.outstanding == 0)
    }

    @Test func aPoolThatIsGoneIsNoHole() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        rig.cluster.changeMap { $0.pools = [:] }
        rig.cluster.settle()
        let read = rig.read(0, 10), write = rig.write(0, [1]), long = rig.read(0, 1 << 20)
        let trim = rig.next()
        rig.image.discard(offset: 0, length: 1 << 20, reply: trim)
        for number in [read, write, long, trim.number] { #expect(rig.answers[number] == .failed(errno: 5)) }
    }

    @Test func theWatchIsSeenRenewedAndGivenUp() {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        rig.image.renew()
        rig.image.renew()
        rig.cluster.settle()
        #expect(rig.cluster.objects.object("rbd_header.1")?.watchers.map(\.cookie) == [9])
        rig.image.renew()
        rig.image.close()
        rig.cluster.settle()
        #expect(rig.cluster.objects.object("rbd_header.1")?.watchers == [])
        #expect(rig.events == ["closed"])
    }

    @Test(arguments: [true, false]) func aRemovedImageFailsFromThenOn(isMarked: Bool) {
        let rig = ImageRig(seed: 1, size: 1 << 20, order: 12)
        if isMarked {
            rig.perform([.setOmap(entries: [KeyValue(ImageNaming.removing, Bytes("1"))])], on: "rbd_header.1")
        } else {
            rig.perform([.remove], on: "rbd_header.1")
        }
        rig.image.renew()
        rig.cluster.settle()
        let write = rig.write(0, [1]), flush = rig.next()
        rig.image.flush(reply: flush)
        #expect(rig.answers[write] == .failed(errno: 2) && rig.answers[flush.number] == .failed(errno: 2))
        rig.image.close()
        #expect(rig.events == ["removed", "closed"])
    }

    /// Random requests, several at a time and overlapping, against an array of bytes. As requests are done in the order of
    /// their calls, the array changes at the call.
    @Test(arguments: testSeeds(6)) func randomRequestsAgreeWithAFlatArray(seed: UInt64) {
        for disturbs in [false, true] {
            let size = 400 * 4096 + 77
            let rig = ImageRig(seed: seed, size: UInt64(size), order: 12)
            var model = [UInt8](repeating: 0, count: size)
            var expected: [Int: [UInt8]] = [:]
            for round in 0..<150 {
                let offset = Int(rig.cluster.generator.next() % UInt64(size))
                let isLong = rig.cluster.generator.oneIn(10)
                let length = min(size - offset, 1 + Int(rig.cluster.generator.next() % (isLong ? 900_000 : 20_000)))
                let range = offset..<offset + length
                switch rig.cluster.generator.next() % 5 {
                case 0, 1:
                    let data = (0..<length).map { UInt8(truncatingIfNeeded: $0 + round + 1) }
                    _ = rig.write(UInt64(offset), data)
                    model.replaceSubrange(range, with: data)
                case 2:
                    rig.image.discard(offset: UInt64(offset), length: UInt64(length), reply: rig.next())
                    model.replaceSubrange(range, with: repeatElement(0, count: length))
                case 3:
                    rig.image.writeZeroes(
                        offset: UInt64(offset), length: UInt64(length), keepsSpace: rig.cluster.generator.oneIn(2),
                        reply: rig.next())
                    model.replaceSubrange(range, with: repeatElement(0, count: length))
                default:
                    // A read that is sent again may see what was written after it: compared only where none is.
                    if !disturbs { expected[rig.read(UInt64(offset), length)] = Array(model[range]) }
                }
                for _ in 0..<rig.cluster.generator.next() % 12 { _ = rig.cluster.step() }
                if disturbs, rig.cluster.generator.oneIn(6) { rig.cluster.disturb() }
                if rig.cluster.generator.oneIn(20) { rig.image.renew() }
            }
            rig.cluster.heal()
            rig.cluster.settle()
            expected[rig.read(0, size)] = model
            rig.cluster.settle()
            #expect(rig.image.outstanding == 0, "seed \(seed)")
            for (number, bytes) in expected {
                let isEqual = rig.bytes(number, count: bytes.count) == bytes
                #expect(isEqual, "seed \(seed), read \(number), disturbed: \(disturbs)")
            }
            for (number, outcome) in rig.answers {
                if case .failed(let errno) = outcome { Issue.record("seed \(seed): \(number) failed with \(errno)") }
            }
        }
    }
}

extension ObjectOperation {
    fileprivate var isRemoval: Bool { if case .remove = self { true } else { false } }
}
