import Protocol
import Wire

/// A data read under way.
struct PendingRead {
    enum Purpose {
        case push(PushKey, serial: UInt32)
        /// The `step` of a client's request.
        case request(OperationRequest, ClientHandle, outputs: [Bytes], step: Int)
    }
    var purpose: Purpose
}

/// Requests that change nothing.
extension PlacementGroup {
    func newRead(_ read: PendingRead) -> UInt32 {
        nextRead &+= 1
        while reads[nextRead] != nil { nextRead &+= 1 }
        reads[nextRead] = read
        return nextRead
    }

    /// A data read has ended.
    public func readCompleted(_ number: UInt32, _ outcome: ReadOutcome) {
        // A read of an older interval has no one waiting for it any more.
        guard let read = reads.removeValue(forKey: number) else { return }
        switch read.purpose {
        case .push(let key, let serial):
            pushRead(key, serial: serial, outcome)
        case .request(let request, let client, var outputs, let step):
            switch outcome {
            case .data(let data):
                outputs.append(data)
                self.read(request, client, outputs: outputs, step: step + 1)
            case .failed:
                answer(request, client, errno: Errno.ioError)
                release(request.object, writer: false)
            }
        }
    }

    /// Goes on with a reading request at `step`; ends, or waits for data.
    func read(_ request: OperationRequest, _ client: ClientHandle, outputs: [Bytes], step: Int) {
        var outputs = outputs
        let draft = draft(of: request)
        for index in step..<request.steps.count {
            if case .read(let offset, let length) = request.steps[index] {
                guard draft.exists else {
                    answer(request, client, errno: Errno.noEntry)
                    return release(request.object, writer: false)
                }
                let pending = PendingRead(purpose: .request(request, client, outputs: outputs, step: index))
                return environment.read(
                    draft.object, offset: offset, length: Int(length), number: newRead(pending), for: slot)
            }
            switch evaluate(request.steps[index], in: draft) {
            case .success(let output): outputs.append(output)
            case .failure(let failure):
                answer(request, client, errno: failure.errno)
                return release(request.object, writer: false)
            }
        }
        environment.reply(
            OperationReply(
                number: request.id.number, outcome: .done(errno: 0), version: info.lastUpdate, outputs: outputs),
            to: client)
        release(request.object, writer: false)
    }

    struct StepFailure: Error { var errno: Int32 }

    /// A step that reads metadata or guards, on the object as the steps before it leave it.
    func evaluate(_ step: ObjectOperation, in draft: ObjectDraft) -> Result<Bytes, StepFailure> {
        func failed(_ errno: Int32) -> Result<Bytes, StepFailure> { .failure(StepFailure(errno: errno)) }
        switch step {
        case .compareOmap(let key, let expected):
            let value = omapValues(in: draft, keys: [key]).first?.value
            return value == expected ? .success(.empty) : failed(Errno.canceled)
        case .listSnaps:
            return versions(of: draft.object.head).map(Result.success) ?? failed(Errno.noEntry)
        default:
            return draft.exists ? evaluateExisting(step, in: draft) : failed(Errno.noEntry)
        }
    }

    private func evaluateExisting(_ step: ObjectOperation, in draft: ObjectDraft) -> Result<Bytes, StepFailure> {
        switch step {
        case .assertExists:
            return .success(.empty)
        case .listWatchers:
            return .success(Self.encode(liveWatchers(in: draft)))
        case .stat:
            let (size, version) = (size(in: draft), version(of: draft.object))
            return .success(
                .encoding { writer in
                    writer.writeU64(size)
                    version.encode(into: &writer)
                })
        case .getAttribute(let name):
            guard let value = attribute(name, in: draft) else {
                return .failure(StepFailure(errno: Errno.noEntry))
            }
            return .success(value)
        case .getOmap(let keys):
            let entries = omapValues(in: draft, keys: keys)
            return .success(.encoding { $0.writeArray(entries) { $1.encode(into: &$0) } })
        case .listOmap(let after, let prefix, let limit):
            var entries = omap(in: draft, after: after, prefix: prefix, limit: Int(limit) + 1)
            let more = entries.count > Int(limit)
            if more { entries.removeLast() }
            return .success(
                .encoding { writer in
                    writer.writeArray(entries) { $1.encode(into: &$0) }
                    writer.writeBool(more)
                })
        default:
            return .failure(StepFailure(errno: Errno.invalid))
        }
    }
}
