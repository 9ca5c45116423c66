import CSupport
import Glibc

/// Block I/O by a few threads with plain system calls, for systems where io_uring is missing or forbidden.
///
/// The owner queues and, with `submit`, hands over; operations are begun in the order of submission, run beside each other and
/// end in any order. Ends are announced through the eventfd.
///
/// Sendable: what the threads share is behind the mutex; `queued` is the owner's alone. Whoever queued an operation keeps its
/// buffers until it was reaped or `end` has returned.
final class IOThreads: @unchecked Sendable {
    private enum Operation {
        /// The vector belongs to the operation.
        case write(UnsafeMutableBufferPointer<iovec>, offset: UInt64, durable: Bool)
        case read(UnsafeMutableRawBufferPointer, offset: UInt64)
        case flush
        case allocate(offset: UInt64, length: UInt64)
    }

    private struct Job {
        var operation: Operation
        var tag: IOTag
    }

    /// As many operations run at a time.
    static let threads = 16
    /// Bytes of a thread's stack: it calls the system and little else.
    private static let stackSize = 256 << 10

    private let file: Int32
    private let eventDescriptor: Int32
    private var queued: [Job] = []

    // Shared, behind the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let hasWork = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let hasEnded = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting = Queue<Job>()
    private var ended: [(tag: IOTag, result: Int64)] = []
    private var isEnding = false

    private var running: [pthread_t] = []
    private var reaped: [(tag: IOTag, result: Int64)] = []

    /// For the open file `file`; both descriptors stay the caller's.
    init(file: Int32, eventDescriptor: Int32) {
        self.file = file
        self.eventDescriptor = eventDescriptor
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(hasWork, nil)
        pthread_cond_init(hasEnded, nil)
    }

    deinit {
        precondition(running.isEmpty, "\(running.count) threads run when their work is given up")
        for job in queued { Self.free(job) }
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(hasWork)
        pthread_cond_destroy(hasEnded)
        mutex.deallocate()
        hasWork.deallocate()
        hasEnded.deallocate()
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    // MARK: - The owner

    func write(_ parts: [UnsafeRawBufferPointer], at offset: UInt64, durable: Bool, tag: IOTag) {
        let vector = UnsafeMutableBufferPointer<iovec>.allocate(capacity: parts.count)
        for (n, part) in parts.enumerated() {
            vector.initializeElement(
                at: n, to: iovec(iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress), iov_len: part.count))
        }
        queued.append(Job(operation: .write(vector, offset: offset, durable: durable), tag: tag))
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, tag: IOTag) {
        queued.append(Job(operation: .read(buffer, offset: offset), tag: tag))
    }

    func flush(tag: IOTag) { queued.append(Job(operation: .flush, tag: tag)) }

    func allocate(_ offset: UInt64, _ length: UInt64, tag: IOTag) {
        queued.append(Job(operation: .allocate(offset: offset, length: length), tag: tag))
    }

    /// Hands over what is queued. Threads come into being with the first work there is for them.
    func submit() {
        guard !queued.isEmpty else { return }
        let count = locked {
            for job in queued { waiting.append(job) }
            return waiting.count
        }
        queued.removeAll(keepingCapacity: true)
        while running.count < min(count, Self.threads), let thread = begin() { running.append(thread) }
        if running.isEmpty {
            // No thread at all: the owner does the work.
            while let job = locked({ waiting.popFirst() }) { perform(job) }
        } else if count == 1 {
            pthread_cond_signal(hasWork)
        } else {
            pthread_cond_broadcast(hasWork)
        }
    }

    private func begin() -> pthread_t? {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, Self.stackSize)
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, &attributes,
            { raw in
                guard let raw else { return nil }
                Unmanaged<IOThreads>.fromOpaque(raw).takeRetainedValue().work()
                return nil
            }, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            return nil
        }
        return thread
    }

    /// Gives `body` what has ended since the last call.
    func reap(_ body: (IOTag, Int64) -> Void) {
        locked { swap(&ended, &reaped) }
        for end in reaped { body(end.tag, end.result) }
        reaped.removeAll(keepingCapacity: true)
    }

    /// Waits until something can be reaped; something must be under way.
    func wait() -> Int32 {
        locked { while ended.isEmpty { pthread_cond_wait(hasEnded, mutex) } }
        return 0
    }

    /// Gives up what has not begun and waits for what has. Nothing touches the buffers afterwards.
    func end() {
        locked {
            isEnding = true
            while let job = waiting.popFirst() { Self.free(job) }
        }
        pthread_cond_broadcast(hasWork)
        for thread in running { pthread_join(thread, nil) }
        running = []
    }

    // MARK: - The threads

    private func work() {
        while let job = next() { perform(job) }
    }

    private func next() -> Job? {
        locked {
            while waiting.isEmpty && !isEnding { pthread_cond_wait(hasWork, mutex) }
            return waiting.popFirst()
        }
    }

    private func perform(_ job: Job) {
        let result: Int64
        switch job.operation {
        case .write(let vector, let offset, let durable):
            result = nacre_write_at(file, vector.baseAddress, UInt32(vector.count), offset, durable ? 1 : 0)
        case .read(let buffer, let offset):
            result = nacre_read_at(file, buffer.baseAddress, buffer.count, offset)
        case .flush:
            result = fdatasync(file) == 0 ? 0 : -Int64(errno)
        case .allocate(let offset, let length):
            result = nacre_allocate_at(file, offset, length)
        }
        Self.free(job)
        let isFirst = locked {
            ended.append((job.tag, result))
            pthread_cond_signal(hasEnded)
            return ended.count == 1
        }
        if isFirst {
            var one: UInt64 = 1
            _ = Glibc.write(eventDescriptor, &one, 8)
        }
    }

    private static func free(_ job: Job) {
        if case .write(let vector, _, _) = job.operation { vector.deallocate() }
    }
}
