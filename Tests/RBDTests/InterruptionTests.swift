import ClientTestSupport
import Protocol
import RADOS
import Synchronization
import Testing
import Wire

import RBD

/// Commands that die before any of their requests, or meet another command there.
@Suite struct InterruptionTests {
    /// Runs `body` with the pool stopping before request 0, 1, 2 … until it runs through; returns how many it took.
    private func forEveryStop(
        prepare: (ImageBench) async throws -> Void, interrupt: (ImageBench) async throws -> Void,
        then check: (ImageBench, String) async throws -> Void
    ) async throws -> Int {
        var stop = 0
        while true {
            let bench = ImageBench()
            try await prepare(bench)
            bench.pool.begin(stopsBefore: stop)
            let ended = (try? await interrupt(bench)) != nil
            bench.pool.begin()
            try await check(bench, "stopped before request \(stop)")
            if ended { return stop }
            stop += 1
        }
    }

    @Test func createRepeatedCompletesACreate() async throws {
        let stops = try await forEveryStop(
            prepare: { _ in },
            interrupt: { try await $0.images.create("x", size: ByteCount(111)) },
            then: { bench, comment in
                let again = try? await bench.images.create("x", size: ByteCount(222))
                try await bench.expectOnly("x", size: again == nil ? 111 : 222, comment)
            })
        #expect(stops >= 4)
    }

    @Test func removeClearsAnInterruptedCreate() async throws {
        _ = try await forEveryStop(
            prepare: { _ in },
            interrupt: { try await $0.images.create("x", size: ByteCount(111)) },
            then: { bench, comment in
                try? await bench.images.remove("x")
                try await bench.expectNothing(comment)
            })
    }

    @Test func removeRepeatedCompletesARemoval() async throws {
        let stops = try await forEveryStop(
            prepare: { bench in
                let info = try await bench.images.create("x", size: ByteCount(1 << 30))
                try await bench.putData(info, [0, 1, 2, 3, 20, 40])
            },
            interrupt: { try await $0.images.remove("x") },
            then: { bench, comment in
                try? await bench.images.remove("x")
                try await bench.expectNothing(comment)
            })
        #expect(stops >= 12)
    }

    /// A removal that is refused has changed nothing, wherever it stops.
    @Test func anInterruptedRemovalOfAnImageInUseLeavesItOpen() async throws {
        let stops = try await forEveryStop(
            prepare: { bench in
                _ = try await bench.images.create("x", size: ByteCount(1 << 30))
                _ = try await bench.images.watch("x", cookie: 3)
            },
            interrupt: { bench in
                do { try await bench.images.remove("x") } catch let error as RBDError where error.errno == 16 {}
            },
            then: { bench, comment in
                let info = try await bench.images.info("x")
                let header = bench.pool.objects.object("rbd_header.\(info.id)")
                #expect(header?.omap[ImageNaming.removing] == nil && header?.watchers.count == 1, "\(comment)")
            })
        #expect(stops >= 4)
    }

