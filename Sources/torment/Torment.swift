@preconcurrency import Glibc
import ObjectStore
import Protocol
import Wire

/// Kills a process that writes to an object store on a real file system, again and again, and compares what is left with a
/// model.
///
///     torment kill  DIR [--rounds N] [--seed N]         parent: starts `torment write`, kills it with -9, checks, goes on
///     torment write DIR [--seed N] [--no-flush] [--threads]   writes until it is killed; a line for each acknowledgement
///     torment check DIR [--seed N] --acknowledged N     checks: the store holds what the first transactions made, at least N
///
/// The workload is a function of seed and number of a transaction, so nothing has to be kept but the seed.
@main
struct Torment {
    var directory = ""
    var rounds = 100
    var seed: UInt64 = 1
    var acknowledged: UInt64 = 0
    var options = StoreOptions()

    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())[...]
        guard let mode = arguments.popFirst(), let directory = arguments.popFirst() else {
            fail("say kill, write or check, and a directory")
        }
        var torment = Torment()
        torment.directory = directory
        func number(_ option: String) -> UInt64 {
            guard let value = arguments.popFirst().flatMap({ UInt64($0) }) else { fail("\(option) takes a number") }
            return value
        }
        while let option = arguments.popFirst() {
            switch option {
            case "--rounds": torment.rounds = Int(number(option))
            case "--seed": torment.seed = number(option)
            case "--acknowledged": torment.acknowledged = number(option)
            case "--no-flush": torment.options.unsafeNoFlush = true
            case "--threads": torment.options.withoutRing = true
            default: fail("unknown option \(option)")
            }
        }
        do {
            switch mode {
            case "kill": try torment.kill()
            case "write": try torment.write()
            case "check": try torment.check()
            default: fail("there is no \(mode): say kill, write or check")
            }
        } catch {
            fail("seed \(torment.seed): \(error)")
        }
    }

    static func fail(_ text: String) -> Never {
        fputs("torment: \(text)\n", stderr)
        exit(1)
    }

    /// A store as small as it gets: its journal goes around and is checkpointed many times a second.
    func prepare() throws -> StoreDirectory {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else { throw Failure("cannot make \(directory)") }
        let place = try StoreDirectory(directory)
        if try !place.isFormatted() {
            var options = options
            options.journalSize = 1 << 20
            options.growth = 4 << 20
            options.capacity = ByteCount(64 << 20)
            let identity = StoreIdentity(
                cluster: UniqueID(high: 1, low: 2), osd: OSDID(3), store: UniqueID(high: 5, low: seed))
            try place.format(identity, options: options)
        }
        return place
    }

    /// Opens the store and finds the last transaction in it.
    func open(_ place: StoreDirectory) throws -> (Owner, UInt64) {
        let owner = Owner(try place.openStore(options: options))
        return (owner, try owner.lastTransaction())
    }

    // MARK: - Modes

    private func write() throws {
        let place = try prepare()
        let (owner, last) = try open(place)
        var workload = Workload(seed: seed)
        try owner.write(from: last + 1) {
            workload.transaction($0)
        } acknowledged: { number in
            let line = Array("\(number)\n".utf8)
            // Nobody listens any more: the parent has gone.
            guard Glibc.write(STDOUT_FILENO, line, line.count) == line.count else { exit(0) }
        }
        withExtendedLifetime(place) {}
    }

    private func check() throws {
        let place = try prepare()
        let (owner, last) = try open(place)
        var model = Model()
        try check(owner, last, &model, acknowledged: acknowledged)
        print("\(last) transactions are there, \(acknowledged) were acknowledged")
        withExtendedLifetime(place) {}
    }

    /// The store must hold exactly what the first `last` transactions made, and those must be all that were acknowledged.
    private func check(_ owner: Owner, _ last: UInt64, _ model: inout Model, acknowledged: UInt64) throws {
        guard last >= acknowledged else {
            throw Failure("transaction \(acknowledged) was acknowledged, the store has only \(last)")
        }
        var workload = Workload(seed: seed)
        while model.applied < last { model.apply(workload.transaction(model.applied + 1)) }
        guard model.applied == last else { throw Failure("transactions \(last + 1) to \(model.applied) are gone") }
        try owner.compare(with: model)
    }

    private func kill() throws {
        var random = Mixer(seed: seed)
        var model = Model()
        var killedEarly = 0
        for round in 1...rounds {
            let child = try Child(directory, seed: seed, withoutRing: round % 2 == 0)
            // Some do not get through opening the store.
            if round % 8 != 0 { child.awaitFirstWord() }
            let acknowledged = child.kill(afterMilliseconds: random.number(below: 50))
            if acknowledged == nil { killedEarly += 1 }
            var torment = self
            torment.options.withoutRing = round % 3 == 0
            let place = try torment.prepare()
            let (owner, last) = try torment.open(place)
            do {
                try check(owner, last, &model, acknowledged: acknowledged ?? model.applied)
            } catch {
                throw Failure("round \(round): \(error)")
            }
            withExtendedLifetime(place) {}
        }
        guard killedEarly < rounds else { throw Failure("no child came to write") }
        print(
            "\(rounds) children killed, \(killedEarly) of them before their first acknowledgement; "
                + "\(model.applied) transactions are as they must be")
    }
}

/// What is not as it must be.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
