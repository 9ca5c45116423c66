import Protocol
import Wire

/// The object class `lock`: advisory locks on objects, with the methods, rules and attribute of RADOS's.
///
/// A lock is the attribute `lock.NAME`. Its holders are named by client and cookie; a lock is exclusive, or shared by all who
/// give the same tag. A lock may be taken for a time only: that is counted by the primary's time of day, so where two holders
/// would do harm, take it without end, and break it after its holder was blocklisted.
enum LockClass {
    static let prefix = "lock."

    static func register(in classes: inout ObjectClasses) {
        classes.register(ObjectLock.className, "lock", changes: true) { context, input throws(ClassFailure) in
            try lock(context, decode(input) { r throws(WireError) in try ObjectLock.Request(from: &r) })
        }
        classes.register(ObjectLock.className, "unlock", changes: true) { context, input throws(ClassFailure) in
            let (lock, cookie) = try decode(input) { r throws(WireError) in
                (try ObjectLock.text(&r), try ObjectLock.text(&r))
            }
            return try remove(context, lock, context.client, cookie)
        }
        classes.register(ObjectLock.className, "break_lock", changes: true) { context, input throws(ClassFailure) in
            let (lock, client, cookie) = try decode(input) { r throws(WireError) in
                (try ObjectLock.text(&r), try r.readU64(), try ObjectLock.text(&r))
            }
            return try remove(context, lock, client, cookie)
        }
        classes.register(ObjectLock.className, "get_info", changes: false) { context, input throws(ClassFailure) in
            try state(context, decode(input) { r throws(WireError) in try ObjectLock.text(&r) }).encoded
        }
        classes.register(ObjectLock.className, "list_locks", changes: false) { context, _ throws(ClassFailure) in
            try list(context)
        }
        classes.register(ObjectLock.className, "assert_locked", changes: false) { context, input throws(ClassFailure) in
            let call = try decode(input) { r throws(WireError) in try ObjectLock.Request(from: &r) }
            let state = try state(context, call.name)
            guard state.kind == call.kind, state.tag == call.tag,
                state.holders.contains(where: { $0.client == context.client && $0.cookie == call.cookie })
            else { throw .errno(Errno.busy) }
            return .empty
        }
    }

    // MARK: Methods

    private static func lock(_ context: any ObjectContext, _ call: ObjectLock.Request) throws(ClassFailure) -> Bytes {
        guard !call.name.isEmpty, !(call.mayRenew && call.mustRenew) else { throw .errno(Errno.invalid) }
        var state = try state(context, call.name)
        if !state.holders.isEmpty, state.tag != call.tag { throw .errno(Errno.busy) }
        if let index = state.holders.firstIndex(where: { $0.client == context.client && $0.cookie == call.cookie }) {
            guard call.mayRenew || call.mustRenew else { throw .errno(Errno.exists) }
            state.holders.remove(at: index)
        } else if call.mustRenew {
            throw .errno(Errno.noEntry)
        }
        if let other = state.kind, !state.holders.isEmpty {
            guard !call.kind.isExclusive, other == call.kind else { throw .errno(Errno.busy) }
        }
        guard state.holders.count < ObjectLock.holders else { throw .errno(Errno.noSpace) }
        let (end, isOver) = context.wallNanoseconds.addingReportingOverflow(call.duration)
        state.kind = call.kind
        state.tag = call.tag
        state.holders.append(
            ObjectLock.Holder(
                client: context.client, cookie: call.cookie, expires: call.duration == 0 ? 0 : isOver ? .max : end,
                name: context.clientName, description: call.description))
        try context.perform(.setAttribute(name: prefix + call.name, value: state.encoded))
        return .empty
    }

    private static func remove(
        _ context: any ObjectContext, _ lock: String, _ client: UInt64, _ cookie: String
    ) throws(ClassFailure) -> Bytes {
        var state = try state(context, lock)
        guard let index = state.holders.firstIndex(where: { $0.client == client && $0.cookie == cookie }) else {
            throw .errno(Errno.noEntry)
        }
        state.holders.remove(at: index)
        if state.kind == .ephemeral, state.holders.isEmpty {
            return try context.perform(.remove)
        }
        try context.perform(.setAttribute(name: prefix + lock, value: state.encoded))
        return .empty
    }

    private static func list(_ context: any ObjectContext) throws(ClassFailure) -> Bytes {
        let output = try context.perform(.getAttributes)
        let attributes = try decode(output) { r throws(WireError) in
            try r.readArray(atMost: OperationLimits.attributes + 2) { r throws(WireError) in try Attribute(from: &r) }
        }
        let names = attributes.map(\.name).filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        return .encoding { $0.writeArray(names) { $0.writeString($1) } }
    }

    // MARK: What is stored

    /// The lock without those whose time is over.
    private static func state(_ context: any ObjectContext, _ lock: String) throws(ClassFailure) -> ObjectLock.State {
        let stored: Bytes
        do throws(ClassFailure) {
            stored = try context.perform(.getAttribute(name: prefix + lock))
        } catch .errno(Errno.noData), .errno(Errno.noEntry) {
            return ObjectLock.State()
        }
        var state: ObjectLock.State
        do { state = try ObjectLock.State(decoding: stored) } catch { throw .errno(Errno.ioError) }
        let now = context.wallNanoseconds
        state.holders.removeAll { $0.expires != 0 && $0.expires <= now }
        return state
    }

    private static func decode<Value>(
        _ input: Bytes, _ body: (inout ByteReader) throws(WireError) -> Value
    ) throws(ClassFailure) -> Value {
        var reader = ByteReader(input)
        do throws(WireError) {
            let value = try body(&reader)
            try reader.expectEnd()
            return value
        } catch {
            throw .errno(Errno.invalid)
        }
    }
}
