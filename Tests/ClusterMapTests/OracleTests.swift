import CRUSH
import ClusterMap
import Foundation
import Testing
import Wire

/// Where groups and objects are, compared with what `osdmaptool` of Ceph says of maps that a real Ceph made.
@Suite struct OracleTests {
    static let fixtures = ["healthy", "upmaps", "exceptions", "removed", "weightset"]

    private func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name).osdmap").path
    }

    /// All groups as `--test-map-pgs-dump-all` shows them: a line each, behind one for each pool.
    private func dump(_ map: OSDMap) -> [String] {
        var lines: [String] = []
        var buffer = OSDMap.PlacementBuffer()
        func text(_ osds: [OSDID], _ primary: OSDID) -> String {
            let list = osds.map { "\($0.rawValue)" }.joined(separator: ",")
            return "([\(list)], p\(primary == .none ? -1 : primary.rawValue))"
        }
        for pool in map.poolsInOrder {
            lines.append("pool \(pool.id) pg_num \(pool.groupCount)")
            for group in pool.groups {
                map.place(group.seed, in: pool, into: &buffer)
                let leader = buffer.raw.first { $0 != .none } ?? .none
                lines.append(
                    "\(group) raw \(text(buffer.raw, leader)) up \(text(buffer.up, buffer.upPrimary)) "
                        + "acting \(text(buffer.acting, buffer.primary))")
            }
        }
        return lines
    }

    private func oracleDump(_ tool: Tool, _ path: String, _ options: [String] = []) throws -> [String] {
        let text = try tool.run([path] + options + ["--test-map-pgs-dump-all"])
        // Before the groups it says what it does, behind them it counts.
        return text.split(separator: "\n").map(String.init).prefix { !$0.hasPrefix("#osd") }.filter {
            $0.hasPrefix("pool ") || $0.contains(" raw (")
        }
    }

    @Test(arguments: fixtures) func everyGroupIsWhereCephHasIt(_ name: String) throws {
        let tool = try Tool("osdmaptool")
        let map = try CephMap.read(path(name), with: tool)
        let (ours, theirs) = (dump(map), try oracleDump(tool, path(name)))
        #expect(theirs.count > 200)
        #expect(ours.count == theirs.count)
        for (our, their) in zip(ours, theirs) { #expect(our == their) }
    }

    /// Marking OSDs out moves groups, and makes upmaps to them ignored.
    @Test(arguments: 0..<12 as Range<Int32>) func everyGroupIsWhereCephHasItWithoutAnOSD(_ osd: Int32) throws {
        let tool = try Tool("osdmaptool")
        var map = try CephMap.read(path("upmaps"), with: tool)
        map.osds[OSDID(osd)]?.reweight = 0
        let theirs = try oracleDump(tool, path("upmaps"), ["--mark-out", "\(osd)"])
        #expect(dump(map) == theirs)
    }

    @Test func everyGroupIsWhereCephHasItWithoutTemporarySets() throws {
        let tool = try Tool("osdmaptool")
        var map = try CephMap.read(path("exceptions"), with: tool)
        map.exceptions.temporary = [:]
        map.exceptions.temporaryPrimaries = [:]
        #expect(try dump(map) == oracleDump(tool, path("exceptions"), ["--clear-temp"]))
    }

    @Test(arguments: ["exceptions", "removed"]) func everyObjectIsInCephsGroup(_ name: String) throws {
        let tool = try Tool("osdmaptool")
        let map = try CephMap.read(path(name), with: tool)
        let objects = ["a", "rbd_data.10de6b8b4567.00000000000003ff", "ümlaut ☃", "twelve bytes"]
        for pool in map.poolsInOrder {
            for object in objects {
                let said = try tool.run([path(name), "--test-map-object", object, "--pool", "\(pool.id)"])
                let group = pool.group(ofHash: pool.hash(of: ObjectName(object)))
                let acting = map.placement(of: group).acting.map { "\($0.rawValue)" }.joined(separator: ",")
                #expect(said.contains(" object '\(object)' -> \(group) -> [\(acting)]"), "\(said)")
            }
        }
    }

    /// The fixtures have what they are said to have: a map without it would prove nothing.
    @Test func theFixturesHoldEveryCase() throws {
        let tool = try Tool("osdmaptool")
        let maps = try Self.fixtures.map { try CephMap.read(path($0), with: tool) }
        let all = maps.flatMap(\.poolsInOrder)
        #expect(all.contains { $0.placementGroupCount < $0.groupCount } && all.contains { $0.groupCount == 13 })
        #expect(all.contains { !$0.hashesPoolNumber } && all.contains { $0.kind == .erasure })
        #expect(!maps[1].exceptions.upmaps.isEmpty && maps[1].exceptions.upmapItems.count > 6)
        let exceptions = maps[2].exceptions
        #expect(exceptions.temporary.count > 4 && !exceptions.temporaryPrimaries.isEmpty)
        let osds = maps[2].osds.values
        #expect(osds.contains { $0.reweight > 0 && $0.reweight < OSDRecord.fullReweight })
        #expect(osds.contains { $0.primaryAffinity == 0 } && osds.contains { 1..<0x10000 ~= $0.primaryAffinity })
        #expect(osds.contains { !$0.isUp && $0.isIn } && osds.contains { $0.isUp && !$0.isIn })
        #expect(maps[3].osds.count < 12 && !maps[4].crush.chooseArguments.isEmpty)
        // Exceptions that do something: up is not raw, and acting is not up.
        var buffer = OSDMap.PlacementBuffer()
        var counts = (upmapped: 0, temporary: 0, led: 0)
        for map in maps {
            for pool in map.poolsInOrder {
                for seed in 0..<pool.groupCount {
                    map.place(seed, in: pool, into: &buffer)
                    if !Set(buffer.up).subtracting([.none]).isSubset(of: buffer.raw) { counts.upmapped += 1 }
                    if buffer.acting != buffer.up { counts.temporary += 1 }
                    if buffer.upPrimary != buffer.raw.first { counts.led += 1 }
                }
            }
        }
        #expect(counts.upmapped > 8 && counts.temporary > 8 && counts.led > 50, "\(counts)")
    }

    @Test(arguments: fixtures) func theMapsGoThroughOurFormat(_ name: String) throws {
        let map = try CephMap.read(path(name), with: try Tool("osdmaptool"))
        let copy = try OSDMap(decoding: map.encoded)
        #expect(copy.encoded == map.encoded && copy.exceptions == map.exceptions)
        #expect(dump(copy) == dump(map))
    }
}
