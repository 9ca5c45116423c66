import Commands
import Foundation
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
        "bytes_used":1288490188,"bytes_avail":30064771072,"bytes_total":31353261260,
        "num_objects":21,"data_bytes":19922944,"degraded_objects":12,"degraded_total":63,"degraded_ratio":0.190476,
        "misplaced_objects":3,"misplaced_total":63,"misplaced_ratio":0.047619,"unfound_objects":1,"scrub_errors":2,
        "recovering_objects_per_sec":3,"recovering_bytes_per_sec":12582912,"recovery_seconds_left":75}}
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
                    objects: 21 objects, 19 MiB
                    usage:   1.2 GiB used, 28 GiB / 29 GiB avail
                    pgs:     12/63 objects degraded (19.048 %)
                             3/63 objects misplaced (4.762 %)
                             1 objects unfound
                             2 scrub errors
                             63 undersized
                             1 peering
                             pg 1.0 and 62 more: each waits for osd.2 (down since epoch 17)
                             pg 1.3 is peering on osd.1

                  io:
                    recovery: 12 MiB/s, 3.0 objects/s, about 1 min 15 s left

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
            {"nodes":[{"id":-1,"name":"default","type":"root","type_id":11,"crush_weight":0.0293,"depth":0,"children":[-2]},
            {"id":-2,"name":"pearl","type":"host","type_id":1,"crush_weight":0.0293,"depth":1,"children":[0]},
            {"id":0,"device_class":"ssd","name":"osd.0","type":"osd","type_id":0,"crush_weight":0.00977,"depth":2,"exists":1,
            "status":"up","reweight":1,"primary_affinity":0.5}],"stray":[{"id":7,"name":"osd.7","type":"osd","type_id":0,
            "crush_weight":0,"depth":0,"exists":0,"status":"down","reweight":0,"primary_affinity":1}]}
            """
        let screen = Screen()
        try await Administration(monitor: OneAnswer(json), output: screen.output()).osdTree()
        let lines = screen.shown.split(separator: "\n")
        #expect(
            lines[0].split(separator: " ") == [
                "ID", "CLASS", "WEIGHT", "TYPE", "NAME", "STATUS", "REWEIGHT", "PRI-AFF",
            ])
        #expect(lines[2].contains("    host pearl"))
        #expect(lines[3].contains("        osd.0"))
        #expect(lines[3].split(separator: " ") == ["0", "ssd", "0.00977", "osd.0", "up", "1.00000", "0.50000"])
        #expect(lines[4].split(separator: " ") == ["7", "0", "osd.7", "DNE", "0.00000"])
        #expect(lines.allSatisfy { !$0.hasSuffix(" ") })

    }

    @Test func usageHasTheColumnsThatAdministratorsKnow() async throws {
        let json = """
            {"nodes":[{"id":0,"device_class":"hdd","name":"osd.0","type":"osd","type_id":0,"crush_weight":1,"depth":0,
            "reweight":1,"kb":1048576,"kb_used":262144,"kb_avail":786432,"utilization":25,"var":1,"pgs":12,"ideal_pgs":11.5,
            "status":"up"}],"stray":[],"summary":{"total_kb":1048576,"total_kb_used":262144,"total_kb_avail":786432,
            "average_utilization":25,"min_var":1,"max_var":1,"dev":0,"lowest_pgs":0,"highest_pgs":0.5}}
            """
        let screen = Screen()
        try await Administration(monitor: OneAnswer(json), output: screen.output()).osdUsage()
        let lines = screen.shown.split(separator: "\n")
        #expect(
            lines[0].split(separator: " ") == [
                "ID", "CLASS", "WEIGHT", "REWEIGHT", "SIZE", "RAW", "USE", "AVAIL", "%USE", "VAR", "PGS", "IDEAL",
                "STATUS",
            ])
        #expect(
            lines[1].split(separator: " ") == [
                "0", "hdd", "1.00000", "1.00000", "1.0", "GiB", "256", "MiB", "768", "MiB", "25.00", "1.00", "12",
                "11.50",
                "up",
            ])
        #expect(lines[2].contains("TOTAL") && lines[2].contains("1.0 GiB"))
        #expect(lines[3] == "MIN/MAX VAR: 1.00/1.00  STDDEV: 0.00  PGS FROM IDEAL: -0.00/+0.50")
    }

    @Test func aPlanIsShownAsTheCommandsThatMakeIt() async throws {
        let json = """
            {"epoch":7,"dry_run":true,"pools":[{"pool":1,"pool_name":"rbd","before":{"lowest":-3.5,"highest":2},
            "after":{"lowest":-0.5,"highest":1}},{"pool":2,"pool_name":"odd","reason":"pool 'odd': it cannot be"}],
            "before":{"lowest":-3.5,"highest":2},"after":{"lowest":-0.5,"highest":1},"moves":4,"least_moves":3,"cut":false,
            "bound":["pool 'rbd': host 'pearl' is full"],"changes":[{"pgid":"1.1f","mappings":[{"from":0,"to":3},
            {"from":2,"to":4}]},{"pgid":"1.20","mappings":[]}]}
            """
        let screen = Screen()
        let monitor = OneAnswer(json)
        try await Administration(monitor: monitor, output: screen.output()).balance(
            pools: ["rbd", "odd"], isDryRun: true, limit: 5)
        #expect(monitor.asked.withLock { $0 } == ["osd balance dry-run=true max-moves=5 pools=rbd odd"])
        #expect(
            screen.shown == """
                pool 1 'rbd': copies from the ideal -3.50 +2.00, then -0.50 +1.00
                pool 2 'odd': pool 'odd': it cannot be
                all pools: copies from the ideal -3.50 +2.00, then -0.50 +1.00
                bound: pool 'rbd': host 'pearl' is full
                4 copies would move (at least 3), 2 groups change
                nacre osd pg-upmap-items 1.1f 0 3 2 4
                nacre osd rm-pg-upmap-items 1.20

                """)
    }

    @Test func theHierarchyIsChangedByName() async throws {
        let monitor = OneAnswer("", message: "done")
        let screen = Screen()
        let administration = Administration(monitor: monitor, output: screen.output())
        try await administration.addBucket("rack1", type: "rack", at: ["root=default"])
        try await administration.addToCRUSH("osd.3", weight: "1.5", at: ["root=default", "host=pearl"])
        try await administration.setInCRUSH("3", weight: "2", at: ["host=pearl"])
        try await administration.moveInCRUSH("pearl", to: ["rack=rack1"])
        try await administration.reweightInCRUSH("osd.3", to: "3")
        try await administration.removeFromCRUSH("osd.3")
        try await administration.setDeviceClass("ssd", ["0", "osd.1"])
        try await administration.removeDeviceClass(["0"])
        try await administration.createReplicatedRule("fast", root: "default", type: "host", deviceClass: "ssd")
        try await administration.removeRule("fast")
        try await administration.reweight("1", to: "0.5")
        try await administration.primaryAffinity("osd.1", to: "0.25")
        try await administration.setUpmapItems("1.2", ["0", "3"])
        try await administration.removeUpmapItems("1.2")
        #expect(
            monitor.asked.withLock { $0 } == [
                "osd crush add-bucket args=root=default name=rack1 type=rack",
                "osd crush add args=root=default host=pearl ids=osd.3 weight=1.5",
                "osd crush set args=host=pearl ids=3 weight=2",
                "osd crush move args=rack=rack1 name=pearl",
                "osd crush reweight name=osd.3 weight=3",
                "osd crush rm name=osd.3",
                "osd crush set-device-class class=ssd ids=0 osd.1",
                "osd crush rm-device-class ids=0",
                "osd crush rule create-replicated class=ssd name=fast root=default type=host",
                "osd crush rule rm name=fast",
                "osd reweight ids=1 weight=0.5",
                "osd primary-affinity ids=osd.1 weight=0.25",
                "osd pg-upmap-items ids=0 3 pgid=1.2",
                "osd rm-pg-upmap-items pgid=1.2",
            ])
        #expect(screen.shown == String(repeating: "done\n", count: 14))
    }

    @Test func filesAreWrittenReadAndRefusedBySize() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nacre-commands-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "map").path
        let administration = Administration(monitor: OneAnswer("bytes"), output: Screen().output())
        try await administration.saveCRUSHMap(to: path)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "bytes")
        try await administration.setCRUSHMap(from: path)
        let missing = await #expect(throws: CommandError.self) {
            try await administration.setCRUSHMap(from: path + ".not")
        }
        #expect(missing?.errno == 2 && missing?.description.contains(".not") == true)
        let hole = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try hole.truncate(atOffset: 65 << 20)
        let large = await #expect(throws: CommandError.self) { try await administration.setCRUSHMap(from: path) }
        #expect(large?.errno == 27 && large?.description.contains("MiB") == true)
        let garbage = #expect(throws: CommandError.self) {
            try Administration.balance(map: #filePath, pools: [], limit: nil, output: Screen().output())
        }
        #expect(garbage?.errno == 22 && garbage?.description.contains("getmap") == true)
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