    /// Someone opens the image before any request of its removal: either has it, and never both.
    @Test func anImageIsOpenedOrRemoved() async throws {
        var outcomes: Set<Bool> = []
        for request in 0..<8 {
            let bench = ImageBench()
            _ = try await bench.images.create("x", size: ByteCount(1 << 30))
            let isOpen = Mutex(false)
            bench.pool.interpose(before: request) {
                let opened = (try? await bench.images.watch("x", cookie: 3)) != nil
                isOpen.withLock { $0 = opened }
            }
            let isRemoved = (try? await bench.images.remove("x")) != nil
            bench.pool.begin()
            #expect(isRemoved != isOpen.withLock { $0 }, "before request \(request)")
            if !isRemoved { #expect((try? await bench.images.info("x")) != nil, "before request \(request)") }
            outcomes.insert(isRemoved)
        }
        #expect(outcomes == [true, false])
    }

    /// What hinders the opening comes before any of its requests: no watch is left that would keep others waiting.
    @Test func aFailedOpeningLeavesNoWatch() async throws {
        var failures = 0
        for request in 0..<8 {
            let bench = ImageBench()
            let info = try await bench.images.create("x", size: ByteCount(1 << 30))
            bench.pool.interpose(before: request) {
                _ = try? await bench.pool.perform([.remove], on: ImageNaming.idObject("x"))
            }
            let isOpen = (try? await bench.images.watch("x", cookie: 3)) != nil
            bench.pool.begin()
            if !isOpen { failures += 1 }
            let watchers = bench.pool.objects.object("rbd_header.\(info.id)")?.watchers ?? []
            #expect(watchers.isEmpty == !isOpen, "before request \(request)")
        }
        #expect(failures >= 4)
    }

    @Test func createAfterAnInterruptedRemovalNeverShowsOldData() async throws {
        _ = try await forEveryStop(
            prepare: { bench in
                let info = try await bench.images.create("x", size: ByteCount(1 << 30))
                try await bench.putData(info, [0, 1, 2])
            },
            interrupt: { try await $0.images.remove("x") },
            then: { bench, comment in
                if (try? await bench.images.create("x", size: ByteCount(5))) == nil {
                    try? await bench.images.remove("x")
                    try await bench.images.create("x", size: ByteCount(5))
                }
                try await bench.expectOnly("x", size: 5, comment)
            })
    }

    @Test func resizeRepeatedLeavesNothingBeyondTheEnd() async throws {
        _ = try await forEveryStop(
            prepare: { bench in
                let info = try await bench.images.create("x", size: ByteCount(1 << 30))
                try await bench.putData(info, [0, 5, 9, 30])
            },
            interrupt: { try await $0.images.resize("x", to: ByteCount(5 << 22), allowShrink: true) },
            then: { bench, comment in
                bench.forgetWatchers()
                try await bench.images.resize("x", to: ByteCount(5 << 22), allowShrink: true)
                #expect(bench.objects.filter { $0.contains("rbd_data") }.count == 1, "\(comment)")
                #expect(try await bench.images.info("x").header.size == ByteCount(5 << 22), "\(comment)")
            })
    }

    @Test func growingAfterAnInterruptedShrinkShowsZeros() async throws {
        _ = try await forEveryStop(
            prepare: { bench in
                let info = try await bench.images.create("x", size: ByteCount(1 << 30))
                try await bench.putData(info, [0, 5, 9, 30])
            },
            interrupt: { try await $0.images.resize("x", to: ByteCount(5 << 22), allowShrink: true) },
            then: { bench, comment in
                bench.forgetWatchers()
                guard try await bench.images.info("x").header.size == ByteCount(5 << 22) else { return }
                try await bench.images.resize("x", to: ByteCount(1 << 30))
                #expect(bench.objects.filter { $0.contains("rbd_data") }.count == 1, "\(comment)")
            })
    }

    /// Another client grows the image, and writes into what it got, before any request of a resize: what it wrote stays,
    /// unless the image ends before it then.
    @Test func twoResizesAtOnceLoseNothing() async throws {
        let (small, large, object) = (ByteCount(5 << 22), ByteCount(30 << 22), 20 as UInt64)
        for target in [large, small] {
            for request in 0..<24 {
                let bench = ImageBench()
                let isWritten = Mutex(false)
                let start = target == large ? small : ByteCount(40 << 22)
                let info = try await bench.images.create("x", size: start)
                bench.pool.interpose(before: request) {
                    guard (try? await bench.images.resize("x", to: large)) != nil else { return }
                    try? await bench.putData(info, [object])
                    isWritten.withLock { $0 = true }
                }
                _ = try? await bench.images.resize("x", to: target, allowShrink: true)
                bench.pool.begin()
                let size = try await bench.images.info("x").header.size
                guard isWritten.withLock({ $0 }), size > small else { continue }
                #expect(bench.objects.filter { $0.contains("rbd_data") }.count == 1, "\(target), before \(request)")
            }
        }
    }

    /// A command that resizes is known to others while it lives, and is done with when its watch has run out.
    @Test func aResizeIsRefusedWhileAnotherLives() async throws {
        let bench = ImageBench()
        let info = try await bench.images.create("x", size: ByteCount(30 << 22))
        try await bench.putData(info, [1, 20])
        bench.pool.begin(stopsBefore: 9)
        await #expect(throws: RBDError.self) {
            try await bench.images.resize("x", to: ByteCount(5 << 22), allowShrink: true)
        }
        bench.pool.begin()
        do {
            try await bench.images.resize("x", to: ByteCount(40 << 22))
            Issue.record("a second resize was let in")
        } catch {
            #expect(
                error.errno == 16
                    && error.description.contains("'rbd/x' is being resized, rolled back or given a snapshot by test"))
        }
        bench.forgetWatchers()
        try await bench.images.resize("x", to: ByteCount(40 << 22))
        #expect(bench.objects == ["rbd_data.\(info.id).0000000000000001", "rbd_header.\(info.id)", "rbd_id.x"])
        #expect(bench.pool.objects.object("rbd_header.\(info.id)")?.watchers == [])
        #expect(bench.pool.objects.object("rbd_header.\(info.id)")?.omap[ImageNaming.resizing] == nil)
    }

    /// A second creator comes before any request of the first: one of them makes the image, the other is told.
    @Test func oneOfTwoCreatorsSucceeds() async throws {
        for request in 0..<6 {
            let bench = ImageBench()
            let second = Mutex(false)
            bench.pool.interpose(before: request) {
                let isMade = (try? await bench.images.create("x", size: ByteCount(222))) != nil
                second.withLock { $0 = isMade }
            }
            let first = (try? await bench.images.create("x", size: ByteCount(111))) != nil
            #expect(first != second.withLock { $0 }, "before request \(request)")
            try await bench.expectOnly("x", size: first ? 111 : 222, "before request \(request)")
        }
    }

    /// A removal comes before any request of a creation, and the other way round: what remains is whole or can be removed.
    @Test func creatingAndRemovingAtOnceLeavesNothingBroken() async throws {
        for request in 0..<12 {
            for createsFirst in [true, false] {
                let bench = ImageBench()
                let comment = "\(createsFirst ? "removal in a creation" : "creation in a removal") at \(request)"
                if !createsFirst {
                    let info = try await bench.images.create("x", size: ByteCount(1 << 30))
                    try await bench.putData(info, [1, 2])
                }
                bench.pool.interpose(before: request) {
                    if createsFirst {
                        try? await bench.images.remove("x")
                    } else {
                        _ = try? await bench.images.create("x", size: ByteCount(5))
                    }
                }
                if createsFirst {
                    _ = try? await bench.images.create("x", size: ByteCount(5))
                } else {
                    try? await bench.images.remove("x")
                }
                bench.pool.begin()
                if (try? await bench.images.info("x")) != nil {
                    try await bench.expectOnly("x", size: 5, comment)
                } else {
                    // Not there: a creation must succeed, after a removal at most.
                    try? await bench.images.remove("x")
                    try await bench.images.create("x", size: ByteCount(9))
                    try await bench.expectOnly("x", size: 9, comment)
                }
            }
        }
    }
}
