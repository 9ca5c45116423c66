import Protocol
import Wire

/// The classes whose methods requests can call. A method runs at the primary, as a step of its request: what it does
/// happens with the request or not at all, and it sees the object as the steps before it leave it.
public struct ObjectClasses: Sendable {
    /// A method's body: takes the call's input and gives its output. It may be run several times before it counts, so
    /// it keeps nothing to itself.
    public typealias Body = @Sendable (any ObjectContext, Bytes) throws(ClassFailure) -> Bytes

    struct Method: Sendable {
        var changes: Bool
        var body: Body
    }

    private var methods: [String: [String: Method]] = [:]

    /// No classes.
    public init() {}

    /// Registers a method; `changes` says whether it may change the object.
    public mutating func register(_ className: String, _ method: String, changes: Bool, _ body: @escaping Body) {
        precondition(methods[className]?[method] == nil, "method \(className).\(method) is registered twice")
        methods[className, default: [:]][method] = Method(changes: changes, body: body)
    }

    func method(_ call: ClassCall) -> Method? { methods[call.className]?[call.method] }

    /// The classes of production.
    public static let standard: ObjectClasses = {
        var classes = ObjectClasses()
        LockClass.register(in: &classes)
        return classes
    }()
}

/// The object, and the caller, as a method of an object class sees them.
public protocol ObjectContext: AnyObject {
    /// The run of the client that made the request.
    var client: UInt64 { get }
    /// How it calls itself.
    var clientName: String { get }
    /// The time of day at the primary, in nanoseconds since 1970.
    var wallNanoseconds: UInt64 { get }
    /// Does a step on the object; gives its output. Any step of a request will do, but for calls, watches and
    /// notifications. Let the failure through, or handle it by its errno if it has one.
    @discardableResult
    func perform(_ step: ObjectOperation) throws(ClassFailure) -> Bytes
}

/// Why a method does not go on.
public enum ClassFailure: Error, Hashable, Sendable {
    /// The method failed, and the request with it.
    case errno(Int32)
    /// The object's data has to be read first: the method is run again when it is there. To be let through.
    case reads(offset: UInt64, length: UInt64)
}

extension PlacementGroup {
    /// Runs a method; the draft as it leaves it.
    func call(_ call: ClassCall, in execution: Execution) -> (outcome: StepOutcome, draft: ObjectDraft) {
        guard let method = environment.classes.method(call) else {
            return (.failed(errno: Errno.notSupported), execution.draft)
        }
        guard call.changes || !method.changes, execution.fetched.count <= GroupLimits.classReads else {
            return (.failed(errno: Errno.invalid), execution.draft)
        }
        let context = DraftContext(group: self, execution: execution, mayChange: method.changes)
        do throws(ClassFailure) {
            let output = try method.body(context, call.input)
            guard output.count <= OperationLimits.classData else {
                return (.failed(errno: Errno.tooLarge), execution.draft)
            }
            return (.done(output), context.execution.draft)
        } catch {
            switch error {
            case .errno(let errno): return (.failed(errno: errno), execution.draft)
            case .reads(let offset, let length): return (.reads(offset: offset, length: length), execution.draft)
            }
        }
    }
}

/// A draft under a method of an object class.
private final class DraftContext<Environment: GroupEnvironment>: ObjectContext {
    let group: PlacementGroup<Environment>
    var execution: Execution
    let mayChange: Bool

    init(group: PlacementGroup<Environment>, execution: Execution, mayChange: Bool) {
        self.group = group
        self.execution = execution
        self.mayChange = mayChange
    }

    var client: UInt64 { execution.request.id.client }
    var clientName: String { group.environment.name(of: execution.client) ?? "unknown" }
    var wallNanoseconds: UInt64 { group.environment.wallNanoseconds }

    func perform(_ step: ObjectOperation) throws(ClassFailure) -> Bytes {
        switch step {
        case .call, .watch, .unwatch, .notify, .acknowledge, .listObjects: throw .errno(Errno.invalid)
        default: break
        }
        guard mayChange || !step.isWrite else { throw .errno(Errno.invalid) }
        switch step.isWrite ? group.apply(step, in: &execution) : group.evaluate(step, in: execution) {
        case .done(let output): return output
        case .failed(let errno): throw .errno(errno)
        case .reads(let offset, let length): throw .reads(offset: offset, length: length)
        }
    }
}
