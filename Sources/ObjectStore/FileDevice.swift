import CSupport
import Glibc

/// The block file, with direct I/O through io_uring, or by a few threads where the system forbids or lacks that.
///
/// Belongs to the thread that first calls `submit`. Completions make `eventDescriptor` readable; whoever watches it
/// reads it empty and calls the store's `poll()`. Both ways have the same contract: a durable write is on stable storage
/// when it completes, a flush covers what was complete when it was begun, and a transfer that moved less than asked is EIO.
public final class FileDevice: BlockDevice {
    private enum Engine {
        case ring(OpaquePointer)
        case threads(IOThreads)
    }

    /// The eventfd to watch. It belongs to the device.
    public let eventDescriptor: Int32

    /// Bytes of the file; all of them are allocated.
    public private(set) var size: UInt64
    private let descriptor: Int32
    private let path: String
    private let engine: Engine
    /// Why threads do what io_uring would do better, in one line; nil when io_uring does it.
    public let fallbackReason: String?
    private let unsafeNoFlush: Bool
    /// Vectors of the writes queued since the last submission; the kernel has copied them when it returns.
    private var vectors: [UnsafeMutablePointer<iovec>] = []
    /// Tags completed without the kernel: flushes that are left out.
    private var ready: [IOCompletion] = []
    private var growing: Growth?
    /// What space is written with before it is used: a write to space that was only allocated makes the file system
    /// commit its own journal, and every durable write to the file that comes after it waits for that.
    private let zeros = BlockBuffer(count: FileDevice.zeroBytes)

    /// A growth under way: allocated first, so that it fails early, then zeroed part by part; `size` follows.
    private struct Growth {
        var tag: IOTag
        var size: UInt64
        /// What the file system had left when it began.
        var leftBefore: UInt64
        var isAllocated = false
        /// The part being zeroed ends here.
        var zeroingTo: UInt64 = 0
    }
    private var queueError: Int32 = 0
    private let reaped = UnsafeMutablePointer<nacre_completion>.allocate(capacity: FileDevice.reapLimit)

    private static let entries: UInt32 = 256
    private static let reapLimit = 256
    /// Bytes zeroed by one write: small, so that other writes wait little for it.
    private static let zeroBytes = 1 << 20
    /// Of `writeNow`, at a time.
    private static let writesNowInFlight = 64
    private static let growthTag = IOTag(TagKind.grow, 1)

    /// Opens `path`, which must exist; with `create` it must not. `withoutRing` does not try io_uring.
    public init(path: String, create: Bool = false, unsafeNoFlush: Bool = false, withoutRing: Bool = false)
        throws(DeviceError)
    {
        let opened = nacre_open_direct(path, create ? 1 : 0)
        guard opened >= 0 else { throw .system("cannot open \(path)") }
        var info = stat()
        let events = fstat(opened, &info) == 0 ? nacre_eventfd() : -1
        guard events >= 0 else {
            defer { close(opened) }
            throw .system("cannot use \(path)")
        }
        var error: Int32 = 0
        if withoutRing {
            engine = .threads(IOThreads(file: opened, eventDescriptor: events))
            fallbackReason = "it is switched off"
        } else if let ring = nacre_ring_create(Self.entries, events, &error) {
            engine = .ring(ring)
            fallbackReason = nil
        } else {
            engine = .threads(IOThreads(file: opened, eventDescriptor: events))
            fallbackReason =
                "\(String(cString: strerror(error))); allow it with sysctl kernel.io_uring_disabled=0, or in the "
                + "container's seccomp profile"
        }
        descriptor = opened
        self.path = path
        eventDescriptor = events
        size = UInt64(info.st_size)
        self.unsafeNoFlush = unsafeNoFlush
        _ = zeros.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        switch engine {
        case .ring(let ring): nacre_ring_destroy(ring)
        case .threads(let threads): threads.end()
        }
        close(descriptor)
        close(eventDescriptor)
        for vector in vectors { vector.deallocate() }
        reaped.deallocate()
    }

    /// What the file system has left for everybody, and what a growth under way has of it already. A system call: not for every
    /// operation.
    public var growable: UInt64 {
        guard let growing else { return left }
        // Until it is known whether it has its space, what was there before it counts.
        return growing.isAllocated ? left + (growing.size - size) : growing.leftBefore
    }

    private var left: UInt64 {
        var info = statvfs()
        guard fstatvfs(descriptor, &info) == 0 else { return 0 }
        return UInt64(info.f_bavail) * UInt64(info.f_frsize)
    }

    private func queued(_ result: Int32) {
        if result < 0 && queueError == 0 { queueError = -result }
    }

