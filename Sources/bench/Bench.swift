@preconcurrency import Glibc

/// `bench WHAT`: measures parts of the program that need no cluster; `tools/bench` runs it.
@main
struct Bench {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        switch arguments.first {
        case "map": MapBench.run()
        case "store": StoreBench.run(Array(arguments.dropFirst()))
        default: fail("say what to measure; there are: map, store")
        }
    }

    /// Ends with a line that says why.
    static func fail(_ text: String) -> Never {
        fputs("bench: \(text)\n", stderr)
        exit(2)
    }

    /// A figure for a program to read.
    static func report(_ name: String, _ value: Double) { print("\(name) \(value)") }

    /// Seconds on a clock that only goes forward.
    static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// A line of the result: what was measured, and how much.
    static func show(_ what: String, _ value: String) {
        print("| \(what) | \(value) |")
    }

    /// The shortest of several runs, in seconds: the others were disturbed.
    static func best(of runs: Int, _ body: () -> Void) -> Double {
        (0..<runs).map { _ in
            let began = now
            body()
            return now - began
        }.min() ?? 0
    }
}
