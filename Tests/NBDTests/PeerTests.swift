import Foundation
import NBD
import NIOCore
import Testing

/// Clients written by others against a real server: each must find what it wrote, over TCP and unix sockets, with exports
/// that answer at once and exports that answer later.
@Suite(.serialized, .timeLimit(.minutes(2))) struct PeerTests {
    static let size = 32 << 20

    private func withMemory(later: Bool = true, _ body: (RunningServer) async throws -> Void) async throws {
        try await RunningServer.with({ [MemoryExport(size: Self.size, later: later ? $0 : nil)] }, body)
    }

    /// A file of `size` bytes with data, zeroes and an end that is no multiple of anything.
    private func makeFile(_ path: String, size: Int = size) throws -> Data {
        var random = Seeded(seed: 42)
        var data = Data(count: size)
        var offset = 0
        while offset < size {
            let length = min(size - offset, 300_007)
            if random.next() % 3 != 0 {
                data.withUnsafeMutableBytes { bytes in
                    for index in stride(from: offset, to: offset + length - 8, by: 8) {
                        bytes.storeBytes(of: random.next(), toByteOffset: index, as: UInt64.self)
                    }
                }
            }
            offset += length
        }
        try data.write(to: URL(fileURLWithPath: path))
        return data
    }

    @Test func nbdinfoShowsTheExportAndTheList() async throws {
        let nbdinfo = try Tool("nbdinfo", package: "libnbd-bin")
        try await RunningServer.with({ _ in
            [MemoryExport(size: 123_456_789), MemoryExport(name: "pool/im age@snap", size: 512, isReadOnly: true)]
        }) { running in
            for uri in running.uris() {
                let text = try await nbdinfo.succeed([uri])
                #expect(text.contains("export-size: 123456789"))
                #expect(text.contains("newstyle-fixed"))
                for line in [
                    "can_cache: true", "can_fast_zero: true", "can_flush: true", "can_fua: true",
                    "can_multi_conn: true", "can_trim: true", "can_zero: true", "is_read_only: false",
                    "block_size_maximum: 33554432", "block_size_preferred: 4096",
                ] {
                    #expect(text.contains(line), "\(line) in \(text)")
                }
            }
            for uri in running.uris("pool/im age@snap") {
                let text = try await nbdinfo.succeed([uri])
                #expect(text.contains("export-size: 512") && text.contains("is_read_only: true"))
            }
            for uri in running.uris("") {
                let text = try await nbdinfo.succeed(["--list", uri])
                #expect(text.contains("\"memory\"") && text.contains("pool/im age@snap"), "\(text)")
            }
            for name in ["nothing", "forbidden"] {
                let outcome = try await nbdinfo.run([running.tcp.uri(export: name)])
                #expect(outcome.status != 0 && outcome.errors.contains(name), "\(outcome.errors)")
            }
        }
    }

    @Test(arguments: [false, true]) func nbdcopyBothWays(later: Bool) async throws {
        let nbdcopy = try Tool("nbdcopy", package: "libnbd-bin")
        try await withMemory(later: later) { running in
            for (index, uri) in running.uris().enumerated() {
                let from = running.scratch.path("from\(index)"), to = running.scratch.path("to\(index)")
                let data = try makeFile(from)
                try await nbdcopy.succeed([from, uri])
                try await nbdcopy.succeed([uri, to])
                #expect(try Data(contentsOf: URL(fileURLWithPath: to)) == data)
            }
        }
    }

    @Test(arguments: [false, true]) func qemuImgConvertsAndCompares(later: Bool) async throws {
        let qemu = try Tool("qemu-img", package: "qemu-utils")
        try await withMemory(later: later) { running in
            for (index, uri) in running.uris().enumerated() {
                let from = running.scratch.path("from\(index)"), to = running.scratch.path("to\(index)")
                let data = try makeFile(from)
                try await qemu.succeed(["convert", "-n", "-f", "raw", "-O", "raw", from, uri])
                try await qemu.succeed(["compare", "-f", "raw", "-F", "raw", from, uri])
                try await qemu.succeed(["convert", "-f", "raw", "-O", "raw", uri, to])
                #expect(try Data(contentsOf: URL(fileURLWithPath: to)) == data)
            }
        }
    }

    @Test func qemuShowsTheReasonOfARefusal() async throws {
        let qemu = try Tool("qemu-img", package: "qemu-utils")
        try await withMemory { running in
            for (name, reason) in [
                ("nothing", "there is no export nothing"), ("forbidden", "forbidden is not for you"),
            ] {
                let outcome = try await qemu.run(["info", running.unix.uri(export: name)])
                #expect(outcome.status == 1 && outcome.errors.contains(reason), "\(outcome.errors)")
            }
        }
    }

    @Test func qemuIOWritesZeroesDiscardsAndReads() async throws {
        let qemu = try Tool("qemu-io", package: "qemu-utils")
        try await withMemory { running in
            for uri in running.uris() {
                let commands = [
                    "write -P 0x55 0 1M", "write -f -P 0x66 1M 64k", "flush", "write -z 4k 8k", "discard 512k 4k",
                    "read -P 0x55 0 4k", "read -P 0 4k 8k", "read -P 0x55 12k 4k", "read -P 0x66 1M 64k",
                    "aio_write -P 0x77 2M 1M", "aio_write -P 0x78 3M 1M", "aio_flush", "read -P 0x77 2M 1M",
                    "read -P 0x78 3M 1M", "read -P 0 31M 1M",
                ]
                let text = try await qemu.succeed(["-f", "raw"] + commands.flatMap { ["-c", $0] } + [uri])
                #expect(!text.contains("failed") && !text.contains("rror"), "\(text)")
            }
        }
    }

    @Test(arguments: [false, true]) func fioVerifiesItsChecksums(later: Bool) async throws {
        let fio = try Tool("fio", package: "fio")
        try await withMemory(later: later) { running in
            for uri in running.uris() {
                try await fio.succeed([
                    "--name=verify", "--ioengine=nbd", "--uri=\(uri)", "--rw=randrw",
                    "--bssplit=512/20:4k/40:64k/30:1m/10",
                    "--iodepth=32", "--size=\(Self.size)", "--verify=crc32c", "--verify_fatal=1",
                    "--verify_state_save=0", "--aux-path=\(running.scratch.path)", "--do_verify=1",
                    "--randseed=7", "--norandommap=0",
                ])
                try await fio.succeed([
                    "--name=trims", "--ioengine=nbd", "--uri=\(uri)", "--rw=randtrimwrite", "--bs=4k", "--iodepth=16",
                    "--size=4m", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0",
                    "--aux-path=\(running.scratch.path)", "--do_verify=1",
                    "--randseed=8",
                ])
            }
        }
    }

    /// libnbd lets its own checks be switched off, so that the server's can be seen.
    @Test func libnbdWithoutItsOwnChecks() async throws {
        let python = try Tool("python3", package: "python3")
        let probe = try await python.run(["-c", "import nbd"])
        try #require(probe.status == 0, "the module nbd is missing: apt-get install python3-libnbd")
        let script = """
            import nbd, sys, errno
            def fails(code, call):
                try: call()
                except nbd.Error as e: assert e.errnum == code, (e.errnum, code, e.string)
                else: raise AssertionError('no error %d' % code)
            for uri in sys.argv[1:]:
                h = nbd.NBD()
                h.set_strict_mode(0)
                h.connect_uri(uri)
                size = h.get_size()
                fails(errno.EINVAL, lambda: h.pread(512, size))
                fails(errno.ENOSPC, lambda: h.pwrite(b'x' * 512, size - 1))
                fails(errno.EINVAL, lambda: h.trim(512, size))
                fails(errno.ENOSPC, lambda: h.zero(512, size))
                fails(errno.EINVAL, lambda: h.pwrite(b'x', 0, nbd.CMD_FLAG_DF))
                h.pwrite(b'abc' * 1000, 5, nbd.CMD_FLAG_FUA)
                h.zero(10, 5, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
                assert h.pread(13, 5) == bytes(10) + b'bca'
                big = bytes(range(256)) * (1 << 12)
                h.pwrite(big * 32, 0) if size >= 32 << 20 else None
                assert h.pread(32 << 20, 0) == big * 32
                h.flush(); h.cache(4096, 0); h.trim(4096, 0)
                cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([i] * 4096)), i * 4096) for i in range(200)]
                while h.aio_in_flight(): h.poll(-1)
                for i in range(200): assert h.pread(4096, i * 4096) == bytes([i] * 4096)
                h.shutdown()
                h = nbd.NBD()
                h.set_opt_mode(True)
                h.connect_uri(uri)
                names = []
                h.opt_list(lambda name, text: names.append(name))
                assert names == ['memory'], names
                h.set_export_name('missing')
                try: h.opt_info()
                except nbd.Error as e: assert e.errnum == errno.ENOENT, e.string
                else: raise AssertionError('a missing export opened')
                h.set_export_name('memory'); h.set_full_info(True)
                h.opt_info()
                assert h.get_export_description() == 'memory for tests'
                assert h.get_canonical_export_name() == 'memory'
                assert h.get_size() == size
                h.opt_go()
                assert h.get_size() == size
                h.shutdown()
                h = nbd.NBD()
                h.set_opt_mode(True); h.connect_uri(uri); h.opt_abort()
                h = nbd.NBD()
                h.set_handshake_flags(0); h.connect_uri(uri); assert h.get_size() == size
                assert h.get_protocol() == 'newstyle', h.get_protocol()
                h.shutdown()
            """
        try await withMemory { running in
            try await python.succeed(["-c", script] + running.uris())
        }
    }
}
