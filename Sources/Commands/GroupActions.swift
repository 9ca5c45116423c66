import ClusterMap
import Glibc
import Monitor
import NIOPosix
import Protocol
import RADOS
import TextTable
import Wire

/// What an administrator asks of placement groups themselves, which their primaries answer: `nacre pg scrub` and the like.
public struct GroupActions: Sendable {
    private let connection: ClusterConnection
    let output: Output

    /// How long a primary may take to answer.
    private static let answerSeconds: Int64 = 15

    /// Commands that ask through `connection` and show in `output`.
    public init(connection: ClusterConnection, output: Output) {
        self.connection = connection
        self.output = output
    }

    /// What can be ordered of a group.
    public enum Order: String, Sendable {
        /// Compare its copies' objects and metadata.
        case scrub
        /// Compare their data, too.
        case deepScrub = "deep-scrub"
        /// Compare their data, and replace bad copies from good ones.
        case repair

        var command: GroupCommand {
            switch self {
            case .scrub: .scrub
            case .deepScrub: .deepScrub
            case .repair: .repair
            }
        }
    }

    /// Has a group scrubbed or repaired, as soon as its OSDs have a turn for it.
    public func order(_ order: Order, _ name: String) async throws(CommandError) {
        let group = try await resolve(name)
        _ = try await ask(group, order.command)
        output.say("pg \(group.id) is told to \(order.rawValue) by its primary osd.\(group.primary)")
    }

    /// Shows how a group is, as its primary knows.
    public func query(_ name: String) async throws(CommandError) {
        let group = try await resolve(name)
        let answer = try await ask(group, .query)
        do throws(WireError) {
            output.show(GroupQuery(try GroupReport(decoding: answer))) { $0.text }
        } catch {
            throw unreadable(group, error)
        }
    }

    /// Lists a group's inconsistent objects with what is wrong with each copy.
    public func listInconsistent(_ name: String) async throws(CommandError) {
        let group = try await resolve(name)
        var found: [InconsistentObject] = []
        var hasMore = true
        while hasMore, found.count < ScrubLimits.inconsistent {
            let answer = try await ask(group, .listInconsistent(after: found.last?.object))
            do throws(WireError) {
                let part = try InconsistencyListing(decoding: answer)
                found += part.objects
                hasMore = part.hasMore && !part.objects.isEmpty
            } catch {
                throw unreadable(group, error)
            }
        }
        let report = InconsistencyReport(found, primary: group.primary, epoch: group.epoch)
        output.show(report) { $0.inconsistents.isEmpty ? "No inconsistent objects in pg \(group.id)\n" : $0.text }
    }

    private struct Group {
        var id: PGID
        var pool: String
        var primary: Int32
        var epoch: UInt32
    }

    /// The group of a name, which must have a primary.
    private func resolve(_ name: String) async throws(CommandError) -> Group {
        guard let id = PGID(name) else {
            throw CommandError(
                errno: EINVAL, "'\(name.prefix(80))' is no placement group: give POOL-ID.NUMBER, such as 1.2f")
        }
        let administration = Administration(monitor: connection, output: output)
        let dump = try await administration.groups()
        guard let state = dump.pgStats.first(where: { $0.pgid == id.description }) else {
            throw CommandError(errno: ENOENT, "pg \(id) does not exist: `nacre pg ls` names those that do")
        }
        guard state.actingPrimary >= 0 else {
            throw CommandError(errno: EAGAIN, "pg \(id) \(state.reason ?? "has no OSD"), so nobody can be asked")
        }
        let pools: [Pool]
        do throws(RADOSError) { pools = try await connection.cluster.pools() } catch { throw CommandError(error) }
        guard let pool = pools.first(where: { $0.id == id.pool }) else {
            throw CommandError(errno: ENOENT, "pool \(id.pool) does not exist: `nacre pool ls` names those that do")
        }
        return Group(id: id, pool: pool.name, primary: state.actingPrimary, epoch: dump.epoch)
    }

    /// The primary's answer; ETIMEDOUT when there is none.
    private func ask(_ group: Group, _ command: GroupCommand) async throws(CommandError) -> Bytes {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let first = loop.makePromise(of: Bytes.self)
        let limit = loop.scheduleTask(in: .seconds(Self.answerSeconds)) {
            first.fail(
                CommandError(
                    errno: ETIMEDOUT,
                    "osd.\(group.primary), the primary of pg \(group.id), does not answer: see `nacre health detail`"))
        }
        defer { limit.cancel() }
        let cluster = connection.cluster
        Task {
            do {
                let pool = try await cluster.pool(named: group.pool)
                first.succeed(try await pool.administer(command, group: group.id.seed))
            } catch {
                first.fail(error)
            }
        }
        do {
            return try await first.futureResult.get()
        } catch {
            throw CommandError(error)
        }
    }

    private func unreadable(_ group: Group, _ error: WireError) -> CommandError {
        CommandError(
            errno: EPROTO,
            "the answer of osd.\(group.primary) cannot be read: \(error): is it of this program's version?")
    }
}
