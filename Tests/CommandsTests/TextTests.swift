import Commands
import Monitor
import Protocol
import Synchronization
import Testing
import Wire

/// A monitor that gives one answer and remembers what it was asked.
private final class OneAnswer: CommandAnswering {
    let reply: CommandReply
    let asked = Mutex<[String]>([])

    init(_ json: String, errno: Int32 = 0, message: String = "") {
        reply = CommandReply(number: 1, errno: errno, message: message, output: Bytes(json))
    }

    func ask(
        _ words: [String], _ arguments: [String: String], _ input: Bytes
    ) async throws(CommandError) -> CommandReply {
        let pairs = arguments.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }
        asked.withLock { $0.append(words.joined(separator: " ") + pairs.joined()) }
        return reply
    }
}

/// What people and programs read, for what a monitor answers.
@Suite struct TextTests {
    private final class Screen: Sendable {
        let text = Mutex("")
        func output(_ format: Output.Format = .plain, isPretty: Bool = false) -> Output {
            Output(format: format, isPretty: isPretty) { part in self.text.withLock { $0 += part } }
        }
        var shown: String { text.withLock { $0 } }
    }

    private static let status = """
        {"fsid":"11112222-3333-4444-8555-666677778888","health":{"status":"HEALTH_WARN","checks":{
        "AUTH_NONE":{"severity":"HEALTH_OK","summary":{"message":"authentication is none","count":1},"detail":[]},
        "OSD_DOWN":{"severity":"HEALTH_WARN","summary":{"message":"1 osds down","count":3},
        "detail":[{"message":"osd.2 is down since epoch 17"}]}}},
        "monmap":{"num_mons":1,"mons":[{"name":"a","addr":"127.0.0.1:6789"}]},
        "osdmap":{"epoch":17,"num_osds":3,"num_up_osds":2,"num_in_osds":3},
        "pgmap":{"num_pools":1,"num_pgs":64,"pgs_by_state":[{"state_name":"undersized","count":63},
        {"state_name":"peering","count":1}],"waiting":[
        {"reason":"waits for osd.2 (down since epoch 17)","count":63,"pgid":"1.0"},
        {"reason":"is peering on osd.1","count":1,"pgid":"1.3"}],
        "bytes_used":1288490188,"bytes_avail":30064771072,"bytes_total":31353261260}}
        """

    @Test func statusReadsAsAdministratorsKnowIt() async throws {
        let screen = Screen()
        try await Administration(monitor: OneAnswer(Self.status), output: screen.output()).status()
        #expect(
            screen.shown == """
                  cluster:
                    id:     11112222-3333-4444-8555-666677778888
                    health: HEALTH_WARN
                            1 osds down
                            authentication is none

                  services:
                    mon: 1 daemons, a at 127.0.0.1:6789
                    osd: 3 osds: 2 up, 3 in

                  data:
                    pools:   1 pools, 64 pgs
                    usage:   1.2 GiB used, 28 GiB / 29 GiB avail
                    pgs:     63 undersized
                             1 peering
                             pg 1.0 and 62 more: each waits for osd.2 (down since epoch 17)
                             pg 1.3 is peering on osd.1

                """)
    }

    @Test func healthHasADetail() async throws {
        let whole = try ClusterStatus(json: Bytes(Self.status))
        let json = String(whole.health.json())
        let short = Screen()
        try await Administration(monitor: OneAnswer(json), output: short.output()).health(detail: false)
        #expect(short.shown == "HEALTH_WARN 1 osds down; authentication is none\n")
        let long = Screen()
        try await Administration(monitor: OneAnswer(json), output: long.output()).health(detail: true)
        #expect(
            long.shown == """
                HEALTH_WARN 1 osds down; authentication is none
                [WRN] OSD_DOWN: 1 osds down
                    osd.2 is down since epoch 17
                    and 2 more
                [INF] AUTH_NONE: authentication is none

                """)
    }

    @Test func theTreeIsIndented() async throws {
        let json = """
            {"nodes":[{"id":-1,"name":"default","type":"root","crush_weight":0.0293,"depth":0,"children":[-2]},
            {"id":-2,"name":"pearl","type":"host","crush_weight":0.0293,"depth":1,"children":[0]},
            {"id":0,"name":"osd.0","type":"osd","crush_weight":0.00977,"depth":2,"status":"up","reweight":1}],"stray":[]}
            """
        let screen = Screen()
        try await Administration(monitor: OneAnswer(json), output: screen.output()).osdTree()
        let lines = screen.shown.split(separator: "\n")
        #expect(lines[0].split(separator: " ") == ["ID", "WEIGHT", "TYPE", "NAME", "STATUS", "REWEIGHT"])
        #expect(lines[2].contains("    host pearl"))
        #expect(lines[3].contains("        osd.0"))
        #expect(lines.allSatisfy { !$0.hasSuffix(" ") })

    }

    @Test func jsonIsPassedOnAndLaidOut() async throws {
        let plain = Screen()
        try await Administration(monitor: OneAnswer("[0,1,2]"), output: plain.output()).listOSDs()
        #expect(plain.shown == "0\n1\n2\n")
        let json = Screen()
        try await Administration(monitor: OneAnswer("[0,1,2]"), output: json.output(.json)).listOSDs()
        #expect(json.shown == "[0,1,2]\n")
        let pretty = Screen()
        try await Administration(monitor: OneAnswer("[0]"), output: pretty.output(.json, isPretty: true)).listOSDs()
        #expect(pretty.shown == "[\n  0\n]\n")
    }

    @Test func refusalsKeepTheirErrnoAndLine() async throws {
        let screen = Screen()
        let monitor = OneAnswer("", errno: 2, message: "pool 'x' does not exist")
        let administration = Administration(monitor: monitor, output: screen.output())
        let error = await #expect(throws: CommandError.self) {
            try await administration.setPool("x", "size", "3", isSure: false)
        }
        #expect(error == CommandError(errno: 2, "pool 'x' does not exist"))
        #expect(monitor.asked.withLock { $0 } == ["osd pool set pool=x val=3 var=size"])
        #expect(screen.shown.isEmpty)
    }

    @Test func anAnswerOfAnotherVersionIsAnError() async throws {
        let administration = Administration(monitor: OneAnswer("{}"), output: Screen().output())
        let error = await #expect(throws: CommandError.self) { try await administration.status() }
        #expect(error?.errno == 71)
    }

    @Test func poolsAreAskedForWithEverything() async throws {
        let monitor = OneAnswer("", message: "pool 'p' created")
        let screen = Screen()
        let administration = Administration(monitor: monitor, output: screen.output())
        try await administration.createPool(
            .init(name: "p", groupCount: 8, size: 2, minSize: 1, rule: "r", application: "rbd", isSure: true))
        try await administration.deletePool("p", again: "p", isSure: true)
        try await administration.mark(.purge, ["1", "osd.2"], isSure: true)
        #expect(
            monitor.asked.withLock { $0 } == [
                "osd pool create application=rbd min_size=1 pg_num=8 pool=p rule=r size=2 yes-i-really-mean-it=true",
                "osd pool delete pool=p pool2=p yes-i-really-really-mean-it=true",
                "osd purge ids=1 osd.2 yes-i-really-mean-it=true",
            ])
        #expect(screen.shown.hasPrefix("pool 'p' created\n"))
    }
}