    /// Queues a write; `durable` makes it RWF_DSYNC, so that no flush has to follow.
    public func write(_ parts: [UnsafeRawBufferPointer], at offset: UInt64, durable: Bool, tag: IOTag) {
        let sync: Int32 = durable && !unsafeNoFlush ? 1 : 0
        guard case .ring(let ring) = engine else {
            if case .threads(let threads) = engine { threads.write(parts, at: offset, durable: sync != 0, tag: tag) }
            return
        }
        if parts.count == 1 { return write(parts[0], at: offset, durable: durable, tag: tag) }
        let vector = UnsafeMutablePointer<iovec>.allocate(capacity: parts.count)
        for (n, part) in parts.enumerated() {
            vector[n] = iovec(iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress), iov_len: part.count)
        }
        vectors.append(vector)
        queued(nacre_ring_writev(ring, descriptor, vector, UInt32(parts.count), offset, sync, tag))
    }

    /// The same for one part.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, durable: Bool, tag: IOTag) {
        let sync: Int32 = durable && !unsafeNoFlush ? 1 : 0
        switch engine {
        case .ring(let ring):
            queued(nacre_ring_write(ring, descriptor, bytes.baseAddress, UInt32(bytes.count), offset, sync, tag))
        case .threads(let threads): threads.write([bytes], at: offset, durable: sync != 0, tag: tag)
        }
    }

    /// Queues a read.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, tag: IOTag) {
        switch engine {
        case .ring(let ring):
            queued(nacre_ring_read(ring, descriptor, buffer.baseAddress, UInt32(buffer.count), offset, tag))
        case .threads(let threads): threads.read(into: buffer, at: offset, tag: tag)
        }
    }

    /// Queues an fdatasync.
    public func flush(tag: IOTag) {
        if unsafeNoFlush {
            ready.append(IOCompletion(tag: tag, result: 0))
            wake()
            return
        }
        switch engine {
        case .ring(let ring): queued(nacre_ring_datasync(ring, descriptor, tag))
        case .threads(let threads): threads.flush(tag: tag)
        }
    }

    /// Queues a fallocate, after which the space is zeroed part by part: `size` goes up with it. One at a time.
    public func grow(to size: UInt64, tag: IOTag) {
        precondition(growing == nil && size > self.size, "growing to \(size) from \(self.size)")
        growing = Growth(tag: tag, size: size, leftBefore: left)
        switch engine {
        case .ring(let ring):
            queued(nacre_ring_allocate(ring, descriptor, self.size, size - self.size, Self.growthTag))
        case .threads(let threads): threads.allocate(self.size, size - self.size, tag: Self.growthTag)
        }
    }

    /// A step of the growth is complete. Returns the completion of the whole when it was the last.
    private func advanceGrowth(_ result: Int64) -> IOCompletion? {
        guard var growth = growing else { preconditionFailure("a growth goes on and none was begun") }
        if result >= 0 && growth.isAllocated { size = growth.zeroingTo }
        growth.isAllocated = true
        guard result >= 0, size < growth.size else {
            growing = nil
            return IOCompletion(tag: growth.tag, result: min(result, 0))
        }
        growth.zeroingTo = min(growth.size, size + UInt64(Self.zeroBytes))
        growing = growth
        let part = UnsafeRawBufferPointer(zeros.bytes)[..<Int(growth.zeroingTo - size)]
        write([UnsafeRawBufferPointer(rebasing: part)], at: size, durable: false, tag: Self.growthTag)
        return nil
    }

    /// One system call for everything queued; none when nothing is.
    public func submit() throws(DeviceError) {
        guard case .ring(let ring) = engine else {
            if case .threads(let threads) = engine { threads.submit() }
            return
        }
        let result = queueError != 0 ? -queueError : nacre_ring_submit(ring)
        for vector in vectors { vector.deallocate() }
        vectors.removeAll(keepingCapacity: true)
        if result < 0 { throw DeviceError(code: -result, "io_uring: \(String(cString: strerror(-result)))") }
    }

    /// Takes completions from the ring.
    public func poll(_ completions: inout [IOCompletion]) {
        completions.append(contentsOf: ready)
        ready.removeAll(keepingCapacity: true)
        switch engine {
        case .threads(let threads): threads.reap { take(tag: $0, result: $1, &completions) }
        case .ring(let ring):
            while true {
                let count = Int(nacre_ring_reap(ring, reaped, UInt32(Self.reapLimit)))
                for n in 0..<count { take(tag: reaped[n].tag, result: reaped[n].result, &completions) }
                if count < Self.reapLimit { return }
            }
        }
    }

    private func take(tag: IOTag, result: Int64, _ completions: inout [IOCompletion]) {
        if tag != Self.growthTag {
            completions.append(IOCompletion(tag: tag, result: result))
        } else if let whole = advanceGrowth(result) {
            completions.append(whole)
        }
    }

    private func wake() {
        var one: UInt64 = 1
        _ = Glibc.write(eventDescriptor, &one, 8)
    }

    /// Reads by plain system calls.
    public func readNow(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system("cannot read \(path) at \(offset)") }
            guard count > 0 else {
                throw DeviceError(code: EIO, "\(path) ends within \(offset)+\(buffer.count): truncated?")
            }
            done += count
        }
    }

    /// Writes by plain system calls, extending the file where needed.
    public func writeNow(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(DeviceError) {
        var done = 0
        while done < buffer.count {
            let count = pwrite(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("cannot write \(path) at \(offset)") }
            done += count
        }
        size = max(size, offset + UInt64(buffer.count))
    }

    /// Writes with many in flight, by a device of its own: this one may belong to another thread.
    public func writeNow(_ writes: [PlacedWrite]) throws(DeviceError) {
        guard !writes.isEmpty else { return }
        let other = try FileDevice(path: path, withoutRing: fallbackReason != nil)
        var next = 0, inFlight = 0
        var completions: [IOCompletion] = []
        var failure: DeviceError?
        while inFlight > 0 || next < writes.count && failure == nil {
            while failure == nil, inFlight < Self.writesNowInFlight, next < writes.count {
                other.write(writes[next].parts, at: writes[next].offset, durable: false, tag: IOTag(next))
                next += 1
                inFlight += 1
            }
            // Whatever fails: memory must stay until the last of them has ended.
            try other.submit()
            try other.wait()
            completions.removeAll(keepingCapacity: true)
            other.poll(&completions)
            inFlight -= completions.count
            for completion in completions where completion.result < 0 {
                let code = Int32(-completion.result)
                failure = DeviceError(
                    code: code,
                    "cannot write \(path) at \(writes[Int(completion.tag)].offset): \(String(cString: strerror(code)))")
            }
        }
        if let failure { throw failure }
        size = max(size, writes.map { $0.offset + UInt64($0.parts.reduce(0) { $0 + $1.count }) }.max() ?? 0)
    }

    /// Flushes by a plain system call.
    public func flushNow() throws(DeviceError) {
        guard unsafeNoFlush || fdatasync(descriptor) == 0 else { throw .system("cannot flush \(path)") }
    }

    /// Allocates by a plain system call, without zeroing. A growth under way is waited for until it has gained something.
    public func growNow(to size: UInt64) throws(DeviceError) {
        guard size > self.size else { return }
        guard growing == nil else { return try awaitGrowth() }
        let error = posix_fallocate(descriptor, off_t(self.size), off_t(size - self.size))
        guard error == 0 else {
            throw DeviceError(code: error, "cannot grow \(path): \(String(cString: strerror(error)))")
        }
        self.size = size
        try flushNow()
    }

    /// Punches a hole by a plain system call.
    public func punchNow(at offset: UInt64, count: Int) throws(DeviceError) {
        guard nacre_punch_hole(descriptor, offset, UInt64(count)) == 0 else {
            throw .system("cannot punch a hole into \(path) at \(offset)")
        }
    }

    /// Allocates by a plain system call, without zeroing.
    public func fillNow(at offset: UInt64, count: Int) throws(DeviceError) {
        let error = posix_fallocate(descriptor, off_t(offset), off_t(count))
        guard error == 0 else {
            throw DeviceError(
                code: error, "cannot allocate \(path) at \(offset): \(String(cString: strerror(error)))")
        }
    }

    /// Waits until something is complete.
    private func wait() throws(DeviceError) {
        let result: Int32
        switch engine {
        case .ring(let ring): result = nacre_ring_wait(ring)
        case .threads(let threads): result = threads.wait()
        }
        guard result >= 0 else { throw DeviceError(code: -result, "io_uring: \(String(cString: strerror(-result)))") }
    }

    /// Waits until the growth under way has gained something or ended. What else completes is kept for `poll`.
    private func awaitGrowth() throws(DeviceError) {
        let before = size
        while growing != nil, size == before {
            try submit()
            try wait()
            var taken: [IOCompletion] = []
            poll(&taken)
            ready.append(contentsOf: taken)
        }
        wake()
        guard size > before else { throw DeviceError(code: ENOSPC, "cannot grow \(path)") }
    }
}

extension DeviceError {
    /// The failure of the last system call.
    static func system(_ context: String) -> DeviceError {
        let code = errno
        return DeviceError(code: code, "\(context): \(String(cString: strerror(code)))")
    }
}
