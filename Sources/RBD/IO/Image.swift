import Protocol
import RADOS
import Wire

/// The data path of an open image: requests on byte ranges become requests on objects.
///
/// A machine without I/O, confined to the client's event loop. What it guarantees:
/// - An answered change is replicated and durable, because that is what the cluster's answer means. So a flush has nothing
///   to wait for: it covers the writes answered before it, and those are durable; writes in flight have been promised to
///   nobody.
/// - Requests are done in the order of their calls wherever they touch the same object. A request of many objects goes on
///   in parts; a later one that touches an object which it has yet to reach waits. So a request that nobody waits for any
///   more cannot overtake the copy that was sent again in its place.
/// - A range that was never written, or was discarded, reads as zeros.
/// - Ranges are checked against the size of the moment of the call.
///
/// One object after the other holds the image's bytes (RBD's default striping: the stripe unit is the object).
public final class Image<Objects: ImageObjects, Reply: ImageReply> {
    unowned let objects: Objects
    /// The image's id.
    public let id: String
    /// Bytes of an object, as a power of two.
    public let order: UInt8
    /// Bytes of the image now.
    public internal(set) var size: UInt64
    let prefix: [UInt8]
    let headerName: ObjectName
    /// The watch's name among those of this client.
    let cookie: UInt64
    var watch = Watch()
    /// The snapshot that is read; nil for the image as it is.
    public let snapshot: ImageSnapshot?
    /// What goes with every request on data.
    var scope: SnapshotScope
    var knowledge = SnapshotKnowledge()

    private var requests: ContiguousArray<Request> = []
    private var free: ContiguousArray<Int32> = []
    /// Requests that have not submitted all their parts, in the order of their calls.
    private var queue: ContiguousArray<Int32> = []
    private var isPumping = false
    private var zeros: Bytes?
    /// Operations not answered yet.
    public private(set) var outstanding = 0

    /// The image that `info` describes, or a snapshot of it, which must not be written to. `cookie` tells this handle from
    /// others of the same client.
    public init(_ info: ImageInfo, cookie: UInt64, snapshot: ImageSnapshot? = nil, objects: Objects) {
        self.snapshot = snapshot
        scope = snapshot.map { SnapshotScope(snap: $0.id) } ?? SnapshotScope(context: info.header.context)
        knowledge.sequence = SnapID(info.header.snapshotSequence)
        self.objects = objects
        id = info.id
        order = info.header.order
        size = (snapshot?.size ?? info.header.size).rawValue
        prefix = Array(info.header.objectPrefix.utf8)
        headerName = ImageNaming.header(info.id)
        self.cookie = cookie
    }

    enum Kind {
        case read
        case write(Bytes)
        /// Zeros that take no space.
        case discard
        /// Zeros that take their space, so that writing there later cannot run out of it.
        case provision
    }

    struct Request {
        var reply: Reply?
        var kind: Kind
        var offset: UInt64
        var length: UInt64
        var firstObject: UInt64
        var lastObject: UInt64
        /// The next object to submit a part for; above `lastObject` when all are.
        var next: UInt64
        var partsInFlight = 0
        var errno: Int32 = 0
        /// Which of the image's states of knowledge it began in.
        var generation: UInt32
        /// What the parts of a read gave, nil for holes.
        var parts: [Bytes?] = []
        /// Parts are being submitted; answers that come meanwhile do not end the request.
        var isSubmitting = false

        var isSubmitted: Bool { next > lastObject }
    }

    // MARK: Operations

    /// Reads `length` bytes, at most `ImageLimits.transfer`. Past the end is EINVAL.
    public func read(offset: UInt64, length: Int, reply: Reply) {
        guard length >= 0, length <= ImageLimits.transfer else { return reply.finish(.failed(errno: Errno.invalid)) }
        begin(.read, offset, UInt64(length), reply, beyondEnd: Errno.invalid)
    }

    /// Writes `data`, at most `ImageLimits.transfer` bytes. Past the end is ENOSPC.
    public func write(offset: UInt64, data: Bytes, reply: Reply) {
        guard data.count <= ImageLimits.transfer else { return reply.finish(.failed(errno: Errno.invalid)) }
        begin(.write(data), offset, UInt64(data.count), reply, beyondEnd: Errno.noSpace)
    }

