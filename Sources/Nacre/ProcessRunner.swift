import Commands
import Dispatch
import Glibc

/// Runs daemons until a signal or a failure: starts them in order, stops them in the opposite order.
public enum ProcessRunner {
    /// Starts one daemon after the other; each `RunningDaemon` is handed over as soon as it serves.
    public typealias Start = @Sendable (_ serving: @Sendable (RunningDaemon) -> Void) async throws -> Void

    private enum Event: Sendable {
        case serving(RunningDaemon)
        case allServing
        case failed(CommandError)
        case signal
    }

    /// Runs what `start` starts. `announce` gets a line for each daemon that serves, and `last` when all do. Returns after
    /// SIGTERM or SIGINT, when everything is stopped; throws what made a daemon fail.
    public static func run(
        last: String? = nil, announce: @Sendable (String) -> Void, start: @escaping Start
    ) async throws(CommandError) {
        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        // A peer that goes away must be an error of a write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { sink.yield(.signal) }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        Task {
            do {
                try await start { sink.yield(.serving($0)) }
                sink.yield(.allServing)
            } catch {
                sink.yield(.failed(CommandError(error)))
            }
        }
        var running: [RunningDaemon] = []
        var failure: CommandError?
        loop: for await event in events {
            switch event {
            case .serving(let daemon):
                running.append(daemon)
                announce("ready \(daemon.ready)")
                Task {
                    if let error = await daemon.failed() { sink.yield(.failed(error)) }
                }
            case .allServing: if let last { announce(last) }
            case .failed(let error):
                failure = error
                break loop
            case .signal: break loop
            }
        }
        for daemon in running.reversed() { await daemon.stop() }
        if let failure { throw failure }
    }
}
