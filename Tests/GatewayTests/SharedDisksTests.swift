import NBD
import RADOS
import RBD
import Synchronization
import Testing

import Gateway

private final class FakeDisk: SharedDisk {
    let number: Int
    private let state = Mutex((isGone: false, closes: 0))

    init(_ number: Int) { self.number = number }

    var closes: Int { state.withLock { $0.closes } }
    func remove() { state.withLock { $0.isGone = true } }
    func isGone() async -> Bool { state.withLock { $0.isGone } }
    func close() async { state.withLock { $0.closes += 1 } }
}

private final class Openings: Sendable {
    private let value = Mutex(0)

    var count: Int { value.withLock { $0 } }

    func next() -> Int {
        value.withLock {
            $0 += 1
            return $0
        }
    }
}

@Suite struct SharedDisksTests {
    private let disks = SharedDisks<FakeDisk>()
    private let spec: ImageSpec

    init() throws { spec = try ImageSpec(parsing: "demo") }

    private func use(_ number: Int) async throws -> FakeDisk {
        try await disks.use(spec) { FakeDisk(number) }
    }

    @Test func oneDiskForAllUsersIsClosedAfterTheLast() async throws {
        let first = try await use(1)
        let second = try await use(2)
        #expect(first === second)
        await disks.release(first, spec)
        #expect(first.closes == 0)
        await disks.release(second, spec)
        #expect(first.closes == 1)
        #expect(try await use(3).number == 3)
    }

    @Test func usersThatComeAtOnceShareOneOpening() async throws {
        let (disks, spec) = (disks, spec)
        let openings = Openings()
        let numbers = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await disks.use(spec) {
                        await Task.yield()
                        return FakeDisk(openings.next())
                    }.number
                }
            }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(numbers == [1] && openings.count == 1)
    }

    @Test func anOpeningThatFailsLeavesNothing() async throws {
        let failure = RBDError(errno: 2, "image 'rbd/demo' does not exist")
        await #expect(throws: failure) { _ = try await disks.use(spec) { throw failure } }
        #expect(await disks.count == 0)
        #expect(try await use(1).number == 1)
    }

    @Test func aRemovedDiskIsKeptForItsUsersAndReplacedForOthers() async throws {
        let old = try await use(1)
        let alsoOld = try await use(1)
        old.remove()
        let new = try await use(2)
        #expect(new.number == 2 && alsoOld === old)
        await disks.release(old, spec)
        #expect(old.closes == 0)
        await disks.release(old, spec)
        #expect(old.closes == 1 && new.closes == 0)
        await disks.release(new, spec)
        #expect(new.closes == 1)
        #expect(await disks.count == 0)
    }

    @Test func exportNamesAreImageSpecs() throws {
        #expect(try ImageDirectory.spec("demo", defaultPool: "vms").description == "vms/demo")
        #expect(try ImageDirectory.spec("a/b", defaultPool: "vms").description == "a/b")
        #expect(try ImageDirectory.spec("demo@first", defaultPool: "vms").description == "vms/demo@first")
        for (name, kind) in [
            ("", OpenFailure.Kind.notFound), ("a@", .invalid), ("a@b@c", .invalid), ("a/b/c", .invalid),
        ] {
            let failure = #expect(throws: OpenFailure.self) { try ImageDirectory.spec(name, defaultPool: "rbd") }
            #expect(failure?.kind == kind)
        }
    }

    @Test func failuresSayWhatAClientCanMakeOfThem() {
        #expect(ImageDirectory.failure(RBDError(errno: 2, "x")).kind == .notFound)
        #expect(ImageDirectory.failure(RADOSError(errno: 110, "x")).kind == .unavailable)
        #expect(ImageDirectory.failure(RBDError(errno: 16, "x")).kind == .refused)
        #expect(ExportReply.failure(28) == .noSpace)
        #expect(ExportReply.failure(2) == .inputOutput)
    }
}