    /// Gives the range back; it reads as zeros afterwards. Past the end is EINVAL.
    public func discard(offset: UInt64, length: UInt64, reply: Reply) {
        begin(.discard, offset, length, reply, beyondEnd: Errno.invalid)
    }

    /// Makes the range read as zeros; with `keepsSpace` its space stays, or becomes, allocated. Past the end is ENOSPC.
    public func writeZeroes(offset: UInt64, length: UInt64, keepsSpace: Bool, reply: Reply) {
        begin(keepsSpace ? .provision : .discard, offset, length, reply, beyondEnd: Errno.noSpace)
    }

    /// Every change answered before this call is durable when it is answered, which is at once.
    public func flush(reply: Reply) {
        reply.finish(watch.isRemoved ? .failed(errno: Errno.noEntry) : .done)
    }

    private func begin(_ kind: Kind, _ offset: UInt64, _ length: UInt64, _ reply: Reply, beyondEnd: Int32) {
        precondition(!watch.isClosing, "an operation on an image that is being closed")
        guard !watch.isRemoved else { return reply.finish(.failed(errno: Errno.noEntry)) }
        if snapshot != nil {
            guard case .read = kind else { return reply.finish(.failed(errno: Errno.invalid)) }
        }
        guard offset <= size, length <= size - offset else { return reply.finish(.failed(errno: beyondEnd)) }
        guard length > 0 else { return reply.finish(.done) }
        let first = offset >> UInt64(order)
        let last = (offset + length - 1) >> UInt64(order)
        var request = Request(
            reply: reply, kind: kind, offset: offset, length: length, firstObject: first, lastObject: last, next: first,
            generation: knowledge.generation)
        if case .read = kind, first < last {
            request.parts = [Bytes?](repeating: nil, count: Int(last - first) + 1)
        }
        outstanding += 1
        let slot = store(request)
        if !queue.isEmpty || last - first >= UInt64(ImageLimits.partsInFlight) {
            queue.append(slot)
            pump()
        } else {
            submitParts(of: slot)
        }
    }

    private func store(_ request: Request) -> Int32 {
        if let slot = free.popLast() {
            requests[Int(slot)] = request
            return slot
        }
        requests.append(request)
        return Int32(requests.count - 1)
    }

    // MARK: Parts

