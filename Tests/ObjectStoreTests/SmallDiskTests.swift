import Foundation
import Glibc
import ObjectStore
import Protocol
import Simulation
import Testing
import Wire

/// Containers often forbid it: what says so is the attempt.
private var canMount: Bool {
    guard geteuid() == 0, access("/dev/loop-control", W_OK) == 0 else { return false }
    let path = NSTemporaryDirectory() + "/nacre-mount-" + UUID().uuidString
    guard mkdir(path, 0o700) == 0 else { return false }
    defer { rmdir(path) }
    guard mount("none", path, "tmpfs", 0, "size=64k") == 0 else { return false }
    return umount(path) == 0
}

/// A file system of its own that is filled to the last byte. Needs to be root, for a loop device.
@Suite(.serialized, .enabled(if: canMount, "file systems can be mounted here"))
struct SmallDiskTests {
    private func run(_ command: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure("\(command) ends with \(process.terminationStatus)") }
    }

    private func withFileSystem(bytes: Int, _ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "/nacre-small-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path + "/mount", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try run("truncate", "-s", "\(bytes)", path + "/image")
        try run("mkfs.ext4", "-q", "-m", "0", path + "/image")
        try run("mount", "-o", "loop", path + "/image", path + "/mount")
        // Lazily, for the sake of a test that has failed with the store open.
        defer { try? run("umount", "--lazy", path + "/mount") }
        try FileManager.default.createDirectory(atPath: path + "/mount/osd", withIntermediateDirectories: true)
        try body(path + "/mount")
    }

    private var options: StoreOptions {
        var options = StoreOptions()
        options.journalSize = 16 << 20
        options.growth = 16 << 20
        return options
    }

    /// Runs until everything is committed and, with `checkpoint`, no checkpoint is under way and what was to be given back to
    /// the file system is.
    private func settle(_ store: DiskStore, _ outstanding: inout Int, checkpoint: Bool = true) throws {
        let deadline = Date() + 60
        while outstanding > 0 || checkpoint && (store.isCheckpointing || store.unpunchedHoles > 0) {
            if checkpoint, !store.isCheckpointing { store.lookForSpace() }
            store.endOfTurn()
            var failure: StoreError?
            store.drainCompletions { completion in
                switch completion {
                case .committed: outstanding -= 1
                case .failed(let error): failure = error
                case .read: break
                }
            }
            if let failure { throw failure }
            guard Date() < deadline else { throw Failure("\(outstanding) are never committed: \(store.usage)") }
            var descriptor = pollfd(fd: store.eventDescriptor, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&descriptor, 1, 100)
            var value: UInt64 = 0
            if descriptor.revents != 0 { _ = Glibc.read(store.eventDescriptor, &value, 8) }
            store.poll()
        }
    }

    private func object(_ n: Int) -> ObjectID {
        ObjectID(pool: PoolID(1), hash: UInt32(n) &* 0x9e37_79b9, name: ObjectName("rbd_data.1.\(n)"))
    }

    /// Takes what the file system has left.
    private func takeTheRest(_ mount: String) throws {
        let descriptor = open(mount + "/other", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        guard descriptor >= 0 else { throw Failure("cannot create a file") }
        defer { close(descriptor) }
        for size in [1 << 20, 4096, 512] {
            let junk = [UInt8](repeating: 1, count: size)
            while Glibc.write(descriptor, junk, size) == size {}
        }
        #expect(errno == ENOSPC)
        fsync(descriptor)
    }

    /// Where a store was made that is empty.
    private func newStore(on mount: String) throws -> String {
        let path = mount + "/osd"
        let identity = StoreIdentity(
            cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: 6))
        try StoreDirectory(path).format(identity, options: options)
        return path
    }

    @Test func aStoreOnAFullFileSystemStartsDeletesAndRecovers() throws {
        try withFileSystem(bytes: 300 << 20) { mount in
            let path = try newStore(on: mount)
            var workload = Workload(seed: baseSeed)
            var outstanding = 0, count = 0
            let data = workload.bytes(1 << 20)
            // In the order of first times: the metadata store's files come and go, and what the disk holds with them.
            var steps: [StoreFullness] = []
            do {
                let directory = try StoreDirectory(path)
                let store = try directory.openStore(options: options)
                #expect(store.fullness == .ok)
                // Clients, then copies that the cluster needs, then what must go on always.
                for (space, atLeast) in [(SpaceClass.client, 100), (.recovery, 1), (.essential, 1)] {
                    let before = count
                    while store.canAccept(data.count, as: space) {
                        store.submit(
                            Transaction([
                                .write(object(count), offset: 0, data: data),
                                .setAttribute(object(count), name: "_", value: Bytes("info")),
                                .setOmap(object(count), entries: [KeyValue(Bytes("key"), Bytes("value"))]),
                            ]), token: UInt64(count))
                        outstanding += 1
                        count += 1
                        if outstanding == 4 { try settle(store, &outstanding) }
                        if !steps.contains(store.fullness) { steps.append(store.fullness) }
                    }
                    #expect(count - before >= atLeast, "\(space): \(store.usage)")
                }
                try settle(store, &outstanding)
                #expect(steps == [.ok, .nearfull, .backfillfull, .full])
                withExtendedLifetime(directory) {}
            }
            // Others take what was left to the metadata.
            try takeTheRest(mount)
            for round in 0..<3 {
                let directory = try StoreDirectory(path)
                let store = try directory.openStore(options: options)
                // What the first deletions freed is there in the later rounds.
                if round == 0 {
                    #expect(store.fullness == .full)
                    #expect(!store.canAccept(1))
                }
                // Deleting is always possible, and what it frees can be used.
                for n in round * 20..<round * 20 + 20 {
                    store.submit(Transaction([.remove(object(n))]), token: UInt64(n))
                    outstanding += 1
                }
                try settle(store, &outstanding)
                store.requestCheckpoint()
                try settle(store, &outstanding)
                #expect(store.canAccept(data.count, as: .essential))
                for n in round * 20..<round * 20 + 10 {
                    store.submit(Transaction([.write(object(n), offset: 0, data: data)]), token: UInt64(n))
                    outstanding += 1
                }
                try settle(store, &outstanding)
                withExtendedLifetime(directory) {}
            }
            // With room again, clients may write again.
            unlink(mount + "/other")
            let directory = try StoreDirectory(path)
            let store = try directory.openStore(options: options)
            #expect(store.canAccept(data.count) && store.fullness < .full)
            for n in 60..<count { #expect(try store.stat(object(n)) == 1 << 20) }
            withExtendedLifetime(directory) {}
        }
    }

    /// Again and again others take all that is left, and the next start has to give the journal's keys to a metadata store that
    /// has only its ballast: it must merge its files in there, and be given what data can spare, or the ballast is used up.
    @Test func startsOnAFullFileSystemDoNotUseUpTheBallast() throws {
        try withFileSystem(bytes: 200 << 20) { mount in
            let path = try newStore(on: mount)
            var workload = Workload(seed: baseSeed)
            var outstanding = 0
            var expected: [Bytes] = []
            for round in 0..<12 {
                let directory = try StoreDirectory(path)
                let store = try directory.openStore(options: options)
                for (n, value) in expected.enumerated() {
                    #expect(try store.omapValue(object(n), Bytes("key")) == value, "round \(round)")
                }
                try takeTheRest(mount)
                store.lookForSpace()
                #expect(store.fullness == .full)
                try settle(store, &outstanding)
                // At first just less than half the journal, where a checkpoint would begin.
                let count = round == 0 ? 60 : 30
                let values = (0..<count).map { _ in workload.bytes(120 << 10) }
                expected.replaceSubrange(..<min(count, expected.count), with: values)
                for n in 0..<count {
                    let entry = KeyValue(Bytes("key"), expected[n])
                    store.submit(Transaction([.setOmap(object(n), entries: [entry])]), token: UInt64(n))
                    outstanding += 1
                    if n % 8 == 7 { try settle(store, &outstanding, checkpoint: false) }
                }
                try settle(store, &outstanding, checkpoint: false)
                withExtendedLifetime(directory) {}
            }
        }
    }
}