    /// Submits parts of the requests that have not submitted all, as far as none overtakes an older one.
    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        var index = 0
        while index < queue.count {
            let slot = queue[index]
            if mayProceed(index) { submitParts(of: slot) }
            // What was submitted meanwhile stands behind, so the index stays good.
            if requests[Int(slot)].isSubmitted {
                queue.remove(at: index)
                settle(slot)
            } else {
                index += 1
            }
        }
    }

    /// False while an older request has yet to reach an object of this one.
    private func mayProceed(_ index: Int) -> Bool {
        let request = requests[Int(queue[index])]
        for earlier in queue[..<index] {
            let other = requests[Int(earlier)]
            if other.next <= request.lastObject, request.next <= other.lastObject { return false }
        }
        return true
    }

    private func submitParts(of slot: Int32) {
        let index = Int(slot)
        requests[index].isSubmitting = true
        while !requests[index].isSubmitted, requests[index].partsInFlight < ImageLimits.partsInFlight {
            let object = requests[index].next
            requests[index].next += 1
            requests[index].partsInFlight += 1
            let part = UInt32(truncatingIfNeeded: object - requests[index].firstObject)
            objects.submit(
                [step(of: requests[index], object)], on: ImageNaming.dataObject(prefix: prefix, number: object),
                scope: scope,
                token: UInt64(UInt32(bitPattern: slot)) << 32 | UInt64(part))
        }
        requests[index].isSubmitting = false
        if !isPumping { settle(slot) }
    }

    /// The part of `request` that lies in an object, in bytes of the object.
    private func range(of request: Request, in object: UInt64) -> (start: UInt64, length: UInt64) {
        let base = object << UInt64(order)
        let start = max(request.offset, base)
        let end = min(request.offset + request.length, base + (1 << UInt64(order)))
        return (start - base, end - start)
    }

    private func step(of request: Request, _ object: UInt64) -> ObjectOperation {
        let (start, length) = range(of: request, in: object)
        switch request.kind {
        case .read: return .read(offset: start, length: UInt32(length))
        case .write(let data):
            let position = Int((object << UInt64(order)) + start - request.offset)
            return .write(offset: start, data: data[position..<position + Int(length)])
        case .discard:
            return length == 1 << UInt64(order) ? .remove : .zero(offset: start, length: length)
        case .provision: return .write(offset: start, data: zeros(Int(length)))
        }
    }

    private func zeros(_ count: Int) -> Bytes {
        if let zeros, zeros.count >= count { return zeros[0..<count] }
        let made = Bytes(repeating: 0, count: count)
        zeros = made
        return made
    }

    // MARK: Answers

    /// A submitted request was answered.
    public func received(_ reply: OperationReply, token: UInt64) {
        let slot = Int32(bitPattern: UInt32(truncatingIfNeeded: token >> 32))
        guard slot >= 0 else { return receivedForHeader(reply, token: token) }
        let index = Int(slot)
        precondition(
            index < requests.count && requests[index].partsInFlight > 0, "an answer to part \(token) nobody waits for")
        note(reply, index, part: UInt64(UInt32(truncatingIfNeeded: token)))
        requests[index].partsInFlight -= 1
        if requests[index].isSubmitted {
            settle(slot)
        } else if !requests[index].isSubmitting {
            pump()
        }
    }

    private func note(_ reply: OperationReply, _ index: Int, part: UInt64) {
        guard case .done(let errno) = reply.outcome else {
            preconditionFailure("a request ended with \(reply.outcome)")
        }
        // A pool that is gone is no hole.
        guard reply.isAnswer else { return fail(index, Errno.inputOutput) }
        switch requests[index].kind {
        case .read:
            if errno == Errno.noEntry { return }
            if errno != 0 { return fail(index, errno) }
            let object = requests[index].firstObject + part
            guard let data = reply.outputs.first, data.count <= range(of: requests[index], in: object).length else {
                return fail(index, Errno.inputOutput)
            }
            if requests[index].parts.isEmpty {
                requests[index].parts = [data]
            } else {
                requests[index].parts[Int(part)] = data
            }
        case .discard:
            // What is not there is zero already.
            if errno != 0, errno != Errno.noEntry { fail(index, errno) }
        case .write, .provision:
            if errno != 0 { fail(index, errno) }
        }
    }

    private func fail(_ index: Int, _ errno: Int32) {
        if requests[index].errno == 0 { requests[index].errno = errno }
    }

    /// Ends a request when its last part has been answered.
    private func settle(_ slot: Int32) {
        let request = requests[Int(slot)]
        guard request.isSubmitted, request.partsInFlight == 0, !request.isSubmitting, let reply = request.reply,
            !queue.contains(slot)
        else { return }
        requests[Int(slot)].reply = nil
        requests[Int(slot)].kind = .discard
        requests[Int(slot)].parts = []
        free.append(slot)
        outstanding -= 1
        reply.finish(outcome(of: request))
        if request.generation != knowledge.generation { olderEnded() }
    }

    private func outcome(of request: Request) -> ImageOutcome {
        guard request.errno == 0 else { return .failed(errno: request.errno) }
        guard case .read = request.kind else { return .done }
        let length = Int(request.length)
        if request.parts.allSatisfy({ $0 == nil || $0!.isEmpty }) { return .zeroes }
        if request.parts.count == 1, let only = request.parts[0], only.count == length { return .data(only) }
        // Only now is memory taken, and no more than the parts and the holes between them need.
        let data = Bytes(count: length) { buffer in
            var position = 0
            for object in request.firstObject...request.lastObject {
                let (_, wanted) = range(of: request, in: object)
                let part = request.parts[Int(object - request.firstObject)] ?? .empty
                part.withUnsafeBytes { buffer[position...].copyBytes(from: $0) }
                _ = buffer[(position + part.count)..<(position + Int(wanted))].initializeMemory(
                    as: UInt8.self, repeating: 0)
                position += Int(wanted)
            }
        }
        return .data(data)
    }
}
